//! The configuration of a broker that docs/scale.md shows: with the permissions in it doors and workers do all that they do,
//! and no less would be enough for what is tried here.

use nkeys::KeyPair;
use serde_json::{Value, json};

use super::{Cluster, Door, MODEL, Worker, is_answered};
use crate::asr::SAID;
use crate::serve::live::{Told, pcm};
use crate::serve::{audio, long_wav};
use crate::support::{demo, root};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imesli::checkpoint::QuantType;

/// The lines of the page's example that are about users, for these ones.
fn shown(door: &KeyPair, worker: &KeyPair) -> String {
    let page = std::fs::read_to_string(root("docs/scale.md")).unwrap();
    let example = page.split_once("# nats-server.conf\n").expect("an example").1.split_once("```").unwrap().0;
    let ours = ["port:", "http:", "jetstream {", "tls {"];
    let lines = example.lines().filter(|line| !ours.iter().any(|own| line.starts_with(own)));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    for name in ["UDOOR…", "UWORKER…", "UADMINISTRATOR…"] {
        assert_eq!(text.matches(name).count(), 1, "{name} in {text}");
    }
    text.replace("UDOOR…", &door.public_key())
        .replace("UWORKER…", &worker.public_key())
        .replace("UADMINISTRATOR…", &KeyPair::new_user().public_key())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_permissions_of_the_page_are_enough() {
    let (for_door, for_worker) = (KeyPair::new_user(), KeyPair::new_user());
    let Some(cluster) = Cluster::with(&shown(&for_door, &for_worker)).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let seed = |name: &str, key: &KeyPair| {
        let path = dir.path().join(name);
        std::fs::write(&path, key.seed().unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (door_seed, worker_seed) = (seed("door", &for_door), seed("worker", &for_worker));
    let url = cluster.broker.url();
    let worker =
        Worker::start(&url, "worker-1", MODEL, &demo(QuantType::Q8_0), &["--nats-nkey", &worker_seed]).await;
    let door = Door::start(&url, &["--nats-nkey", &door_seed, "--exact-audio"]).await;
    door.is_ready().await;
    let mut client = door.client().await;
    is_answered(&mut client, json!({})).await;
    // One that goes by the object store.
    client.send(audio("long", &STANDARD.encode(long_wav(29)))).await;
    let answer: Value = client.answer().await;
    assert_eq!((&answer["type"], &answer["audio_id"]), (&json!("transcription"), &json!("long")), "{answer}");
    assert_eq!(client.state().await, "ready");
    client.stream("live").await;
    let mut told = Told::default();
    client.play(&pcm(3)).await;
    assert_eq!(client.finish(&mut told).await["transcription"], SAID[3].1);
    assert!(worker.files().await >= 2.0 && worker.lives().await > 0.0);
    // What they may not do is told in the log, and would be the first sign of a permission that lacks.
    for process in [&door.process, &worker.process] {
        assert_eq!(process.find("ermissions"), None);
    }
}
