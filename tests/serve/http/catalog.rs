//! Models that are elsewhere, come and go, and are asked for by name: here they are one in this process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imesli::asr::backend::Done;
use imesli::asr::catalog::{Available, Catalog};
use imesli::asr::transcriber::Transcriber;
use imesli::checkpoint::QuantType;
use imesli::error::{Error, Result};
use imesli::serve::engine::Models;
use serde_json::json;

use super::super::{audio, encoded};
use super::{SAID, Server, Setup, TRANSCRIPTIONS, get, post};
use crate::support::{ONE, root, transcriber};

/// A model by the name of `kab`, in revision `3f`.
#[derive(Debug)]
struct Shelf {
    transcriber: Arc<Transcriber>,
    is_alive: AtomicBool,
    /// The last model that was found, as it was asked for.
    asked: Mutex<Option<String>>,
}

impl Catalog for Shelf {
    fn find(&self, model: Option<&str>) -> Result<Arc<Transcriber>> {
        self.check()?;
        if !matches!(model, None | Some("kab" | "kab@3f")) {
            return Err(Error::InvalidInput("no worker has this model".into()));
        }
        *self.asked.lock().unwrap() = model.map(str::to_owned);
        Ok(Arc::clone(&self.transcriber))
    }

    fn models(&self) -> Vec<Available> {
        if self.check().is_err() {
            return Vec::new();
        }
        let (id, revision) = ("kab".to_owned(), Some("3f".to_owned()));
        vec![Available { id, revision, since: 7, workers: 2, states: 3, busy: 1, waiting: 5 }]
    }

    fn check(&self) -> Result<()> {
        if self.is_alive.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::Overloaded("no worker is there".into()))
    }

    fn observe(&self, observer: Arc<dyn Fn(&Done) + Send + Sync>) {
        self.transcriber.observe(move |done| observer(done));
    }
}

async fn server() -> (Server, Arc<Shelf>) {
    let made = tokio::task::spawn_blocking(|| transcriber(QuantType::Q8_0, ONE)).await.unwrap();
    let shelf = Arc::new(Shelf {
        transcriber: Arc::new(made),
        is_alive: AtomicBool::new(true),
        asked: Mutex::default(),
    });
    (Server::with(Models::Elsewhere(shelf.clone()), Setup::default()).await, shelf)
}

impl Shelf {
    fn asked(&self) -> Option<String> {
        self.asked.lock().unwrap().take()
    }
}

#[tokio::test]
async fn a_form_names_its_model() {
    let (server, shelf) = server().await;
    type Fields = &'static [(&'static str, &'static str)];
    let cases: [(Fields, Option<&str>); 4] = [
        (&[], None),
        (&[("model", "whisper-1")], None),
        (&[("model", " kab ")], Some("kab")),
        (&[("model", "kab@3f")], Some("kab@3f")),
    ];
    for (fields, asked) in cases {
        assert_eq!(post(&server, TRANSCRIPTIONS, fields).await.json()["text"], SAID[0].1, "{fields:?}");
        assert_eq!(shelf.asked().as_deref(), asked, "{fields:?}");
    }
    for other in ["kab@3", "demo"] {
        let (code, param) = post(&server, TRANSCRIPTIONS, &[("model", other)]).await.error(404);
        assert_eq!((code.as_str(), param.as_deref()), ("model_not_found", Some("model")), "{other}");
    }
    let answer = post(&server, "/inference", &[("model", "demo")]).await;
    assert_eq!((answer.status, answer.json()), (404, json!({ "error": "no worker has this model" })));
}

#[tokio::test]
async fn what_there_is_can_be_seen() {
    let (server, shelf) = server().await;
    let list = get(&server, "/v1/models").await.json();
    let model = json!({ "id": "kab", "object": "model", "created": 7, "owned_by": "imesli",
                        "revision": "3f", "workers": 2, "states": 3 });
    assert_eq!(list["data"], json!([model]));
    assert_eq!(get(&server, "/v1/models/kab").await.json(), model);
    assert_eq!(get(&server, "/v1/models/kab@3f").await.json(), model);
    assert_eq!(get(&server, "/v1/models/kab@3").await.error(404).0, "model_not_found");
    let metrics = get(&server, "/metrics").await;
    for line in [
        "\nimesli_workers{model=\"kab\",revision=\"3f\"} 2\n",
        "\nimesli_pending_windows{model=\"kab\",revision=\"3f\"} 5\n",
        "\nimesli_states{activity=\"busy\"} 1\n",
        "\nimesli_states{activity=\"idle\"} 2\n",
    ] {
        assert!(metrics.text().contains(line), "{line}: {}", metrics.text());
    }
    post(&server, TRANSCRIPTIONS, &[]).await;
    let windows = "\nimesli_window_encode_seconds_count 1\n";
    assert!(get(&server, "/metrics").await.text().contains(windows));
    shelf.is_alive.store(false, Ordering::Relaxed);
    assert!(!get(&server, "/metrics").await.text().contains("imesli_workers{"));
    assert_eq!(get(&server, "/v1/models").await.json()["data"], json!([]));
}

#[tokio::test]
async fn a_message_names_its_model() {
    let (server, shelf) = server().await;
    let mut client = server.client().await;
    let named = |id: &str, model: &str| {
        let mut message = audio(id, &encoded(0));
        message["model"] = json!(model);
        message
    };
    client.send(named("a", "kab@3f")).await;
    assert_eq!(client.answer().await["transcription"], SAID[0].1);
    assert_eq!(shelf.asked().as_deref(), Some("kab@3f"));
    client.send(named("b", "demo")).await;
    let refused = client.answer().await;
    assert_eq!((&refused["code"], &refused["audio_id"]), (&json!("MESSAGE_PROCESSING_ERROR"), &json!("b")));
    client.send(json!({ "type": "stream_start", "stream_id": "s", "model": "demo" })).await;
    assert_eq!(client.answer().await["code"], "STREAM_START_ERROR");
    client.send(json!({ "type": "stream_start", "stream_id": "s", "options": { "model": "kab" } })).await;
    while client.state().await != "streaming" {}
    assert_eq!(shelf.asked().as_deref(), Some("kab"));
}

#[tokio::test]
async fn an_upload_is_heard_by_the_model_that_it_began_with() {
    let (server, shelf) = server().await;
    let mut client = server.client().await;
    let file = std::fs::read(root(SAID[0].0)).unwrap();
    let start = |model: &str| {
        json!({ "type": "upload_start", "upload_id": "u", "file_name": "a.wav", "file_size": file.len(),
                "total_chunks": 1, "chunk_size": file.len(), "model": model })
    };
    client.send(start("demo")).await;
    client.code("MESSAGE_PROCESSING_ERROR").await;
    client.send(start("kab@3f")).await;
    assert_eq!(client.next().await["type"], "upload_progress");
    assert_eq!(shelf.asked().as_deref(), Some("kab@3f"));
    client
        .send(json!({ "type": "upload_chunk", "upload_id": "u", "chunk_index": 0,
                      "chunk_data": STANDARD.encode(&file), "is_final_chunk": true }))
        .await;
    assert_eq!(client.next().await["type"], "upload_progress");
    client.send(json!({ "type": "upload_complete", "upload_id": "u", "model": "demo" })).await;
    client.code("MESSAGE_PROCESSING_ERROR").await;
    client.send(json!({ "type": "upload_complete", "upload_id": "u" })).await;
    assert_eq!(client.next().await["type"], "upload_complete");
    assert_eq!(client.answer().await["transcription"], SAID[0].1);
    assert_eq!(shelf.asked().as_deref(), Some("kab@3f"));
}

#[tokio::test]
async fn without_any_worker_it_is_too_early() {
    let (server, shelf) = server().await;
    shelf.is_alive.store(false, Ordering::Relaxed);
    let answer = post(&server, TRANSCRIPTIONS, &[]).await;
    assert_eq!(answer.error(429).0, "overloaded");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    let ready = get(&server, "/ready").await;
    let reason = json!({ "status": "not ready", "reason": "no worker is there" });
    assert_eq!((ready.status, ready.json()), (503, reason));
    let mut client = server.client().await;
    client.send(audio("a", &encoded(0))).await;
    let refused = client.answer().await;
    assert_eq!(refused["code"], "OVERLOADED");
    assert!(refused["retry_after"].as_u64().is_some_and(|seconds| seconds >= 1), "{refused}");
    client.send(json!({ "type": "stream_start" })).await;
    let refused = client.answer().await;
    assert_eq!(refused["code"], "OVERLOADED");
    assert!(refused["retry_after"].is_u64(), "{refused}");
    shelf.is_alive.store(true, Ordering::Relaxed);
    assert_eq!(post(&server, TRANSCRIPTIONS, &[]).await.json()["text"], SAID[0].1);
}
