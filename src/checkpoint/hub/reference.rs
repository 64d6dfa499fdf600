//! `hf:OWNER/NAME[@REVISION]`.

use std::fmt;
use std::path::Path;

use super::error::Failure;

/// What the names of repositories begin with.
const SCHEME: &str = "hf:";
/// The branch that is meant where none is named.
const DEFAULT_REVISION: &str = "main";
const MAX_NAME: usize = 96;
const MAX_REVISION: usize = 256;

/// A repository of a hub, and a branch, tag or commit of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    owner: String,
    name: String,
    revision: String,
}

impl Reference {
    /// The repository that a `--checkpoint` names; none where it is a path.
    ///
    /// # Errors
    /// [`Failure::Reference`] for what begins as one and is none.
    pub fn of(named: &Path) -> Result<Option<Self>, Failure> {
        let Some(rest) = named.to_str().and_then(|text| text.strip_prefix(SCHEME)) else { return Ok(None) };
        match rest.split_once('@') {
            Some((repository, revision)) => Self::new(repository, Some(revision)),
            None => Self::new(rest, None),
        }
        .map(Some)
    }

    /// `OWNER/NAME` and a revision.
    ///
    /// # Errors
    /// [`Failure::Reference`]: both become part of URLs and of paths, so that only what a hub itself allows
    /// is taken.
    pub fn new(repository: &str, revision: Option<&str>) -> Result<Self, Failure> {
        let revision = revision.unwrap_or(DEFAULT_REVISION);
        let wrong = |fact| {
            let suffix = if revision == DEFAULT_REVISION { String::new() } else { format!("@{revision}") };
            Failure::Reference { text: format!("{SCHEME}{repository}{suffix}"), fact }
        };
        let (owner, name) =
            repository.split_once('/').ok_or_else(|| wrong("there is no owner before the name"))?;
        if !is_name(owner) || !is_name(name) {
            return Err(wrong("that is no name of a repository"));
        }
        if !is_revision(revision) {
            return Err(wrong("that is no revision"));
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned(), revision: revision.to_owned() })
    }

    /// `OWNER/NAME`.
    pub(super) fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Its folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }

    pub(super) fn revision(&self) -> &str {
        &self.revision
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.owner, self.name)?;
        if self.revision != DEFAULT_REVISION {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_NAME).contains(&text.len())
        && text.chars().all(plain)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
        && !text.contains("--")
        && !text.contains("..")
}

/// A name that git allows for a branch or tag, as a path of ordinary parts.
fn is_revision(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    (1..=MAX_REVISION).contains(&text.len())
        && text.chars().all(plain)
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.'))
}

/// A whole git commit.
pub(super) fn is_commit(text: &str) -> bool {
    is_lower_hex(text) && text.len() == 40
}

/// As git and the hub write checksums.
pub(super) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn of(text: &str) -> Result<Option<Reference>, Failure> {
        Reference::of(Path::new(text))
    }

    #[test]
    fn names_a_repository_and_a_revision() {
        let found = of("hf:me/whisper-small.kab_2").unwrap().unwrap();
        assert_eq!(
            (found.repository().as_str(), found.revision(), found.folder().as_str()),
            ("me/whisper-small.kab_2", "main", "models--me--whisper-small.kab_2")
        );
        let found = of("hf:me/kab@refs/pr/3").unwrap().unwrap();
        assert_eq!((found.revision(), found.to_string().as_str()), ("refs/pr/3", "hf:me/kab@refs/pr/3"));
    }

    #[test]
    fn a_path_is_none() {
        for path in ["./checkpoint", "/a/hf:b/c", "./hf:b/c", "checkpoint"] {
            assert_eq!(of(path).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_cache_or_the_url() {
        for text in [
            "hf:",
            "hf:kab",
            "hf:/kab",
            "hf:me/",
            "hf:me/kab/x",
            "hf:../kab",
            "hf:me/..",
            "hf:me/a..b",
            "hf:me/a--b",
            "hf:me/k ab",
            "hf:me/kab?x",
            "hf:me/kab#x",
            "hf:me/kab%2e",
            "hf:me/kab@",
            "hf:me/kab@..",
            "hf:me/kab@a/../../b",
            "hf:me/kab@/etc",
            "hf:me/kab@a//b",
            "hf:me/kab@a\\b",
            "hf:me/kab@a b",
            "hf:me/kab@a\nb",
        ] {
            assert!(matches!(of(text), Err(Failure::Reference { .. })), "{text}");
        }
        assert!(of(&format!("hf:me/{}", "a".repeat(97))).is_err());
        assert!(of(&format!("hf:me/a@{}", "a".repeat(257))).is_err());
    }
}
