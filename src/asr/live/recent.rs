//! The last samples of a stream, levelled by what was loud in the last minute. Pure.

use std::collections::VecDeque;
use std::ops::Range;

use crate::audio::{SAMPLE_RATE, level};

/// Peaks are remembered over so many samples, …
const PEAK_SPAN: usize = SAMPLE_RATE as usize;
/// … so many times: one minute. A bang is forgotten after that.
const PEAKS: usize = 60;

/// Samples by their position in the stream; old ones are dropped.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The position of the first sample that is kept.
    start: usize,
    samples: VecDeque<f32>,
    /// The loudest sample of each of the last seconds, the last one's included.
    peaks: VecDeque<f32>,
    /// Samples that the last of them has seen.
    in_last: usize,
}

impl Recent {
    /// The position behind the last sample.
    pub(super) fn end(&self) -> usize {
        self.start + self.samples.len()
    }

    pub(super) fn push(&mut self, samples: &[f32]) {
        let mut rest = samples;
        while !rest.is_empty() {
            if self.in_last == PEAK_SPAN || self.peaks.is_empty() {
                self.peaks.push_back(0.0);
                self.in_last = 0;
                if self.peaks.len() > PEAKS {
                    self.peaks.pop_front();
                }
            }
            let (now, later) = rest.split_at(rest.len().min(PEAK_SPAN - self.in_last));
            self.in_last += now.len();
            if let Some(last) = self.peaks.back_mut() {
                *last = peak(now).max(*last);
            }
            rest = later;
        }
        self.samples.extend(samples);
    }

    /// Drops what is before a position.
    pub(super) fn forget(&mut self, before: usize) {
        let count = before.saturating_sub(self.start).min(self.samples.len());
        self.samples.drain(..count);
        self.start += count;
    }

    /// The samples of a range, levelled.
    pub(super) fn levelled(&self, range: Range<usize>) -> Vec<f32> {
        let at = |position: usize| position.saturating_sub(self.start).min(self.samples.len());
        let mut samples: Vec<f32> =
            self.samples.range(at(range.start)..at(range.end).max(at(range.start))).copied().collect();
        let loudest = self.peaks.iter().copied().fold(peak(&samples), f32::max);
        level::scale(&mut samples, loudest);
        samples
    }
}

fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, sample| sample.abs().max(peak))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_position() {
        let mut recent = Recent::default();
        recent.push(&[0.1, 0.2]);
        recent.push(&[0.3, 0.45]);
        recent.forget(1);
        assert_eq!(recent.end(), 4);
        let close = |found: Vec<f32>, wanted: &[f32]| {
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for (a, b) in found.iter().zip(wanted) {
                assert!((a - b).abs() < 1e-6, "{found:?} {wanted:?}");
            }
        };
        close(recent.levelled(1..3), &[0.4, 0.6]);
        close(recent.levelled(0..9), &[0.4, 0.6, 0.9]);
        close(recent.levelled(7..9), &[]);
    }

    #[test]
    fn a_bang_is_forgotten_after_a_minute() {
        let mut recent = Recent::default();
        recent.push(&[1.0]);
        let second = [0.1; PEAK_SPAN];
        let quiet = |recent: &Recent| {
            let end = recent.end();
            recent.levelled(end - 1..end).first().copied().unwrap_or_default()
        };
        for _ in 0..59 {
            recent.push(&second);
            recent.forget(recent.end() - PEAK_SPAN);
        }
        assert!((quiet(&recent) - 0.09).abs() < 1e-6);
        recent.push(&second);
        recent.push(&second);
        assert!((quiet(&recent) - 0.9).abs() < 1e-6);
    }
}
