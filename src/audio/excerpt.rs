//! The parts of a recording that go to the model, as if nothing were between them. Pure but for the reading.
//!
//! Long stretches in which nobody speaks are left out: a model makes text up there. A margin stays around all speech,
//! so that what the detector did not hear at its edges is kept, and so that there is a pause to cut a window in.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::SAMPLE_RATE;
use super::samples::Samples;
use crate::error::Result;

/// Kept on either side of speech: 1 s.
pub const MARGIN: usize = SAMPLE_RATE as usize;
/// What would be left out and is shorter than this stays: 2 s.
pub const SHORTEST_GAP: usize = 2 * SAMPLE_RATE as usize;

/// A recording, or what is left of it.
#[derive(Debug, Clone)]
pub struct Excerpt {
    samples: Arc<Samples>,
    /// What is kept of them: in order, apart from each other.
    parts: Vec<Range<usize>>,
}

impl Excerpt {
    /// All of a recording.
    pub fn whole(samples: Arc<Samples>) -> Self {
        let all = 0..samples.len();
        Self { samples, parts: if all.is_empty() { Vec::new() } else { vec![all] } }
    }

    /// What is around speech: ranges of samples, in order. Nothing, where there is none.
    pub fn around(samples: Arc<Samples>, speech: &[Range<usize>]) -> Self {
        let all = samples.len();
        let mut parts: Vec<Range<usize>> = Vec::new();
        for span in speech {
            let start = span.start.saturating_sub(MARGIN).min(all);
            let end = span.end.saturating_add(MARGIN).min(all);
            let kept = parts.last().map_or(0, |last| last.end);
            if start.saturating_sub(kept) >= SHORTEST_GAP || (parts.is_empty() && start >= SHORTEST_GAP) {
                parts.push(start..end);
            } else if let Some(last) = parts.last_mut() {
                last.end = last.end.max(end);
            } else {
                parts.push(0..end);
            }
        }
        if let Some(last) = parts.last_mut()
            && all - last.end < SHORTEST_GAP
        {
            last.end = all;
        }
        Self { samples, parts }
    }

    /// How many samples are kept.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Range::len).sum()
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How long what is kept lasts, in seconds.
    pub fn seconds(&self) -> f64 {
        self.len() as f64 / f64::from(SAMPLE_RATE)
    }

    /// How long the whole recording lasts, in seconds.
    pub fn recording_seconds(&self) -> f64 {
        self.samples.seconds()
    }

    /// What is left out of the recording, in order.
    pub fn gaps(&self) -> Vec<Range<usize>> {
        let ends = self.parts.iter().map(|part| part.end);
        let starts = self.parts.iter().map(|part| part.start).chain([self.samples.len()]);
        [0].into_iter()
            .chain(ends)
            .zip(starts)
            .map(|(end, start)| end..start)
            .filter(|gap| !gap.is_empty())
            .collect()
    }

    /// The samples of a range of what is kept, as far as there are any.
    ///
    /// # Errors
    /// Those of [`Samples::read`].
    pub fn read(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>> {
        let mut pieces = Vec::new();
        let mut before = 0;
        for part in &self.parts {
            let start = range.start.max(before) - before;
            let end = range.end.saturating_sub(before).min(part.len());
            if start < end {
                pieces.push(part.start + start..part.start + end);
            }
            before += part.len();
        }
        match pieces.as_slice() {
            [] => Ok(Cow::Borrowed(&[])),
            [piece] => self.samples.read(piece.clone()),
            _ => {
                let mut joined = Vec::with_capacity(range.len().min(self.len()));
                for piece in pieces {
                    joined.extend_from_slice(&self.samples.read(piece)?);
                }
                Ok(Cow::Owned(joined))
            }
        }
    }

    /// Where in the recording something begins that begins at `position` of what is kept.
    pub fn start_in_recording(&self, position: usize) -> usize {
        self.in_recording(position, |position, length| position < length)
    }

    /// Where in the recording something ends that ends at `position` of what is kept: before a gap, not behind it.
    pub fn end_in_recording(&self, position: usize) -> usize {
        self.in_recording(position, |position, length| position <= length)
    }

    fn in_recording(&self, position: usize, inside: impl Fn(usize, usize) -> bool) -> usize {
        let mut left = position;
        for part in &self.parts {
            if inside(left, part.len()) {
                return part.start + left;
            }
            left -= part.len();
        }
        self.parts.last().map_or(0, |last| last.end)
    }
}
