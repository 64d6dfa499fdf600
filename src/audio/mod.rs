//! Audio of any kind in, 16 kHz mono samples out, cut into windows that a model can take.
//!
//! - [`Recording`]: a whole file, decoded, downmixed, resampled and levelled.
//! - `decode` (hound, symphonia) → `sink` (downmix, bounds) → [`resample`] (rubato) → [`samples`] (memory or
//!   disk) → [`level`].
//! - [`voice`]: where somebody speaks; [`excerpt`]: what is left without long silence; [`pause`]: where nothing is said.
//! - [`pcm`]: live audio, as it comes; [`endpoint`]: where its phrases begin and end; [`pipe`]: what it
//!   begins with, raw or WAV.
//! - [`turn`]: how a long file lets others go first.
//! - [`window`]: where to cut recordings that are too long for one go.

mod decode;
pub mod endpoint;
pub mod excerpt;
pub mod level;
pub mod pause;
pub mod pcm;
pub mod pipe;
pub mod resample;
mod riff;
pub mod samples;
mod sink;
#[cfg(test)]
mod tests;
pub mod turn;
pub mod voice;
pub mod window;

use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use self::samples::Samples;
use self::sink::Sink;
use self::turn::Turn;
use crate::error::{Error, Result};

/// Samples per second of everything behind the decoder: what Whisper was trained on.
pub const SAMPLE_RATE: u32 = 16_000;

/// How much audio one recording may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest recording; one second of it takes 64 kB.
    pub max_seconds: u32,
    /// The longest recording that is held in memory.
    pub memory_seconds: u32,
    /// Where longer ones lie.
    pub spool_dir: PathBuf,
    /// Who is asked in between whether the reading may go on.
    pub turn: Turn,
}

impl Default for Limits {
    fn default() -> Self {
        let spool_dir = std::env::temp_dir();
        Self { max_seconds: 4 * 3600, memory_seconds: 600, spool_dir, turn: Turn::default() }
    }
}

/// What a recording was before it was decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceInfo {
    /// Container and codec: "wave/pcm", "isomp4/aac".
    pub format: String,
    /// Its sample rate in Hz.
    pub sample_rate: u32,
    /// Its channel count.
    pub channels: usize,
    /// Its peak, where 1 is full scale, before it was levelled.
    pub peak: f32,
}

/// A whole file as 16 kHz mono, its peak at [`level::PEAK`] (silence stays silence).
#[derive(Debug)]
pub struct Recording {
    /// The samples, at [`SAMPLE_RATE`]. There is at least one.
    pub samples: Samples,
    /// What they were made from.
    pub source: SourceInfo,
}

impl Recording {
    /// Reads an audio file of any kind.
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        let cannot = |error| Error::InvalidInput(format!("cannot open {}: {error}", path.display()));
        // Pipes and devices have no length, and symphonia wants to seek.
        if !path.metadata().map_err(cannot)?.is_file() {
            return Err(Error::InvalidInput(format!("{} is not a regular file", path.display())));
        }
        let mut sink = Sink::new(limits);
        let format = decode::decode(&|| Ok(Box::new(File::open(path).map_err(cannot)?)), &mut sink)?;
        Self::finish(format, sink)
    }

    /// Reads an audio file of any kind from memory.
    pub fn from_bytes(bytes: &[u8], limits: &Limits) -> Result<Self> {
        let mut sink = Sink::new(limits);
        let format = decode::decode(&|| Ok(Box::new(Cursor::new(bytes))), &mut sink)?;
        Self::finish(format, sink)
    }

    fn finish(format: String, sink: Sink) -> Result<Self> {
        let source = sink.source();
        let (samples, peak) = sink.finish()?;
        let Some((sample_rate, channels)) = source.filter(|_| !samples.is_empty()) else {
            return Err(Error::InvalidInput("the file holds no audio".to_owned()));
        };
        Ok(Self { samples, source: SourceInfo { format, sample_rate, channels, peak } })
    }
}
