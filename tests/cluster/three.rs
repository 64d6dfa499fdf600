//! Three brokers that keep everything three times: when one of them dies, nobody has to care.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imesli::checkpoint::QuantType;
use serde_json::{Value, json};

use super::broker::{self, Broker, free_port};
use super::crowd::Crowd;
use super::{Door, MODEL, TURN, Worker, is_answered};
use crate::asr::SAID;
use crate::serve::live::{Told, pcm};
use crate::serve::{Client, audio, long_wav};
use crate::support::demo;

/// On all three.
const THRICE: [&str; 2] = ["--nats-replicas", "3"];

/// Brokers that know each other, `broker-0` to `broker-2`.
async fn three(program: &Path) -> Vec<Broker> {
    let ports = [free_port(), free_port(), free_port()];
    let routes = ports.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
    let mut brokers = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let more = format!(
            "server_name: \"broker-{index}\"\n\
             cluster {{ name: \"three\", listen: \"127.0.0.1:{port}\", routes: [{routes}] }}"
        );
        brokers.push(Broker::start(program, &more).await);
    }
    brokers
}

/// The addresses of all of them.
fn addresses(brokers: &[Broker]) -> String {
    brokers.iter().map(Broker::url).collect::<Vec<_>>().join(",")
}

/// The number of the broker that leads a stream.
async fn leader(look: &Broker, stream: &str) -> usize {
    let leader = look.look().await.leader(stream).await;
    (0..3).find(|index| leader == format!("broker-{index}")).unwrap_or_else(|| panic!("{leader}"))
}

async fn worker(url: &str, name: &str) -> Worker {
    Worker::start(url, name, MODEL, &demo(QuantType::Q8_0), &THRICE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_brokers_dies_and_nobody_is_refused() {
    let Some(program) = broker::program() else { return };
    let _turn = TURN.lock().await;
    let mut brokers = three(&program).await;
    let url = addresses(&brokers);
    let _workers = (worker(&url, "worker-1").await, worker(&url, "worker-2").await);
    let arguments = [&THRICE[..], &["--max-pending", "64"]].concat();
    let door = Door::start(&url, &arguments).await;
    door.is_ready().await;
    let crowd = Crowd::start(&door.url, 4, 50);

    crowd.reaches(40).await;
    let its = leader(&brokers[0], "imesli_jobs").await;
    brokers[its].kill();
    // Without it: the other two have elected a new one.
    crowd.reaches(120).await;
    let other = &brokers[(its + 1) % 3];
    assert_ne!(leader(other, "imesli_jobs").await, its);
    let look = other.look().await;
    brokers[its].restart().await;

    assert_eq!(crowd.ends().await.answered, 200, "somebody was refused");
    look.nothing_is_left().await;
    assert_eq!(look.messages("imesli_dead").await, 0, "no job was given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audio_that_lies_by_itself_outlives_one_of_three_brokers() {
    let Some(program) = broker::program() else { return };
    let _turn = TURN.lock().await;
    let mut brokers = three(&program).await;
    let url = addresses(&brokers);
    let worker = worker(&url, "worker-1").await;
    let door = Door::start(&url, &[&THRICE[..], &["--exact-audio"]].concat()).await;
    door.is_ready().await;
    let mut client = door.client().await;
    // In 32 bits more than a message may have.
    let long = STANDARD.encode(long_wav(29));
    client.send(audio("before", &long)).await;
    let before = client.answer().await["transcription"].clone();
    assert!(before.as_str().is_some_and(|text| text.len() > 100), "{before}");

    let its = leader(&brokers[0], "OBJ_imesli_audio").await;
    for index in 0..8 {
        client.send(audio(&format!("{index}"), &long)).await;
    }
    assert_eq!(text(&mut client, 0).await, before);
    brokers[its].kill();
    for index in 1..8 {
        assert_eq!(text(&mut client, index).await, before);
    }
    assert_eq!(worker.process.find("panicked"), None);
    // Whatever the dead one had taken of an object without saying so: four pieces at most.
    brokers[(its + 1) % 3].look().await.no_more_is_left(4).await;
}

/// The text of this recording, which is answered next.
async fn text(client: &mut Client, index: usize) -> Value {
    loop {
        let message = client.next().await;
        if message["type"] != "state" {
            assert_eq!(message["audio_id"], index.to_string(), "{message}");
            return message["transcription"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_broker_dies_goes_on_over_another() {
    let Some(program) = broker::program() else { return };
    let _turn = TURN.lock().await;
    let mut brokers = three(&program).await;
    // The door is told of the first one alone; that tells it of the others.
    let _worker = worker(&brokers[1].url(), "worker-1").await;
    let mut door = Door::start(&brokers[0].url(), &THRICE).await;
    door.is_ready().await;
    let bytes = pcm(3);
    let mut client = door.client().await;
    client.stream("s").await;
    let mut told = Told::default();
    let half = bytes.len() / 4 * 2;
    client.play(&bytes[..half]).await;
    brokers[0].kill();
    client.play(&bytes[half..]).await;
    let found = client.finish(&mut told).await;
    assert_eq!(found["transcription"], SAID[3].1, "{found}");
    assert_eq!(told.restarts, 0);
    door.process.said("the connection to the broker is gone").await;
    is_answered(&mut door.client().await, json!({})).await;
}
