//! Audio files in, 16 kHz samples out.

mod formats;
mod hostile;
mod long;
mod wav;

use std::fs;
use std::path::PathBuf;

use imesli::audio::{Limits, Recording, SourceInfo};

/// A recording whose samples are at hand.
#[derive(Debug, Clone, PartialEq)]
struct Sound {
    samples: Vec<f32>,
    source: SourceInfo,
}

impl From<Recording> for Sound {
    fn from(recording: Recording) -> Self {
        Self { samples: recording.samples.into_vec().unwrap(), source: recording.source }
    }
}

/// A file of `tests/data`.
fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn open(name: &str) -> Sound {
    Recording::open(data(name), &Limits::default()).unwrap().into()
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(data(name)).unwrap()
}

fn decode(bytes: &[u8]) -> imesli::error::Result<Sound> {
    Ok(Recording::from_bytes(bytes, &Limits::default())?.into())
}

/// The correlation of two signals when `b` is shifted by `shift` samples.
fn correlation_at(a: &[f32], b: &[f32], shift: isize) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (n, &x) in a.iter().enumerate() {
        let y = n.checked_add_signed(shift).and_then(|n| b.get(n)).copied().unwrap_or(0.0);
        ab += f64::from(x) * f64::from(y);
        aa += f64::from(x).powi(2);
        bb += f64::from(y).powi(2);
    }
    ab / (aa * bb).sqrt().max(f64::MIN_POSITIVE)
}

/// The best correlation within 200 ms, and its shift in samples.
fn correlation(a: &[f32], b: &[f32]) -> (f64, isize) {
    (-3_200..=3_200)
        .map(|shift| (correlation_at(a, b, shift), shift))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap()
}
