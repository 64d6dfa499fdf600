//! A server's address: `ws://host:port/path` or `wss://…`.

use std::fmt;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::Uri;

/// A server's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    /// The name or number to connect to, without the brackets of IPv6.
    host: String,
    port: u16,
    tls: bool,
}

impl Address {
    /// The whole of it.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The name or number to connect to.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where none was given.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is `wss`.
    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err("expected ws://HOST:PORT or wss://HOST:PORT".to_owned()),
        };
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_owned();
        if host.is_empty() {
            return Err("there is no host in it".to_owned());
        }
        let port = match (uri.port_u16(), uri.authority().map(|a| a.as_str())) {
            (Some(port), _) => port,
            // `Uri` takes a port that is no number for none.
            (None, Some(authority)) if !authority.ends_with(&host) && !authority.ends_with(']') => {
                return Err(format!("{authority} has a port that is none"));
            }
            (None, _) if tls => 443,
            (None, _) => 80,
        };
        Ok(Self { host, port, tls, uri })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn parts(text: &str) -> (String, u16, bool) {
        let address: Address = text.parse().unwrap();
        (address.host().to_owned(), address.port(), address.is_tls())
    }

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(parts("ws://localhost:16391"), ("localhost".to_owned(), 16391, false));
        assert_eq!(parts("wss://a.example/asr?x=1"), ("a.example".to_owned(), 443, true));
        assert_eq!(parts("ws://10.0.0.1"), ("10.0.0.1".to_owned(), 80, false));
        assert_eq!(parts("wss://[::1]:16391"), ("::1".to_owned(), 16391, true));
        assert_eq!(parts("wss://[::1]"), ("::1".to_owned(), 443, true));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in ["", "localhost", "localhost:16391", "http://localhost", "ws://", "ws://:1", "ws://a:x"]
        {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
