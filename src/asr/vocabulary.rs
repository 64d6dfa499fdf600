//! Tokens and text: what each id stands for.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::model::{Model, Token};

/// The ids that are not text, as the checkpoint's own vocabulary numbers them. A vocabulary may lack all
/// but the first two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTokens {
    /// `<|endoftext|>`
    pub end_of_text: Token,
    /// `<|startoftranscript|>`
    pub start_of_transcript: Token,
    /// `<|translate|>`
    pub translate: Option<Token>,
    /// `<|transcribe|>`
    pub transcribe: Option<Token>,
    /// `<|startofprev|>`
    pub start_of_prev: Option<Token>,
    /// `<|nospeech|>`
    pub no_speech: Option<Token>,
    /// `<|notimestamps|>`
    pub no_timestamps: Option<Token>,
    /// `<|0.00|>`
    pub timestamp_begin: Option<Token>,
    /// Language tokens by code, such as `en`. Empty for English-only models.
    pub languages: BTreeMap<String, Token>,
    /// Tokens behind the special ones that are text after all, added by a fine-tune.
    pub added_text: BTreeMap<Token, String>,
}

/// The bytes of all text tokens, and which ids are special.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    bytes: Vec<Vec<u8>>,
    special: SpecialTokens,
}

impl Vocabulary {
    /// The vocabulary of a loaded model, with the special ids of its checkpoint.
    pub fn new(model: &Model, special: SpecialTokens) -> Self {
        Self { bytes: model.token_bytes(), special }
    }

    /// A vocabulary of the given text tokens, where there is no model.
    pub(crate) fn of(bytes: Vec<Vec<u8>>, special: SpecialTokens) -> Self {
        Self { bytes, special }
    }

    /// The bytes of the text tokens, by id.
    pub fn text_bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.iter().take(self.special.end_of_text as usize).map(Vec::as_slice)
    }

    /// The bytes of all tokens that the model's file has any for, by id: the text tokens, and some more.
    pub(crate) fn all_bytes(&self) -> &[Vec<u8>] {
        &self.bytes
    }

    /// The special ids.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// Whether a token is text. The ids from `<|endoftext|>` on are not, but for those that were added as
    /// text: GGML files carry no bytes for them, only whisper.cpp's placeholders.
    pub fn is_text(&self, token: Token) -> bool {
        token < self.special.end_of_text || self.special.added_text.contains_key(&token)
    }

    /// The time that a timestamp token stands for, in seconds from the window's start.
    pub fn time(&self, token: Token) -> Option<f64> {
        const SECONDS_PER_STEP: f64 = 0.02;
        /// 30 s; what comes behind was added by a fine-tune.
        const LAST_STEP: Token = 1500;
        let steps = token.checked_sub(self.special.timestamp_begin?).filter(|steps| *steps <= LAST_STEP)?;
        Some(f64::from(steps) * SECONDS_PER_STEP)
    }

    /// The text of `tokens`, special ones left out. Bytes are joined before they are decoded, because a
    /// character can span tokens; what is no UTF-8 then becomes U+FFFD, as in transformers.
    pub fn text(&self, tokens: &[Token]) -> String {
        let mut joined = Vec::new();
        for token in tokens.iter().filter(|token| self.is_text(**token)) {
            joined.extend_from_slice(self.bytes(*token));
        }
        String::from_utf8_lossy(&joined).into_owned()
    }

    /// How many of `tokens` are whole characters: all but the last ones, where these end inside of one.
    pub fn whole(&self, tokens: &[Token]) -> usize {
        let is_whole = |count: &usize| {
            let bytes = tokens.iter().take(*count).flat_map(|token| self.bytes(*token)).copied();
            let bytes: Vec<u8> = bytes.collect();
            let end = bytes.utf8_chunks().last().map(|chunk| chunk.invalid()).unwrap_or_default();
            // An error without a length is one that more bytes could mend.
            str::from_utf8(end).is_ok_and(str::is_empty)
                || str::from_utf8(end).is_err_and(|error| error.error_len().is_some())
        };
        // A character has four bytes at most.
        (tokens.len().saturating_sub(3)..=tokens.len()).rev().find(is_whole).unwrap_or(tokens.len())
    }

    /// The same, and which bytes of it each text token stands for. A character that spans tokens belongs to all of them.
    pub fn text_by_token(&self, tokens: &[Token]) -> (String, Vec<Range<usize>>) {
        let mut joined = Vec::new();
        let mut ends = Vec::new();
        for token in tokens.iter().filter(|token| self.is_text(**token)) {
            joined.extend_from_slice(self.bytes(*token));
            ends.push(joined.len());
        }
        let mut text = String::with_capacity(joined.len());
        // The character of the text that each of the joined bytes went into.
        let mut characters: Vec<Range<usize>> = Vec::with_capacity(joined.len());
        for chunk in joined.utf8_chunks() {
            let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            let valid = chunk.valid().chars().map(|c| (c, c.len_utf8()));
            for (character, bytes) in valid.chain(invalid.map(|c| (c, chunk.invalid().len()))) {
                let begin = text.len();
                text.push(character);
                characters.extend(std::iter::repeat_n(begin..text.len(), bytes));
            }
        }
        let (mut begin, mut before) = (0, 0);
        let range = |end: usize| {
            let own = characters.get(begin..end).unwrap_or_default();
            let range = own.first().map_or(before, |c| c.start)..own.last().map_or(before, |c| c.end);
            (begin, before) = (end, range.end);
            range
        };
        let ranges = ends.into_iter().map(range).collect();
        (text, ranges)
    }

    fn bytes(&self, token: Token) -> &[u8] {
        let added = self.special.added_text.get(&token).map(|text| text.as_bytes());
        added.or_else(|| self.bytes.get(token as usize).map(Vec::as_slice)).unwrap_or_default()
    }

    /// The code of a language token.
    pub fn language(&self, token: Token) -> Option<&str> {
        self.special.languages.iter().find(|(_, id)| **id == token).map(|(code, _)| code.as_str())
    }
}

#[cfg(test)]
impl Vocabulary {
    /// For tests: these tokens of text, then the end and the start, and no other special tokens.
    pub(super) fn of_text(text: Vec<Vec<u8>>) -> Self {
        let end_of_text = text.len() as Token;
        let special = SpecialTokens {
            end_of_text,
            start_of_transcript: end_of_text + 1,
            translate: None,
            transcribe: None,
            start_of_prev: None,
            no_speech: None,
            no_timestamps: None,
            timestamp_begin: None,
            languages: BTreeMap::new(),
            added_text: BTreeMap::new(),
        };
        Self::of(text, special)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn special() -> SpecialTokens {
        SpecialTokens {
            end_of_text: 4,
            start_of_transcript: 5,
            translate: None,
            transcribe: Some(7),
            start_of_prev: None,
            no_speech: None,
            no_timestamps: Some(8),
            timestamp_begin: Some(9),
            languages: BTreeMap::from([("kab".to_owned(), 6)]),
            added_text: BTreeMap::from([(2000, " azul".to_owned())]),
        }
    }

    fn vocabulary() -> Vocabulary {
        let text: [&[u8]; 4] = [b" a", b"\xc9", b"\x9b", b"z"]; // ɛ is C9 9B
        Vocabulary::of(text.iter().map(|t| t.to_vec()).collect(), special())
    }

    #[test]
    fn a_character_that_spans_tokens_stays_whole() {
        assert_eq!(vocabulary().text(&[0, 1, 2, 3]), " a\u{25b}z");
    }

    #[test]
    fn tokens_know_their_part_of_the_text() {
        let (text, ranges) = vocabulary().text_by_token(&[5, 0, 1, 2, 9, 3, 2000]);
        assert_eq!(text, " a\u{25b}z azul");
        // Both halves of the character have all of it.
        assert_eq!(ranges, [0..2, 2..4, 2..4, 4..5, 5..10]);
        // Half a character takes three bytes.
        let (text, ranges) = vocabulary().text_by_token(&[1, 3, 2]);
        assert_eq!((text.as_str(), ranges), ("\u{fffd}z\u{fffd}", vec![0..3, 3..4, 4..7]));
        for tokens in [&[][..], &[0, 1, 2, 3, 1, 1, 2, 0, 2, 2]] {
            assert_eq!(vocabulary().text_by_token(tokens).0, vocabulary().text(tokens));
        }
    }

    #[test]
    fn a_character_is_whole_when_its_last_byte_is_there() {
        let vocabulary = vocabulary();
        let whole = |tokens: &[Token]| vocabulary.whole(tokens);
        assert_eq!((whole(&[]), whole(&[0]), whole(&[0, 1]), whole(&[0, 1, 2])), (0, 1, 1, 3));
        // Broken for good: nothing that follows would mend it.
        assert_eq!((whole(&[0, 2]), whole(&[1, 0])), (2, 2));
    }

    #[test]
    fn special_tokens_are_no_text() {
        assert_eq!(vocabulary().text(&[5, 6, 7, 8, 9, 0, 10, 4]), " a");
    }

    #[test]
    fn added_text_is_text_and_no_time() {
        assert_eq!(vocabulary().text(&[0, 2000, 2001]), " a azul");
        assert_eq!((vocabulary().time(1509), vocabulary().time(2000)), (Some(30.0), None));
    }

    #[test]
    fn half_a_character_is_replaced_not_lost() {
        assert_eq!(vocabulary().text(&[0, 1]), " a\u{fffd}");
    }

    #[test]
    fn timestamps_count_in_steps_of_20_ms() {
        assert_eq!(vocabulary().time(9), Some(0.0));
        assert!((vocabulary().time(59).unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(vocabulary().time(8), None);
    }

    #[test]
    fn languages_are_found_by_their_token() {
        assert_eq!(vocabulary().language(6), Some("kab"));
        assert_eq!(vocabulary().language(7), None);
    }
}
