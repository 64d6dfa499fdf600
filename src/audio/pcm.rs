//! Live audio: bytes without a header, in pieces of any size, to 16 kHz mono samples as they come.

use serde::{Deserialize, Serialize};

use super::resample::{Resampler, SUPPORTED_RATES};
use crate::error::{Error, Result};

/// The most channels that are mixed.
const MAX_CHANNELS: usize = 8;
/// Samples are held to this: what is louder by far comes from bytes that are no samples, and would drown all else.
const LOUDEST: f32 = 8.0;

/// How a sample is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Encoding {
    /// 16-bit integers, the lower byte first.
    #[default]
    PcmS16le,
    /// 32-bit floats, full scale at 1.
    PcmF32le,
    /// µ-law of ITU-T G.711, one byte each.
    Mulaw,
}

impl Encoding {
    /// Bytes of a sample.
    pub fn bytes(self) -> usize {
        match self {
            Self::PcmS16le => 2,
            Self::PcmF32le => 4,
            Self::Mulaw => 1,
        }
    }

    fn decode(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::PcmS16le, &[low, high]) => f32::from(i16::from_le_bytes([low, high])) / 32_768.0,
            (Self::PcmF32le, &[a, b, c, d]) => {
                let sample = f32::from_le_bytes([a, b, c, d]);
                if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
            }
            (Self::Mulaw, &[byte]) => mulaw(byte),
            _ => 0.0,
        }
    }
}

/// G.711, table 2a: the bits are inverted; a sign, three bits of exponent, four of mantissa.
fn mulaw(byte: u8) -> f32 {
    const BIAS: i16 = 0x84;
    let bits = !byte;
    let magnitude = ((i16::from(bits & 0x0f) << 3) + BIAS) << ((bits >> 4) & 7);
    let sample = magnitude - BIAS;
    f32::from(if bits & 0x80 != 0 { -sample } else { sample }) / 32_768.0
}

/// What live audio is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcmFormat {
    /// How a sample is written.
    pub encoding: Encoding,
    /// Samples of one channel per second.
    pub sample_rate: u32,
    /// Channels, interleaved.
    pub channels: usize,
}

impl Default for PcmFormat {
    fn default() -> Self {
        Self { encoding: Encoding::default(), sample_rate: super::SAMPLE_RATE, channels: 1 }
    }
}

/// Takes bytes in pieces of any size.
pub struct PcmDecoder {
    format: PcmFormat,
    resampler: Resampler,
    /// Bytes of a frame (one sample of each channel) that is not whole yet.
    partial: Vec<u8>,
    mono: Vec<f32>,
    received: u64,
}

impl std::fmt::Debug for PcmDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcmDecoder").field("format", &self.format).field("received", &self.received).finish()
    }
}

impl PcmDecoder {
    /// A decoder of such audio.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a sample rate or a channel count that is not supported.
    pub fn new(format: PcmFormat) -> Result<Self> {
        if !SUPPORTED_RATES.contains(&format.sample_rate) {
            let (low, high) = (SUPPORTED_RATES.start(), SUPPORTED_RATES.end());
            return Err(Error::InvalidInput(format!("sample_rate: must be {low} to {high}")));
        }
        if !(1..=MAX_CHANNELS).contains(&format.channels) {
            return Err(Error::InvalidInput(format!("channels: must be 1 to {MAX_CHANNELS}")));
        }
        let resampler = Resampler::new(format.sample_rate)?;
        Ok(Self { format, resampler, partial: Vec::new(), mono: Vec::new(), received: 0 })
    }

    /// What it decodes.
    pub fn format(&self) -> PcmFormat {
        self.format
    }

    /// Whole samples of one channel that have come, at the audio's own rate.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next bytes, and appends to `out` what is ready: up to some 60 ms less than has come, where the
    /// rate is not 16 kHz.
    ///
    /// # Errors
    /// [`Error::Internal`] when the resampler fails.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<f32>) -> Result<()> {
        let size = self.format.encoding.bytes() * self.format.channels;
        let missing = if self.partial.is_empty() { 0 } else { size - self.partial.len() };
        let (first, rest) = bytes.split_at(missing.min(bytes.len()));
        self.partial.extend_from_slice(first);
        self.mono.clear();
        if self.partial.len() == size {
            let frame = std::mem::take(&mut self.partial);
            self.frames(&frame);
        }
        let (whole, tail) = rest.split_at(rest.len() - rest.len() % size);
        self.frames(whole);
        self.partial.extend_from_slice(tail);
        self.received += self.mono.len() as u64;
        self.resampler.push(&self.mono, out)
    }

    fn frames(&mut self, bytes: &[u8]) {
        let PcmFormat { encoding, channels, .. } = self.format;
        let share = 1.0 / channels as f32;
        let frames = bytes.chunks_exact(encoding.bytes() * channels);
        self.mono.extend(frames.map(|frame| {
            frame.chunks_exact(encoding.bytes()).map(|bytes| encoding.decode(bytes)).sum::<f32>() * share
        }));
    }

    /// Forgets the bytes of a frame that is not whole: whoever goes on sends it again.
    pub fn forget_partial(&mut self) {
        self.partial.clear();
    }

    /// Appends what is left, and makes the decoder ready for what comes next, as if nothing had come before.
    ///
    /// # Errors
    /// [`Error::Internal`] when the resampler fails.
    pub fn finish(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let resampler = Resampler::new(self.format.sample_rate)?;
        std::mem::replace(&mut self.resampler, resampler).finish(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]
    use super::*;

    fn decode(format: PcmFormat, pieces: &[&[u8]]) -> (Vec<f32>, u64) {
        let mut decoder = PcmDecoder::new(format).unwrap();
        let mut out = Vec::new();
        pieces.iter().for_each(|piece| decoder.push(piece, &mut out).unwrap());
        decoder.finish(&mut out).unwrap();
        (out, decoder.received())
    }

    #[test]
    fn pieces_of_any_size_are_one_stream() {
        let format = PcmFormat { channels: 2, ..PcmFormat::default() };
        let bytes: Vec<u8> = (0..200_u8).collect();
        let (whole, received) = decode(format, &[&bytes]);
        assert_eq!((whole.len(), received), (50, 50));
        for size in [1, 2, 3, 5, 7, 64] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(decode(format, &pieces), (whole.clone(), 50), "{size}");
        }
        // Left and right: 0x0100 and 0x0302.
        assert_eq!(whole[0], (256.0 + 770.0) / 2.0 / 32_768.0);
    }

    #[test]
    fn floats_that_are_none_are_silence() {
        let format = PcmFormat { encoding: Encoding::PcmF32le, ..PcmFormat::default() };
        let bytes: Vec<u8> =
            [0.5, f32::NAN, f32::INFINITY, 1e30, -0.25].iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(decode(format, &[&bytes]).0, [0.5, 0.0, 0.0, LOUDEST, -0.25]);
    }

    #[test]
    fn mulaw_is_that_of_the_standard() {
        // The ends and the middle of the standard's table, in 16 bits.
        for (byte, sample) in
            [(0x00, -32_124), (0x80, 32_124), (0x7f, 0), (0xff, 0), (0x8f, 16_764), (0x6f, -132), (0xe0, 372)]
        {
            assert_eq!((mulaw(byte) * 32_768.0) as i32, sample, "{byte:x}");
        }
    }

    #[test]
    fn a_second_stays_a_second_at_any_rate() {
        for rate in [8_000, 16_000, 44_100, 48_000] {
            let format = PcmFormat { sample_rate: rate, ..PcmFormat::default() };
            let bytes = vec![0; 2 * rate as usize];
            let (out, received) = decode(format, &bytes.chunks(333).collect::<Vec<_>>());
            assert_eq!((out.len(), received), (16_000, u64::from(rate)));
        }
    }

    #[test]
    fn what_nobody_can_play_is_refused() {
        for format in [
            PcmFormat { sample_rate: 0, ..PcmFormat::default() },
            PcmFormat { sample_rate: 1_000_000, ..PcmFormat::default() },
            PcmFormat { channels: 0, ..PcmFormat::default() },
            PcmFormat { channels: 9, ..PcmFormat::default() },
        ] {
            assert!(PcmDecoder::new(format).is_err(), "{format:?}");
        }
    }
}
