//! Who a client is.

use std::fmt;

use serde::Deserialize;

/// `auth`. The key is not shown.
#[derive(PartialEq, Deserialize)]
pub struct Auth {
    /// One of the server's key file.
    pub key: String,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::Auth;

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", Auth { key: "secret".to_owned() }), "Auth(***)");
    }
}
