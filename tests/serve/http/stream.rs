//! The text as it grows.

use serde_json::Value;

use super::super::long_wav;
use super::{Http, SAID, Server, Setup, TRANSCRIPTIONS, form, form_type, post, post_body, request};

/// The objects of a stream of events.
fn events(text: &str) -> Vec<Value> {
    let events = text.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':'));
    events.map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

/// The text of the last event, which the deltas before it add up to.
fn told(text: &str) -> (usize, String) {
    let mut events = events(text);
    let last = events.pop().unwrap();
    assert_eq!(last["type"], "transcript.text.done", "{last}");
    let deltas: String = events
        .iter()
        .map(|event| {
            assert_eq!(event["type"], "transcript.text.delta", "{event}");
            assert!(!event["delta"].as_str().unwrap().is_empty());
            event["delta"].as_str().unwrap()
        })
        .collect();
    assert_eq!(last["text"], deltas);
    (events.len(), deltas)
}

#[tokio::test]
async fn the_deltas_are_the_text() {
    let server = Server::start(Setup::default()).await;
    for format in ["json", "text"] {
        let answer = post(&server, TRANSCRIPTIONS, &[("stream", "true"), ("response_format", format)]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
        assert_eq!(told(answer.text()).1, SAID[0].1);
    }
}

#[tokio::test]
async fn a_long_text_comes_in_pieces_and_is_that_of_the_whole_answer() {
    let server = Server::start(Setup::default()).await;
    let wav = long_wav(100);
    let whole = post_body(&server, TRANSCRIPTIONS, &form(&[], &wav)).await.json();
    let mut http = Http::connect(&server).await;
    let body = form(&[("stream", "true")], &wav);
    http.send(&request("POST", TRANSCRIPTIONS, &[("Content-Type", &form_type())], &body)).await;
    assert_eq!(http.head().await.status, 200);
    let (mut text, mut chunks) = (String::new(), 0);
    loop {
        let chunk = http.chunk().await;
        if chunk.is_empty() {
            break;
        }
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        chunks += 1;
    }
    let (deltas, told) = told(&text);
    assert_eq!(whole["text"], told);
    assert!(deltas >= 2 && chunks >= deltas, "{deltas} deltas in {chunks} chunks");
    // The connection is as good as before.
    assert_eq!(http.ask("GET", "/health", &[], b"").await.status, 200);
}

#[tokio::test]
async fn who_stops_reading_stops_the_work() {
    let server = Server::start(Setup::default()).await;
    let mut http = Http::connect(&server).await;
    let body = form(&[("stream", "true")], &long_wav(600));
    http.send(&request("POST", TRANSCRIPTIONS, &[("Content-Type", &form_type())], &body)).await;
    assert_eq!(http.head().await.status, 200);
    assert!(!http.chunk().await.is_empty());
    drop(http);
    // One state does one thing at a time: the next one is soon answered.
    let begun = std::time::Instant::now();
    assert_eq!(post(&server, TRANSCRIPTIONS, &[]).await.json()["text"], SAID[0].1);
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
}
