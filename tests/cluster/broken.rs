//! Jobs that can't be done, and jobs that kill who does them: they are laid aside, and everybody else goes on.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::process::until;
use super::{Cluster, is_answered};
use crate::serve::{audio, long_wav};

/// What nobody should find where dead jobs lie: what was said.
fn assert_discreet(dead: &Value) {
    let reason = dead["reason"].as_str().unwrap_or_else(|| panic!("{dead}"));
    assert!(!reason.is_empty(), "{dead}");
    for field in ["audio", "samples", "text", "prompt"] {
        assert!(dead.get(field).is_none(), "{dead}");
    }
    assert!(dead.to_string().len() < 4096, "{dead}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_job_is_laid_aside() {
    let Some(cluster) = Cluster::start().await else { return };
    let (door, _workers) = cluster.with_workers(&[], 1).await;
    let look = cluster.broker.look().await;
    let broken: [&[u8]; 3] = [b"this is no job", b"", b"{\"version\":1,\"samples\":[[[[[[\xff"];
    for (index, payload) in broken.into_iter().enumerate() {
        look.publish_job(payload).await;
        assert_discreet(&look.dead(index as u64 + 1).await);
    }
    until("they are no jobs any more", Duration::from_secs(20), async || {
        look.messages("imesli_jobs").await == 0
    })
    .await;
    is_answered(&mut door.client().await, json!({})).await;
    look.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_workers_is_given_up() {
    let Some(cluster) = Cluster::start().await else { return };
    let arguments = ["--max-deliveries", "3", "--log-level", "debug"];
    let mut worker = cluster.worker("worker-1", &arguments).await;
    let door = cluster.door(&[]).await;
    door.is_ready().await;
    let look = cluster.broker.look().await;
    // Long enough to be caught at it: a window full of words, and their times.
    let mut client = door.client().await;
    let mut message = audio("poison", &STANDARD.encode(long_wav(29)));
    message["timestamps"] = json!("word");
    client.send(message).await;
    for delivery in 1..=3 {
        until("the job is handed out", Duration::from_secs(60), async || look.deliveries().await >= delivery)
            .await;
        worker.process.kill();
        assert_eq!(look.messages("imesli_jobs").await, 1, "it was done before its worker was killed");
        if delivery < 3 {
            // Without waiting: it gets the job as soon as it can.
            worker = cluster.worker_unseen(&format!("worker-{}", delivery + 1), &arguments);
        }
    }
    // One that nobody kills; it must not be given the job again.
    let worker = cluster.worker("worker-4", &arguments).await;
    let answer = client.answer().await;
    assert_eq!((&answer["type"], &answer["audio_id"]), (&json!("error"), &json!("poison")), "{answer}");
    assert!(answer["code"].is_string() && answer["code"] != "OVERLOADED", "{answer}");
    assert_eq!(client.state().await, "ready");
    let dead = look.dead(1).await;
    assert_discreet(&dead);
    assert!(dead["deliveries"].as_u64().is_some_and(|count| count >= 3), "{dead}");
    assert!(dead["seconds"].as_f64().is_some_and(|seconds| seconds > 25.0), "{dead}");
    assert_eq!(worker.files().await, 0.0);
    is_answered(&mut client, json!({})).await;
    look.nothing_is_left().await;
}
