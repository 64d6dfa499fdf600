//! How much of the encoder's 30 s a shorter window is heard with. Pure.
//!
//! Whisper was trained on 30 s, filled up with silence, and the encoder's work grows with all of it. A message of 5 s can be
//! heard with 6 s of positions in a fraction of the time, but that is not what the model has learned: how much it can bear
//! is a fact about each checkpoint, which `convert --probe` measures on the user's own recordings. Where a text then looks
//! wrong, the window is heard once more with all of it.

use serde::{Deserialize, Serialize};

use super::search::{Hypothesis, SearchOptions};

/// Samples of a position of the encoder: two mel frames of 160.
const SAMPLES_PER_POSITION: usize = 320;
/// Positions per second.
const POSITIONS_PER_SECOND: f32 = 50.0;
/// The encoder's kernels work on blocks of so many.
const BLOCK: usize = 8;
/// The fewest positions that are of use: 1 s.
const LEAST: usize = 50;

/// What a checkpoint was seen to bear.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// Silence behind the audio, in seconds.
    pub seconds: f32,
    /// A text whose mean log-probability is below this is doubtful; `None` where nobody has measured it.
    pub min_log_prob: Option<f32>,
}

/// How much of the encoder's 30 s is computed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum AudioContext {
    /// All of it, as in training.
    #[default]
    Full,
    /// As long as the audio is, and a margin.
    Margin(Margin),
}

impl AudioContext {
    /// Positions for so many samples, of all that there are; `None` for all.
    pub fn positions(self, samples: usize, all: usize) -> Option<usize> {
        let Self::Margin(margin) = self else { return None };
        let margin = (margin.seconds.max(0.0) * POSITIONS_PER_SECOND).ceil() as usize;
        let positions = (samples.div_ceil(SAMPLES_PER_POSITION) + margin).next_multiple_of(BLOCK).max(LEAST);
        Some(positions).filter(|positions| *positions < all)
    }

    /// Whether a text that was found with less than all does not look right: none, one without an end, one that loops, or
    /// one that the model itself finds less likely than those that it is used to write.
    pub fn is_doubtful(self, found: &Hypothesis, looped: bool, search: SearchOptions) -> bool {
        let Self::Margin(margin) = self else { return false };
        // A limit that somebody set says nothing.
        let endless = !found.ended && search.max_new_tokens == usize::MAX;
        let unlikely = margin.min_log_prob.is_some_and(|least| found.mean_log_prob() < least);
        endless || looped || unlikely || found.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: AudioContext = AudioContext::Margin(Margin { seconds: 0.5, min_log_prob: Some(-0.5) });

    #[test]
    fn the_length_is_that_of_the_audio_and_a_margin() {
        assert_eq!(MARGIN.positions(5 * 16_000, 1500), Some(280)); // 250 and 25, in blocks of 8
        assert_eq!(MARGIN.positions(1, 1500), Some(50));
        assert_eq!(MARGIN.positions(29 * 16_000, 1500), Some(1480));
        assert_eq!(MARGIN.positions(30 * 16_000, 1500), None);
        assert_eq!(AudioContext::Full.positions(1, 1500), None);
        let broken = AudioContext::Margin(Margin { seconds: f32::NAN, min_log_prob: None });
        assert_eq!(broken.positions(16_000, 1500), Some(56));
    }

    #[test]
    fn what_looks_wrong_is_doubtful() {
        let fine = Hypothesis { tokens: vec![1], log_probs: vec![-0.1], sum_log_prob: -0.2, ended: true };
        let search = SearchOptions::default();
        assert!(!MARGIN.is_doubtful(&fine, false, search));
        assert!(MARGIN.is_doubtful(&fine, true, search));
        assert!(MARGIN.is_doubtful(&Hypothesis { sum_log_prob: -2.0, ..fine.clone() }, false, search));
        assert!(MARGIN.is_doubtful(&Hypothesis { tokens: vec![], ..fine.clone() }, false, search));
        let cut = Hypothesis { ended: false, ..fine.clone() };
        assert!(MARGIN.is_doubtful(&cut, false, search));
        assert!(!MARGIN.is_doubtful(&cut, false, SearchOptions { max_new_tokens: 1, ..search }));
        assert!(!AudioContext::Full.is_doubtful(&Hypothesis::default(), true, search));
    }
}
