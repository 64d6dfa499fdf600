//! The samples of a window on their way: 16 bits each, or the 32-bit floats that they are. Pure.
//!
//! 16 bits are those of the window's own peak, so that what they leave out is 98 dB below it, whatever the rest of the
//! recording is like (each sample is off by half a step at most, and steps are the peak / 32767).

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How samples are written down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    /// Little-endian 16-bit integers; a sample is one of them times the step.
    S16 {
        /// The step.
        step: f32,
    },
    /// Little-endian 32-bit floats.
    F32,
}

/// Samples as bytes, exactly or in half the room.
pub(super) fn pack(samples: &[f32], exact: bool) -> (Encoding, Vec<u8>) {
    if exact {
        return (Encoding::F32, samples.iter().flat_map(|sample| sample.to_le_bytes()).collect());
    }
    let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    let step = peak / f32::from(i16::MAX);
    // Of silence, and of what is so quiet that its steps are no numbers.
    let per_step = if step.is_normal() { step.recip() } else { 0.0 };
    let whole = |sample: &f32| (sample * per_step).round().clamp(f32::from(-i16::MAX), f32::from(i16::MAX));
    (Encoding::S16 { step }, samples.iter().flat_map(|sample| (whole(sample) as i16).to_le_bytes()).collect())
}

/// The samples again.
///
/// # Errors
/// [`Error::InvalidInput`] when the bytes are no whole number of samples, or these are no numbers.
pub(super) fn unpack(encoding: Encoding, bytes: &[u8]) -> Result<Vec<f32>> {
    let broken = || Error::InvalidInput("the audio of a window is broken".into());
    let samples: Vec<f32> = match encoding {
        Encoding::S16 { step } => {
            let (samples, []) = bytes.as_chunks::<2>() else { return Err(broken()) };
            samples.iter().map(|bytes| f32::from(i16::from_le_bytes(*bytes)) * step).collect()
        }
        Encoding::F32 => {
            let (samples, []) = bytes.as_chunks::<4>() else { return Err(broken()) };
            samples.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        }
    };
    if samples.iter().all(|sample| sample.is_finite()) { Ok(samples) } else { Err(broken()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn wave(peak: f32) -> Vec<f32> {
        (0..1000).map(|n| peak * (n as f32 * 0.37).sin()).collect()
    }

    #[test]
    fn exact_is_exact() {
        let samples = [wave(0.9), vec![f32::MIN_POSITIVE, -0.0, 1e-30]].concat();
        let (encoding, bytes) = pack(&samples, true);
        assert_eq!(bytes.len(), 4 * samples.len());
        let back = unpack(encoding, &bytes).unwrap();
        assert!(back.iter().zip(&samples).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn sixteen_bits_are_those_of_the_peak() {
        for peak in [0.9, 0.001, 1e-30, 0.0] {
            let samples = wave(peak);
            let (encoding, bytes) = pack(&samples, false);
            assert_eq!(bytes.len(), 2 * samples.len());
            let back = unpack(encoding, &bytes).unwrap();
            let most = back.iter().zip(&samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most <= peak / 32767.0 * 0.51, "{peak}: {most}");
        }
    }

    #[test]
    fn what_is_no_audio_is_refused() {
        assert!(unpack(Encoding::S16 { step: 1.0 }, &[1]).is_err());
        assert!(unpack(Encoding::F32, &[0, 0, 0]).is_err());
        assert!(unpack(Encoding::F32, &f32::NAN.to_le_bytes()).is_err());
        assert!(unpack(Encoding::S16 { step: f32::INFINITY }, &[1, 0]).is_err());
        assert_eq!(unpack(Encoding::F32, &[]).unwrap(), Vec::<f32>::new());
    }
}
