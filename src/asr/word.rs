//! What a word is. Pure.
//!
//! A text is split at white space, and in scripts without spaces after every character.

use std::ops::Range;

/// A word with the punctuation that clings to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its text.
    pub text: String,
    /// What is compared: no punctuation, lower case.
    pub key: String,
    /// Whether a space stands before it (not so within scripts that write none).
    pub spaced: bool,
    /// Which text it is from, for who joins several.
    pub part: usize,
    /// Its bytes there.
    pub range: Range<usize>,
}

impl Word {
    /// Its trailing punctuation.
    fn tail(&self) -> &str {
        let core = self.text.trim_end_matches(|c| !is_letter(c));
        self.text.get(core.len()..).unwrap_or_default()
    }

    /// The same word with another one's trailing punctuation.
    pub fn with_tail_of(mut self, other: &Self) -> Self {
        self.text.truncate(self.text.len() - self.tail().len());
        self.text.push_str(other.tail());
        self
    }
}

/// The text of words that follow each other.
pub fn text(words: &[Word]) -> String {
    let mut text = String::new();
    for word in words {
        if word.spaced && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&word.text);
    }
    text
}

/// Splits a text into words; in scripts without spaces every character is one. Punctuation that stands alone
/// clings to the word before it.
pub fn words(text: &str, part: usize) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut begin = 0;
    loop {
        let ahead = text.get(begin..).unwrap_or_default().trim_start();
        begin = text.len() - ahead.len();
        let Some(chunk) = ahead.split_whitespace().next() else { break };
        let mut spaced = true;
        let mut rest = chunk;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(piece_len(rest));
            rest = behind;
            let range = begin..begin + piece.len();
            begin = range.end;
            let key: String = piece.chars().filter(|&c| is_letter(c)).flat_map(char::to_lowercase).collect();
            match words.last_mut() {
                Some(last) if key.is_empty() => {
                    last.text.extend(spaced.then_some(" "));
                    last.text.push_str(piece);
                    last.range.end = range.end;
                }
                _ => words.push(Word { text: piece.to_owned(), key, spaced, part, range }),
            }
            spaced = false;
        }
    }
    words
}

/// The length of the first word of a text without white space.
fn piece_len(text: &str) -> usize {
    let mut characters = text.char_indices();
    match characters.next() {
        Some((_, first)) if is_unspaced(first) => first.len_utf8(),
        _ => characters.find(|&(_, c)| is_unspaced(c)).map_or(text.len(), |(at, _)| at),
    }
}

/// Letters and digits, and the marks that change a letter ("ḍ" may be written as two characters).
pub fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}')
}

/// Characters of scripts that are written without spaces: Thai to Khmer, kana and Han.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test that fails may panic")]
    use super::*;

    #[test]
    fn words_know_where_they_stand() {
        let source = "  Azul,  \u{25b}li -  ad t-id-awi ! ";
        let found = words(source, 3);
        let texts: Vec<&str> = found.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["Azul,", "\u{25b}li -", "ad", "t-id-awi !"]);
        for word in &found {
            let there: Vec<&str> = source[word.range.clone()].split_whitespace().collect();
            assert_eq!(there.join(" "), word.text);
            assert_eq!(word.part, 3);
        }
        assert_eq!(text(&found), "Azul, \u{25b}li - ad t-id-awi !");
    }

    #[test]
    fn scripts_without_spaces_are_split_at_each_character() {
        let source = "\u{4eca}\u{65e5}\u{3002} ok\u{65e5}";
        let found = words(source, 0);
        let texts: Vec<&str> = found.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["\u{4eca}", "\u{65e5}\u{3002}", "ok", "\u{65e5}"]);
        let spaced: Vec<bool> = found.iter().map(|word| word.spaced).collect();
        assert_eq!(spaced, [true, false, true, false]);
        assert_eq!(text(&found), source);
    }

    #[test]
    fn nothing_has_no_words() {
        assert_eq!(words("", 0), []);
        assert_eq!(words(" \n ", 0), []);
        assert_eq!(text(&[]), "");
    }
}
