//! Where decoded blocks go: downmixed to mono, resampled and bounded as they come, so that only the 16 kHz
//! result is ever held, on disk where it is long.

use super::resample::Resampler;
use super::samples::{Samples, Writer};
use super::turn::{TURN, Turn};
use super::{Limits, SAMPLE_RATE};
use crate::error::{Error, Result};

/// The loudest sample that is believed: 32-bit integers that were stored as floats. Above it (a broken float
/// file) the filter's sums would overflow.
const LOUDEST: f32 = 2_147_483_648.0;

/// Takes interleaved blocks of any rate and channel count, and makes 16 kHz mono of them.
pub(super) struct Sink {
    writer: Writer,
    mono: Vec<f32>,
    /// What the resampler made of a block.
    ready: Vec<f32>,
    /// The rate of the blocks that came last, and their resampler.
    resampler: Option<(u32, Resampler)>,
    max_samples: usize,
    max_seconds: u32,
    /// Rate and channels of the first block.
    first: Option<(u32, usize)>,
    /// Asked when there are so many samples.
    turn: Turn,
    next_turn: usize,
}

impl Sink {
    pub(super) fn new(limits: &Limits) -> Self {
        let max_samples = limits.max_seconds as usize * SAMPLE_RATE as usize;
        Self {
            writer: Writer::new(limits),
            mono: Vec::new(),
            ready: Vec::new(),
            resampler: None,
            max_samples,
            max_seconds: limits.max_seconds,
            first: None,
            turn: limits.turn.clone(),
            next_turn: TURN,
        }
    }

    /// Sample rate and channel count of the first block, once there was one.
    pub(super) fn source(&self) -> Option<(u32, usize)> {
        self.first
    }

    /// Whether nothing came so far.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Refuses, before any work, audio that is known to be too long.
    pub(super) fn announce(&self, frames: u64, rate: u32) -> Result<()> {
        if frames / u64::from(rate.max(1)) > u64::from(self.max_seconds) {
            Err(self.too_long())
        } else {
            Ok(())
        }
    }

    /// Takes one block. The rate may change between blocks (chained Ogg streams): the parts are joined.
    pub(super) fn push(&mut self, rate: u32, channels: usize, interleaved: &[f32]) -> Result<()> {
        if interleaved.is_empty() || channels == 0 {
            return Ok(());
        }
        if self.resampler.as_ref().is_none_or(|(current, _)| *current != rate) {
            let next = Resampler::new(rate)?;
            if let Some((_, done)) = self.resampler.replace((rate, next)) {
                done.finish(&mut self.ready)?;
            }
        }
        self.first.get_or_insert((rate, channels));
        self.mono.clear();
        let share = 1.0 / channels as f32;
        self.mono.extend(interleaved.chunks_exact(channels).map(|frame| {
            let mean = if channels == 1 { frame.iter().sum() } else { frame.iter().sum::<f32>() * share };
            if mean.is_nan() { 0.0 } else { mean.clamp(-LOUDEST, LOUDEST) }
        }));
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.push(&self.mono, &mut self.ready)?;
        }
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        if self.writer.len() + self.ready.len() > self.max_samples {
            return Err(self.too_long());
        }
        self.writer.push(&mut self.ready)?;
        self.ready.clear();
        if self.writer.len() >= self.next_turn {
            self.next_turn = self.writer.len() + TURN;
            self.turn.ask(self.writer.len())?;
        }
        Ok(())
    }

    /// All samples, the resampler's tail included, levelled, and the peak that they had.
    pub(super) fn finish(mut self) -> Result<(Samples, f32)> {
        if let Some((_, resampler)) = self.resampler.take() {
            resampler.finish(&mut self.ready)?;
        }
        self.write()?;
        Ok(self.writer.finish())
    }

    fn too_long(&self) -> Error {
        Error::TooLarge(format!("the audio is longer than {} s, the limit of this server", self.max_seconds))
    }
}
