//! The text of a stream, which only grows. Pure.

use crate::asr::word::is_unspaced;
use crate::text::Orthography;

/// What was committed so far, in the spelling that was asked for and as the model wrote it.
#[derive(Debug, Default)]
pub(super) struct Growing {
    orthography: Orthography,
    text: String,
    raw: String,
    /// A space is owed before what comes next: white space at the end of a piece waits for its neighbour.
    owed: bool,
    /// What comes next begins a phrase.
    begins: bool,
}

impl Growing {
    pub(super) fn new(orthography: Orthography) -> Self {
        Self { orthography, ..Self::default() }
    }

    /// All of it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The same as the model wrote it, where that is something else.
    pub(super) fn raw(&self) -> Option<&str> {
        (self.orthography != Orthography::None).then_some(self.raw.as_str())
    }

    /// What comes next begins a phrase: a space stands before it, in scripts that have spaces.
    pub(super) fn begin_phrase(&mut self) {
        self.begins = true;
    }

    /// Takes the next piece as the model wrote it, of whole words, and gives what it adds to the text.
    pub(super) fn append(&mut self, piece: &str) -> String {
        let joined = self.joined(piece);
        if joined.is_empty() {
            return joined;
        }
        self.owed = piece.ends_with(char::is_whitespace);
        self.begins = false;
        self.raw.push_str(&joined);
        let added = self.orthography.normalize(&joined);
        self.text.push_str(&added);
        added
    }

    /// What a piece would add to the text.
    pub(super) fn preview(&self, piece: &str) -> String {
        self.orthography.normalize(&self.joined(piece))
    }

    /// A piece with one space for each stretch of white space, none at its end, and as many before it as it needs.
    fn joined(&self, piece: &str) -> String {
        let first = piece.trim_start().chars().next();
        let Some(first) = first else { return String::new() };
        let between = self.begins && !(is_unspaced(first) || self.raw.ends_with(is_unspaced));
        let space = self.owed || between || piece.starts_with(char::is_whitespace);
        let mut joined = String::with_capacity(piece.len() + 1);
        for word in piece.split_whitespace() {
            if !joined.is_empty() || space && !self.raw.is_empty() {
                joined.push(' ');
            }
            joined.push_str(word);
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_put_together_are_the_text() {
        let mut growing = Growing::default();
        let mut all = String::new();
        for (piece, added) in
            [("  Azul", "Azul"), (",  i ", ", i"), ("", ""), (" ", ""), ("medden", " medden"), ("!", "!")]
        {
            assert_eq!(growing.preview(piece), added);
            let new = growing.append(piece);
            assert_eq!(new, added, "{piece:?}");
            all.push_str(&new);
        }
        assert_eq!((growing.text(), all.as_str()), ("Azul, i medden!", "Azul, i medden!"));
        growing.begin_phrase();
        assert_eq!(growing.append("Tanemmirt"), " Tanemmirt");
        assert_eq!(growing.raw(), None);
    }

    #[test]
    fn scripts_without_spaces_get_none_between_phrases() {
        let mut growing = Growing::default();
        growing.append("\u{4eca}\u{65e5}");
        growing.begin_phrase();
        assert_eq!(growing.append("\u{5929}"), "\u{5929}");
        growing.begin_phrase();
        assert_eq!(growing.append("ok"), "ok");
    }

    #[test]
    fn the_spelling_is_that_of_the_whole() {
        let mut growing = Growing::new(Orthography::Kabyle);
        let said = [" a\u{3b3}rum", " d", " \u{3b5}li"];
        let pieces: String = said.iter().map(|piece| growing.append(piece)).collect();
        assert_eq!(pieces, "a\u{263}rum d \u{25b}li");
        assert_eq!(growing.text(), Orthography::Kabyle.normalize(said.concat().trim()));
        assert_eq!(growing.raw(), Some("a\u{3b3}rum d \u{3b5}li"));
    }
}
