//! What is written down of an upload, so that it outlives the process: one line of JSON for the upload itself, then
//! one for each piece of it. A line that was torn off when the process died counts as not written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::protocol::{Id, Options};
use super::super::spool::Piece;
use super::MAX_CHUNKS;

/// The longest first line: an id, and options with their prompt.
const MAX_HEAD_BYTES: usize = 256 << 10;
/// More than the longest line of a piece.
const MAX_LINE_BYTES: usize = 128;
/// The longest journal.
pub(super) const MAX_JOURNAL_BYTES: u64 = (MAX_HEAD_BYTES + MAX_CHUNKS as usize * MAX_LINE_BYTES) as u64;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) id: Id,
    /// The name of the key of whose upload it is.
    pub(super) owner: Option<String>,
    pub(super) file_size: u64,
    pub(super) total_chunks: u64,
    pub(super) options: Options,
    /// Milliseconds of Unix time.
    pub(super) begun: u64,
    /// The name of the file with the bytes.
    pub(super) data: String,
    /// Which boot of the machine this was, where that can be told: see [`super::store`].
    pub(super) boot: Option<String>,
}

/// One of the others.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    index: u64,
    start: u64,
    len: u64,
}

/// What a journal says.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    pub(super) head: Head,
    pub(super) pieces: BTreeMap<u64, Piece>,
    /// Bytes of all pieces.
    pub(super) received: u64,
    /// Where the next piece begins in the file of bytes.
    pub(super) end: u64,
    /// Bytes of the journal that count; a torn line lies behind them.
    pub(super) len: u64,
}

/// The first line of a journal, `None` when it would be too long.
pub(super) fn head(head: &Head) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(head).ok()?;
    line.push(b'\n');
    (line.len() <= MAX_HEAD_BYTES).then_some(line)
}

/// The line of a piece.
pub(super) fn line(index: u64, piece: Piece) -> Vec<u8> {
    let Piece { start, len } = piece;
    format!("{{\"index\":{index},\"start\":{start},\"len\":{len}}}\n").into_bytes()
}

/// Reads a journal; `bytes` is how long the file of bytes is. Up to the first line that can't be right, that is: behind
/// it nothing is certain. A piece that reaches past the file's end is one of these.
pub(super) fn read(journal: &[u8], bytes: u64) -> Result<Told, &'static str> {
    let mut lines = journal.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let first = lines.next().ok_or("it has no first line")?;
    let head: Head = serde_json::from_slice(first).map_err(|_| "its first line is damaged")?;
    if head.file_size == 0 || !(1..=MAX_CHUNKS).contains(&head.total_chunks) {
        return Err("its sizes can't be");
    }
    let mut told = Told { head, pieces: BTreeMap::new(), received: 0, end: 0, len: first.len() as u64 };
    for line in lines {
        let Some((index, piece)) = told.next(line, bytes) else { break };
        told.pieces.insert(index, piece);
        told.received += piece.len;
        told.end = piece.start + piece.len;
        told.len += line.len() as u64;
    }
    Ok(told)
}

impl Told {
    /// The piece of a line, if it can follow.
    fn next(&self, line: &[u8], bytes: u64) -> Option<(u64, Piece)> {
        let Line { index, start, len } = serde_json::from_slice(line).ok()?;
        let fits = start >= self.end
            && start.checked_add(len).is_some_and(|end| end <= bytes)
            && self.received.checked_add(len).is_some_and(|received| received <= self.head.file_size);
        let is_new = index < self.head.total_chunks && !self.pieces.contains_key(&index);
        (fits && is_new).then_some((index, Piece { start, len }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may fail by panicking.
    use super::*;

    fn written() -> (Head, Vec<u8>) {
        let written = Head {
            owner: Some("fatma".to_owned()),
            id: Id::Text("a \"strange\" name/../\n".into()),
            file_size: 10,
            total_chunks: 3,
            options: Options { prompt: Some("Azul".into()), ..Options::default() },
            begun: 7,
            data: "u-x.data".into(),
            boot: None,
        };
        let mut journal = head(&written).unwrap();
        journal.extend(line(2, Piece { start: 0, len: 4 }));
        journal.extend(line(0, Piece { start: 4, len: 5 }));
        (written, journal)
    }

    #[test]
    fn what_was_written_is_read() {
        let (head, journal) = written();
        let told = read(&journal, 9).unwrap();
        assert_eq!(told.head, head);
        assert_eq!(told.pieces[&0], Piece { start: 4, len: 5 });
        assert_eq!(told.pieces[&2], Piece { start: 0, len: 4 });
        assert_eq!((told.received, told.end, told.len), (9, 9, journal.len() as u64));
    }

    /// However much of it was written when the process died: the pieces whose lines are whole are there, no other.
    #[test]
    fn a_torn_journal_is_read_as_far_as_it_is_whole() {
        let (_, journal) = written();
        let ends: Vec<usize> = (0..journal.len()).filter(|at| journal[*at] == b'\n').collect();
        for len in 0..journal.len() {
            let whole = ends.iter().filter(|end| **end < len).count();
            match read(&journal[..len], 9) {
                Ok(told) => {
                    assert_eq!(told.pieces.len() + 1, whole, "{len}");
                    assert_eq!(told.len as usize, ends[whole - 1] + 1);
                }
                Err(_) => assert_eq!(whole, 0, "{len}"),
            }
        }
    }

    #[test]
    fn pieces_that_cannot_be_are_left_out_and_those_behind_them() {
        let (_, journal) = written();
        assert_eq!(read(&journal, 8).unwrap().pieces.len(), 1, "past the end of the bytes");
        assert_eq!(read(&journal, 0).unwrap().pieces.len(), 0);
        for wrong in [
            line(2, Piece { start: 9, len: 1 }),
            line(3, Piece { start: 9, len: 1 }),
            line(1, Piece { start: 8, len: 1 }),
            line(1, Piece { start: 9, len: 2 }),
            line(1, Piece { start: u64::MAX, len: 2 }),
            b"\0\0\0\0\n".to_vec(),
        ] {
            let mut journal = [journal.clone(), wrong].concat();
            journal.extend(line(1, Piece { start: 9, len: 1 }));
            assert_eq!(read(&journal, 100).unwrap().pieces.len(), 2);
        }
        assert!(read(b"", 9).is_err());
        assert!(read(b"{}\n", 9).is_err());
    }

    #[test]
    fn the_longest_line_fits() {
        let (index, start, len) = (MAX_CHUNKS - 1, u64::MAX, u64::MAX);
        assert!(line(index, Piece { start, len }).len() <= MAX_LINE_BYTES);
        let (head, _) = written();
        let options = Options { prompt: Some("x".repeat(MAX_HEAD_BYTES)), ..Options::default() };
        assert_eq!(super::head(&Head { options, ..head }), None);
    }
}
