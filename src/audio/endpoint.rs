//! Where a phrase begins and ends, from the probability of a voice in each frame. Pure.
//!
//! What is between two phrases is not decoded. So, as with whole recordings, a phrase begins before its first voiced
//! frame, and no quiet word at its edge is lost.

use super::excerpt::MARGIN;
use super::voice::live::FRAME_SAMPLES;
use super::voice::{BEGIN, GO_ON};

/// A click is shorter than so many voiced frames, a word is not.
const SHORTEST: usize = 2;
/// So many frames without a voice end what was a click.
const CLICK: usize = 8;

/// When a phrase ends, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhraseLimits {
    /// The silence that ends it.
    pub silence: usize,
    /// No silence ends it before it is so long.
    pub shortest: usize,
    /// A longer one has to be cut by whoever knows where its words are.
    pub longest: usize,
}

/// A phrase that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPhrase {
    /// Its first sample.
    pub start: usize,
    /// Behind the last sample of its last voiced frame.
    pub voice_end: usize,
}

/// A phrase that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedPhrase {
    /// Its first sample.
    pub start: usize,
    /// Behind the last sample of its last voiced frame.
    pub voice_end: usize,
    /// Behind its last sample.
    pub end: usize,
}

/// Finds phrases in a stream. All positions are samples from the start of the stream.
#[derive(Debug)]
pub struct Endpoint {
    limits: PhraseLimits,
    /// Frames that were looked at, in samples.
    heard: usize,
    /// No phrase begins before this: the end of the last one.
    free_from: usize,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    phrase: OpenPhrase,
    voiced_frames: usize,
}

impl Endpoint {
    /// One that has heard nothing.
    pub fn new(limits: PhraseLimits) -> Self {
        Self { limits, heard: 0, free_from: 0, open: None }
    }

    /// When a phrase ends.
    pub fn limits(&self) -> PhraseLimits {
        self.limits
    }

    /// Up to where frames were looked at.
    pub fn heard(&self) -> usize {
        self.heard
    }

    /// The phrase that goes on, once it is sure to be one.
    pub fn open(&self) -> Option<OpenPhrase> {
        self.open.filter(|open| open.voiced_frames >= SHORTEST).map(|open| open.phrase)
    }

    /// The first sample that may still be of interest: of a phrase that goes on, or of one that is to come.
    pub fn needed_from(&self) -> usize {
        let start = self.open.map(|open| open.phrase.start);
        start.unwrap_or_else(|| self.start_at(self.heard))
    }

    /// Takes the next frame, which may end a phrase: the result.
    pub fn push(&mut self, probability: f32) -> Option<EndedPhrase> {
        let begin = self.heard;
        self.heard += FRAME_SAMPLES;
        let Some(open) = &mut self.open else {
            if probability >= BEGIN {
                let phrase = OpenPhrase { start: self.start_at(begin), voice_end: self.heard };
                self.open = Some(Open { phrase, voiced_frames: 1 });
            }
            return None;
        };
        if probability >= GO_ON {
            open.voiced_frames += 1;
            open.phrase.voice_end = self.heard;
            return None;
        }
        let silence = self.heard - open.phrase.voice_end;
        if open.voiced_frames < SHORTEST {
            if silence >= CLICK * FRAME_SAMPLES {
                self.open = None;
            }
            return None;
        }
        let long_enough = self.heard - open.phrase.start >= self.limits.shortest;
        if silence >= self.limits.silence && long_enough { self.end() } else { None }
    }

    /// Ends the phrase that goes on, if there is one, here.
    pub fn end(&mut self) -> Option<EndedPhrase> {
        let open = self.open.take().filter(|open| open.voiced_frames >= SHORTEST)?;
        self.free_from = self.heard;
        let OpenPhrase { start, voice_end } = open.phrase;
        Some(EndedPhrase { start, voice_end, end: self.heard })
    }

    /// Ends the phrase that goes on at an earlier sample: the next one begins there, if it was heard in what is left.
    pub fn cut(&mut self, at: usize) {
        let Some(open) = &mut self.open else { return };
        self.free_from = at;
        if open.phrase.voice_end > at {
            open.phrase.start = at;
        } else {
            self.open = None;
        }
    }

    fn start_at(&self, voice: usize) -> usize {
        voice.saturating_sub(MARGIN).max(self.free_from)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "lists of ranges are what is compared")]

    use std::ops::Range;

    use super::*;

    const LIMITS: PhraseLimits =
        PhraseLimits { silence: 10 * FRAME_SAMPLES, shortest: 0, longest: 1000 * FRAME_SAMPLES };

    fn frames(endpoint: &mut Endpoint, runs: &[(usize, f32)]) -> Vec<Range<usize>> {
        let all = runs.iter().flat_map(|(count, p)| std::iter::repeat_n(*p, *count));
        let ends: Vec<_> = all.filter_map(|p| endpoint.push(p)).collect();
        ends.into_iter().map(|ended| ended.start / FRAME_SAMPLES..ended.end / FRAME_SAMPLES).collect()
    }

    fn phrases(limits: PhraseLimits, runs: &[(usize, f32)]) -> Vec<Range<usize>> {
        frames(&mut Endpoint::new(limits), runs)
    }

    #[test]
    fn silence_ends_a_phrase_and_a_margin_is_before_it() {
        // One second is 31.25 frames.
        let found = phrases(LIMITS, &[(100, 0.0), (20, 0.9), (9, 0.0), (5, 0.3), (12, 0.0)]);
        assert_eq!(found, [68..144]);
    }

    #[test]
    fn the_margin_does_not_reach_into_the_phrase_before() {
        let found = phrases(LIMITS, &[(20, 0.9), (12, 0.0), (20, 0.9), (12, 0.0)]);
        assert_eq!(found, [0..30, 30..62]);
    }

    #[test]
    fn a_short_phrase_waits() {
        let limits = PhraseLimits { shortest: 40 * FRAME_SAMPLES, ..LIMITS };
        assert_eq!(phrases(limits, &[(5, 0.9), (60, 0.0)]).first(), Some(&(0..40)));
    }

    #[test]
    fn a_click_is_no_phrase() {
        let mut endpoint = Endpoint::new(LIMITS);
        assert_eq!(frames(&mut endpoint, &[(40, 0.0), (1, 0.9), (30, 0.0)]).len(), 0);
        assert_eq!((endpoint.open(), endpoint.end()), (None, None));
    }

    #[test]
    fn what_goes_on_can_be_ended_and_cut() {
        let mut endpoint = Endpoint::new(LIMITS);
        frames(&mut endpoint, &[(50, 0.9)]);
        endpoint.cut(20 * FRAME_SAMPLES);
        let open = OpenPhrase { start: 20 * FRAME_SAMPLES, voice_end: 50 * FRAME_SAMPLES };
        assert_eq!(endpoint.open(), Some(open));
        let OpenPhrase { start, voice_end } = open;
        assert_eq!(endpoint.end(), Some(EndedPhrase { start, voice_end, end: voice_end }));
        assert_eq!(endpoint.end(), None);
        // Nobody spoke behind the cut.
        frames(&mut endpoint, &[(5, 0.9), (5, 0.0)]);
        endpoint.cut(57 * FRAME_SAMPLES);
        assert_eq!((endpoint.open(), endpoint.needed_from()), (None, 57 * FRAME_SAMPLES));
    }

    #[test]
    fn old_samples_are_not_needed_for_ever() {
        let mut endpoint = Endpoint::new(LIMITS);
        frames(&mut endpoint, &[(1000, 0.0)]);
        assert_eq!(endpoint.needed_from(), 1000 * FRAME_SAMPLES - MARGIN);
    }
}
