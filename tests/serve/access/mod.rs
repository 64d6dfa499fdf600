//! Keys, their limits, and which web pages may come in.

mod program;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use imesli::serve::access::{AccessOptions, Rules, new_key};
use imesli::serve::limits::Limits;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Client, SAID, Server, Setup, audio, encoded, long_encoded};

/// A key file with keys of these names and rules, and the keys.
struct Keys {
    _dir: TempDir,
    file: PathBuf,
    keys: Vec<String>,
}

impl Keys {
    fn new(rows: &[(&str, Rules)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.toml");
        let keys = rows.iter().map(|(name, rules)| new_key(&file, name, rules).unwrap()).collect();
        Self { _dir: dir, file, keys }
    }

    fn setup(&self) -> Setup {
        let access = AccessOptions { key_file: Some(self.file.clone()), ..AccessOptions::default() };
        Setup { access, ..Setup::default() }
    }
}

fn one(rules: Rules) -> Keys {
    Keys::new(&[("one", rules)])
}

fn most(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

/// An upgrade with these headers: the client and the subprotocol that was chosen, or the status.
async fn upgrade(
    server: &Server,
    headers: &[(&str, &str)],
) -> Result<(Client, Option<String>), (StatusCode, String)> {
    let mut request = format!("ws://{}/", server.address).into_client_request().unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, answer)) => {
            let chosen = answer.headers().get("sec-websocket-protocol");
            Ok((Client(socket), chosen.map(|name| name.to_str().unwrap().to_owned())))
        }
        Err(Error::Http(answer)) => {
            let body = answer.body().clone().unwrap_or_default();
            Err((answer.status(), String::from_utf8(body).unwrap()))
        }
        Err(other) => panic!("{other:?}"),
    }
}

async fn with_key(server: &Server, key: &str) -> Client {
    let (mut client, _) = upgrade(server, &[("authorization", &format!("Bearer {key}"))]).await.unwrap();
    assert_eq!(client.state().await, "ready");
    client
}

async fn status(server: &Server, headers: &[(&str, &str)]) -> u16 {
    upgrade(server, headers).await.map_or_else(|(status, _)| status.as_u16(), |_| 101)
}

fn auth(key: &str) -> Value {
    json!({ "type": "auth", "key": key })
}

async fn transcribes(client: &mut Client) {
    client.send(audio("a", &encoded(0))).await;
    assert_eq!(client.answer().await["transcription"], SAID[0].1);
    assert_eq!(client.state().await, "ready");
}

#[tokio::test]
async fn a_key_opens_in_three_ways() {
    let keys = one(Rules::default());
    let key = &keys.keys[0];
    let server = Server::start(keys.setup()).await;
    let bearer = format!("bearer {key}");
    let (mut client, chosen) = upgrade(&server, &[("authorization", &bearer)]).await.unwrap();
    assert_eq!((client.state().await.as_str(), chosen), ("ready", None));
    transcribes(&mut client).await;
    let offered = format!("imesli, imesli.key.{key}");
    let (mut client, chosen) = upgrade(&server, &[("sec-websocket-protocol", &offered)]).await.unwrap();
    assert_eq!((client.state().await.as_str(), chosen.as_deref()), ("ready", Some("imesli")));
    transcribes(&mut client).await;
    // Nothing is said before the key, and what follows it at once is taken.
    let mut client = server.silent_client().await;
    assert!(tokio::time::timeout(Duration::from_millis(200), client.frame()).await.is_err());
    client.send(auth(key)).await;
    client.send(audio("a", &encoded(0))).await;
    assert_eq!(client.state().await, "ready");
    assert_eq!(client.answer().await["transcription"], SAID[0].1);
    assert_eq!(client.state().await, "ready");
    // Once more does no harm.
    client.send(auth(key)).await;
    assert_eq!(client.state().await, "ready");
    client.send(auth("other")).await;
    client.code("UNAUTHORIZED").await;
    assert_eq!(client.close_code().await, 1008);
}

#[tokio::test]
async fn a_large_message_right_behind_the_key_is_taken() {
    let keys = one(Rules::default());
    let server = Server::start(keys.setup()).await;
    let mut client = server.silent_client().await;
    client.0.feed(Message::text(auth(&keys.keys[0]).to_string())).await.unwrap();
    client.0.feed(Message::text(audio("a", &long_encoded(20)).to_string())).await.unwrap();
    client.0.flush().await.unwrap();
    assert_eq!(client.state().await, "ready");
    assert_eq!(client.answer().await["type"], "transcription");
}

#[tokio::test]
async fn nobody_comes_in_without_a_valid_key() {
    let keys = one(Rules::default());
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    let server = Server::start(Setup { limits, ..keys.setup() }).await;
    for header in [("authorization", "Bearer imesli_x"), ("sec-websocket-protocol", "imesli, imesli.key.x")] {
        let begin = Instant::now();
        let Err((status, body)) = upgrade(&server, &[header]).await else { panic!("{header:?} came in") };
        assert_eq!(status, 401, "{header:?}");
        assert!(body.starts_with("UNAUTHORIZED: "), "{body}");
        assert!(begin.elapsed() > Duration::from_millis(400), "guesses take time");
    }
    let long = "x".repeat(5000);
    for first in [
        json!({ "type": "ping" }).to_string(),
        auth("imesli_x").to_string(),
        auth(&long).to_string(),
        json!({ "type": "auth" }).to_string(),
        "nonsense".to_owned(),
        audio("a", &encoded(0)).to_string(),
        audio("a", &long_encoded(60)).to_string(),
    ] {
        let mut client = server.silent_client().await;
        // The server may have hung up before all of it is sent.
        let _ = client.0.send(Message::text(first.clone())).await;
        let start: String = first.chars().take(40).collect();
        let error = client.code("UNAUTHORIZED").await;
        assert!(error.get("audio_id").is_none(), "{start}");
        assert_eq!(client.close_code().await, 1008, "{start}");
    }
    let mut silent = server.silent_client().await;
    silent.code("UNAUTHORIZED").await;
    assert_eq!(silent.close_code().await, 1008);
    with_key(&server, &keys.keys[0]).await.is_alive().await;
}

#[tokio::test]
async fn where_no_key_is_wanted_none_is_looked_at() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.send(auth("anything")).await;
    assert_eq!(client.state().await, "ready");
    with_key(&server, "anything").await.is_alive().await;
}

/// Waits until the server has noticed that its key file is another one.
async fn noticed(server: &Server, key: &str, wanted: u16) {
    let begin = Instant::now();
    while status(server, &[("authorization", &format!("Bearer {key}"))]).await != wanted {
        assert!(begin.elapsed() < Duration::from_secs(30), "it does not notice");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn keys_come_and_go_while_it_runs() {
    let keys = Keys::new(&[("stays", Rules::default()), ("goes", Rules::default())]);
    let server = Server::start(keys.setup()).await;
    let mut stays = with_key(&server, &keys.keys[0]).await;
    let mut goes = with_key(&server, &keys.keys[1]).await;
    let new = new_key(&keys.file, "new", &Rules::default()).unwrap();
    noticed(&server, &new, 101).await;
    // A file that is broken for a while changes nothing.
    let text = std::fs::read_to_string(&keys.file).unwrap();
    std::fs::write(&keys.file, format!("{text}[keys.")).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    transcribes(&mut goes).await;
    let without = text.split("[keys.\"goes\"]").next().unwrap();
    std::fs::write(&keys.file, format!("# Who goes is gone.\n{without}")).unwrap();
    noticed(&server, &keys.keys[1], 401).await;
    goes.code("UNAUTHORIZED").await;
    assert_eq!(goes.close_code().await, 1008);
    transcribes(&mut stays).await;
}

#[tokio::test]
async fn limits_are_told_with_the_time_to_wait() {
    let rules = Rules { concurrent: most(1), requests_per_minute: most(2), ..Rules::default() };
    let keys = Keys::new(&[("limited", rules), ("free", Rules::default())]);
    let server = Server::start(keys.setup()).await;
    let mut first = with_key(&server, &keys.keys[0]).await;
    let mut second = with_key(&server, &keys.keys[0]).await;
    first.send(audio("a", &long_encoded(30))).await;
    while first.state().await != "transcribing" {}
    second.send(audio("b", &encoded(0))).await;
    let error = second.code("QUOTA_EXCEEDED").await;
    assert_eq!((&error["audio_id"], &error["retry_after"]), (&json!("b"), &json!(1)));
    assert_eq!(second.state().await, "ready");
    second.send(json!({ "type": "stream_start", "stream_id": "s" })).await;
    assert_eq!(second.code("QUOTA_EXCEEDED").await["audio_id"], "s");
    assert_eq!(first.answer().await["type"], "transcription");
    transcribes(&mut second).await;
    second.send(audio("c", &encoded(0))).await;
    let wait = second.code("QUOTA_EXCEEDED").await["retry_after"].as_u64().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(second.state().await, "ready");
    // Others have limits of their own, or none.
    let mut other = with_key(&server, &keys.keys[1]).await;
    for _ in 0..3 {
        transcribes(&mut other).await;
    }
}

#[tokio::test]
async fn a_days_audio_is_all_there_is() {
    let keys = one(Rules { audio_minutes_per_day: most(1), ..Rules::default() });
    let server = Server::start(keys.setup()).await;
    let mut client = with_key(&server, &keys.keys[0]).await;
    for (audio_id, seconds, wanted) in
        [("a", 40, "transcription"), ("b", 40, "error"), ("c", 20, "transcription"), ("d", 1, "error")]
    {
        client.send(audio(audio_id, &long_encoded(seconds))).await;
        let answer = client.answer().await;
        assert_eq!(answer["type"], wanted, "{answer}");
        if wanted == "error" {
            assert_eq!(answer["code"], "QUOTA_EXCEEDED");
            assert!((1..=86_400).contains(&answer["retry_after"].as_u64().unwrap()), "{answer}");
        }
        assert_eq!(client.state().await, "ready");
    }
    client.send(json!({ "type": "stream_start", "stream_id": "s" })).await;
    let error = client.code("QUOTA_EXCEEDED").await;
    assert!(error["retry_after"].is_u64(), "{error}");
}

#[tokio::test]
async fn a_stream_ends_with_the_day_of_its_key() {
    let keys = one(Rules { audio_minutes_per_day: most(1), ..Rules::default() });
    let server = Server::start(keys.setup()).await;
    let mut client = with_key(&server, &keys.keys[0]).await;
    client.send(audio("a", &long_encoded(55))).await;
    assert_eq!(client.answer().await["type"], "transcription");
    assert_eq!(client.state().await, "ready");
    client.send(json!({ "type": "stream_start", "stream_id": "s", "partials": false })).await;
    assert_eq!(client.state().await, "streaming");
    for _ in 0..12 {
        client.0.send(Message::binary(vec![0_u8; 32_000])).await.unwrap();
    }
    let (mut told, mut text) = (None, None);
    while text.is_none() {
        let message = client.answer().await;
        match message["type"].as_str().unwrap() {
            "error" => told = Some(message),
            "transcription" => text = Some(message),
            _ => {}
        }
    }
    assert_eq!(told.unwrap()["code"], "QUOTA_EXCEEDED");
    assert_eq!(text.unwrap()["audio_id"], "s");
}

#[tokio::test]
async fn uploads_and_streams_are_those_of_their_key() {
    let keys = Keys::new(&[("ours", Rules::default()), ("theirs", Rules::default())]);
    let server = Server::start(keys.setup()).await;
    let mut ours = with_key(&server, &keys.keys[0]).await;
    let mut theirs = with_key(&server, &keys.keys[1]).await;
    let start = json!({ "type": "upload_start", "upload_id": "u", "file_name": "a.wav", "file_size": 5,
                        "total_chunks": 1 });
    ours.send(start).await;
    assert_eq!(ours.next().await["type"], "upload_progress");
    theirs.send(json!({ "type": "upload_complete", "upload_id": "u" })).await;
    theirs.code("UPLOAD_SESSION_NOT_FOUND").await;
    ours.send(json!({ "type": "stream_start", "stream_id": "s" })).await;
    assert_eq!(ours.state().await, "streaming");
    let resume = json!({ "type": "stream_start", "resume": { "stream_id": "s", "received_samples": 0 } });
    theirs.send(resume.clone()).await;
    theirs.code("STREAM_NOT_FOUND").await;
    // Another connection of the same key may.
    let mut again = with_key(&server, &keys.keys[0]).await;
    again.send(resume).await;
    assert_eq!(again.state().await, "streaming");
    again.send(json!({ "type": "upload_complete", "upload_id": "u" })).await;
    loop {
        let message = again.next().await;
        if message["type"] == "error" {
            break assert_eq!(message["code"], "UPLOAD_INCOMPLETE");
        }
    }
}

#[tokio::test]
async fn pages_of_others_stay_outside() {
    let access = AccessOptions {
        loopback: true,
        origins: vec!["https://app.example".parse().unwrap()],
        ..AccessOptions::default()
    };
    let server = Server::start(Setup { access, ..Setup::default() }).await;
    let own = format!("http://{}", server.address);
    for (origin, wanted) in [
        (own.as_str(), 101),
        ("null", 101),
        ("https://app.example", 101),
        ("https://evil.example", 403),
        ("http://localhost:1", 403),
    ] {
        assert_eq!(status(&server, &[("origin", origin)]).await, wanted, "{origin}");
    }
    // A name of theirs that means this machine.
    let rebound = [("origin", "http://evil.example"), ("host", "evil.example")];
    let Err((status, body)) = upgrade(&server, &rebound).await else { panic!("it came in") };
    assert_eq!(status, 403);
    assert!(body.starts_with("FORBIDDEN_ORIGIN: "), "{body}");
    let keys = one(Rules::default());
    let server = Server::start(keys.setup()).await;
    let key = format!("Bearer {}", keys.keys[0]);
    for (origin, wanted) in [("null", 101), ("https://evil.example", 403)] {
        let headers = [("origin", origin), ("authorization", &key)];
        assert_eq!(self::status(&server, &headers).await, wanted, "{origin}");
    }
    assert_eq!(self::status(&server, &[("origin", "null")]).await, 403);
}
