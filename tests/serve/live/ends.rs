//! How streams end that are not simply stopped, and what is refused.

use std::time::Duration;

use imesli::serve::limits::Limits;
use serde_json::json;

use super::super::{SAID, Server, Setup};
use super::{Told, pcm};

fn with(limits: Limits) -> Setup {
    Setup { limits, ..Setup::default() }
}

#[tokio::test]
async fn what_a_stream_can_not_be_is_refused() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    for (field, value) in [
        ("encoding", json!("opus")),
        ("sample_rate", json!(10)),
        ("sample_rate", json!("fast")),
        ("channels", json!(0)),
        ("channels", json!(100)),
        ("silence_ms", json!(1)),
        ("min_phrase_ms", json!(60_000)),
        ("max_phrase_ms", json!(60_000)),
        ("language", json!("tlh")),
        ("resume", json!(true)),
    ] {
        let mut start = json!({ "type": "stream_start" });
        start[field] = value;
        client.send(start).await;
        let error = client.code("STREAM_START_ERROR").await;
        assert!(error["message"].as_str().unwrap().contains(field.trim_end_matches("_ms")), "{error}");
    }
    for message in ["stream_stop", "stream_flush"] {
        client.send(json!({ "type": message })).await;
        client.code("STREAM_NOT_FOUND").await;
    }
    client.send(json!({ "type": "stream_audio", "audio_data": "AAAA" })).await;
    client.code("STREAM_NOT_FOUND").await;
    client.stream("s").await;
    client.send(json!({ "type": "stream_start" })).await;
    client.code("STREAM_START_ERROR").await;
    let mut other = server.client().await;
    other.send(json!({ "type": "stream_start", "stream_id": "s" })).await;
    assert_eq!(other.code("STREAM_START_ERROR").await["audio_id"], "s");
    // The one that is open is as it was.
    client.bytes(&pcm(0)).await;
    assert_eq!(client.finish(&mut Told::default()).await["transcription"], SAID[0].1);
}

#[tokio::test]
async fn a_stream_without_audio_gets_its_text_and_a_code() {
    let limits = Limits { stream_idle: Duration::from_millis(500), ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut client = server.client().await;
    client.stream("s").await;
    client.bytes(&pcm(0)).await;
    let mut told = Told::default();
    let found = told.until_other(&mut client).await;
    assert_eq!(found["transcription"], SAID[0].1, "{found}");
    assert_eq!(told.committed, SAID[0].1);
    assert_eq!(client.close_code().await, 4000);
}

#[tokio::test]
async fn who_does_not_answer_is_told_so_in_vain() {
    let limits = Limits { ping: Duration::from_millis(100), ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut client = server.client().await;
    client.stream("s").await;
    // Nothing is read, so no ping is answered, and nothing is sent.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.close_code().await, 4002);
}

#[tokio::test]
async fn audio_that_comes_faster_than_it_can_be_heard_ends_the_stream() {
    let limits = Limits { stream_backlog: 2, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut client = server.client().await;
    client.send(json!({ "type": "stream_start", "stream_id": "s", "vad": false })).await;
    client.streaming("s", 0).await;
    for _ in 0..20 {
        client.bytes(&pcm(3)).await;
    }
    let mut told = Told::default();
    let error = told.until_other(&mut client).await;
    assert_eq!((&error["code"], &error["audio_id"]), (&json!("OVERLOADED"), &json!("s")), "{error}");
    assert_eq!(client.state().await, "ready");
    // What was on its way is passed over, and the connection can be used again.
    client.bytes(&pcm(0)).await;
    client.stop().await;
    client.is_alive().await;
    client.stream("t").await;
    client.finish(&mut Told::default()).await;
}

#[tokio::test]
async fn a_stream_that_is_too_long_is_stopped() {
    let limits = Limits { audio_seconds: 2, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut client = server.client().await;
    client.stream("s").await;
    for frame in pcm(3).chunks(3200) {
        client.bytes(frame).await;
    }
    let mut told = Told::default();
    let error = told.until_other(&mut client).await;
    assert_eq!((&error["code"], &error["audio_id"]), (&json!("PAYLOAD_TOO_LARGE"), &json!("s")), "{error}");
    let found = client.next().await;
    assert_eq!(found["transcription"], told.committed, "{found}");
    assert!(SAID[3].1.starts_with(&told.committed[..4]), "{}", told.committed);
    assert_eq!(client.state().await, "ready");
}

#[tokio::test]
async fn there_are_so_many_streams_and_no_more() {
    let limits = Limits { streams: 1, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    first.stream("a").await;
    second.send(json!({ "type": "stream_start", "stream_id": "b" })).await;
    assert_eq!(second.code("OVERLOADED").await["audio_id"], "b");
    first.finish(&mut Told::default()).await;
    second.stream("b").await;
    second.finish(&mut Told::default()).await;
}

#[tokio::test]
async fn a_shutdown_waits_for_the_text() {
    let mut server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.stream("s").await;
    client.bytes(&pcm(1)).await;
    client.is_streaming().await;
    server.stop();
    let mut told = Told::default();
    let found = told.until_other(&mut client).await;
    assert_eq!(found["transcription"], SAID[1].1, "{found}");
    assert_eq!(client.close_code().await, 1001);
    server.done.await.unwrap();
}
