//! Where to cut a phrase that is too long. Pure.

use std::ops::Range;

use super::phrase::{Said, word_ends};
use crate::asr::vocabulary::Vocabulary;
use crate::audio::SAMPLE_RATE;

/// What ends closer to the end of the audio than this, in seconds, may be half a word.
const UNSURE: f64 = 1.0;
/// The part of the phrase, at its end, in which it is cut: no more has to be heard again.
const LAST: f64 = 0.5;

/// A place between two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Samples from the start of the phrase.
    pub(super) samples: usize,
    /// The tokens in front of it.
    pub(super) tokens: usize,
}

/// Between which two words to cut: where the gap between them is widest, in the last half, and not before the first
/// `committed` tokens are over. Where there is no such place, before the last word; where there is one word alone, behind
/// what is committed or, without that, at the end.
pub(super) fn place(vocabulary: &Vocabulary, said: &[Said], committed: usize, range: &Range<usize>) -> Place {
    let length = range.len() as f64 / f64::from(SAMPLE_RATE);
    let ends = word_ends(vocabulary, said);
    let gap = |behind: usize| {
        let left = behind.checked_sub(1).and_then(|index| said.get(index))?.time.end.min(length);
        let right = said.get(behind).map_or(length, |said| said.time.start).max(left);
        Some((behind, right - left, left.midpoint(right)))
    };
    let mut gaps =
        (committed.max(1)..said.len()).filter(|behind| ends.get(*behind) == Some(&true)).filter_map(gap);
    let is_late = |(_, width, middle): &(usize, f64, f64)| {
        middle - width / 2.0 >= length * LAST && middle + width / 2.0 <= length - UNSURE
    };
    // Of gaps that are alike, the last: less is heard twice.
    let widest = gaps.clone().filter(is_late).max_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)));
    match widest.or_else(|| gaps.next_back()).or_else(|| gap(committed)) {
        Some((tokens, _, middle)) => {
            let samples = (middle * f64::from(SAMPLE_RATE)) as usize;
            Place { samples: samples.clamp(1, range.len()), tokens }
        }
        None => Place { samples: range.len(), tokens: said.len() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        Vocabulary::of_text([" a", "b", " c"].iter().map(|t| t.as_bytes().to_vec()).collect())
    }

    fn place_in(said: &[(u32, f64, f64)], committed: usize) -> Place {
        let said: Vec<Said> = said
            .iter()
            .map(|(token, start, end)| Said { token: *token, log_prob: 0.0, time: *start..*end })
            .collect();
        place(&vocabulary(), &said, committed, &(0..20 * SAMPLE_RATE as usize))
    }

    const SAID: [(u32, f64, f64); 6] =
        [(0, 0.0, 1.0), (2, 5.0, 11.0), (0, 11.5, 12.0), (1, 13.0, 13.5), (2, 13.6, 15.0), (0, 19.5, 20.0)];

    #[test]
    fn the_widest_gap_between_words_in_the_last_half_it_is() {
        assert_eq!(place_in(&SAID, 0), Place { samples: 180_000, tokens: 2 });
    }

    #[test]
    fn what_is_committed_stays_in_front() {
        assert_eq!(place_in(&SAID, 3).tokens, 4);
        assert_eq!(place_in(&SAID, 5), Place { samples: 276_000, tokens: 5 });
        assert_eq!(place_in(&SAID, 6), Place { samples: 320_000, tokens: 6 });
    }

    #[test]
    fn without_two_words_it_is_the_end() {
        assert_eq!(place_in(&[], 0), Place { samples: 320_000, tokens: 0 });
        assert_eq!(place_in(&[(0, 1.0, 19.5)], 0), Place { samples: 320_000, tokens: 1 });
        let inside_a_word = [(0, 1.0, 12.0), (1, 13.0, 14.0)];
        assert_eq!(place_in(&inside_a_word, 0), Place { samples: 320_000, tokens: 2 });
    }

    #[test]
    fn words_without_a_gap_are_cut_at_their_border() {
        let found = place_in(&[(0, 1.0, 12.0), (2, 12.0, 14.0), (0, 14.0, 15.0)], 0);
        assert_eq!(found, Place { samples: 224_000, tokens: 2 });
    }
}
