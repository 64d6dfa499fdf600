//! Where a track of an MP4 file begins and ends: its edit list, or the tag that iTunes writes. symphonia reads past
//! both. Boxes are those of ISO 14496-12.

use std::io::{Read, Seek, SeekFrom};

use super::trim::{Bounds, Span};

/// Boxes that are looked at before it is given up: ten hours in fragments of 100 ms have half as many.
const MAX_BOXES: usize = 4_000_000;
/// Samples (packets, mostly) of all tracks that fragments may announce: a week of 20 ms each. symphonia counts
/// through them one by one, and a few bytes can announce four thousand million.
const MAX_SAMPLES: u64 = 30_000_000;
/// More than one file's worth of edits, or of text in the tag.
const MAX_EDITS: u32 = 1_000;
const MAX_TAG: u64 = 1_024;

/// The bounds of the track with that number; none where the file does not say.
pub(super) fn bounds(source: impl Read + Seek, track: u32) -> Bounds {
    let mut reader = Reader { source, boxes: 0 };
    reader.movie(track).unwrap_or_default()
}

/// Whether fragments announce no more than a file can honestly hold.
pub(super) fn is_sane(source: impl Read + Seek) -> bool {
    let mut reader = Reader { source, boxes: 0 };
    reader.fragment_samples().is_some_and(|samples| samples <= MAX_SAMPLES)
}

struct Reader<R> {
    source: R,
    boxes: usize,
}

/// A box's name, and where its contents lie.
struct Atom {
    name: [u8; 4],
    start: u64,
    end: u64,
}

/// The edits of a track that show something of it.
#[derive(Default)]
struct Edits {
    /// Of the first of them: when in the track it begins, and how long it is.
    first: Option<(u64, u64)>,
    /// How many follow.
    more: usize,
}

impl<R: Read + Seek> Reader<R> {
    /// The samples of all fragments together. `None` where there are too many boxes.
    fn fragment_samples(&mut self) -> Option<u64> {
        let len = self.source.seek(SeekFrom::End(0)).ok()?;
        let (mut at, mut samples) = (0, 0_u64);
        while let Some(atom) = self.atom(at, len) {
            at = match &atom.name {
                // What is in them comes next.
                b"moof" | b"traf" => atom.start,
                _ => atom.end,
            };
            if atom.name == *b"trun" && self.version(&atom).is_some() {
                let count = self.bytes().map_or(0, u32::from_be_bytes);
                samples = samples.saturating_add(count.into());
            }
        }
        (self.boxes <= MAX_BOXES).then_some(samples)
    }

    fn movie(&mut self, track: u32) -> Option<Bounds> {
        let len = self.source.seek(SeekFrom::End(0)).ok()?;
        let movie = self.find(&Atom { name: *b"file", start: 0, end: len }, b"moov")?;
        let (mut at, mut movie_scale, mut found) = (movie.start, 0, None);
        let mut tag = None;
        while let Some(atom) = self.atom(at, movie.end) {
            at = atom.end;
            match &atom.name {
                b"mvhd" => movie_scale = self.time_scale(&atom)?,
                b"trak" if self.track_number(&atom) == Some(track) => found = Some(atom),
                b"udta" => tag = self.gapless_tag(&atom),
                _ => {}
            }
        }
        let found = found?;
        let media = self.find(&found, b"mdia")?;
        let header = self.find(&media, b"mdhd")?;
        let media_scale = self.time_scale(&header)?;
        let edits = match self.find(&found, b"edts") {
            Some(edits) => self.find(&edits, b"elst").and_then(|list| self.edits(&list)).unwrap_or_default(),
            None => Edits::default(),
        };
        let Some((begin, length)) = edits.first else {
            return tag.map(|(delay, length)| {
                let span = |units| Some(Span { units, per_second: media_scale });
                Bounds { delay: span(delay), length: span(length), padding: None }
            });
        };
        // No length is "to the end", as in a file that was written while it was recorded. Cuts in the middle are not
        // made: what they hide is transcribed, too.
        let length = (length > 0 && edits.more == 0 && movie_scale > 0)
            .then_some(Span { units: length, per_second: movie_scale });
        Some(Bounds { delay: Some(Span { units: begin, per_second: media_scale }), length, padding: None })
    }

    /// The next box from `at`, all of it before `end`.
    fn atom(&mut self, at: u64, end: u64) -> Option<Atom> {
        self.boxes += 1;
        if self.boxes > MAX_BOXES || at.checked_add(8)? > end {
            return None;
        }
        self.source.seek(SeekFrom::Start(at)).ok()?;
        let [s0, s1, s2, s3, name @ ..] = self.bytes::<8>()?;
        let (start, len) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            0 => (at + 8, end - at),
            1 => (at + 16, u64::from_be_bytes(self.bytes()?)),
            len => (at + 8, u64::from(len)),
        };
        // A file that is cut off ends in the middle of its last box.
        let end = at.checked_add(len)?.min(end);
        (start <= end).then_some(Atom { name, start, end })
    }

    /// The first child of that name.
    fn find(&mut self, parent: &Atom, name: &[u8; 4]) -> Option<Atom> {
        let mut at = parent.start;
        loop {
            let atom = self.atom(at, parent.end)?;
            if atom.name == *name {
                return Some(atom);
            }
            at = atom.end;
        }
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The version of a box that begins with it, and three bytes of flags.
    fn version(&mut self, atom: &Atom) -> Option<u8> {
        self.source.seek(SeekFrom::Start(atom.start)).ok()?;
        let [version, ..] = self.bytes::<4>()?;
        Some(version)
    }

    /// The field behind the times of creation and change: 32 bits each, or 64 in version 1.
    fn behind_times(&mut self, atom: &Atom) -> Option<u32> {
        let times = if self.version(atom)? == 1 { 16 } else { 8 };
        self.source.seek(SeekFrom::Current(times)).ok()?;
        Some(u32::from_be_bytes(self.bytes()?))
    }

    fn time_scale(&mut self, header: &Atom) -> Option<u64> {
        self.behind_times(header).map(u64::from).filter(|&scale| scale > 0)
    }

    fn track_number(&mut self, track: &Atom) -> Option<u32> {
        let header = self.find(track, b"tkhd")?;
        self.behind_times(&header)
    }

    fn edits(&mut self, list: &Atom) -> Option<Edits> {
        let version = self.version(list)?;
        let count = u32::from_be_bytes(self.bytes()?).min(MAX_EDITS);
        let mut edits = Edits::default();
        for _ in 0..count {
            let (length, begin) = if version == 1 {
                (u64::from_be_bytes(self.bytes()?), i64::from_be_bytes(self.bytes()?))
            } else {
                (u32::from_be_bytes(self.bytes()?).into(), i32::from_be_bytes(self.bytes()?).into())
            };
            // The speed, which is 1 everywhere.
            self.bytes::<4>()?;
            // A negative one is a pause.
            let Ok(begin) = u64::try_from(begin) else { continue };
            match edits.first {
                None => edits.first = Some((begin, length)),
                Some(_) => edits.more += 1,
            }
        }
        Some(edits)
    }

    /// Delay and length in samples of `iTunSMPB`: " 00000000 00000840 000001CA 00000000003F31F6 …".
    fn gapless_tag(&mut self, user: &Atom) -> Option<(u64, u64)> {
        let mut meta = self.find(user, b"meta")?;
        meta.start += 4;
        let list = self.find(&meta, b"ilst")?;
        let mut at = list.start;
        loop {
            let item = self.atom(at, list.end)?;
            at = item.end;
            if item.name != *b"----" || self.text(&item, b"name", 4)?.trim_end() != "iTunSMPB" {
                continue;
            }
            let text = self.text(&item, b"data", 8)?;
            let mut fields = text.split_whitespace().skip(1).map(|field| u64::from_str_radix(field, 16).ok());
            let (delay, _, length) = (fields.next()??, fields.next()??, fields.next()??);
            return (length > 0).then_some((delay, length));
        }
    }

    /// The text of a child behind `skip` bytes.
    fn text(&mut self, parent: &Atom, name: &[u8; 4], skip: u64) -> Option<String> {
        let child = self.find(parent, name)?;
        let start = child.start + skip;
        self.source.seek(SeekFrom::Start(start)).ok()?;
        let mut text = String::new();
        let len = child.end.saturating_sub(start).min(MAX_TAG);
        self.source.by_ref().take(len).read_to_string(&mut text).ok()?;
        Some(text)
    }
}
