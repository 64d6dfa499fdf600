//! Voice activity as the audio comes: what is ahead can't be looked at.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::network::{FRAME, Memory};
use super::spans::Spans;
use super::{AROUND, VoiceDetector, gain, root_mean_square};

/// Samples of a frame: one probability each.
pub const FRAME_SAMPLES: usize = FRAME;

/// What tells voices from other sounds while they come.
pub trait Ears: std::fmt::Debug + Send {
    /// Takes the next samples, and tells the probability of each frame of [`FRAME_SAMPLES`] that they fill.
    fn push(&mut self, samples: &[f32], tell: &mut dyn FnMut(f32));

    /// Where somebody spoke, in samples; `None` where nobody listened for it.
    fn speech(self: Box<Self>) -> Option<Vec<Range<usize>>>;
}

/// Takes everything for speech.
#[derive(Debug, Default)]
pub struct Everything {
    /// Samples that don't fill a frame yet.
    pending: usize,
}

impl Ears for Everything {
    fn push(&mut self, samples: &[f32], tell: &mut dyn FnMut(f32)) {
        self.pending += samples.len();
        (0..self.pending / FRAME).for_each(|_| tell(1.0));
        self.pending %= FRAME;
    }

    fn speech(self: Box<Self>) -> Option<Vec<Range<usize>>> {
        None
    }
}

/// Hears voices in a stream of samples. The loudness that a frame is brought to is that of the four seconds before it.
#[derive(Debug)]
pub struct LiveVoice {
    detector: Arc<VoiceDetector>,
    memory: Memory,
    /// Samples that don't fill a frame yet.
    pending: Vec<f32>,
    loudness: VecDeque<f32>,
    spans: Spans,
}

impl LiveVoice {
    /// A listener that has heard nothing.
    pub fn new(detector: Arc<VoiceDetector>) -> Self {
        let (memory, pending, loudness, spans) = Default::default();
        Self { detector, memory, pending, loudness, spans }
    }
}

impl Ears for LiveVoice {
    fn push(&mut self, samples: &[f32], tell: &mut dyn FnMut(f32)) {
        self.pending.extend_from_slice(samples);
        let pending = std::mem::take(&mut self.pending);
        let (frames, rest) = pending.as_chunks::<FRAME>();
        for frame in frames {
            self.loudness.push_back(root_mean_square(frame));
            if self.loudness.len() > 2 * AROUND {
                self.loudness.pop_front();
            }
            let gain = gain(self.loudness.make_contiguous());
            let levelled: Vec<f32> = frame.iter().map(|s| (s * gain).clamp(-1.0, 1.0)).collect();
            let probability = self.memory.hear(&self.detector.weights, &levelled);
            self.spans.push(probability);
            tell(probability);
        }
        self.pending.extend_from_slice(rest);
    }

    fn speech(self: Box<Self>) -> Option<Vec<Range<usize>>> {
        let in_samples = |frames: Range<usize>| frames.start * FRAME..frames.end * FRAME;
        Some(self.spans.finish().into_iter().map(in_samples).collect())
    }
}
