//! Error rates of words and characters. Pure.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::config::EvalText;
use crate::text::Orthography;

/// A text as it is compared: one space between words, none around them.
pub fn comparable(text: &str, how: EvalText, orthography: Orthography) -> String {
    let standard = orthography.normalize(text);
    let text: String = match how {
        EvalText::Written => standard.nfc().collect(),
        EvalText::Normalized => {
            let lower = standard.nfc().collect::<String>().to_lowercase();
            lower.nfc().map(|c| if c.is_alphanumeric() || is_combining_mark(c) { c } else { ' ' }).collect()
        }
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Errors and what they are counted against, over many texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Words to change, add or remove to come from what was found to what was said.
    pub word_errors: usize,
    /// Words that were said.
    pub words: usize,
    /// The same for characters, the spaces between words included.
    pub character_errors: usize,
    /// Characters that were said.
    pub characters: usize,
}

impl Tally {
    /// Counts one text, both sides made [`comparable`].
    pub fn add(&mut self, said: &str, found: &str) {
        let words = |text| str::split(text, ' ').filter(|word| !word.is_empty()).collect::<Vec<_>>();
        let (said_words, found_words) = (words(said), words(found));
        self.word_errors += strsim::generic_levenshtein(&said_words, &found_words);
        self.words += said_words.len();
        self.character_errors += strsim::levenshtein(said, found);
        self.characters += said.chars().count();
    }

    /// Word errors for each word that was said; more than 1 is possible. `None` where nothing was said.
    pub fn word_error_rate(&self) -> Option<f64> {
        (self.words > 0).then(|| self.word_errors as f64 / self.words as f64)
    }

    /// The same for characters.
    pub fn character_error_rate(&self) -> Option<f64> {
        (self.characters > 0).then(|| self.character_errors as f64 / self.characters as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn normalized(text: &str) -> String {
        comparable(text, EvalText::Normalized, Orthography::None)
    }

    #[test]
    fn case_punctuation_and_composition_do_not_count() {
        assert_eq!(normalized("  Azul,  FELL-awen! «D\u{323}as»\n"), "azul fell awen ḍas");
        assert_eq!(normalized("İ.T"), normalized("i\u{307} t"));
        assert_eq!(normalized("12 % — a°b"), "12 a b");
        assert_eq!(normalized("?!"), "");
    }

    #[test]
    fn as_written_they_do() {
        let written = |text| comparable(text, EvalText::Written, Orthography::None);
        assert_eq!(written("  Azul,\tFELL-awen! d\u{323}"), "Azul, FELL-awen! ḍ");
    }

    #[test]
    fn the_spelling_goes_first() {
        // Lower case would make of Σ what no row of Greek words has.
        let kabyle = |text| comparable(text, EvalText::Normalized, Orthography::Kabyle);
        assert_eq!(kabyle("Σli d aγrum."), kabyle("Ɛli d aɣrum"));
        assert_ne!(normalized("Σli d aγrum."), normalized("Ɛli d aɣrum"));
    }

    #[test]
    fn errors_are_the_fewest_changes_over_all_texts() {
        let mut tally = Tally::default();
        tally.add("seven three zero nine", "seven tree zero zero nine"); // one changed, one added
        tally.add("one two", ""); // two removed
        tally.add("", "a"); // one added where nothing was said
        assert_eq!((tally.word_errors, tally.words), (5, 6));
        assert_eq!((tally.character_errors, tally.characters), (1 + 5 + 7 + 1, 21 + 7));
        assert!((tally.word_error_rate().unwrap() - 5.0 / 6.0).abs() < 1e-12);
        assert!((tally.character_error_rate().unwrap() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_rate_of_nothing_is_none() {
        let mut tally = Tally::default();
        tally.add("", "noise");
        assert_eq!((tally.word_error_rate(), tally.character_error_rate()), (None, None));
    }

    #[test]
    fn characters_are_not_bytes() {
        let mut tally = Tally::default();
        tally.add("aɣrum ɛli", "ayrum eli");
        assert_eq!((tally.character_errors, tally.characters), (2, 9));
    }
}
