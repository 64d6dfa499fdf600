//! The last samples of a stream, levelled by what was loud in the last minute. Pure.

use std::collections::VecDeque;
use std::ops::Range;

use crate::audio::{SAMPLE_RATE, level};

/// Peaks are remembered over so many samples, …
const PEAK_SPAN: usize = SAMPLE_RATE as usize;
/// … so many times: one minute. A bang is forgotten after that.
const PEAKS: usize = 60;

/// Samples are kept in blocks of four seconds, so that who is behind for once does not keep the room for it. They are so
/// large that the allocator takes each from the system and gives it back: small ones would leave holes in the heap.
const BLOCK: usize = 4 * SAMPLE_RATE as usize;

/// Samples by their position in the stream; old ones are dropped.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The position of the first block that is kept.
    start: usize,
    /// The position behind the last sample.
    end: usize,
    /// All but the last are full.
    blocks: VecDeque<Vec<f32>>,
    /// The loudest sample of each of the last seconds, the last one's included.
    peaks: VecDeque<f32>,
    /// Samples that the last of them has seen.
    in_last: usize,
}

impl Recent {
    /// The position behind the last sample.
    pub(super) fn end(&self) -> usize {
        self.end
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
        let mut rest = samples;
        while !rest.is_empty() {
            let filled = self.end % BLOCK;
            if filled == 0 {
                self.blocks.push_back(Vec::with_capacity(BLOCK));
            }
            let (now, later) = rest.split_at(rest.len().min(BLOCK - filled));
            if let Some(last) = self.blocks.back_mut() {
                last.extend_from_slice(now);
            }
            self.end += now.len();
            rest = later;
        }
    }

    /// Drops what is before a position, in whole blocks.
    pub(super) fn forget(&mut self, before: usize) {
        while self.start + BLOCK <= before.min(self.end) {
            self.blocks.pop_front();
            self.start += BLOCK;
        }
    }

    /// The samples of a range, as far as they are kept, levelled.
    pub(super) fn levelled(&self, range: Range<usize>) -> Vec<f32> {
        let mut samples = Vec::with_capacity(range.len().min(self.end - self.start));
        for (number, block) in self.blocks.iter().enumerate() {
            let first = self.start + number * BLOCK;
            let within = range.start.max(first) - first..range.end.saturating_sub(first).min(block.len());
            samples.extend_from_slice(block.get(within).unwrap_or_default());
        }
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
    #![allow(clippy::indexing_slicing, reason = "a test that fails may panic")]
    use super::*;

    #[test]
    fn samples_are_found_by_their_position() {
        let mut recent = Recent::default();
        recent.push(&[0.1, 0.2]);
        recent.push(&[0.3, 0.45]);
        assert_eq!(recent.end(), 4);
        let close = |found: Vec<f32>, wanted: &[f32]| {
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for (a, b) in found.iter().zip(wanted) {
                assert!((a - b).abs() < 1e-6, "{found:?} {wanted:?}");
            }
        };
        close(recent.levelled(1..3), &[0.4, 0.6]);
        close(recent.levelled(0..9), &[0.2, 0.4, 0.6, 0.9]);
        close(recent.levelled(7..9), &[]);
    }

    #[test]
    fn old_samples_are_dropped_and_the_others_stay_where_they_are() {
        let mut recent = Recent::default();
        let all: Vec<f32> = (0..3 * BLOCK + 10).map(|n| n as f32 / 1e5).collect();
        all.chunks(777).for_each(|chunk| recent.push(chunk));
        let before = recent.levelled(BLOCK + 5..3 * BLOCK + 3);
        assert_eq!(before.len(), 2 * BLOCK - 2);
        recent.forget(2 * BLOCK - 1);
        assert_eq!(recent.levelled(BLOCK + 5..3 * BLOCK + 3), before);
        recent.forget(2 * BLOCK);
        assert_eq!(recent.levelled(BLOCK + 5..3 * BLOCK + 3), before[BLOCK - 5..]);
        recent.forget(usize::MAX);
        assert_eq!((recent.blocks.len(), recent.end()), (1, all.len()));
        recent.push(&[0.5]);
        assert_eq!(recent.levelled(all.len()..usize::MAX).len(), 1);
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
