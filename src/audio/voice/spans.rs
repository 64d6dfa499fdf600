//! From the probabilities of frames to stretches of speech. Pure.

use std::ops::Range;

/// A frame this likely begins a stretch.
pub(in crate::audio) const BEGIN: f32 = 0.35;
/// A stretch goes on until frames are less likely than this,
pub(in crate::audio) const GO_ON: f32 = 0.2;
/// for so many in a row: 0.25 s.
const HANGOVER: usize = 8;
/// What is shorter than so many frames is a click, not a word: a word's vowel alone lasts longer.
const SHORTEST: usize = 2;

/// Takes one probability after the other.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Stretches that are over, in frames.
    done: Vec<Range<usize>>,
    /// The one that is going on: its first frame, and the one behind its last so far.
    open: Option<Range<usize>>,
    frames: usize,
}

impl Spans {
    pub(super) fn push(&mut self, probability: f32) {
        let now = self.frames;
        self.frames += 1;
        match &mut self.open {
            Some(open) if probability >= GO_ON => open.end = now + 1,
            Some(open) if now - open.end >= HANGOVER => self.close(),
            Some(_) => {}
            None if probability >= BEGIN => self.open = Some(now..now + 1),
            None => {}
        }
    }

    fn close(&mut self) {
        self.done.extend(self.open.take().filter(|span| span.len() >= SHORTEST));
    }

    /// The stretches, in order, in frames.
    pub(super) fn finish(mut self) -> Vec<Range<usize>> {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "lists of ranges are what is compared")]

    use super::*;

    fn spans(probabilities: impl IntoIterator<Item = f32>) -> Vec<Range<usize>> {
        let mut spans = Spans::default();
        probabilities.into_iter().for_each(|p| spans.push(p));
        spans.finish()
    }

    fn runs(runs: &[(usize, f32)]) -> Vec<Range<usize>> {
        spans(runs.iter().flat_map(|(count, p)| std::iter::repeat_n(*p, *count)))
    }

    #[test]
    fn a_stretch_begins_with_a_likely_frame_and_goes_on_with_less_likely_ones() {
        assert_eq!(runs(&[(5, 0.1), (3, 0.9), (4, 0.25), (30, 0.1)]), [5..12]);
        assert!(runs(&[(40, 0.3)]).is_empty());
    }

    #[test]
    fn a_short_pause_is_part_of_it_and_a_long_one_is_not() {
        assert_eq!(runs(&[(3, 0.9), (8, 0.0), (3, 0.9)]), [0..14]);
        assert_eq!(runs(&[(3, 0.9), (9, 0.0), (3, 0.9)]), [0..3, 12..15]);
    }

    #[test]
    fn a_click_is_no_word() {
        assert!(runs(&[(3, 0.0), (1, 0.99), (30, 0.0)]).is_empty());
    }

    #[test]
    fn the_end_of_the_recording_ends_it() {
        assert_eq!(runs(&[(1, 0.0), (4, 0.9)]), [1..5]);
    }
}
