#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may fail by panicking.

use proptest::prelude::*;

use super::*;

const HASH: &str = "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

#[test]
fn a_file_is_read() {
    let other = HASH.replace("0001", "ff01");
    let text = format!(
        "# Ours.\n[keys.\"b.c\"] # him\nhash = \"{HASH}\"\nadmin = true\n\n[keys.a-1]\nhash = '{other}'\n\
         requests_per_minute = 60\nconcurrent = 2\naudio_minutes_per_day = 90\n"
    );
    let entries = parse(&text).unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["b.c", "a-1"], "in its order");
    let hash: [u8; 32] = std::array::from_fn(|i| i as u8);
    assert_eq!(entries[0].hash, hash);
    assert_eq!(entries[0].rules, Rules { admin: true, ..Rules::default() });
    let [requests_per_minute, concurrent, audio_minutes_per_day] = [60, 2, 90].map(NonZeroU32::new);
    let rules = Rules { requests_per_minute, concurrent, audio_minutes_per_day, admin: false };
    assert_eq!(entries[1].rules, rules);
    assert_eq!(parse("# nobody yet\n"), Ok(Vec::new()));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, line, named) in [
        ("\n[keys.a", 2, ""),
        ("[key.a]\nhash = \"HASH\"", 1, "key"),
        ("\n\n[keys.a]\nadmin = true", 3, "hash"),
        ("[keys.a]\nhash = \"HASH\"\nrequests = 1", 3, "requests"),
        ("[keys.a]\nhash = \"HASH\"\nrequests_per_minute = 0", 3, "0"),
        ("[keys.a]\nhash = \"HASH\"\nconcurrent = -1", 3, "-1"),
        ("[keys.a]\nhash = \"HASH\"\naudio_minutes_per_day = 4294967296", 3, ""),
        ("[keys.a]\nhash = \"HASH\"\nadmin = 1", 3, "bool"),
        ("[keys.a]\nhash = \"HASH\"\n[keys.a]\nhash = \"HASH\"", 3, "duplicate"),
        ("[keys.a]\nhash = \"HASH\"\n[keys.b]\nhash = \"HASH\"", 4, "a and b"),
        ("[keys.\"a b\"]\nhash = \"HASH\"", 1, "name"),
        ("[keys.\"\"]\nhash = \"HASH\"", 1, "name"),
        ("[keys.a]\nhash = \"sha256:00\"", 2, "64"),
        ("[keys.a]\n\nhash = \"md5:00\"", 3, "sha256:"),
        ("[keys.a]\nhash = \"HASH0\"", 2, "64"),
        ("keys = 7", 1, ""),
    ] {
        let wrong = parse(&text.replace("HASH", HASH)).unwrap_err();
        assert_eq!(wrong.line, Some(line), "{text}: {wrong:?}");
        assert!(wrong.what.contains(named) && wrong.what.lines().count() == 1, "{text}: {wrong:?}");
        let error = wrong.of(Path::new("keys.toml")).to_string();
        assert!(error.starts_with(&format!("keys.toml, line {line}: ")), "{error}");
    }
    let name = "n".repeat(MAX_NAME + 1);
    assert!(parse(&format!("[keys.{name}]\nhash = \"{HASH}\"")).is_err());
    assert!(parse(&format!("[keys.{}]\nhash = \"{HASH}\"", &name[1..])).is_ok());
}

#[test]
fn a_key_in_the_place_of_its_hash_is_not_repeated() {
    let wrong = parse("[keys.a]\nhash = \"imesli_secret\"").unwrap_err();
    assert!(!wrong.what.contains("imesli_secret"), "{wrong:?}");
}

#[test]
fn a_file_that_is_none_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: &Path| read(path).unwrap_err().to_string();
    let missing = dir.path().join("missing.toml");
    assert!(error(&missing).contains("missing.toml"));
    assert!(error(dir.path()).contains("can't be read"));
    let huge = dir.path().join("huge.toml");
    std::fs::write(&huge, vec![b'#'; MAX_BYTES as usize]).unwrap();
    assert_eq!(read(&huge).unwrap(), []);
    std::fs::write(&huge, vec![b'#'; MAX_BYTES as usize + 1]).unwrap();
    assert!(error(&huge).contains("bytes"));
    std::fs::write(&huge, b"\xff").unwrap();
    assert!(error(&huge).contains("UTF-8"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_strange(text in "(\\[keys\\.[a\"é.\\]]{1,4}\n|hash = |\"sha256:[0-9é]{0,70}\"|admin|[ =\\[\\]{}#\"'\\\\\n]|.){0,30}") {
        if let Err(wrong) = parse(&text) {
            prop_assert!(wrong.what.lines().count() <= 1);
            prop_assert!(wrong.line.is_none_or(|line| line <= text.lines().count() + 1));
        }
    }
}
