//! Keys, and web pages of other origins.

use std::io::Write;

use imesli::serve::access::AccessOptions;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{Answer, Http, SAID, Server, Setup, TRANSCRIPTIONS, form, form_type, recorded};

/// A server with two keys, the second of which is an administrator's.
async fn keyed() -> (NamedTempFile, Server) {
    let mut file = NamedTempFile::new().unwrap();
    for (name, key, more) in [("user", "one", "concurrent = 1"), ("boss", "two", "admin = true")] {
        let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        write!(file, "[keys.{name}]\nhash = \"sha256:{hash}\"\n{more}\n").unwrap();
    }
    let key_file = Some(file.path().to_owned());
    let access = AccessOptions { key_file, loopback: true, ..AccessOptions::default() };
    (file, Server::start(Setup { access, ..Setup::default() }).await)
}

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let body = if method == "POST" { form(&[], &recorded(0)) } else { Vec::new() };
    let kind = form_type();
    let headers: Vec<_> = headers.iter().copied().chain([("Content-Type", kind.as_str())]).collect();
    Http::connect(server).await.ask(method, path, &headers, &body).await
}

const PAGE: &str = "https://page.example";

async fn with_origins(origins: &[&str]) -> Server {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    let access = AccessOptions { origins, loopback: true, ..AccessOptions::default() };
    Server::start(Setup { access, ..Setup::default() }).await
}

#[tokio::test]
async fn a_key_is_wanted_where_there_are_keys() {
    let (_file, server) = keyed().await;
    for (method, path) in [
        ("POST", TRANSCRIPTIONS),
        ("POST", "/v1/audio/translations"),
        ("POST", "/inference"),
        ("POST", "/admin/reload"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/x"),
        ("GET", "/metrics"),
    ] {
        for headers in [&[][..], &[("Authorization", "Bearer wrong")], &[("Authorization", "Basic b25l")]] {
            let answer = ask(&server, method, path, headers).await;
            assert_eq!(answer.status, 401, "{method} {path} {headers:?}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            if path != "/inference" {
                assert_eq!(answer.error(401).0, "unauthorized");
            }
            assert!(!answer.text().contains("wrong"));
        }
    }
    for path in ["/health", "/ready", "/openapi.json"] {
        assert_eq!(ask(&server, "GET", path, &[]).await.status, 200, "{path}");
    }
    let right = [("Authorization", "Bearer one")];
    assert_eq!(ask(&server, "POST", TRANSCRIPTIONS, &right).await.json()["text"], SAID[0].1);
    for path in ["/v1/models", "/metrics"] {
        assert_eq!(ask(&server, "GET", path, &right).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn only_an_administrator_may_reload() {
    let (_file, server) = keyed().await;
    let answer = ask(&server, "POST", "/admin/reload", &[("Authorization", "Bearer one")]).await;
    assert_eq!(answer.error(403).0, "forbidden");
    let two = [("Authorization", "Bearer two")];
    let answer = ask(&server, "POST", "/admin/reload", &two).await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({ "model": "demo" })));
    assert_eq!(
        ask(&server, "POST", TRANSCRIPTIONS, &two).await.json()["text"],
        SAID[0].1,
        "by the new model"
    );
    assert!(ask(&server, "GET", "/metrics", &two).await.text().contains("\nimesli_model_reloads_total 1\n"));
}

#[tokio::test]
async fn pages_of_other_origins_may_not_ask() {
    let server = with_origins(&[]).await;
    let origin = ("Origin", PAGE);
    for path in [TRANSCRIPTIONS, "/inference"] {
        let answer = ask(&server, "POST", path, &[origin]).await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.find("access-control-allow-origin"), None);
    }
    let preflight = [origin, ("Access-Control-Request-Method", "POST")];
    let answer = ask(&server, "OPTIONS", TRANSCRIPTIONS, &preflight).await;
    assert!(matches!(answer.status, 403 | 405), "{}", answer.status);
    assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{answer:?}");
    assert_eq!(ask(&server, "GET", "/health", &[origin]).await.find("access-control-allow-origin"), None);
    // Its own page may.
    let own = [("Origin", "http://localhost:1234"), ("Host", "localhost:1234")];
    let mut http = Http::connect(&server).await;
    let body = form(&[], &recorded(0));
    let head = format!(
        "POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: {}\r\nOrigin: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        own[1].1,
        own[0].1,
        form_type(),
        body.len()
    );
    http.send(&[head.as_bytes(), &body].concat()).await;
    assert_eq!(http.answer().await.status, 200);
}

#[tokio::test]
async fn pages_of_named_origins_may_ask_and_read() {
    let server = with_origins(&[PAGE]).await;
    let origin = ("Origin", PAGE);
    let wanted = [
        origin,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    let preflight = ask(&server, "OPTIONS", TRANSCRIPTIONS, &wanted).await;
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-origin"), PAGE);
    assert_eq!(preflight.header("access-control-allow-methods"), "GET,POST");
    let allowed = preflight.header("access-control-allow-headers");
    assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{allowed}");
    let answer = ask(&server, "POST", TRANSCRIPTIONS, &[origin]).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, PAGE));
    assert_eq!(answer.header("access-control-expose-headers"), "x-request-id,retry-after");
    // Also what went wrong can be read.
    let answer = ask(&server, "GET", "/v1/nothing", &[origin]).await;
    assert_eq!(
        (answer.error(404).0.as_str(), answer.header("access-control-allow-origin")),
        ("not_found", PAGE)
    );
    let other = ask(&server, "POST", TRANSCRIPTIONS, &[("Origin", "https://other.example")]).await;
    assert_eq!((other.status, other.find("access-control-allow-origin")), (403, None));
}
