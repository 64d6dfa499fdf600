//! An exchange that Python's `websockets` had with this server (tools/record_exchange.py), once more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Server, Setup, root};

/// What differs from run to run, and stands in the record as `*`.
const MASKED: [&str; 3] = ["timestamp", "queue_seconds", "processing_seconds"];

/// `@FILE` and `@FILE[a:b]` stand for the file's bytes, or some of them, in base64.
fn filled(text: &str) -> String {
    let Some(reference) = text.strip_prefix('@') else { return text.to_owned() };
    let (file, range) = match reference.trim_end_matches(']').split_once('[') {
        Some((file, range)) => (file, range.split_once(':')),
        None => (reference, None),
    };
    let bytes = std::fs::read(root(file)).unwrap();
    let bytes = match range {
        Some((from, to)) => &bytes[from.parse().unwrap()..to.parse().unwrap()],
        None => &bytes,
    };
    STANDARD.encode(bytes)
}

#[tokio::test]
async fn a_recorded_client_is_answered_as_it_was() {
    let exchange: Vec<Value> = serde_json::from_str(include_str!("exchange.json")).unwrap();
    let server = Server::start(Setup::default()).await;
    let mut client = server.silent_client().await;
    for (index, entry) in exchange.into_iter().enumerate() {
        match &entry["client"] {
            Value::Null => {
                let mut answer = client.next().await;
                for name in MASKED {
                    if let Some(value) = answer.get_mut(name) {
                        *value = json!("*");
                    }
                }
                assert_eq!(answer, entry["server"], "entry {index}");
            }
            Value::String(text) => client.text(text).await,
            message => {
                let mut message = message.clone();
                for value in message.as_object_mut().unwrap().values_mut() {
                    if let Value::String(text) = value {
                        *value = json!(filled(text));
                    }
                }
                client.send(message).await;
            }
        }
    }
}
