//! The page for people: a handful of files that are part of the program, and the headers that keep the browser from
//! loading or asking anything else.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A row of [`FILES`]: where it is served, what it is, and the file itself.
macro_rules! file {
    ($path:literal, $kind:expr) => {
        file!($path, $kind, $path)
    };
    ($path:literal, $kind:expr, $file:literal) => {
        (concat!("/", $path), $kind, include_bytes!(concat!("../page/", $file)))
    };
}

/// What the page consists of.
const FILES: &[(&str, &str, &[u8])] = &[
    file!("", HTML, "index.html"),
    file!("style.css", CSS),
    file!("transcript.css", CSS),
    file!("icon.svg", SVG),
    file!("main.js", JAVASCRIPT),
    file!("connection.js", JAVASCRIPT),
    file!("live.js", JAVASCRIPT),
    file!("kept.js", JAVASCRIPT),
    file!("microphone.js", JAVASCRIPT),
    file!("worklet.js", JAVASCRIPT),
    file!("recording.js", JAVASCRIPT),
    file!("meter.js", JAVASCRIPT),
    file!("session.js", JAVASCRIPT),
    file!("uploads.js", JAVASCRIPT),
    file!("entry.js", JAVASCRIPT),
    file!("transcript.js", JAVASCRIPT),
    file!("player.js", JAVASCRIPT),
    file!("export.js", JAVASCRIPT),
    file!("settings.js", JAVASCRIPT),
    file!("i18n.js", JAVASCRIPT),
    file!("en.js", JAVASCRIPT),
    file!("fr.js", JAVASCRIPT),
    file!("kab.js", JAVASCRIPT),
];

/// One file, ready to be sent.
struct File {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
    etag: HeaderValue,
}

static READY: LazyLock<Vec<File>> = LazyLock::new(|| {
    let ready = |&(path, kind, content): &(&'static str, &'static str, &'static [u8])| {
        let mut etag = String::from("\"");
        for byte in Sha256::digest(content).iter().take(12) {
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        let etag = HeaderValue::try_from(etag).ok()?;
        Some(File { path, kind, content, etag })
    };
    FILES.iter().filter_map(ready).collect()
});

/// The answer to a GET or HEAD of this path, if it is one of the page's. (hyper leaves the body away for HEAD.)
pub(super) fn answer(path: &str, headers: &HeaderMap) -> Option<Response> {
    let file = READY.iter().find(|file| file.path == path)?;
    let policy = content_policy(headers.get(header::HOST));
    let common = [
        (header::ETAG, file.etag.clone()),
        // Kept, but asked for each time: the page always fits the server.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    let permissions = [("permissions-policy", "microphone=(self), camera=(), geolocation=()")];
    if is_known(headers, &file.etag) {
        return Some((StatusCode::NOT_MODIFIED, common, permissions).into_response());
    }
    let kind = [(header::CONTENT_TYPE, file.kind)];
    Some((common, permissions, kind, Bytes::from_static(file.content)).into_response())
}

/// Whether the client has the file already.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    tags.flat_map(|tags| tags.split(',')).map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.as_bytes() == etag.as_bytes()
    })
}

/// Nothing but what this server sends. Older browsers don't count its WebSocket as `'self'`, so that it is named
/// beside it, by the name under which the page was asked for.
fn content_policy(host: Option<&HeaderValue>) -> HeaderValue {
    let host = host.and_then(|host| host.to_str().ok()).filter(|host| is_host(host));
    let sockets = host.map(|host| format!(" ws://{host} wss://{host}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         media-src 'self' blob:; connect-src 'self'{sockets}; worker-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// A name or an address, perhaps with a port: nothing that could add to the policy.
fn is_host(host: &str) -> bool {
    (1..=255).contains(&host.len())
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{FILES, READY, answer, content_policy};

    #[test]
    fn every_file_is_ready() {
        assert_eq!(READY.len(), FILES.len());
    }

    #[test]
    fn a_strange_host_stays_out_of_the_policy() {
        let policy = |host: &'static str| {
            let policy = content_policy(Some(&HeaderValue::from_static(host)));
            policy.to_str().map(str::to_owned).unwrap_or_default()
        };
        assert!(
            policy("localhost:16391")
                .contains("connect-src 'self' ws://localhost:16391 wss://localhost:16391;")
        );
        assert!(policy("[::1]:1").contains(" wss://[::1]:1;"));
        for host in ["", "a b", "x; script-src *", "x,y", "*", "'unsafe-inline'"] {
            assert!(policy(host).contains("connect-src 'self';"), "{host}");
        }
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let status = |tags: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::try_from(tags).ok()?);
            Some(answer("/", &headers)?.status().as_u16())
        };
        let etag = READY.first().and_then(|file| file.etag.to_str().ok()).unwrap_or_default();
        assert_eq!(status(etag.to_owned()), Some(304));
        assert_eq!(status(format!("\"x\", W/{etag}")), Some(304));
        assert_eq!(status("\"x\"".to_owned()), Some(200));
        assert!(answer("/nothing", &HeaderMap::new()).is_none());
    }
}
