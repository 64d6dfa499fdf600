//! The text of the user's language: spellings brought to the standard one.
//!
//! - `kabyle`: the rules for Kabyle, a table.
//!
//! Knows of nothing else: text in, text out.

mod kabyle;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The standard to which a text's spelling is brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orthography {
    /// None: the text stays as it is.
    #[default]
    None,
    /// Kabyle in Latin letters: ɛ and ɣ in place of Greek and Cyrillic look-alikes, dotted letters composed.
    Kabyle,
}

impl Orthography {
    /// `text` in the standard spelling, in NFC. What is in it of other scripts stays as it is. Doing it twice
    /// is the same as once.
    pub fn normalize(self, text: &str) -> String {
        match self {
            Self::None => text.to_owned(),
            Self::Kabyle => kabyle::normalize(text),
        }
    }
}
