//! The cache on disk, as Python's `huggingface_hub` lays it out:
//!
//! ```text
//! models--OWNER--NAME/refs/REVISION          holds a commit
//! models--OWNER--NAME/blobs/CHECKSUM         holds a file
//! models--OWNER--NAME/snapshots/COMMIT/NAME  points to its blob
//! .locks/models--OWNER--NAME/CHECKSUM.lock   is locked while the blob is fetched
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use fs4::FileExt;

use super::super::error::{Error, Result};
use super::super::read::shard_names;
use super::super::tokenizer;
use super::reference::{Reference, is_commit};
use super::selection::{Weights, select};

/// A repository's folder in the cache.
#[derive(Debug)]
pub(super) struct Repository {
    folder: PathBuf,
    locks: PathBuf,
}

impl Repository {
    pub(super) fn new(cache: &Path, reference: &Reference) -> Self {
        let name = reference.folder();
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    pub(super) fn blob(&self, name: &str) -> PathBuf {
        self.folder.join("blobs").join(name)
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// The commit that a revision stood for when it was last asked for.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.reference(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes the commit of a revision. The cache may be another's, and only to be read.
    pub(super) fn remember(&self, revision: &str, commit: &str) {
        if self.commit_of(revision).as_deref() == Some(commit) {
            return;
        }
        let path = self.reference(revision);
        let write = || {
            let dir = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(dir)?;
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            file.write_all(commit.as_bytes())?;
            // What is noted is no secret, and others may share the cache.
            #[cfg(unix)]
            file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            file.persist(&path).map_err(|error| error.error).map(|_| ())
        };
        if let Err(error) = write() {
            tracing::warn!("{}: can't be written: {error}", path.display());
        }
    }

    /// The snapshot of a commit, where all that a conversion needs is in it.
    pub(super) fn complete(&self, commit: &str) -> Option<PathBuf> {
        let dir = self.snapshot(commit);
        let entries = dir.read_dir().ok()?.flatten();
        let names = entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name());
        let names: BTreeSet<String> = names.filter_map(|name| name.into_string().ok()).collect();
        let selection = select(&names).ok()?;
        if selection.weights.are_of_transformers() && !names.contains("config.json") {
            return None;
        }
        if let Weights::Index(index) = &selection.weights
            && !shard_names(&dir.join(index)).ok()?.is_subset(&names)
        {
            return None;
        }
        if !tokenizer::is_in(&dir) {
            tracing::warn!(
                "{}: no tokenizer in the cache; if the repository has one, it is not used",
                dir.display()
            );
        }
        Some(dir)
    }

    /// Holds off other programs that fetch the same blob, until it is dropped.
    pub(super) fn lock(&self, name: &str) -> Result<File> {
        let blobs = self.folder.join("blobs");
        for dir in [&blobs, &self.locks] {
            fs::create_dir_all(dir).map_err(Error::write(dir))?;
        }
        let path = self.locks.join(format!("{name}.lock"));
        let file = File::options().create(true).append(true).open(&path).map_err(Error::write(&path))?;
        // Some network file systems have no locks. Each file is checked before it gets its name.
        if let Err(error) = FileExt::lock(&file) {
            tracing::debug!("{}: can't be locked: {error}", path.display());
        }
        Ok(file)
    }

    /// Lets a name in a snapshot stand for a blob.
    pub(super) fn link(&self, blob: &Path, path: &Path) -> Result<()> {
        let dir = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(dir).map_err(Error::write(dir))?;
        // One that points nowhere, as a cleaned cache leaves it.
        if path.symlink_metadata().is_ok() {
            fs::remove_file(path).map_err(Error::write(path))?;
        }
        let linked = link(blob, path);
        // Another program was quicker.
        if linked.is_err() && path.is_file() { Ok(()) } else { linked.map_err(Error::write(path)) }
    }
}

/// A link that stays right when the cache is moved.
#[cfg(unix)]
fn link(blob: &Path, path: &Path) -> std::io::Result<()> {
    let name = blob.file_name().unwrap_or_default();
    std::os::unix::fs::symlink(Path::new("../../blobs").join(name), path)
}

/// Links ask for rights that not every user has.
#[cfg(not(unix))]
fn link(blob: &Path, path: &Path) -> std::io::Result<()> {
    fs::hard_link(blob, path).or_else(|_| fs::copy(blob, path).map(|_| ()))
}
