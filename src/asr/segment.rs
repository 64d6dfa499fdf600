//! Segments: the stretches of text between timestamp tokens. Pure.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::model::Token;
use super::timing::TimedWord;
use super::vocabulary::Vocabulary;

/// Which times a transcript carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timestamps {
    /// None but those of the windows.
    #[default]
    None,
    /// Those that the model writes between segments.
    Segment,
    /// One for each word.
    Word,
}

/// A stretch of text with its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// The text, trimmed.
    pub text: String,
    /// Its words, where their times were asked for: their texts together are that of the segment.
    pub words: Vec<TimedWord>,
}

/// The segments of a window's tokens, with times in seconds from the window's start. Text before the
/// first timestamp starts at 0; text after the last ends at `duration`, the window's length in seconds. No
/// time is later than that. A character that a timestamp stands in belongs to the segment that it ends in.
pub fn segments(vocabulary: &Vocabulary, tokens: &[Token], duration: f64) -> Vec<Segment> {
    let mut found = Vec::new();
    let mut start = 0.0;
    let mut text: Vec<Token> = Vec::new();
    let mut close = |text: &[Token], start: f64, end: f64| {
        let words = vocabulary.text(text).trim().to_owned();
        if !words.is_empty() {
            found.push(Segment {
                start: start.min(duration),
                end: end.min(duration).max(start),
                text: words,
                words: Vec::new(),
            });
        }
    };
    for &token in tokens {
        match vocabulary.time(token) {
            Some(time) => {
                let rest = text.split_off(vocabulary.whole(&text));
                close(&text, start, time);
                (start, text) = (time, rest);
            }
            None if vocabulary.is_text(token) => text.push(token),
            None => {}
        }
    }
    close(&text, start, duration);
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::vocabulary::SpecialTokens;
    use super::*;

    /// Text tokens 0 to 9 are the digits, 10 ends, times begin at 100.
    fn vocabulary() -> Vocabulary {
        let special = SpecialTokens {
            end_of_text: 10,
            start_of_transcript: 11,
            translate: None,
            transcribe: None,
            start_of_prev: None,
            no_speech: None,
            no_timestamps: Some(99),
            timestamp_begin: Some(100),
            languages: BTreeMap::new(),
            added_text: BTreeMap::new(),
        };
        Vocabulary::of((0..10).map(|d| format!(" {d}").into_bytes()).collect(), special)
    }

    fn segment(start: f64, end: f64, text: &str) -> Segment {
        Segment { start, end, text: text.to_owned(), words: Vec::new() }
    }

    #[test]
    fn pairs_of_times_enclose_segments() {
        let found = segments(&vocabulary(), &[100, 1, 2, 150, 200, 3, 250], 30.0);
        assert_eq!(found, [segment(0.0, 1.0, "1 2"), segment(2.0, 3.0, "3")]);
    }

    #[test]
    fn a_character_across_a_time_stays_whole() {
        let special = vocabulary().special().clone();
        let text: [&[u8]; 4] = [b" a", b"\xc9", b"\x9b", b"z"]; // ɛ is C9 9B
        let vocabulary = Vocabulary::of(text.iter().map(|t| t.to_vec()).collect(), special);
        let found = segments(&vocabulary, &[100, 0, 1, 150, 2, 3, 200], 30.0);
        assert_eq!(found, [segment(0.0, 1.0, "a"), segment(1.0, 2.0, "ɛz")]);
    }

    #[test]
    fn text_without_a_closing_time_ends_with_the_window() {
        assert_eq!(
            segments(&vocabulary(), &[100, 1, 150, 2], 4.0),
            [segment(0.0, 1.0, "1"), segment(1.0, 4.0, "2")]
        );
    }

    #[test]
    fn no_timestamps_at_all_is_one_segment() {
        assert_eq!(segments(&vocabulary(), &[1, 2, 3], 2.5), [segment(0.0, 2.5, "1 2 3")]);
    }

    #[test]
    fn times_past_the_window_are_held_to_it() {
        assert_eq!(segments(&vocabulary(), &[100, 1, 1600], 2.0), [segment(0.0, 2.0, "1")]);
    }

    #[test]
    fn silence_has_no_segment() {
        assert_eq!(segments(&vocabulary(), &[100, 150], 30.0), []);
    }
}
