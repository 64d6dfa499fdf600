//! The key file: TOML, a table for each key, with the hash of the key and never the key itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::key::Rules;
use crate::error::Error;

/// Bytes that a key file may have: thousands of keys.
const MAX_BYTES: u64 = 1 << 20;
/// Letters of a name.
const MAX_NAME: usize = 64;
/// What a hash begins with.
pub(super) const HASH_PREFIX: &str = "sha256:";

/// A key, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// SHA-256 of the key.
    pub(super) hash: [u8; 32],
    pub(super) rules: Rules,
}

/// Why a text is no key file, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    line: Option<usize>,
    what: String,
}

impl Wrong {
    fn at(text: &str, offset: Option<usize>, what: &str) -> Self {
        let before = |offset: usize| text.as_bytes().get(..offset).unwrap_or_default();
        let line = offset.map(|offset| 1 + before(offset).iter().filter(|byte| **byte == b'\n').count());
        Self { line, what: what.lines().collect::<Vec<_>>().join("; ") }
    }

    /// The error about a file, in one line.
    pub(super) fn of(self, path: &Path) -> Error {
        let (path, what) = (path.display(), self.what);
        Error::InvalidInput(match self.line {
            Some(line) => format!("{path}, line {line}: {what}"),
            None => format!("{path}: {what}"),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    keys: BTreeMap<Name, Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    hash: Spanned<Hash>,
    requests_per_minute: Option<NonZeroU32>,
    concurrent: Option<NonZeroU32>,
    audio_minutes_per_day: Option<NonZeroU32>,
    #[serde(default)]
    admin: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        check_name(&name)?;
        Ok(Self(name))
    }
}

/// Whether a key may be called so.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if is_name {
        return Ok(());
    }
    Err(format!("the name of a key has 1 to {MAX_NAME} of A-Z, a-z, 0-9, `.`, `_` and `-`"))
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Hash([u8; 32]);

impl TryFrom<String> for Hash {
    type Error = String;

    /// What is there is not repeated: it may be a key that somebody took for its hash.
    fn try_from(text: String) -> Result<Self, String> {
        let hash = text.strip_prefix(HASH_PREFIX).and_then(from_hex);
        hash.map(Self).ok_or_else(|| format!("hash: expected {HASH_PREFIX} and 64 hexadecimal digits"))
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// The text of a key file.
///
/// # Errors
/// [`Error::InvalidInput`], for a file that can't be read, is too large or no text.
pub(super) fn text(path: &Path) -> Result<String, Error> {
    let wrong = |what: String| Error::InvalidInput(format!("{}: {what}", path.display()));
    let cannot = |error| wrong(format!("the key file can't be read: {error}"));
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    check_size(bytes.len()).map_err(wrong)?;
    String::from_utf8(bytes).map_err(|_| wrong("is no text in UTF-8".to_owned()))
}

pub(super) fn check_size(bytes: usize) -> Result<(), String> {
    if bytes as u64 > MAX_BYTES {
        return Err(format!("a key file has {MAX_BYTES} bytes at most"));
    }
    Ok(())
}

/// The keys of a file, in its order.
///
/// # Errors
/// [`Error::InvalidInput`], in one line: the file, its line, what is wrong with it.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, Error> {
    parse(&text(path)?).map_err(|wrong| wrong.of(path))
}

/// The same of its text.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Wrong> {
    let document: Document = toml::from_str(text)
        .map_err(|error| Wrong::at(text, error.span().map(|span| span.start), error.message()))?;
    let mut rows: Vec<(Name, Row)> = document.keys.into_iter().collect();
    rows.sort_by_key(|(_, row)| row.hash.span().start);
    let mut seen: BTreeMap<[u8; 32], String> = BTreeMap::new();
    let mut entries = Vec::new();
    for (Name(name), row) in rows {
        let start = row.hash.span().start;
        let Hash(hash) = row.hash.into_inner();
        if let Some(other) = seen.insert(hash, name.clone()) {
            let what = format!("the keys {other} and {name} have the same hash");
            return Err(Wrong::at(text, Some(start), &what));
        }
        let rules = Rules {
            requests_per_minute: row.requests_per_minute,
            concurrent: row.concurrent,
            audio_minutes_per_day: row.audio_minutes_per_day,
            admin: row.admin,
        };
        entries.push(Entry { name, hash, rules });
    }
    Ok(entries)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
