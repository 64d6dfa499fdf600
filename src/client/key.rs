//! A key that a server wants.

use std::fmt;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::HeaderValue;

/// A key. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The value of `Authorization`.
    pub(super) fn header(&self) -> Result<HeaderValue, String> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).map_err(|e| e.to_string())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

impl FromStr for ApiKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a key is made of letters, digits and signs, without spaces".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn a_key_is_sent_and_not_shown() {
        let key: ApiKey = " imesli_abc\n".parse().unwrap();
        assert_eq!(key.header().unwrap(), "Bearer imesli_abc");
        assert!(!format!("{key:?} {:?}", key.header()).contains("abc"));
        for wrong in ["", " ", "a b", "é", "a\nb"] {
            assert!(wrong.parse::<ApiKey>().is_err(), "{wrong:?}");
        }
    }
}
