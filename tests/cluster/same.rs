//! What workers hear is what the engine in the server hears.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imesli::checkpoint::QuantType;
use serde_json::{Value, json};

use super::Cluster;
use crate::serve::{Client, audio, long_wav};
use crate::support::{Running, demo, root};

/// All recordings of which the words are known: name, words, and the file in base64.
fn recordings() -> Vec<(String, String, String)> {
    let truth = std::fs::read_to_string(root("tests/data/truth.json")).unwrap();
    let truth: serde_json::Map<String, Value> = serde_json::from_str(&truth).unwrap();
    let file = |name: &str| STANDARD.encode(std::fs::read(root("tests/data").join(name)).unwrap());
    truth.iter().map(|(name, said)| (name.clone(), said.as_str().unwrap().to_owned(), file(name))).collect()
}

/// The engine in the server itself.
struct Embedded(Running);

impl Embedded {
    fn start() -> Self {
        let arguments = ["--cpu", "--states", "1", "--max-requests-per-connection", "64"];
        Self(Running::start(&demo(QuantType::Q8_0), &arguments))
    }

    async fn client(&self) -> Client {
        let mut client = Client::connect(&self.0.url).await;
        assert_eq!(client.state().await, "ready");
        client
    }
}

/// Asks for these one by one; the answers without the times of day and of processing.
async fn ask(client: &mut Client, files: &[(String, String, String)], options: &Value) -> Vec<Value> {
    let mut answers = Vec::new();
    for (name, _, file) in files {
        let mut message = audio(name, file);
        message.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        client.send(message).await;
        let mut answer = client.answer().await;
        assert_eq!(
            (&answer["type"], &answer["audio_id"]),
            (&json!("transcription"), &json!(name)),
            "{answer}"
        );
        for field in ["timestamp", "queue_seconds", "processing_seconds"] {
            assert!(answer.as_object_mut().unwrap().remove(field).is_some(), "{field}");
        }
        answers.push(answer);
    }
    answers
}

/// Whether two answers differ by no more than the rounding of the samples can do: the same in all but times, which are the
/// same to a thousandth, and probabilities.
fn assert_near(here: &Value, there: &Value, of: &str) {
    match (here, there) {
        (Value::Object(here), Value::Object(there)) => {
            assert!(here.keys().eq(there.keys()), "{of}: {here:?} {there:?}");
            for (name, value) in here {
                if name != "probability" {
                    assert_near(value, &there[name], &format!("{of}.{name}"));
                }
            }
        }
        (Value::Array(here), Value::Array(there)) => {
            assert_eq!(here.len(), there.len(), "{of}");
            here.iter().zip(there).for_each(|(here, there)| assert_near(here, there, of));
        }
        (Value::Number(here), Value::Number(there)) => {
            let (here, there) = (here.as_f64().unwrap(), there.as_f64().unwrap());
            assert!((here - there).abs() < 1e-3, "{of}: {here} {there}");
        }
        _ => assert_eq!(here, there, "{of}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recording_has_the_text_and_the_times_of_the_engine_in_the_server() {
    let Some(cluster) = Cluster::start().await else { return };
    let embedded = Embedded::start();
    let (door, workers) = cluster.with_workers(&["--max-requests-per-connection", "64"], 2).await;
    let files = recordings();
    for timestamps in ["segment", "word"] {
        let options = json!({ "timestamps": timestamps });
        let here = ask(&mut embedded.client().await, &files, &options).await;
        let there = ask(&mut door.client().await, &files, &options).await;
        for (((name, said, _), here), there) in files.iter().zip(&here).zip(&there) {
            assert_eq!(there["transcription"], said.as_str(), "{name}");
            assert_near(here, there, name);
        }
    }
    let heard = (workers[0].files().await, workers[1].files().await);
    assert!(heard.0 > 0.0 && heard.1 > 0.0, "{heard:?}: each has its share");
    assert_eq!(heard.0 + heard.1, 2.0 * files.len() as f64);
    cluster.broker.look().await.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exact_audio_gives_the_very_same_answers_also_where_it_is_too_large_for_a_message() {
    let Some(cluster) = Cluster::start().await else { return };
    let embedded = Embedded::start();
    let arguments = ["--exact-audio", "--max-requests-per-connection", "64"];
    let (door, workers) = cluster.with_workers(&arguments, 2).await;
    let mut files = recordings();
    let known = files.len();
    // Windows of 30 s as floats: 1.9 MB each, and a message may have 1 MB.
    files.push(("long.wav".to_owned(), String::new(), STANDARD.encode(long_wav(100))));
    let options = json!({ "timestamps": "word" });
    let here = ask(&mut embedded.client().await, &files, &options).await;
    let there = ask(&mut door.client().await, &files, &options).await;
    for (((name, said, _), here), there) in files.iter().zip(&here).zip(&there) {
        assert_eq!(here, there, "{name}");
        assert!(said.is_empty() || there["transcription"] == said.as_str(), "{name}: {there}");
    }
    let long = there[known]["transcription"].as_str().unwrap();
    assert!(long.split(' ').count() > 50, "{long}");
    let heard = workers[0].files().await + workers[1].files().await;
    assert!(heard >= (known + 4) as f64, "{heard} windows");
    let seconds = workers[0].metric("imesli_worker_audio_seconds_total").await
        + workers[1].metric("imesli_worker_audio_seconds_total").await;
    assert!(seconds > 100.0, "{seconds}");
    cluster.broker.look().await.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_file_has_the_same_text_in_16_bits() {
    let Some(cluster) = Cluster::start().await else { return };
    let embedded = Embedded::start();
    let (door, _workers) = cluster.with_workers(&[], 2).await;
    let files = [("long.wav".to_owned(), String::new(), STANDARD.encode(long_wav(100)))];
    let here = ask(&mut embedded.client().await, &files, &json!({})).await;
    let there = ask(&mut door.client().await, &files, &json!({})).await;
    assert_near(&here[0], &there[0], "long.wav");
    cluster.broker.look().await.nothing_is_left().await;
}
