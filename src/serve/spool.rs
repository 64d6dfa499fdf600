//! Bytes that wait for their turn: in memory while they are few, then in a file that nobody else sees.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use tempfile::NamedTempFile;

use crate::audio::{Limits, Recording};
use crate::error::{Error, Result};

/// Up to here they stay in memory.
const SMALL: u64 = 1 << 20;

/// A growing run of bytes. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    memory: Vec<u8>,
    file: Option<NamedTempFile>,
    len: u64,
}

/// A stretch of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) len: u64,
}

impl Spool {
    /// An empty one; `dir` is for its file, should it need one.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, memory: Vec::new(), file: None, len: 0 }
    }

    /// One that holds these bytes, which are in memory already.
    pub(super) fn in_memory(dir: PathBuf, bytes: Vec<u8>) -> Self {
        Self { dir, len: bytes.len() as u64, memory: bytes, file: None }
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

    /// The pieces one after the other.
    pub(super) fn arranged(mut self, pieces: &[Piece]) -> io::Result<Self> {
        let mut end = 0;
        let in_order = pieces.iter().all(|piece| {
            let follows = piece.start == end;
            end = piece.start + piece.len;
            follows
        });
        if in_order && end == self.len {
            return Ok(self);
        }
        let mut arranged = Self::new(self.dir.clone());
        let mut block = Vec::new();
        for piece in pieces {
            block.clear();
            self.read(*piece, &mut block)?;
            arranged.append(&block)?;
        }
        Ok(arranged)
    }

    fn read(&mut self, piece: Piece, out: &mut Vec<u8>) -> io::Result<()> {
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

    /// The audio that these bytes are.
    pub(super) fn recording(self, limits: &Limits) -> Result<Recording> {
        match self.file {
            Some(mut file) => {
                file.flush().map_err(|error| Error::internal_from("writing an upload to disk", error))?;
                Recording::open(file.path(), limits)
            }
            None => Recording::from_bytes(&self.memory, limits),
        }
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
