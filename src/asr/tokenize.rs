//! Text to tokens: byte-pair encoding as GPT-2 has it and Whisper took over. Pure.
//!
//! A text is first cut into pieces (a word with the space before it, a number, a run of signs), then each piece is
//! put together from its bytes: of all neighbours that make a token the pair with the lowest rank goes first. The
//! rank of a token is its id (tiktoken, `openai/whisper/tokenizer.py`). Special tokens are never made: their names in
//! a text are text.

use std::collections::HashMap;

use regex::Regex;

use super::model::Token;
use crate::error::{Error, Result};

/// GPT-2's pattern, but for the look-ahead of its white space, which [`Tokenizer::pieces`] makes up for.
const PIECES: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

/// The longest text that is encoded, in bytes: many times what a prompt can hold. The time for a piece grows with the
/// square of its length.
pub const MAX_BYTES: usize = 8 << 10;

/// The ranks of a vocabulary.
#[derive(Debug)]
pub struct Tokenizer {
    ranks: HashMap<Vec<u8>, Token>,
    pattern: Regex,
}

impl Tokenizer {
    /// A tokenizer over the bytes of all text tokens, by id.
    ///
    /// # Errors
    /// [`Error::Internal`] when the pattern is not understood, which is a mistake in this file.
    pub fn new<'a>(bytes: impl IntoIterator<Item = &'a [u8]>) -> Result<Self> {
        let pattern = Regex::new(PIECES).map_err(|e| Error::internal_from("reading a pattern", e))?;
        let mut ranks = HashMap::new();
        for (id, bytes) in (0..).zip(bytes) {
            if !bytes.is_empty() {
                // Of two tokens with the same bytes the first one counts.
                ranks.entry(bytes.to_vec()).or_insert(id);
            }
        }
        Ok(Self { ranks, pattern })
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for more than [`MAX_BYTES`], or for a character that the vocabulary has no bytes for.
    pub fn encode(&self, text: &str) -> Result<Vec<Token>> {
        if text.len() > MAX_BYTES {
            return Err(Error::InvalidInput(format!("a text of over {MAX_BYTES} bytes is no prompt")));
        }
        let mut tokens = Vec::new();
        for piece in self.pieces(text) {
            self.merge(piece.as_bytes(), &mut tokens)?;
        }
        Ok(tokens)
    }

    fn pieces<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(found) = self.pattern.find(rest) {
            let (mut piece, mut behind) = rest.split_at(found.end());
            // `\s+(?!\S)`: the last of several white spaces in front of something else belongs to that.
            if let Some((last, _)) = piece.char_indices().next_back()
                && last > 0
                && !behind.is_empty()
                && piece.chars().all(char::is_whitespace)
            {
                (piece, behind) = rest.split_at(last);
            }
            pieces.push(piece);
            rest = behind;
        }
        pieces
    }

    fn merge(&self, piece: &[u8], tokens: &mut Vec<Token>) -> Result<()> {
        // The parts' ends; a part begins where the one before ends.
        let mut ends: Vec<usize> = (1..=piece.len()).collect();
        let rank = |start: usize, end: usize| piece.get(start..end).and_then(|part| self.ranks.get(part));
        let start_of = |ends: &[usize], index: usize| {
            index.checked_sub(1).and_then(|i| ends.get(i)).copied().unwrap_or(0)
        };
        loop {
            let pairs = ends.iter().skip(1).enumerate();
            let ranked = pairs.filter_map(|(index, end)| Some((*rank(start_of(&ends, index), *end)?, index)));
            let Some((_, index)) = ranked.min() else { break };
            ends.remove(index);
        }
        for (index, end) in ends.iter().enumerate() {
            let token = rank(start_of(&ends, index), *end);
            tokens.push(*token.ok_or_else(|| {
                Error::InvalidInput("the model's vocabulary can't write this text".to_owned())
            })?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn tokenizer() -> Tokenizer {
        let bytes: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let merged = ["in", "ing", " s", " sing", "he"].map(|text| text.as_bytes().to_vec());
        Tokenizer::new(bytes.iter().chain(&merged).map(Vec::as_slice)).unwrap()
    }

    #[test]
    fn the_lowest_rank_is_merged_first() {
        assert_eq!(tokenizer().encode(" sing").unwrap(), [259]);
        assert_eq!(tokenizer().encode("ssin").unwrap(), [115, 115, 256]);
    }

    #[test]
    fn pieces_are_those_of_gpt_2() {
        let text = "  I've  12 cats!?\n\n x ";
        let wanted = [" ", " I", "'ve", " ", " 12", " cats", "!?", "\n\n", " x", " "];
        assert_eq!(tokenizer().pieces(text), wanted);
        assert_eq!(tokenizer().pieces(" \u{a0}a"), [" ", "\u{a0}", "a"]);
    }

    #[test]
    fn what_can_not_be_written_or_is_too_long_is_refused() {
        let few = Tokenizer::new([b"a".as_slice()]).unwrap();
        assert!(few.encode("ab").is_err());
        assert!(tokenizer().encode(&"a".repeat(MAX_BYTES)).is_ok());
        assert!(tokenizer().encode(&"a".repeat(MAX_BYTES + 1)).is_err());
    }
}
