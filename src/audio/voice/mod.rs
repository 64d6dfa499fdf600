//! Voice activity: where in a recording somebody speaks.
//!
//! What must not happen is that speech is lost: the thresholds are low, and whoever goes by the result keeps a margin
//! around it ([`Excerpt`](super::excerpt::Excerpt)). docs/voice.md has the measurements.
//!
//! - `network`: Silero's network; `file` reads its weights, which the program carries with it.
//! - [`live`]: the same in audio that is still coming.
//! - `spans`: from its probabilities to stretches of speech.

mod file;
pub mod live;
mod network;
mod spans;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::Path;

use self::network::{FRAME, Memory, Weights};
use self::spans::Spans;
pub(super) use self::spans::{BEGIN, GO_ON};
use super::SAMPLE_RATE;
use super::samples::Samples;
use crate::error::{Error, Result};

/// Silero 6.2, MIT licence.
static BUILT_IN: &[u8] = include_bytes!("silero-v6.2.bin");
/// The largest file that is read: the known ones have 885 kB.
const MAX_FILE: u64 = 16 << 20;

/// Frames that are read at a time: 32 s.
const BLOCK_FRAMES: usize = 1000;
/// Frames on either side that tell how loud a frame is meant to be: 2 s.
const AROUND: usize = 2 * SAMPLE_RATE as usize / FRAME;
/// The loudness that frames are brought to, −20 dBFS, that of ordinary speech. A recording is levelled as a whole
/// ([`level`](super::level)), and one bang or one loud voice leaves the rest of it quiet.
const LOUDNESS: f32 = 0.1;
/// Of the frames around, a tenth may be louder: a bang does not count.
const LOUDEST_SHARE: usize = 10;
/// The most that frames are made louder by: 46 dB. What is quieter than that is noise of the recorder.
const MAX_GAIN: f32 = 200.0;

/// What hears voices. Shared by all recordings.
#[derive(Debug)]
pub struct VoiceDetector {
    weights: Weights,
}

impl VoiceDetector {
    /// The one that the program carries with it.
    ///
    /// # Errors
    /// None, unless the program is damaged.
    pub fn built_in() -> Result<Self> {
        Ok(Self { weights: file::read(BUILT_IN)? })
    }

    /// One from a file: a Silero model of version 5 or 6 as whisper.cpp's converter writes it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a file that can't be read, or is something else.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot =
            |fact: &dyn std::fmt::Display| Error::InvalidInput(format!("{}: {fact}", path.display()));
        let metadata = path.metadata().map_err(|error| cannot(&error))?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return Err(cannot(&"not a usable voice activity model: no file of such a size"));
        }
        let bytes = std::fs::read(path).map_err(|error| cannot(&error))?;
        file::read(&bytes).map(|weights| Self { weights }).map_err(|error| cannot(&error))
    }

    /// Where somebody speaks: ranges of samples, in order, apart from each other. The recording is read block by
    /// block; `go_on` is asked before each.
    ///
    /// # Errors
    /// Those of [`Samples::read`] and of `go_on`.
    pub fn speech(&self, samples: &Samples, go_on: impl Fn() -> Result<()>) -> Result<Vec<Range<usize>>> {
        let mut spans = Spans::default();
        self.listen(samples, go_on, |probability| spans.push(probability))?;
        let in_samples = |frames: Range<usize>| frames.start * FRAME..(frames.end * FRAME).min(samples.len());
        Ok(spans.finish().into_iter().map(in_samples).collect())
    }

    /// Tells the probability of each frame.
    fn listen(
        &self,
        samples: &Samples,
        go_on: impl Fn() -> Result<()>,
        mut tell: impl FnMut(f32),
    ) -> Result<()> {
        let mut memory = Memory::default();
        let frames = samples.len().div_ceil(FRAME);
        for first in (0..frames).step_by(BLOCK_FRAMES) {
            go_on()?;
            let begin = first.saturating_sub(AROUND);
            let end = (first + BLOCK_FRAMES + AROUND).min(frames);
            let block = samples.read(begin * FRAME..end * FRAME)?;
            let loudness: Vec<f32> = block.chunks(FRAME).map(root_mean_square).collect();
            let wanted = block.chunks(FRAME).enumerate().skip(first - begin).take(BLOCK_FRAMES);
            for (index, frame) in wanted {
                let around = index.saturating_sub(AROUND)..(index + AROUND).min(loudness.len());
                let gain = gain(loudness.get(around).unwrap_or_default());
                let levelled: Vec<f32> = frame.iter().map(|s| (s * gain).clamp(-1.0, 1.0)).collect();
                tell(memory.hear(&self.weights, &levelled));
            }
        }
        Ok(())
    }
}

/// What brings a frame among these to [`LOUDNESS`], if they are too quiet.
fn gain(loudness: &[f32]) -> f32 {
    let mut sorted = loudness.to_vec();
    let place = sorted.len().saturating_sub(1 + sorted.len() / LOUDEST_SHARE);
    if sorted.is_empty() {
        return 1.0;
    }
    let (_, loud, _) = sorted.select_nth_unstable_by(place, f32::total_cmp);
    (LOUDNESS / loud.max(f32::MIN_POSITIVE)).clamp(1.0, MAX_GAIN)
}

fn root_mean_square(frame: &[f32]) -> f32 {
    (frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len().max(1) as f32).sqrt()
}
