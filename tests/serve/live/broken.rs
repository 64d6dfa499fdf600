//! Connections that break in the middle of a stream.

use std::time::Duration;

use imesli::serve::limits::Limits;
use serde_json::{Value, json};

use super::super::{Client, SAID, Server, Setup};
use super::{Told, pcm};

/// Cuts the TCP connection: no close frame, no goodbye.
async fn cut(client: Client) {
    let mut client = client;
    let socket = client.0.get_mut();
    match socket {
        tokio_tungstenite::MaybeTlsStream::Plain(tcp) => {
            tcp.set_zero_linger().unwrap();
        }
        _ => panic!("plain connections only"),
    }
    drop(client);
}

fn resume(id: &str, received_samples: u64) -> Value {
    json!({ "type": "stream_start", "resume": { "stream_id": id, "received_samples": received_samples } })
}

/// Resumes a stream and gives the sample from which on audio is wanted.
async fn resumed(server: &Server, message: Value) -> (Client, u64) {
    let mut client = server.client().await;
    client.send(message).await;
    let state = client.next().await;
    assert_eq!(state["state"], "streaming", "{state}");
    assert_eq!(state["data"]["resumed"], true);
    let next = state["data"]["next_sample"].as_u64().unwrap();
    (client, next)
}

#[tokio::test]
async fn a_stream_goes_on_after_its_connection_was_cut() {
    let server = Server::start(Setup::default()).await;
    let bytes = pcm(3);
    let mut told = Told::default();
    let mut client = server.client().await;
    client.stream("s").await;
    // In the middle of a word, and of a sample.
    client.play(&bytes[..60_001]).await;
    while told.committed.is_empty() {
        let message = client.next().await;
        assert!(told.take(&message));
    }
    for part in [90_001, 120_003] {
        cut(client).await;
        let next;
        (client, next) = resumed(&server, resume("s", told.received)).await;
        assert!(next >= told.received, "{next} {}", told.received);
        // What the server had before the cut may be less than was sent.
        assert!(next <= part as u64 / 2);
        let message = client.next().await;
        assert_eq!(message["from_start"], true, "{message}");
        let before = told.committed.clone();
        assert!(told.take(&message));
        assert!(told.committed.starts_with(&before), "{before:?} {:?}", told.committed);
        client.bytes(&bytes[next as usize * 2..part]).await;
    }
    cut(client).await;
    let (mut client, next) = resumed(&server, resume("s", told.received)).await;
    client.bytes(&bytes[next as usize * 2..]).await;
    let found = client.finish(&mut told).await;
    assert_eq!(found["transcription"], SAID[3].1);
    assert_eq!(told.restarts, 3);
    assert!((found["duration"].as_f64().unwrap() - bytes.len() as f64 / 32_000.0).abs() < 0.001);
}

#[tokio::test]
async fn segments_and_the_transcript_are_told_again_to_who_lacks_them() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.stream("s").await;
    client.bytes(&pcm(0)).await;
    client.bytes(&pcm(1)).await;
    client.send(json!({ "type": "stream_flush" })).await;
    let mut told = Told::default();
    while told.flushed.is_empty() {
        let message = client.next().await;
        assert!(told.take(&message));
    }
    assert_eq!(told.segments.len(), 2);
    client.stop().await;
    cut(client).await;
    // It has one of the two segments, and saw nothing of the end.
    told.segments.truncate(1);
    let mut message = resume("s", told.received);
    message["resume"]["received_segments"] = json!(1);
    let (mut client, _) = resumed(&server, message).await;
    let found = told.until_other(&mut client).await;
    assert_eq!(found["type"], "transcription", "{found}");
    assert_eq!((told.segments.len(), told.restarts), (2, 1));
    assert_eq!(told.committed, found["transcription"].as_str().unwrap());
    assert_eq!(client.state().await, "ready");
}

#[tokio::test]
async fn the_last_connection_has_the_stream() {
    let server = Server::start(Setup::default()).await;
    let bytes = pcm(0);
    let half = bytes.len() / 4 * 2;
    let mut first = server.client().await;
    first.stream("s").await;
    first.bytes(&bytes[..half]).await;
    first.is_alive().await;
    // The first connection is not known to be broken.
    let (mut second, next) = resumed(&server, resume("s", 0)).await;
    assert_eq!(next, half as u64 / 2);
    first.bytes(&bytes[half..]).await;
    first.bytes(&bytes[half..]).await;
    second.bytes(&bytes[half..]).await;
    let found = second.finish(&mut Told::default()).await;
    assert_eq!(found["transcription"], SAID[0].1);
    first.stop().await;
    first.is_alive().await;
}

#[tokio::test]
async fn what_can_not_be_resumed_is_told_so() {
    let limits = Limits { stream_resume: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    let mut other = server.client().await;
    other.send(resume("nobody's", 0)).await;
    assert_eq!(other.code("STREAM_NOT_FOUND").await["audio_id"], "nobody's");
    let mut client = server.client().await;
    client.stream("s").await;
    client.bytes(&[0; 200]).await;
    client.is_alive().await;
    // Audio that nobody has any more.
    other.send(resume("s", 101)).await;
    other.code("STREAM_START_ERROR").await;
    cut(client).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    other.send(resume("s", 100)).await;
    other.code("STREAM_NOT_FOUND").await;
}
