#![allow(clippy::unwrap_used)] // A test may fail by panicking.

use std::num::NonZeroU32;

use super::*;

#[test]
fn a_new_key_is_kept_as_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    let rules = Rules {
        requests_per_minute: NonZeroU32::new(60),
        concurrent: NonZeroU32::new(2),
        audio_minutes_per_day: NonZeroU32::new(90),
        admin: true,
    };
    let first = new_key(&path, "first", &rules).unwrap();
    let second = new_key(&path, "sec.ond", &Rules::default()).unwrap();
    assert_ne!(first, second);
    assert_eq!((first.len(), first.starts_with(PREFIX)), (PREFIX.len() + 43, true), "{first}");
    let entries = file::read(&path).unwrap();
    let hash = |key: &str| <[u8; 32]>::from(Sha256::digest(key));
    let entry = |name: &str, key: &str, rules| file::Entry { name: name.to_owned(), hash: hash(key), rules };
    assert_eq!(entries, [entry("first", &first, rules), entry("sec.ond", &second, Rules::default())]);
    assert!(!std::fs::read_to_string(&path).unwrap().contains(&first));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn what_is_there_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    for old in ["# Mine.\r\n\r\n# No line ends here", "\n[keys]\n", ""] {
        std::fs::write(&path, old).unwrap();
        new_key(&path, "a", &Rules::default()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(old), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn its_owner_alone_reads_it_unless_others_did() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("keys.toml"), dir.path().join("link.toml"));
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    new_key(&path, "a", &Rules::default()).unwrap();
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    new_key(&link, "b", &Rules::default()).unwrap();
    assert_eq!(mode(), 0o640);
    assert!(link.is_symlink());
    assert_eq!(file::read(&path).unwrap().len(), 2);
}

#[test]
fn what_can_not_be_done_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    new_key(&path, "a", &Rules::default()).unwrap();
    let before = std::fs::read_to_string(&path).unwrap();
    for (name, named) in [("a", "already"), ("a b", "name"), ("", "name")] {
        let error = new_key(&path, name, &Rules::default()).unwrap_err();
        assert!(matches!(&error, Error::InvalidInput(text) if text.contains(named)), "{error:?}");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    for broken in ["[keys.b\n", "keys = {}\n"] {
        std::fs::write(&path, broken).unwrap();
        let error = new_key(&path, "c", &Rules::default()).unwrap_err();
        assert!(matches!(error, Error::InvalidInput(_)), "{error:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), broken);
    }
    let nowhere = dir.path().join("no/keys.toml");
    assert!(matches!(new_key(&nowhere, "a", &Rules::default()), Err(Error::InvalidInput(_))));
}
