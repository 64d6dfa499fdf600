//! Origins: where a web page comes from, as its browser says.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest host name that there is.
const LONGEST_HOST: usize = 255;

/// An origin as a browser sends it, or `*`, which stands for all of them in a list.
///
/// Scheme and host are in lower case, and the port that a scheme has anyway is left out, so that two origins are the same
/// when they are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Any,
    /// A page from disk, or in a frame that was told to forget where it comes from.
    Null,
    Page {
        scheme: String,
        host: String,
        /// `None`: the scheme's own.
        port: Option<u16>,
    },
}

impl Origin {
    /// Whether it is `null`.
    pub(super) fn is_null(&self) -> bool {
        self.0 == Kind::Null
    }

    /// Whether this one of a list lets the other in.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.0 == Kind::Any || self == other
    }

    /// Whether a page from there was served under this `Host`: name and port are the same.
    pub(super) fn is_of(&self, host_header: &str) -> bool {
        let Kind::Page { scheme, host, port } = &self.0 else { return false };
        let Some(default) = default_port(scheme) else { return false };
        let Ok((name, named_port)) = authority(host_header) else { return false };
        *host == name && port.unwrap_or(default) == named_port.unwrap_or(default)
    }

    /// Whether its host means the machine at which its browser runs, and can mean no other.
    pub(super) fn is_loopback(&self) -> bool {
        let Kind::Page { host, .. } = &self.0 else { return false };
        if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return inner.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
        }
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Any => f.write_str("*"),
            Kind::Null => f.write_str("null"),
            Kind::Page { scheme, host, port: None } => write!(f, "{scheme}://{host}"),
            Kind::Page { scheme, host, port: Some(port) } => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    /// Reads `https://HOST[:PORT]`, `null` or `*`. A slash at the end, as addresses are often copied, does no harm.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "*" => return Ok(Self(Kind::Any)),
            "null" => return Ok(Self(Kind::Null)),
            _ => {}
        }
        let expected = || "expected https://HOST[:PORT], null or *".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        if !is_scheme {
            return Err(expected());
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err("an origin has no path and no user: expected https://HOST[:PORT]".to_owned());
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = authority(rest)?;
        let port = port.filter(|port| Some(*port) != default_port(&scheme));
        Ok(Self(Kind::Page { scheme, host, port }))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// `HOST[:PORT]` taken apart, the host in the one form that it is compared in.
fn authority(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.rfind(':') {
        // Within the brackets of IPv6 there are more of them.
        Some(at) if !text.ends_with(']') => {
            let (host, port) = text.split_at(at);
            (host, Some(port.trim_start_matches(':')))
        }
        _ => (text, None),
    };
    let port = match port {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            Some(port.parse().map_err(|_| format!("{port:?} is no port"))?)
        }
        Some(port) => return Err(format!("{port:?} is no port")),
        None => None,
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().map_err(|_| format!("{host} is no IPv6 address"))?;
        return Ok((format!("[{address}]"), port));
    }
    let is_name = (1..=LONGEST_HOST).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if !is_name {
        return Err("there is no host in it (names of other letters are written as xn--…)".to_owned());
    }
    Ok((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use proptest::prelude::*;

    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn origins_are_brought_to_one_form() {
        for (text, shown) in [
            ("*", "*"),
            ("null", "null"),
            ("https://Example.ORG", "https://example.org"),
            ("HTTPS://example.org:443", "https://example.org"),
            ("http://example.org:443", "http://example.org:443"),
            ("http://example.org:80/", "http://example.org"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("http://127.0.0.1:16391", "http://127.0.0.1:16391"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(origin(text).to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_told_so() {
        for text in [
            "",
            "example.org",
            "NULL",
            "https://",
            "://a",
            "1a://b",
            "https://a/b",
            "https://a//",
            "https://u@a",
            "https://a:port",
            "https://a:",
            "https://a:65536",
            "https://a:+1",
            "https://a b",
            "https://é.org",
            "https://[::1",
            "https://[x]",
            "https://::1",
            "https://*.example.org",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_same_origin_is_known_by_the_host() {
        for (page, host, same) in [
            ("http://a.org", "a.org", true),
            ("http://a.org", "A.org:80", true),
            ("https://a.org", "a.org:443", true),
            ("https://a.org", "a.org:80", false),
            ("http://a.org:8080", "a.org:8080", true),
            ("http://a.org:8080", "a.org", false),
            ("http://a.org", "b.org", false),
            ("http://[::1]:1", "[0:0:0::1]:1", true),
            ("app://a.org", "a.org", false),
            ("null", "null", false),
            ("*", "*", false),
            ("http://a.org", "", false),
        ] {
            assert_eq!(origin(page).is_of(host), same, "{page} at {host}");
        }
    }

    #[test]
    fn loopback_names_are_known() {
        for (page, loopback) in [
            ("http://localhost:1", true),
            ("http://a.LOCALHOST", true),
            ("http://127.9.9.9", true),
            ("http://[::1]", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://localhost.example.org", false),
            ("http://notlocalhost", false),
            ("http://127.0.0.1.example.org", false),
            ("http://10.0.0.1", false),
            ("http://[::2]", false),
            ("null", false),
        ] {
            assert_eq!(origin(page).is_loopback(), loopback, "{page}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_is_too_strange(text in "(https?|[a-z*]{0,3})(://)?[\\[\\]a-z0-9.:/@é*]{0,20}", host in ".{0,20}") {
            if let Ok(origin) = text.parse::<Origin>() {
                prop_assert_eq!(&origin.to_string().parse::<Origin>().unwrap(), &origin);
                let _ = (origin.is_of(&host), origin.is_loopback());
            }
        }
    }
}
