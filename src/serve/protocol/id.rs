//! The names that clients give.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Number;

/// Bytes of the longest name. A UUID has 36; names are kept for as long as what they name.
pub const MAX_ID_BYTES: usize = 1024;

/// The name of an audio or of an upload, given by the client and sent back as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, try_from = "Written")]
pub enum Id {
    /// Usually a UUID; any text of up to [`MAX_ID_BYTES`] will do.
    Text(String),
    /// Some clients count.
    Number(Number),
}

/// A name as it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Number(Number),
}

impl TryFrom<Written> for Id {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Text(text) if text.len() > MAX_ID_BYTES => {
                Err(format!("an id may have {MAX_ID_BYTES} bytes at most"))
            }
            Written::Text(text) => Ok(Self::Text(text)),
            Written::Number(number) => Ok(Self::Number(number)),
        }
    }
}

impl Id {
    /// A fresh one.
    pub fn random() -> Self {
        Self::Text(uuid::Uuid::new_v4().to_string())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&text.escape_debug().to_string()),
            Self::Number(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_was_sent_unless_it_is_too_long() {
        for text in ["\"\"", "\"a/../b\\n\"", "7", "-1", "1.5"] {
            let id: Id = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&id).unwrap(), text);
        }
        let long = |bytes| serde_json::from_str::<Id>(&format!("\"{}\"", "x".repeat(bytes)));
        assert!(long(MAX_ID_BYTES).is_ok());
        let error = long(MAX_ID_BYTES + 1).unwrap_err();
        assert!(error.to_string().contains("1024"), "{error}");
        assert!(serde_json::from_str::<Id>("[]").is_err());
    }
}
