//! What is refused, and how.

use std::time::Duration;

use imesli::asr::pool::PoolOptions;
use imesli::serve::limits::Limits;

use super::{
    Http, Server, Setup, TRANSCRIPTIONS, TRANSLATIONS, end, form, form_type, get, part, post, post_body,
    recorded, request,
};
use crate::support::ONE;

fn own(code: &str, param: Option<&str>) -> (String, Option<String>) {
    (code.to_owned(), param.map(str::to_owned))
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let server = Server::start(Setup::default()).await;
    for (name, value) in [
        ("response_format", "diarized_json"),
        ("temperature", "2"),
        ("temperature", "nan"),
        ("temperature", "warm"),
        ("beam_size", "0"),
        ("beam_size", "100"),
        ("orthography", "french"),
        ("vad", "perhaps"),
        ("stream", "perhaps"),
        ("max_line_chars", "3"),
        ("max_lines", "0"),
        ("timestamp_granularities[]", "word"),
    ] {
        for path in [TRANSCRIPTIONS, TRANSLATIONS] {
            if (path, name) == (TRANSLATIONS, "timestamp_granularities[]") {
                continue;
            }
            // Nothing is laid out where there are no subtitles, but a wrong layout is wrong all the same.
            let answer = post(&server, path, &[(name, value)]).await;
            assert_eq!(answer.error(400), own("invalid_request", Some(name)), "{path} {name}={value}");
        }
    }
    let answer = post(&server, TRANSCRIPTIONS, &[("language", "xx")]).await;
    assert_eq!(answer.error(400).0, "transcription_error");
}

#[tokio::test]
async fn what_is_no_audio_is_told_so() {
    let server = Server::start(Setup::default()).await;
    for file in [&b""[..], b"this is no audio", &recorded(0)[..20]] {
        let answer = post_body(&server, TRANSCRIPTIONS, &form(&[], file)).await;
        assert_eq!(answer.error(400), own("audio_load_error", Some("file")));
    }
    let growing = post_body(&server, TRANSCRIPTIONS, &form(&[("stream", "true")], b"no audio")).await;
    assert_eq!(growing.error(400), own("audio_load_error", Some("file")));
}

#[tokio::test]
async fn a_form_must_be_one() {
    let server = Server::start(Setup::default()).await;
    let code = async |body: &[u8]| post_body(&server, TRANSCRIPTIONS, body).await.error(400);
    let nothing = own("invalid_request", None);
    assert_eq!(code(b"").await, nothing);
    assert_eq!(code(b"no form at all").await, nothing);
    assert_eq!(code(&end()).await, own("invalid_request", Some("file")));
    assert_eq!(
        code(&[part("model", None, b"x"), end()].concat()).await,
        own("invalid_request", Some("file"))
    );
    let file = part("file", Some("a"), &recorded(0));
    // Cut off in the middle.
    assert_eq!(code(&file).await, nothing);
    assert_eq!(code(&[&file[..], &file, &end()].concat()).await, own("invalid_request", Some("file")));
    let many: Vec<u8> = (0..65).flat_map(|_| part("x", None, b"y")).chain(end()).collect();
    assert_eq!(code(&many).await, nothing);
    let long = vec![b'a'; (64 << 10) + 1];
    assert_eq!(
        code(&form(&[("prompt", std::str::from_utf8(&long).unwrap())], &recorded(0))).await,
        own("invalid_request", Some("prompt"))
    );
    assert_eq!(code(&[part("x", None, &long), end()].concat()).await, nothing);
    let strange = [part("prompt", None, b"\xff"), file, end()].concat();
    assert_eq!(code(&strange).await, own("invalid_request", Some("prompt")));
    // Megabytes in which no field begins are not kept.
    assert_eq!(code(&vec![b'-'; 3 << 20]).await, nothing);
    let endless = [format!("--{}\r\nX: ", super::BOUNDARY).as_bytes(), &vec![b'-'; 3 << 20]].concat();
    assert_eq!(code(&endless).await, nothing);
}

#[tokio::test]
async fn only_a_form_is_taken() {
    let server = Server::start(Setup::default()).await;
    for kind in ["application/json", "audio/wav", "multipart/mixed; boundary=x"] {
        let answer =
            Http::connect(&server).await.ask("POST", TRANSCRIPTIONS, &[("Content-Type", kind)], b"{}").await;
        assert_eq!(answer.error(415), own("unsupported_media_type", None), "{kind}");
    }
    let answer = Http::connect(&server)
        .await
        .ask("POST", TRANSCRIPTIONS, &[("Content-Type", "multipart/form-data")], b"{}")
        .await;
    assert_eq!(answer.error(400), own("invalid_request", None));
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let server = Server::start(Setup::default()).await;
    for (method, path, allowed) in [
        ("GET", TRANSCRIPTIONS, "POST"),
        ("PUT", TRANSLATIONS, "POST"),
        ("GET", "/inference", "POST"),
        ("DELETE", "/v1/models", "GET,HEAD"),
        ("OPTIONS", "/v1/models/x", "GET,HEAD"),
        ("POST", "/health", "GET,HEAD"),
        ("PATCH", "/openapi.json", "GET,HEAD"),
        ("GET", "/admin/reload", "POST"),
    ] {
        let answer = Http::connect(&server).await.ask(method, path, &[], b"").await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), allowed, "{method} {path}");
        assert!(answer.json()["error"].is_object() || path == "/inference");
    }
    for path in ["/v1/chat/completions", "/v1/audio/speech", "/v1/audio/transcriptions/x"] {
        assert_eq!(get(&server, path).await.error(404), own("not_found", None), "{path}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read_or_soon_after() {
    let limits = Limits { upload_bytes: 10_000, ..Limits::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    let answer = post(&server, TRANSCRIPTIONS, &[]).await;
    assert_eq!(answer.error(413), own("payload_too_large", Some("file")));
    // Announced, and never sent.
    let mut http = Http::connect(&server).await;
    let head = request("POST", TRANSCRIPTIONS, &[("Content-Type", &form_type())], b"");
    let head = String::from_utf8(head).unwrap().replace("Content-Length: 0", "Content-Length: 99999999");
    http.send(head.as_bytes()).await;
    assert_eq!(http.answer().await.error(413), own("payload_too_large", Some("file")));
}

#[tokio::test]
async fn without_room_on_disk_a_file_is_refused() {
    let limits = Limits { spool_bytes: 10_000, ..Limits::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    let answer = post(&server, TRANSCRIPTIONS, &[]).await;
    assert_eq!(answer.error(429), own("overloaded", None));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn a_full_queue_is_told_at_once() {
    let pool = PoolOptions { requests: 1, ..ONE };
    let server = Server::start(Setup { pool, ..Setup::default() }).await;
    let mut first = Http::connect(&server).await;
    let body = form(&[], &super::super::long_wav(120));
    first.send(&request("POST", TRANSCRIPTIONS, &[("Content-Type", &form_type())], &body)).await;
    let refused = loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answer = post(&server, TRANSCRIPTIONS, &[]).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.error(429).0, "overloaded");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(get(&server, "/ready").await.status, 503);
    assert_eq!(get(&server, "/health").await.status, 200);
    // Who goes away makes room.
    drop(first);
    while get(&server, "/ready").await.status != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { spool_dir: dir.path().to_owned(), ..Limits::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    let whole = request(
        "POST",
        TRANSCRIPTIONS,
        &[("Content-Type", &form_type())],
        &form(&[], &super::super::long_wav(90)),
    );
    let mut http = Http::connect(&server).await;
    http.send(&whole[..2 << 20]).await;
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    while files() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(http);
    while files() != 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_told_so() {
    let limits = Limits { body: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    let whole = request("POST", TRANSCRIPTIONS, &[("Content-Type", &form_type())], &form(&[], &recorded(0)));
    let mut http = Http::connect(&server).await;
    http.send(&whole[..whole.len() / 2]).await;
    assert_eq!(http.answer().await.error(408), own("request_timeout", None));
}
