//! Requests to a hub. Redirects are followed here, because the hub's own host is the only one that gets to see
//! the token, and because what the hub says of a file is in the answer that redirects.

use std::io::Read;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::uri::PathAndQuery;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use super::super::error::Result;
use super::error::Failure;
use super::reference::{Reference, is_lower_hex};
use super::settings::Settings;

const CONNECT: Duration = Duration::from_secs(15);
/// For the next bytes to come.
const SILENCE: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 8;
/// All but what never has a meaning in a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Asks one hub for one repository.
pub(super) struct Client<'a> {
    agent: Agent,
    reference: &'a Reference,
    settings: &'a Settings,
}

/// A file as the hub describes it.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) url: String,
    /// SHA-256 of the content, or for small files git's SHA-1; the name of its blob.
    pub(super) etag: String,
    pub(super) size: Option<u64>,
    /// The most bytes that a file of its kind may have.
    pub(super) limit: u64,
}

impl<'a> Client<'a> {
    pub(super) fn new(reference: &'a Reference, settings: &'a Settings) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("imesli/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().into(), reference, settings }
    }

    /// A file's checksum and size.
    pub(super) fn describe(&self, url: &str, name: &str, commit: &str, limit: u64) -> Result<Described> {
        let wrong = |fact: String| self.wrong_file(name, fact);
        let mut said = HeaderMap::new();
        let mut uri = self.parse(url)?;
        let mut redirects = 0;
        let last = loop {
            let response = self.once(Method::HEAD, &uri, None)?;
            for name in ["x-repo-commit", "x-linked-etag", "x-linked-size"] {
                if let Some(value) = response.headers().get(name) {
                    said.insert(name, value.clone());
                }
            }
            match self.redirect(&uri, &response, &mut redirects)? {
                // Where the bytes lie is asked again when they are fetched.
                Some(next) if self.is_own(&next) => uri = next,
                Some(_) => break response,
                None if response.status().is_success() => break response,
                None => return Err(self.refused(&uri, &response).into()),
            }
        };
        let text = |headers: &HeaderMap, name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        if text(&said, "x-repo-commit").is_some_and(|found| found != commit) {
            return Err(wrong("the hub gives another commit than was asked for".into()).into());
        }
        let etag = text(&said, "x-linked-etag").or_else(|| text(last.headers(), "etag")).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        if !is_lower_hex(etag) || !matches!(etag.len(), 40 | 64) {
            return Err(wrong("the hub gives no checksum for it".into()).into());
        }
        let own = last.status().is_success().then(|| text(last.headers(), "content-length")).flatten();
        let size = text(&said, "x-linked-size").or(own);
        let size = size.map(|size| size.parse().map_err(|_| wrong(format!("its size is `{size}`"))));
        let size: Option<u64> = size.transpose()?;
        if size.is_some_and(|size| size > limit) {
            let fact = format!("{} bytes; at most {limit} are fetched", size.unwrap_or_default());
            return Err(wrong(fact).into());
        }
        Ok(Described { name: name.to_owned(), url: url.to_owned(), etag: etag.to_owned(), size, limit })
    }

    /// A small answer as a whole.
    pub(super) fn read(&self, url: &str, limit: u64) -> Result<Vec<u8>> {
        let response = self.open(url, 0)?;
        let mut bytes = Vec::new();
        let read = response.into_body().into_reader().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.unreachable(format!("{url}: {error}")))?;
        if bytes.len() as u64 > limit {
            let fact = format!("{url} answers with more than {limit} bytes");
            return Err(Failure::Content { name: self.reference.to_string(), fact }.into());
        }
        Ok(bytes)
    }

    /// The content behind an address, from this byte on where the server can do that.
    pub(super) fn open(&self, url: &str, from: u64) -> Result<Response<Body>> {
        let mut uri = self.parse(url)?;
        let mut redirects = 0;
        loop {
            let response = self.once(Method::GET, &uri, Some(from).filter(|from| *from > 0))?;
            match self.redirect(&uri, &response, &mut redirects)? {
                Some(next) => uri = next,
                None if response.status().is_success() => return Ok(response),
                None if response.status() == StatusCode::RANGE_NOT_SATISFIABLE => return Ok(response),
                None => return Err(self.refused(&uri, &response).into()),
            }
        }
    }

    fn once(&self, method: Method, uri: &Uri, from: Option<u64>) -> Result<Response<Body>> {
        // A compressed answer would be one of another length, and without ranges.
        let mut request =
            Request::builder().method(method).uri(uri.clone()).header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_own(uri)) {
            request = request.header(header::AUTHORIZATION, token.header().clone());
        }
        if let Some(from) = from {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let request = request.body(()).map_err(|error| self.unreachable(format!("{uri}: {error}")))?;
        let response = self.agent.run(request);
        Ok(response.map_err(|error| {
            let elsewhere =
                if self.is_own(uri) { String::new() } else { format!("{}: ", without_query(uri)) };
            self.unreachable(format!("{elsewhere}{error}"))
        })?)
    }

    /// Where an answer sends us, if it does.
    fn redirect<T>(&self, from: &Uri, response: &Response<T>, count: &mut usize) -> Result<Option<Uri>> {
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let wrong = |fact: &str| Failure::Content {
            name: self.reference.to_string(),
            fact: format!("{}: {fact}", without_query(from)),
        };
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let next = location.and_then(|location| joined(from, location));
        let next = next.ok_or_else(|| wrong("a redirect to nowhere"))?;
        if from.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
            return Err(wrong("a redirect from https to plain http").into());
        }
        *count += 1;
        if *count > MAX_REDIRECTS {
            return Err(wrong("too many redirects").into());
        }
        Ok(Some(next))
    }

    /// Whether an address is the hub's own, which alone gets the token.
    fn is_own(&self, uri: &Uri) -> bool {
        self.settings.endpoint.parse().is_ok_and(|own: Uri| origin(&own) == origin(uri))
    }

    fn parse(&self, url: &str) -> Result<Uri> {
        Ok(url.parse().map_err(|error| self.unreachable(format!("{url}: {error}")))?)
    }

    fn refused(&self, uri: &Uri, response: &Response<Body>) -> Failure {
        let name = self.reference.to_string();
        let endpoint = self.settings.endpoint.clone();
        let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let advice = if self.settings.token.is_some() {
            "the token that was sent does not open it"
        } else {
            "set HF_TOKEN where it takes one"
        };
        let status = response.status().as_u16();
        match (status, code) {
            _ if !self.is_own(uri) => Failure::Status { name, url: without_query(uri), status },
            (_, Some("RevisionNotFound")) => Failure::NoRevision { name },
            (403, _) | (_, Some("GatedRepo")) => {
                let page = format!("{endpoint}/{}", self.reference.repository());
                Failure::Gated { name, page, advice }
            }
            (401, _) | (404, Some("RepoNotFound") | None) => Failure::NoRepository { name, endpoint, advice },
            (408 | 429 | 500.., _) => self.unreachable(format!("it answers with {status}")),
            _ => Failure::Status { name, url: without_query(uri), status },
        }
    }

    pub(super) fn unreachable(&self, fact: String) -> Failure {
        let (name, endpoint) = (self.reference.to_string(), self.settings.endpoint.clone());
        Failure::Unreachable { name, endpoint, fact }
    }

    pub(super) fn wrong_file(&self, file: &str, fact: String) -> Failure {
        Failure::File { name: self.reference.to_string(), file: file.to_owned(), fact }
    }
}

/// A part of a URL.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn origin(uri: &Uri) -> (Option<&str>, Option<String>, Option<u16>) {
    let port = uri.port_u16().or(match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    (uri.scheme_str(), uri.host().map(str::to_ascii_lowercase), port)
}

/// The target of a redirect: a whole address, or a path on the same host.
fn joined(from: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse::<PathAndQuery>().ok()?);
        return Uri::from_parts(parts).ok();
    }
    let uri: Uri = location.parse().ok()?;
    (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()).then_some(uri)
}

/// For messages: the query of a storage host's address is as good as a password.
fn without_query(uri: &Uri) -> String {
    uri.to_string().split('?').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn redirects_are_joined() {
        let from: Uri = "https://hub.example:444/a/b?c".parse().unwrap();
        for (location, expected) in [
            ("/x?y=1", Some("https://hub.example:444/x?y=1")),
            ("https://cdn.example/z", Some("https://cdn.example/z")),
            ("//cdn.example/z", None),
            ("x", None),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(joined(&from, location).map(|uri| uri.to_string()).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn redirects_are_not_followed_into_the_open_or_for_ever() {
        let settings = Settings {
            endpoint: "https://hub.example".into(),
            cache: "/nowhere".into(),
            token: None,
            offline: false,
            pause: Duration::ZERO,
        };
        let reference = Reference::new("me/kab", None).unwrap();
        let client = Client::new(&reference, &settings);
        let from: Uri = "https://hub.example/x?signature=secret".parse().unwrap();
        let answer = |location: &str| {
            Response::builder().status(302).header(header::LOCATION, location).body(()).unwrap()
        };
        let mut count = 0;
        let next = client.redirect(&from, &answer("https://cdn.example/x"), &mut count).unwrap();
        assert!(!client.is_own(&next.unwrap()) && client.is_own(&from));
        let error =
            client.redirect(&from, &answer("http://cdn.example/x"), &mut count).unwrap_err().to_string();
        assert!(error.contains("plain http") && !error.contains("secret"), "{error}");
        let mut many = || client.redirect(&from, &answer("/x"), &mut count);
        let error = std::iter::repeat_with(&mut many).take(20).find_map(std::result::Result::err).unwrap();
        assert!(error.to_string().contains("too many"), "{error}");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origins = |a: &str, b: &str| {
            let (a, b): (Uri, Uri) = (a.parse().unwrap(), b.parse().unwrap());
            origin(&a) == origin(&b)
        };
        assert!(origins("https://Hub.example/a", "https://hub.example:443/b"));
        assert!(!origins("https://hub.example", "http://hub.example"));
        assert!(!origins("https://hub.example", "https://hub.example:8443"));
        assert!(!origins("https://hub.example", "https://hub.example.evil.example"));
    }
}
