//! Samples from a pipe: raw ones, or a WAV file without its head. Nothing is decoded, and the source is only read
//! forwards.

use std::io::{self, Read};

use super::pcm::Encoding;
use super::riff::{FLOAT, Format, MAX_CHUNKS, MU_LAW, PCM, Wav};

/// Before the first chunk of a WAV file.
const FILE_HEAD: usize = 12;
/// Recorders that don't know how long they will run announce as much as they can, or almost.
const ENDLESS: u32 = 0x7fff_0000;

/// What a pipe begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// The head of a WAV file, after which its samples come.
    Wav(Head),
    /// These bytes, which are samples like all that follow.
    Raw(Vec<u8>),
}

/// What the head of a WAV file says of its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How they are written, where that can be sent live; else WAV's number of the format, and the bits of a sample.
    pub encoding: Result<Encoding, (u16, u16)>,
    /// Channels, whose samples take turns.
    pub channels: u16,
    /// Samples of each channel in a second.
    pub rate: u32,
    /// Bytes of audio, where that is known: other things may follow.
    pub len: Option<u64>,
}

/// Reads what a pipe begins with, up to the first sample of a WAV file.
///
/// # Errors
/// When the source can't be read, and [`io::ErrorKind::InvalidData`] for the head of a WAV file that is no good.
pub fn begin(source: &mut impl Read) -> io::Result<Begin> {
    let mut head = Vec::with_capacity(FILE_HEAD);
    source.take(FILE_HEAD as u64).read_to_end(&mut head)?;
    if !Wav::is_one(&head) {
        return Ok(Begin::Raw(head));
    }
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "the head of a WAV file, but a broken one");
    let mut format = None;
    for _ in 0..MAX_CHUNKS {
        let mut chunk = [0; 8];
        source.read_exact(&mut chunk).map_err(|_| broken())?;
        let [a, b, c, d, l0, l1, l2, l3] = chunk;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        match &[a, b, c, d] {
            b"data" => return format.map(|format| Begin::Wav(with_len(&format, len))).ok_or_else(broken),
            name => {
                // Chunks begin at even positions.
                let mut body = source.take(u64::from(len) + u64::from(len % 2));
                if name == b"fmt " {
                    format = Format::read(&mut body, len)?;
                }
                io::copy(&mut body, &mut io::sink())?;
            }
        }
    }
    Err(broken())
}

fn with_len(format: &Format, len: u32) -> Head {
    let encoding = match (format.tag, format.bits) {
        (PCM, 16) => Ok(Encoding::PcmS16le),
        (FLOAT, 32) => Ok(Encoding::PcmF32le),
        (MU_LAW, 8) => Ok(Encoding::Mulaw),
        other => Err(other),
    };
    let len = Some(u64::from(len)).filter(|_| len > 0 && len < ENDLESS);
    Head { encoding, channels: format.channels, rate: format.rate, len }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    /// The head of arecord's and others' files, with more chunks before the audio.
    fn wav(tag: u16, bits: u16, extra: &[u8], len: u32) -> Vec<u8> {
        let mut bytes = b"RIFF\xff\xff\xff\xffWAVE".to_vec();
        bytes.extend(extra);
        bytes.extend(b"fmt \x10\0\0\0");
        bytes.extend(tag.to_le_bytes());
        bytes.extend(2_u16.to_le_bytes());
        bytes.extend(44_100_u32.to_le_bytes());
        bytes.extend((44_100 * u32::from(bits) / 4).to_le_bytes());
        bytes.extend((bits / 4).to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(len.to_le_bytes());
        bytes.extend(b"audio");
        bytes
    }

    fn read(bytes: &[u8]) -> (Begin, Vec<u8>) {
        let mut rest = bytes;
        let begin = begin(&mut rest).unwrap();
        (begin, rest.to_vec())
    }

    #[test]
    fn the_head_of_a_wav_file_is_taken_off() {
        for (tag, bits, encoding) in [
            (1, 16, Ok(Encoding::PcmS16le)),
            (3, 32, Ok(Encoding::PcmF32le)),
            (7, 8, Ok(Encoding::Mulaw)),
            (1, 24, Err((1, 24))),
            (6, 8, Err((6, 8))),
        ] {
            // An odd chunk has a byte behind it.
            let (begin, rest) = read(&wav(tag, bits, b"LIST\x03\0\0\0abc\0", 5));
            assert_eq!(begin, Begin::Wav(Head { encoding, channels: 2, rate: 44_100, len: Some(5) }));
            assert_eq!(rest, b"audio");
        }
    }

    #[test]
    fn a_length_that_nobody_could_know_is_none() {
        for len in [0, 0x7fff_f000, 0x8000_0000, u32::MAX] {
            let Begin::Wav(head) = read(&wav(1, 16, b"", len)).0 else { panic!("it is one") };
            assert_eq!(head.len, None);
        }
    }

    #[test]
    fn anything_else_is_samples() {
        for bytes in [&b""[..], b"RIFF", b"RIFF....AVI LIST", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
            let (begin, rest) = read(bytes);
            let Begin::Raw(mut all) = begin else { panic!("{bytes:?} is no WAV file") };
            all.extend(rest);
            assert_eq!(all, bytes);
        }
    }

    #[test]
    fn a_broken_head_is_an_error() {
        let whole = wav(1, 16, b"", 5);
        for broken in [&whole[..30], b"RIFF\0\0\0\0WAVEdata\x05\0\0\0audio", b"RIFF\0\0\0\0WAVE"] {
            let error = begin(&mut &*broken).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{broken:?}");
        }
    }
}
