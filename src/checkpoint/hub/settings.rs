//! How checkpoints are fetched: the environment variables of Python's `huggingface_hub`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ureq::http::{HeaderValue, Uri};

use super::error::Failure;

const ENDPOINT: &str = "https://huggingface.co";

/// How checkpoints are fetched.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// The folder that repositories lie in.
    pub cache: PathBuf,
    /// Who is asking.
    pub token: Option<Token>,
    /// Whether to do with what is in the cache.
    pub offline: bool,
    /// How long to wait before the first time that a broken download is taken up again; each time after that
    /// twice as long.
    pub pause: Duration,
}

/// An access token: goes to the hub's own host, and into no log.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// A token as the hub gives it out.
    ///
    /// # Errors
    /// [`Failure::Setting`] for text that can't be in a header.
    pub fn new(text: &str) -> Result<Self, Failure> {
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| Failure::Setting {
            name: "HF_TOKEN",
            fact: "it holds characters that no token has".into(),
        })?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(super) fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Settings {
    /// As the environment says: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN` (or the file in which
    /// `hf auth login` keeps it), `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`Failure::Setting`] for values that can't be used.
    pub fn from_environment() -> Result<Self, Failure> {
        Self::from_variables(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let text = |name: &'static str| {
            let unreadable = |_| Failure::Setting { name, fact: "it is not UTF-8".into() };
            variable(name).map(|value| value.into_string().map_err(unreadable)).transpose()
        };
        let folder = |name: &str| variable(name).map(PathBuf::from);
        let home = || {
            folder("HF_HOME")
                .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
                .or_else(|| {
                    let user = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
                    Some(folder(user)?.join(".cache/huggingface"))
                })
        };
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home()?.join("hub")))
            .ok_or(Failure::Setting {
                name: "HF_HOME",
                fact: "there is no HOME either: nowhere to keep a checkpoint".into(),
            })?;
        let token = text("HF_TOKEN")?.or_else(|| {
            let file = folder("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token")));
            std::fs::read_to_string(file?).ok()
        });
        let token = token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        let offline = text("HF_HUB_OFFLINE")?.unwrap_or_default().to_uppercase();
        Ok(Self {
            endpoint: endpoint(text("HF_ENDPOINT")?.as_deref().unwrap_or(ENDPOINT))?,
            cache,
            token: token.map(Token::new).transpose()?,
            offline: ["1", "ON", "YES", "TRUE"].contains(&offline.as_str()),
            pause: Duration::from_secs(1),
        })
    }
}

/// An address that requests can be made of.
fn endpoint(text: &str) -> Result<String, Failure> {
    let text = text.trim_end_matches('/');
    let uri: Option<Uri> = text.parse().ok();
    let usable = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none()
    });
    if usable {
        return Ok(text.to_owned());
    }
    Err(Failure::Setting { name: "HF_ENDPOINT", fact: format!("`{text}` is no http(s) address") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use std::path::Path;

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        let value = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into());
        Settings::from_variables(value)
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        for (variables, expected) in [
            (&[("HOME", "/u")][..], "/u/.cache/huggingface/hub"),
            (&[("HOME", "/u"), ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HOME", "/u"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub"),
            (&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/o")], "/o"),
            (&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/o"), ("HF_HUB_CACHE", "/c")], "/c"),
        ] {
            assert_eq!(settings(variables).unwrap().cache, Path::new(expected), "{variables:?}");
        }
        assert!(matches!(settings(&[]), Err(Failure::Setting { name: "HF_HOME", .. })));
    }

    #[test]
    fn the_token_is_not_printed() {
        let found = settings(&[("HOME", "/u"), ("HF_TOKEN", " hf_secret\n")]).unwrap();
        assert_eq!(found.token.as_ref().unwrap().header(), "Bearer hf_secret");
        assert!(format!("{found:?}").contains("***") && !format!("{found:?}").contains("secret"));
        let header = format!("{:?}", found.token.unwrap().header());
        assert!(!header.contains("secret"), "{header}");
        let error = settings(&[("HOME", "/u"), ("HF_TOKEN", "hf_\nsecret")]).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_token_that_was_logged_in_with_will_do() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_kept\n").unwrap();
        let path = home.path().to_str().unwrap();
        let token = |variables: &[(&str, &str)]| settings(variables).unwrap().token.unwrap();
        assert_eq!(token(&[("HF_HOME", path)]).header(), "Bearer hf_kept");
        assert_eq!(token(&[("HF_HOME", path), ("HF_TOKEN", "hf_given")]).header(), "Bearer hf_given");
    }

    #[test]
    fn the_endpoint_is_an_address() {
        let found = settings(&[("HOME", "/u"), ("HF_ENDPOINT", "http://localhost:8000/hf/")]).unwrap();
        assert_eq!(found.endpoint, "http://localhost:8000/hf");
        assert_eq!(settings(&[("HOME", "/u")]).unwrap().endpoint, ENDPOINT);
        for wrong in ["localhost:8000", "ftp://x", "https://", "/x", "https://x/?y"] {
            let error = settings(&[("HOME", "/u"), ("HF_ENDPOINT", wrong)]);
            assert!(matches!(error, Err(Failure::Setting { name: "HF_ENDPOINT", .. })), "{wrong}");
        }
    }

    #[test]
    fn offline_in_any_of_pythons_spellings() {
        for (value, expected) in [("1", true), ("yes", true), ("True", true), ("on", true), ("0", false)] {
            let found = settings(&[("HOME", "/u"), ("HF_HUB_OFFLINE", value)]).unwrap();
            assert_eq!(found.offline, expected, "{value}");
        }
    }
}
