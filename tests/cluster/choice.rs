//! Several models behind one door.

use std::time::{Duration, Instant};

use imesli::checkpoint::QuantType;
use serde_json::{Value, json};

use super::process::until;
use super::{Cluster, SOON, Worker, asked, exchange, is_answered};
use crate::asr::SAID;
use crate::serve::http::{form, form_type, request};
use crate::serve::{audio, encoded};
use crate::support::{demo, root};

/// Windows that each heard, since the last time.
struct Heard<'a>([(&'a Worker, f64); 2]);

impl Heard<'_> {
    async fn since(&mut self) -> [f64; 2] {
        let mut more = [0.0; 2];
        for ((worker, before), more) in self.0.iter_mut().zip(&mut more) {
            let now = worker.files().await;
            *more = now - *before;
            *before = now;
        }
        more
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_to_the_model_that_it_names() {
    let Some(cluster) = Cluster::start().await else { return };
    let a = cluster.worker_of("a", "kabyle-a", &demo(QuantType::Q8_0), &[]).await;
    let b = cluster.worker_of("b", "kabyle-b", &demo(QuantType::F16), &[]).await;
    assert_ne!(a.revision, b.revision, "other weights");
    let door = cluster.door(&["--default-model", "kabyle-a"]).await;
    until("the door knows both", SOON, async || door.models().await == ["kabyle-a", "kabyle-b"]).await;
    let mut client = door.client().await;
    let mut heard = Heard([(&a, 0.0), (&b, 0.0)]);

    for _ in 0..3 {
        is_answered(&mut client, json!({ "model": "kabyle-b" })).await;
    }
    assert_eq!(heard.since().await, [0.0, 3.0]);
    is_answered(&mut client, json!({ "options": { "model": "kabyle-a" } })).await;
    assert_eq!(heard.since().await, [1.0, 0.0]);
    // The default, by any of its names.
    for options in [json!({}), json!({ "model": null }), json!({ "model": "whisper-1" })] {
        is_answered(&mut client, options).await;
    }
    assert_eq!(heard.since().await, [3.0, 0.0]);
    let exactly = format!("kabyle-b@{}", b.revision);
    is_answered(&mut client, json!({ "model": exactly })).await;
    assert_eq!(heard.since().await, [0.0, 1.0]);

    for unknown in ["kabyle-c", "kabyle-b@nothing", "kabyle-*", "kabyle.b", ">"] {
        let answer = asked(&mut client, json!({ "model": unknown })).await;
        assert_eq!(answer["code"], "MESSAGE_PROCESSING_ERROR", "{unknown:?}: {answer}");
    }
    let answer = asked(&mut client, json!({ "model": 7 })).await;
    assert_eq!(answer["code"], "MESSAGE_PROCESSING_ERROR", "{answer}");
    assert_eq!(heard.since().await, [0.0, 0.0]);
    cluster.broker.look().await.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_http_api_names_models_too() {
    let Some(cluster) = Cluster::start().await else { return };
    let a = cluster.worker_of("a", "kabyle-a", &demo(QuantType::Q8_0), &[]).await;
    let b = cluster.worker_of("b", "kabyle-b", &demo(QuantType::F16), &[]).await;
    let door = cluster.door(&["--default-model", "kabyle-a"]).await;
    until("the door knows both", SOON, async || door.models().await.len() == 2).await;
    let mut heard = Heard([(&a, 0.0), (&b, 0.0)]);
    let file = std::fs::read(root(SAID[0].0)).unwrap();
    for (model, status, windows) in [
        ("kabyle-b", 200, [0.0, 1.0]),
        ("kabyle-a", 200, [1.0, 0.0]),
        ("whisper-1", 200, [1.0, 0.0]),
        ("kabyle-c", 404, [0.0, 0.0]),
    ] {
        let body = form(&[("model", model)], &file);
        let kind = form_type();
        let headers = [("Content-Type", kind.as_str()), ("Connection", "close")];
        let asking = request("POST", "/v1/audio/transcriptions", &headers, &body);
        let (found, body) = exchange(door.address(), &asking).await;
        assert_eq!(found, status, "{model}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        if status == 200 {
            assert_eq!(answer["text"], SAID[0].1, "{answer}");
        } else {
            assert_eq!(answer["error"]["code"], "model_not_found", "{answer}");
        }
        assert_eq!(heard.since().await, windows, "{model}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_one_model_wait_for_their_worker_whatever_is_done_for_another() {
    let Some(cluster) = Cluster::start().await else { return };
    let busy = cluster.worker_of("a", "kabyle-a", &demo(QuantType::Q8_0), &[]).await;
    let waited_for = cluster.worker_of("b", "kabyle-b", &demo(QuantType::F16), &[]).await;
    let door = cluster.door(&[]).await;
    until("both models are there", SOON, async || door.models().await.len() == 2).await;
    waited_for.process.signal("STOP");
    // One each: those of one client come one after the other.
    let mut waiting = Vec::new();
    for index in 0..4 {
        let mut client = door.client().await;
        let mut message = audio(&index.to_string(), &encoded(0));
        message["model"] = json!("kabyle-b");
        client.send(message).await;
        waiting.push(client);
    }
    // Long enough for all that a door and a broker do now and then.
    let begin = Instant::now();
    let mut client = door.client().await;
    while begin.elapsed() < Duration::from_secs(25) {
        is_answered(&mut client, json!({ "model": "kabyle-a" })).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    waited_for.process.signal("CONT");
    for client in &mut waiting {
        let answer = client.answer().await;
        assert_eq!(answer["transcription"], SAID[0].1, "{answer}");
    }
    assert_eq!(door.process.find("a window is sent again"), None);
    assert!(busy.files().await > 10.0);
    cluster.broker.look().await.nothing_is_left().await;
}
