//! Where a track of a Matroska or WebM file begins and ends: `CodecDelay` and `DiscardPadding`, which symphonia
//! rounds to milliseconds and drops. Elements are those of RFC 9559.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Seek};

use super::trim::{Bounds, Span};

/// Elements that are looked at before it is given up: a day of packets of 20 ms has half as many.
const MAX_ELEMENTS: usize = 10_000_000;

// Elements that are entered. Their lengths, which a recorder leaves unknown, are not needed for that.
const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const CLUSTER: u32 = 0x1F43_B675;
const BLOCK_GROUP: u32 = 0xA0;
// Elements that are read.
const TRACK_NUMBER: u32 = 0xD7;
const CODEC_DELAY: u32 = 0x56AA;
const BLOCK: u32 = 0xA1;
const SIMPLE_BLOCK: u32 = 0xA3;
const DISCARD_PADDING: u32 = 0x75A2;

/// The bounds of the track with that number; none where the file does not say.
pub(super) fn bounds(source: impl Read + Seek, track: u32) -> Bounds {
    let mut reader =
        Reader { source: BufReader::new(source), entry: Entry::default(), entries: HashMap::new() };
    let whole = reader.read(u64::from(track)).is_some();
    let entry = reader.entries.remove(&u64::from(track)).unwrap_or_default();
    let nanoseconds = |units: u64| (units > 0).then_some(Span { units, per_second: 1_000_000_000 });
    Bounds {
        delay: nanoseconds(entry.delay),
        length: None,
        // In a file that breaks off, the last block that can be read is not the last.
        padding: if whole { nanoseconds(entry.padding) } else { None },
    }
}

/// Nanoseconds that come before and behind a track's recording.
#[derive(Default, Clone, Copy)]
struct Entry {
    number: u64,
    delay: u64,
    padding: u64,
}

struct Reader<R> {
    source: BufReader<R>,
    /// That of the tracks which is being described.
    entry: Entry,
    entries: HashMap<u64, Entry>,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads to the end of the file. `None` where it breaks off, or is no such file.
    fn read(&mut self, track: u64) -> Option<()> {
        let mut ours = false;
        for _ in 0..MAX_ELEMENTS {
            if self.source.fill_buf().ok()?.is_empty() {
                return Some(());
            }
            let (id, len) = (self.id()?, self.vint()?);
            match id {
                SEGMENT | TRACKS | CLUSTER | BLOCK_GROUP => continue,
                TRACK_ENTRY => {
                    self.entry = Entry::default();
                    continue;
                }
                _ => {}
            }
            let len = len?;
            match id {
                TRACK_NUMBER => self.entry.number = self.number(len)?,
                CODEC_DELAY => self.entry.delay = self.number(len)?,
                BLOCK | SIMPLE_BLOCK => {
                    let before = self.source.stream_position().ok()?;
                    ours = self.vint()?? == track;
                    let read = self.source.stream_position().ok()? - before;
                    self.skip(len.checked_sub(read)?)?;
                    if ours && let Some(entry) = self.entries.get_mut(&track) {
                        entry.padding = 0;
                    }
                }
                DISCARD_PADDING => {
                    let padding = self.number(len)?;
                    // Signed: a negative one is at the beginning of the block.
                    let positive = padding >> (8 * len.clamp(1, 8) - 1) == 0;
                    if ours
                        && positive
                        && let Some(entry) = self.entries.get_mut(&track)
                    {
                        entry.padding = padding;
                    }
                }
                _ => self.skip(len)?,
            }
            if matches!(id, TRACK_NUMBER | CODEC_DELAY) && self.entries.len() < 1_000 {
                self.entries.insert(self.entry.number, self.entry);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.source.read_exact(&mut byte).ok()?;
        let [byte] = byte;
        Some(byte)
    }

    /// An element's identifier, its length marker included.
    fn id(&mut self) -> Option<u32> {
        let first = self.byte()?;
        let more = first.leading_zeros();
        if more > 3 {
            return None;
        }
        let mut id = u32::from(first);
        for _ in 0..more {
            id = id << 8 | u32::from(self.byte()?);
        }
        Some(id)
    }

    /// A number that tells its own length. `Some(None)` for "unknown".
    fn vint(&mut self) -> Option<Option<u64>> {
        let first = self.byte()?;
        let more = first.leading_zeros();
        if more > 7 {
            return None;
        }
        let mut value = u64::from(first) & (0x7f >> more);
        for _ in 0..more {
            value = value << 8 | u64::from(self.byte()?);
        }
        let unknown = (1 << (7 * (more + 1))) - 1;
        Some((value != unknown).then_some(value))
    }

    fn number(&mut self, len: u64) -> Option<u64> {
        let mut value = 0;
        for _ in 0..Some(len).filter(|&len| len <= 8)? {
            value = value << 8 | u64::from(self.byte()?);
        }
        Some(value)
    }

    fn skip(&mut self, len: u64) -> Option<()> {
        self.source.seek_relative(i64::try_from(len).ok()?).ok()
    }
}
