//! How much less than the encoder's 30 s is enough for a model, by trying.

use std::sync::Arc;

use super::score::{Tally, comparable};
use crate::asr::audio_context::{AudioContext, Margin};
use crate::asr::transcriber::{Request, Transcript};
use crate::audio::samples::Samples;
use crate::checkpoint::profile;
use crate::config::EvalText;
use crate::text::Orthography;

/// Seconds behind the audio that are tried, the cheapest first.
const MARGINS: [f32; 6] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// The share of words that may be others than with all 30 s.
const MOST_DIFFERENT: f64 = 0.005;
/// With fewer words there is not enough to go by.
const LEAST_WORDS: usize = 200;
/// Longer audio has nothing to gain.
const LONGEST: f64 = 25.0;

/// What was found.
pub(super) enum Found {
    /// This is enough.
    Enough(profile::AudioContext),
    /// Nothing less than 30 s is.
    Nothing,
    /// There are too few words in short files to tell.
    TooFewWords(usize),
}

/// Tries margins on what was heard with all 30 s: the first with which the words are the same.
pub(super) fn learn(
    files: &[(Arc<Samples>, Transcript)],
    request: &Request,
    mut transcribe: impl FnMut(&Arc<Samples>, &Request) -> anyhow::Result<Transcript>,
) -> anyhow::Result<Found> {
    let files: Vec<_> = files.iter().filter(|(samples, _)| samples.seconds() <= LONGEST).collect();
    let text = |found: &Transcript| comparable(&found.text, EvalText::Normalized, Orthography::None);
    let words: usize = files.iter().map(|(_, found)| text(found).split_whitespace().count()).sum();
    if words < LEAST_WORDS {
        return Ok(Found::TooFewWords(words));
    }
    let least_likely = files.iter().flat_map(|(_, found)| &found.mean_log_probs).copied().reduce(f32::min);
    for seconds in MARGINS {
        let margin = Margin { seconds, min_log_prob: None };
        let request = Request { audio_context: Some(AudioContext::Margin(margin)), ..request.clone() };
        let mut tally = Tally::default();
        for (samples, full) in &files {
            tally.add(&text(full), &text(&transcribe(samples, &request)?));
        }
        if tally.word_error_rate().is_some_and(|rate| rate <= MOST_DIFFERENT) {
            let min_log_prob = (least_likely.unwrap_or(0.0) * 100.0).floor() / 100.0;
            return Ok(Found::Enough(profile::AudioContext { margin_seconds: seconds, min_log_prob }));
        }
    }
    Ok(Found::Nothing)
}

impl Found {
    /// The same for people.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Enough(rule) => format!(
                "audio shorter than 30 s is heard with {} s of silence behind it: the words are the same",
                rule.margin_seconds
            ),
            Self::Nothing => {
                "short audio is heard with all of the model's 30 s: with less, words differ".to_owned()
            }
            Self::TooFewWords(words) => format!(
                "short audio is heard with all of the model's 30 s: whether less is enough takes files of up to {LONGEST} s \
                 with {LEAST_WORDS} words in all to tell, and there are {words}"
            ),
        }
    }

    pub(super) fn rule(&self) -> Option<profile::AudioContext> {
        match self {
            Self::Enough(rule) => Some(*rule),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn transcript(text: &str) -> Transcript {
        Transcript { text: text.to_owned(), mean_log_probs: vec![-0.123], ..Transcript::default() }
    }

    /// A model that needs so many seconds, and hears others words with less.
    fn learned(seconds: usize, words: usize, needs: f32) -> Found {
        let samples = Arc::new(Samples::from(vec![0.0; seconds * 16_000]));
        let full = transcript(&"one ".repeat(words));
        let files = [(samples, full)];
        learn(&files, &Request::default(), |_, request| {
            let Some(AudioContext::Margin(margin)) = request.audio_context else { panic!("{request:?}") };
            Ok(transcript(&if margin.seconds >= needs { "one ".repeat(words) } else { "two ".repeat(words) }))
        })
        .unwrap()
    }

    #[test]
    fn the_first_margin_that_changes_nothing_it_is() {
        let rule = learned(20, 300, 0.9).rule().unwrap();
        assert_eq!(rule, profile::AudioContext { margin_seconds: 1.0, min_log_prob: -0.13 });
    }

    #[test]
    fn without_one_or_without_words_there_is_no_rule() {
        assert!(matches!(learned(20, 300, 9.0), Found::Nothing));
        assert!(matches!(learned(20, 100, 0.0), Found::TooFewWords(100)));
        assert!(matches!(learned(26, 300, 0.0), Found::TooFewWords(0)));
    }
}
