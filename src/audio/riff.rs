//! The head of a WAV file, read forgivingly. Recorders that stream leave lengths at zero or at their maximum,
//! and writers disagree on the format chunk; what follows is understood here once, and the decoders are handed
//! a plain head that we wrote.

use std::io::{self, Read, Seek, SeekFrom};

/// Integer samples; 8 bits are unsigned.
pub(super) const PCM: u16 = 1;
/// 32 or 64 bit floats.
pub(super) const FLOAT: u16 = 3;
/// Telephones' logarithmic 8 bits, of Europe and of North America.
const A_LAW: u16 = 6;
pub(super) const MU_LAW: u16 = 7;
/// An MP3 stream.
pub(super) const MP3: u16 = 0x55;
const EXTENSIBLE: u16 = 0xfffe;

/// How much of a format chunk is of interest: WAVEFORMATEXTENSIBLE has 40 bytes.
const FORMAT_BYTES: usize = 40;
/// More chunks than this before the audio are no honest file.
pub(super) const MAX_CHUNKS: usize = 1_000;
/// The most that one head can announce, since its length field has 32 bits; a multiple of many frame sizes
/// is made of it by [`Wav::part`].
const MAX_DATA: u64 = 0xffff_0000;

/// What the head of a WAV file says, put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wav {
    /// The format tag; that of the sub-format where the file is "extensible".
    pub(super) tag: u16,
    pub(super) channels: u16,
    pub(super) rate: u32,
    /// Bytes of one frame: one sample of each channel.
    pub(super) frame: u16,
    /// Bits that one sample takes in the file. Where fewer are in use, they are the upper ones.
    pub(super) bits: u16,
    /// Where the audio begins.
    pub(super) start: u64,
    /// Bytes of audio, whole frames, all of them in the file.
    pub(super) len: u64,
    /// Whether the file's own figure was missing or wrong, and everything up to the end is taken.
    pub(super) repaired: bool,
}

impl Wav {
    /// Whether a file that begins with these bytes says that it is a WAV file.
    pub(super) fn is_one(head: &[u8]) -> bool {
        [b"RIFF", b"RF64", b"BW64"].iter().any(|kind| head.starts_with(*kind))
            && head.get(8..12) == Some(b"WAVE")
    }

    /// Reads the head of a WAV file. `None` when its audio can't be found, or there is no usable format before it.
    pub(super) fn read(source: &mut (impl Read + Seek), file_len: u64) -> io::Result<Option<Self>> {
        let mut format = None;
        let mut long_len = None;
        let mut position = 12_u64;
        for _ in 0..MAX_CHUNKS {
            source.seek(SeekFrom::Start(position))?;
            let Some([a, b, c, d, l0, l1, l2, l3]) = bytes::<8>(source)? else { return Ok(None) };
            let len = u32::from_le_bytes([l0, l1, l2, l3]);
            let body = position + 8;
            match &[a, b, c, d] {
                b"fmt " => format = Format::read(source, len)?,
                b"ds64" => long_len = bytes::<16>(source)?.map(|ds64| le_u64(&ds64, 8)),
                b"data" => {
                    let Some(format) = format else { return Ok(None) };
                    let declared = long_len.filter(|_| len == u32::MAX).unwrap_or(u64::from(len));
                    let len = data_len(source, body, declared, file_len)?;
                    return Ok(Some(format.with_data(body, len, len != declared)));
                }
                _ => {}
            }
            // Chunks begin at even positions.
            position = body + u64::from(len) + u64::from(len % 2);
        }
        Ok(None)
    }

    /// Whether hound can read the samples behind our [`Wav::head`].
    pub(super) fn is_plain(&self) -> bool {
        matches!((self.tag, self.bits), (PCM, 8 | 16 | 24 | 32) | (FLOAT, 32))
    }

    /// Whether anything here can read the samples.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.tag, PCM | FLOAT | A_LAW | MU_LAW | MP3)
    }

    /// Bytes of the next part when `left` bytes of audio are left: whole frames that one head can announce.
    pub(super) fn part(&self, left: u64) -> u64 {
        let left = left.min(MAX_DATA);
        left - left % u64::from(self.frame)
    }

    /// A plain head for `len` bytes of this audio.
    pub(super) fn head(&self, len: u64) -> Vec<u8> {
        let bytes_per_second = self.rate.saturating_mul(u32::from(self.frame));
        let mut head = Vec::with_capacity(48);
        head.extend_from_slice(b"RIFF");
        // "Unknown": readers then go by the data chunk.
        head.extend_from_slice(&u32::MAX.to_le_bytes());
        head.extend_from_slice(b"WAVEfmt ");
        // Compressed formats have a length of further fields, here none, at the end.
        let extended = self.tag != PCM && self.tag != FLOAT;
        head.extend_from_slice(&if extended { 18_u32 } else { 16 }.to_le_bytes());
        head.extend_from_slice(&self.tag.to_le_bytes());
        head.extend_from_slice(&self.channels.to_le_bytes());
        head.extend_from_slice(&self.rate.to_le_bytes());
        head.extend_from_slice(&bytes_per_second.to_le_bytes());
        head.extend_from_slice(&self.frame.to_le_bytes());
        head.extend_from_slice(&self.bits.to_le_bytes());
        if extended {
            head.extend_from_slice(&0_u16.to_le_bytes());
        }
        head.extend_from_slice(b"data");
        head.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        head
    }
}

/// A format chunk whose fields agree.
pub(super) struct Format {
    pub(super) tag: u16,
    pub(super) channels: u16,
    pub(super) rate: u32,
    frame: u16,
    pub(super) bits: u16,
}

impl Format {
    pub(super) fn read(source: &mut impl Read, len: u32) -> io::Result<Option<Self>> {
        let mut chunk = Vec::with_capacity(FORMAT_BYTES);
        source.take(u64::from(len).min(FORMAT_BYTES as u64)).read_to_end(&mut chunk)?;
        if chunk.len() < 16 {
            return Ok(None);
        }
        let mut tag = le_u16(&chunk, 0);
        if tag == EXTENSIBLE {
            // The sub-format is a GUID that begins with the plain tag.
            tag = le_u16(&chunk, 24);
        }
        let (channels, rate) = (le_u16(&chunk, 2), le_u32(&chunk, 4));
        let (mut frame, mut bits) = (le_u16(&chunk, 12), le_u16(&chunk, 14));
        if channels == 0 {
            return Ok(None);
        }
        // A sample takes whole bytes, whatever number of its bits are in use.
        let stored = (frame / channels).checked_mul(8).filter(|&stored| stored >= bits && stored > 0);
        bits = stored.unwrap_or_else(|| bits.div_ceil(8).saturating_mul(8));
        let Some(whole) = channels.checked_mul(bits / 8).filter(|&whole| whole > 0) else { return Ok(None) };
        frame = whole;
        Ok(Some(Self { tag, channels, rate, frame, bits }))
    }

    fn with_data(self, start: u64, len: u64, repaired: bool) -> Wav {
        let Self { tag, channels, rate, frame, bits } = self;
        Wav { tag, channels, rate, frame, bits, start, len: len - len % u64::from(frame), repaired }
    }
}

/// The true length of audio that begins at `start` and of which the file says `declared`.
fn data_len(source: &mut (impl Read + Seek), start: u64, declared: u64, file_len: u64) -> io::Result<u64> {
    let available = file_len.saturating_sub(start);
    if declared == 0 {
        // Empty, and another chunk follows: it means it. Else a recorder never came back to fill it in.
        let next = chunk_at(source, start)?;
        let meant = next.is_some_and(|len| start.saturating_add(8).saturating_add(len) <= file_len);
        return Ok(if meant { 0 } else { available });
    }
    if declared >= available {
        return Ok(available);
    }
    // Less than there is: either other chunks follow, or the figure is stale.
    let end = start + declared;
    let followed = available - declared < 8
        || chunk_at(source, end)?.is_some()
        || (declared % 2 == 1 && chunk_at(source, end + 1)?.is_some());
    Ok(if followed { declared } else { available })
}

/// The length of the chunk that begins at `position`, if one seems to.
fn chunk_at(source: &mut (impl Read + Seek), position: u64) -> io::Result<Option<u64>> {
    source.seek(SeekFrom::Start(position))?;
    Ok(bytes::<8>(source)?
        .filter(|head| head.iter().take(4).all(|byte| (b' '..=b'~').contains(byte)))
        .map(|head| u64::from(le_u32(&head, 4))))
}

/// The next `N` bytes, or `None` at the end of the file.
fn bytes<const N: usize>(source: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match source.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Little-endian fields; 0 where the chunk is too short to have them.
fn le_u16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&field| u16::from_le_bytes(field))
}

fn le_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&field| u32::from_le_bytes(field))
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&field| u64::from_le_bytes(field))
}
