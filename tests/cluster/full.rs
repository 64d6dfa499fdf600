//! More than can be done: who is refused is told so, who is not is answered.

use std::time::Duration;

use serde_json::{Value, json};

use super::process::until;
use super::{Cluster, MODEL, SOON, is_answered, retry_after};
use crate::asr::SAID;
use crate::serve::{Client, audio, encoded};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_too_long_a_line_is_refused_and_the_line_itself_is_not() {
    let Some(cluster) = Cluster::start().await else { return };
    let (door, workers) = cluster.with_workers(&["--max-pending", "2"], 1).await;
    let mut client = door.client().await;
    workers[0].process.signal("STOP");
    let asked = 10;
    for index in 0..asked {
        client.send(audio(&index.to_string(), &encoded(0))).await;
        // So that the door knows of the one before.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    workers[0].process.signal("CONT");
    let mut answers = Vec::new();
    while answers.len() < asked {
        answers.push(client.answer().await);
    }
    let (refused, answered): (Vec<Value>, Vec<Value>) =
        answers.into_iter().partition(|answer| answer["type"] == "error");
    assert!(refused.len() >= 4, "{} refused", refused.len());
    assert!(answered.len() >= 2, "{} answered", answered.len());
    for refusal in &refused {
        assert_eq!(refusal["code"], "OVERLOADED", "{refusal}");
        assert!(retry_after(refusal) > 0, "{refusal}");
    }
    for answer in &answered {
        assert_eq!(answer["transcription"], SAID[0].1, "{answer}");
    }
    // Those that came first, each once.
    let mut ids: Vec<&str> = answered.iter().map(|answer| answer["audio_id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted() && ids.contains(&"0"), "{ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), answered.len());
    door.is_ready().await;
    is_answered(&mut client, json!({})).await;
    cluster.broker.look().await.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_without_workers_says_so_until_one_comes_and_again_when_it_is_dead() {
    let Some(cluster) = Cluster::start().await else { return };
    let door = cluster.door(&[]).await;
    let mut client = door.client().await;
    let refused = async |client: &mut Client| {
        client.send(audio("early", &encoded(0))).await;
        let answer = client.answer().await;
        assert_eq!(
            (&answer["code"], &answer["audio_id"]),
            (&json!("OVERLOADED"), &json!("early")),
            "{answer}"
        );
        assert!(retry_after(&answer) > 0, "{answer}");
    };
    refused(&mut client).await;
    let (status, body) = door.get("/ready").await;
    assert_eq!(status, 503, "{body}");
    let reason: Value = serde_json::from_str(&body).unwrap();
    assert!(reason["reason"].as_str().unwrap().contains("worker"), "{body}");
    assert_eq!(door.models().await, Vec::<String>::new());
    assert_eq!(door.get("/health").await.0, 200, "the door itself is alive");

    let mut worker = cluster.worker("worker-1", &[]).await;
    door.is_ready().await;
    assert_eq!(door.models().await, [MODEL]);
    is_answered(&mut client, json!({})).await;

    worker.process.kill();
    until("the dead worker is forgotten", SOON, async || door.models().await.is_empty()).await;
    assert_eq!(door.get("/ready").await.0, 503);
    refused(&mut client).await;
}
