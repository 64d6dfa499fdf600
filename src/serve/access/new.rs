//! A new key: made of what the system draws, shown once, and kept as its hash.

use std::fmt::Write as _;
use std::fs::Metadata;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::file::{self, HASH_PREFIX};
use super::key::Rules;
use crate::error::Error;

/// What keys begin with, so that one who finds one knows what it is.
const PREFIX: &str = "imesli_";
/// Random bytes of a key.
const BYTES: usize = 32;

/// What a new file begins with.
const HEADER: &str = "# Who may use imesli: a table for each key. Only hashes are kept here, no keys.\n\
                      # A running server notices changes within seconds.\n";

/// Makes a key, appends it to the file under this name, and returns it; it can't be read from the file again. The file is
/// made where there is none, for its owner alone; what is in it stays as it is, comments included.
///
/// # Errors
/// [`Error::InvalidInput`], in one line, for a name that is none or taken, and a file that is no key file or can't be
/// written. The file is as it was then.
pub fn new_key(path: &Path, name: &str, rules: &Rules) -> Result<String, Error> {
    file::check_name(name).map_err(Error::InvalidInput)?;
    let wrong = |what: String| Error::InvalidInput(format!("{}: {what}", path.display()));
    // Through a link the file is replaced, not the link.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let old = match std::fs::metadata(&target) {
        Ok(metadata) => Some((file::text(path)?, metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(wrong(format!("the key file can't be read: {error}"))),
    };
    let (mut text, metadata) = old.map_or_else(|| (HEADER.to_owned(), None), |(t, m)| (t, Some(m)));
    let entries = file::parse(&text).map_err(|wrong| wrong.of(path))?;
    if entries.iter().any(|entry| entry.name == name) {
        return Err(wrong(format!("there is a key called {name} already")));
    }
    let key = draw()?;
    let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    append(&mut text, name, &hash, rules);
    file::check_size(text.len()).map_err(wrong)?;
    let made = file::parse(&text).map_err(|wrong| wrong.of(path))?;
    if !made.iter().any(|entry| (entry.name.as_str(), entry.hash) == (name, hash)) {
        return Err(wrong("a key can't be appended to what is in it".to_owned()));
    }
    let cannot = |error: io::Error| wrong(format!("the key file can't be written: {error}"));
    replace(&target, &text, metadata.as_ref()).map_err(cannot)?;
    Ok(key)
}

fn draw() -> Result<String, Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal(format!("the system gives no random bytes: {error}")))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Adds the table of a key at the end of a file.
fn append(text: &mut String, name: &str, hash: &[u8; 32], rules: &Rules) {
    if !text.is_empty() {
        text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    // Quoted, because a name may have dots.
    let _ = write!(text, "[keys.\"{name}\"]\nhash = \"{HASH_PREFIX}");
    for byte in hash {
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("\"\n");
    for (field, limit) in [
        ("requests_per_minute", rules.requests_per_minute),
        ("concurrent", rules.concurrent),
        ("audio_minutes_per_day", rules.audio_minutes_per_day),
    ] {
        if let Some(limit) = limit {
            let _ = writeln!(text, "{field} = {limit}");
        }
    }
    if rules.admin {
        text.push_str("admin = true\n");
    }
}

/// Puts a file in the place of another one, or where none was. A reader sees the one or the other.
fn replace(target: &Path, text: &str, old: Option<&Metadata>) -> io::Result<()> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
    // Its owner alone may read it.
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    if let Some(old) = old {
        file.as_file().set_permissions(old.permissions())?;
        keep_owner(&file, old);
    }
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    Ok(())
}

/// Where root adds a key, the server's own user can still read the file.
#[cfg(unix)]
fn keep_owner(file: &NamedTempFile, old: &Metadata) {
    use std::os::unix::fs::{MetadataExt, fchown};
    // Others than root may not, and then it is theirs already.
    let _ = fchown(file.as_file(), Some(old.uid()), Some(old.gid()));
}

#[cfg(not(unix))]
fn keep_owner(_: &NamedTempFile, _: &Metadata) {}

#[cfg(test)]
#[path = "new_tests.rs"]
mod tests;
