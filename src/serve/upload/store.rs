//! The folder in which uploads outlive the process: a file of bytes and a journal for each.
//!
//! What was written lies with the system when the process is killed, so nothing waits for the disk itself. After a crash
//! of the machine it may not be there, though the journal says so; uploads of another boot are therefore given up. Where
//! the boot can't be told, each piece waits for the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs4::{FileExt, TryLockError};
use tempfile::{NamedTempFile, TempPath};

use super::super::spool::{Piece, Spool};
use super::journal::{self, Head, Told};

/// Locked as long as a server uses the folder.
const LOCK: &str = "lock";
/// The endings of the files of an upload. Their names are drawn: no name of a client's gets to the disk's folders.
const DATA: &str = ".data";
const JOURNAL: &str = ".json";
/// Linux says here which boot it is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The folder, for one process at a time.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    boot: Option<String>,
    _lock: File,
}

/// The journal of an upload. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Record {
    file: NamedTempFile,
    len: u64,
    head: Head,
    /// Whether each piece waits for the disk.
    sync: bool,
}

/// An upload that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) told: Told,
    pub(super) spool: Spool,
    pub(super) record: Record,
    /// Since the start, and since the last piece.
    pub(super) age: Duration,
    pub(super) idle: Duration,
}

impl Store {
    /// Makes the folder where it is missing, and locks it. The failure is for people.
    pub(super) fn open(dir: &Path) -> Result<Self, String> {
        let cannot = |error: io::Error| error.to_string();
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(cannot(error)),
            _ => {}
        }
        check_owner(dir)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK));
        let lock = lock.map_err(cannot)?;
        match FileExt::try_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err("another server uses it".to_owned()),
            Err(TryLockError::Error(error)) => return Err(format!("it can't be locked: {error}")),
        }
        let boot = fs::read_to_string(BOOT_ID).ok().map(|id| id.trim().to_owned());
        Ok(Self { dir: dir.to_owned(), boot, _lock: lock })
    }

    /// The files of a new upload; what `head` says of them is filled in. `None` when it says too much.
    pub(super) fn create(&self, head: Head) -> io::Result<Option<(Spool, Record)>> {
        let data = self.file(DATA)?;
        let name = data.path().file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let head = Head { data: name, boot: self.boot.clone(), ..head };
        let Some(first) = journal::head(&head) else { return Ok(None) };
        let mut record = Record { file: self.file(JOURNAL)?, len: 0, head, sync: self.boot.is_none() };
        record.write(&first)?;
        Ok(Some((Spool::in_file(self.dir.clone(), data, 0), record)))
    }

    fn file(&self, ending: &str) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix("u-").rand_bytes(16).suffix(ending).tempfile_in(&self.dir)
    }

    /// The same upload with its pieces one after the other. The old files stay until the new ones are whole.
    pub(super) fn arranged(
        &self,
        mut spool: Spool,
        record: Record,
        pieces: &[Piece],
    ) -> io::Result<(Spool, Record)> {
        if spool.is_arranged(pieces) {
            return Ok((spool, record));
        }
        let too_long = || io::Error::other("the journal's first line does not fit");
        let (mut sorted, mut journal) = self.create(record.head.clone())?.ok_or_else(too_long)?;
        spool.copy(pieces, &mut sorted)?;
        let mut start = 0;
        let mut lines = Vec::new();
        for (index, Piece { len, .. }) in pieces.iter().enumerate() {
            lines.extend(journal::line(index as u64, Piece { start, len: *len }));
            start += len;
        }
        journal.sync_bytes(&mut sorted)?;
        journal.write(&lines)?;
        Ok((sorted, journal))
    }

    /// The uploads that a process before this one left, the latest first. All other files are removed.
    pub(super) fn load(&self) -> Vec<Found> {
        let mut found = Vec::new();
        let mut names = self.names();
        names.retain(|name| {
            let is_journal = name.ends_with(JOURNAL);
            if is_journal {
                match self.read(name) {
                    Ok(upload) => found.push(upload),
                    Err(why) => tracing::warn!(file = name, "an upload can't be gone on with: {why}"),
                }
            }
            name != LOCK
        });
        // Of two of the same name, the one that was replaced, or was about to be, comes last.
        found.sort_by_key(|upload: &Found| std::cmp::Reverse((upload.told.head.begun, upload.told.received)));
        for name in names {
            let path = self.dir.join(&name);
            let is_used = |upload: &Found| {
                upload.told.head.data == name || upload.record.file.path().file_name() == path.file_name()
            };
            if found.iter().any(is_used) {
                continue;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("{} can't be removed: {error}", path.display());
                }
                _ => {}
            }
        }
        found
    }

    fn names(&self) -> Vec<String> {
        match fs::read_dir(&self.dir) {
            Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect(),
            Err(error) => {
                tracing::warn!("{} can't be read: {error}", self.dir.display());
                Vec::new()
            }
        }
    }

    fn read(&self, name: &str) -> Result<Found, String> {
        let cannot = |error: io::Error| error.to_string();
        let mut journal = self.open_file(name, JOURNAL).map_err(cannot)?;
        let metadata = journal.as_file().metadata().map_err(cannot)?;
        let modified = metadata.modified().map_err(cannot)?;
        let mut text = Vec::new();
        let mut whole = journal.as_file_mut().take(journal::MAX_JOURNAL_BYTES + 1);
        whole.read_to_end(&mut text).map_err(cannot)?;
        if text.len() as u64 > journal::MAX_JOURNAL_BYTES {
            return Err("its journal is too long".to_owned());
        }
        // Once to learn which file it is, once more with that file's length.
        let head = journal::read(&text, 0)?.head;
        if head.boot != self.boot {
            return Err(
                "it is of another boot of this machine, and what was on its way to the disk is lost".into()
            );
        }
        let data = self.open_file(&head.data, DATA).map_err(cannot)?;
        let len = data.as_file().metadata().map_err(cannot)?.len();
        let told = journal::read(&text, len)?;
        journal.as_file().set_len(told.len).map_err(cannot)?;
        let now = SystemTime::now();
        let begun = UNIX_EPOCH.checked_add(Duration::from_millis(told.head.begun)).unwrap_or(UNIX_EPOCH);
        Ok(Found {
            spool: Spool::in_file(self.dir.clone(), data, told.end),
            record: Record { file: journal, len: told.len, head, sync: self.boot.is_none() },
            age: now.duration_since(begun).unwrap_or_default(),
            idle: now.duration_since(modified).unwrap_or_default(),
            told,
        })
    }

    /// Opens a file of this folder for reading and writing, removed when dropped.
    fn open_file(&self, name: &str, ending: &str) -> io::Result<NamedTempFile> {
        let is_ours = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
        if !name.bytes().all(is_ours) || !name.ends_with(ending) {
            return Err(io::Error::other("that is no file of ours"));
        }
        let path = self.dir.join(name);
        if !fs::symlink_metadata(&path)?.is_file() {
            return Err(io::Error::other("that is no regular file"));
        }
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(NamedTempFile::from_parts(file, TempPath::try_from_path(path)?))
    }
}

impl Record {
    /// Notes a piece, which must be in the spool by now.
    pub(super) fn add(&mut self, spool: &mut Spool, index: u64, piece: Piece) -> io::Result<()> {
        self.sync_bytes(spool)?;
        self.write(&journal::line(index, piece))
    }

    fn sync_bytes(&self, spool: &mut Spool) -> io::Result<()> {
        match spool.file_mut() {
            Some(file) if self.sync => file.as_file().sync_data(),
            _ => Ok(()),
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        // After a write that failed, what it left is written over.
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(line)?;
        if self.sync {
            self.file.as_file().sync_data()?;
        }
        self.len += line.len() as u64;
        Ok(())
    }

    /// Its file, removed when that is dropped.
    pub(super) fn into_path(self) -> TempPath {
        self.file.into_temp_path()
    }

    /// Leaves the files for the process after this one.
    pub(super) fn leave(&mut self, spool: &mut Spool) {
        if let Some(file) = spool.file_mut() {
            file.disable_cleanup(true);
        }
        self.file.disable_cleanup(true);
    }
}

/// Whether the folder is one of ours that nobody else can write to. In a folder that all may write to, another user may
/// have made it, or have it point elsewhere.
#[cfg(unix)]
fn check_owner(dir: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let cannot = |error: io::Error| error.to_string();
    let found = fs::symlink_metadata(dir).map_err(cannot)?;
    if !found.is_dir() {
        return Err("it is no folder".to_owned());
    }
    if found.mode() & 0o077 != 0 {
        return Err("others may look into it: its mode should be 0700".to_owned());
    }
    // A file that was just made is owned by who makes files here.
    let own = tempfile::NamedTempFile::new_in(dir).and_then(|file| file.as_file().metadata());
    if own.map_err(cannot)?.uid() != found.uid() {
        return Err("it is somebody else's".to_owned());
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_owner(dir: &Path) -> Result<(), String> {
    if dir.is_dir() { Ok(()) } else { Err("it is no folder".to_owned()) }
}
