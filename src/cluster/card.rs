//! What a door has to know of a model to make windows for it, and texts of its tokens: no weights.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::wire;
use crate::asr::transcriber::Defaults;
use crate::asr::vocabulary::{SpecialTokens, Vocabulary};
use crate::error::{Error, Result};

/// More tokens than any vocabulary has: Whisper's have 51,864 to 51,866, and fine-tunes add some.
const MOST_TOKENS: usize = 1 << 20;
/// Characters of a revision: 48 bits.
const REVISION: usize = 12;

/// A model without its weights.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Card {
    /// The bytes of each token.
    tokens: Vec<ByteBuf>,
    special: SpecialTokens,
    defaults: Defaults,
}

impl Card {
    pub(super) fn new(vocabulary: &Vocabulary, defaults: &Defaults) -> Self {
        let tokens = vocabulary.all_bytes().iter().map(|bytes| ByteBuf::from(bytes.clone())).collect();
        Self { tokens, special: vocabulary.special().clone(), defaults: defaults.clone() }
    }

    /// As it is kept at the broker.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        wire::encode(self)
    }

    /// A card that was kept.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for what is none.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let card: Self = wire::decode(bytes)?;
        // Memory is asked for by the token's number in several places.
        if card.tokens.len() > MOST_TOKENS || card.special.end_of_text as usize > card.tokens.len() {
            return Err(Error::InvalidInput("a model's card has an impossible vocabulary".into()));
        }
        Ok(card)
    }

    /// Tokens and text, and what the checkpoint says about decoding.
    pub(super) fn parts(self) -> (Arc<Vocabulary>, Defaults) {
        let tokens = self.tokens.into_iter().map(ByteBuf::into_vec).collect();
        (Arc::new(Vocabulary::of(tokens, self.special)), self.defaults)
    }
}

/// The name of these weights with this card: the same ones have the same name everywhere.
pub(super) fn revision(card: &[u8], weights: &[u8]) -> String {
    let hash = Sha256::new().chain_update(weights).chain_update(card).finalize();
    let mut text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(REVISION);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use std::collections::BTreeMap;

    use super::*;

    fn special(end_of_text: u32) -> SpecialTokens {
        SpecialTokens {
            end_of_text,
            start_of_transcript: end_of_text + 1,
            translate: None,
            transcribe: Some(9),
            start_of_prev: None,
            no_speech: None,
            no_timestamps: None,
            timestamp_begin: None,
            languages: BTreeMap::from([("kab".to_owned(), 6)]),
            added_text: BTreeMap::from([(2000, " azul".to_owned())]),
        }
    }

    #[test]
    fn a_vocabulary_arrives_whole() {
        let text: [&[u8]; 4] = [b" a", b"\xc9", b"\x9b", b"z"];
        let vocabulary = Vocabulary::of(text.iter().map(|t| t.to_vec()).collect(), special(4));
        let defaults = Defaults { language: Some("kab".into()), suppress: vec![1], ..Defaults::default() };
        let bytes = Card::new(&vocabulary, &defaults).encode().unwrap();
        let (back, back_defaults) = Card::decode(&bytes).unwrap().parts();
        assert_eq!(back.special(), vocabulary.special());
        assert_eq!(back.text(&[0, 1, 2, 3, 2000]), " a\u{25b}z azul");
        assert_eq!(back_defaults, defaults);
        assert_eq!(revision(&bytes, b"w").len(), REVISION);
        assert_ne!(revision(&bytes, b"w"), revision(&bytes, b"x"));
    }

    #[test]
    fn an_impossible_vocabulary_is_refused() {
        let vocabulary = Vocabulary::of(vec![vec![1]], special(4));
        let bytes = Card::new(&vocabulary, &Defaults::default()).encode().unwrap();
        assert!(matches!(Card::decode(&bytes), Err(Error::InvalidInput(_))));
        assert!(Card::decode(b"").is_err());
    }
}
