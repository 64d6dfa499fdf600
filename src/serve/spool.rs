//! Bytes that wait for their turn: in memory while they are few, then in a file that nobody else sees.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::{NamedTempFile, TempPath};

use super::budget::Reservation;
use crate::audio::{Limits, Recording};
use crate::error::Result;

/// Up to here they stay in memory.
const SMALL: u64 = 1 << 20;

/// A growing run of bytes. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    memory: Vec<u8>,
    file: Option<NamedTempFile>,
    kept: Option<Arc<Kept>>,
    len: u64,
}

/// A stretch of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) len: u64,
}

/// The files of an upload that is whole, and its share of the disk: gone when nobody holds them any more, so that
/// the upload can be gone on with until it is answered.
#[derive(Debug)]
pub(super) struct Kept {
    data: TempPath,
    _journal: TempPath,
    _share: Reservation,
}

impl Spool {
    /// An empty one; `dir` is for its file, should it need one.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, memory: Vec::new(), file: None, kept: None, len: 0 }
    }

    /// One that holds these bytes, which are in memory already.
    pub(super) fn in_memory(dir: PathBuf, bytes: Vec<u8>) -> Self {
        Self { len: bytes.len() as u64, memory: bytes, ..Self::new(dir) }
    }

    /// One whose bytes are the first `len` of this file.
    pub(super) fn in_file(dir: PathBuf, file: NamedTempFile, len: u64) -> Self {
        Self { file: Some(file), len, ..Self::new(dir) }
    }

    /// Adds bytes at the end and says where they lie.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<Piece> {
        let piece = Piece { start: self.len, len: bytes.len() as u64 };
        let end = piece.start + piece.len;
        if self.file.is_none() && end > SMALL {
            let mut file = tempfile::Builder::new().prefix("imesli-").tempfile_in(&self.dir)?;
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => {
                // After a write that failed, what it left is written over.
                file.seek(SeekFrom::Start(piece.start))?;
                file.write_all(bytes)?;
            }
            None => self.memory.extend_from_slice(bytes),
        }
        self.len = end;
        Ok(piece)
    }

    /// Takes the last piece back: the next one is written over it.
    pub(super) fn take_back(&mut self, piece: Piece) {
        self.len = piece.start;
        self.memory.truncate(piece.start as usize);
    }

    /// Whether the pieces lie one after the other, and are all that there is.
    pub(super) fn is_arranged(&self, pieces: &[Piece]) -> bool {
        let mut end = 0;
        let in_order = pieces.iter().all(|piece| {
            let follows = piece.start == end;
            end = piece.start + piece.len;
            follows
        });
        in_order && end == self.len
    }

    /// Appends the pieces, one after the other, to another spool.
    pub(super) fn copy(&mut self, pieces: &[Piece], to: &mut Self) -> io::Result<()> {
        let mut block = Vec::new();
        for piece in pieces {
            block.clear();
            self.read(*piece, &mut block)?;
            to.append(&block)?;
        }
        Ok(())
    }

    /// The pieces one after the other.
    pub(super) fn arranged(mut self, pieces: &[Piece]) -> io::Result<Self> {
        if self.is_arranged(pieces) {
            return Ok(self);
        }
        let mut arranged = Self::new(self.dir.clone());
        self.copy(pieces, &mut arranged)?;
        Ok(arranged)
    }

    /// Appends the bytes of a piece to `out`.
    pub(super) fn read(&mut self, piece: Piece, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.file {
            Some(file) => {
                file.seek(SeekFrom::Start(piece.start))?;
                file.take(piece.len).read_to_end(out)?;
            }
            None => {
                let range = piece.start as usize..(piece.start + piece.len) as usize;
                out.extend_from_slice(self.memory.get(range).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Its file.
    pub(super) fn file_mut(&mut self) -> Option<&mut NamedTempFile> {
        self.file.as_mut()
    }

    /// The same, which lies on disk with its journal as long as [`Spool::kept`] is held.
    pub(super) fn with_journal(mut self, journal: TempPath, share: Reservation) -> Self {
        if let Some(file) = self.file.take() {
            let data = file.into_temp_path();
            self.kept = Some(Arc::new(Kept { data, _journal: journal, _share: share }));
        }
        self
    }

    /// What keeps its files.
    pub(super) fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.clone()
    }

    /// The audio that these bytes are.
    pub(super) fn recording(self, limits: &Limits) -> Result<Recording> {
        let path: &Path = match (&self.kept, &self.file) {
            (Some(kept), _) => &kept.data,
            (None, Some(file)) => file.path(),
            (None, None) => return Recording::from_bytes(&self.memory, limits),
        };
        Recording::open(path, limits)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn bytes(mut spool: Spool) -> Vec<u8> {
        let mut out = Vec::new();
        spool.read(Piece { start: 0, len: spool.len }, &mut out).unwrap();
        out
    }

    #[test]
    fn pieces_are_put_in_order_small_and_large() {
        for size in [10, SMALL as usize] {
            let dir = tempfile::tempdir().unwrap();
            let mut spool = Spool::new(dir.path().to_owned());
            let second = spool.append(&vec![2; size]).unwrap();
            let first = spool.append(&vec![1; size + 1]).unwrap();
            let spool = spool.arranged(&[first, second]).unwrap();
            let files = std::fs::read_dir(dir.path()).unwrap().count();
            assert_eq!(files, usize::from(size > 10), "the first file is gone");
            assert_eq!(bytes(spool), [vec![1; size + 1], vec![2; size]].concat());
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
