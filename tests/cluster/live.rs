//! Live streams: a worker that dies is not noticed by who speaks.

use std::time::{Duration, Instant};

use super::proxy::{Line, Proxy};
use super::{Cluster, Door, SOON, Worker};
use crate::asr::SAID;
use crate::serve::Client;
use crate::serve::live::{Told, pcm};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_worker_dies_goes_on_with_another() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut door, mut workers) = cluster.with_workers(&[], 2).await;
    let bytes = pcm(3);

    // As it is when nobody dies.
    let mut client = door.client().await;
    client.stream("whole").await;
    let mut told = Told::default();
    client.play(&bytes).await;
    let whole = client.finish(&mut told).await;
    assert_eq!(whole["transcription"], SAID[3].1, "{whole}");
    let before = lives(&workers).await;
    assert!(before.iter().any(|count| *count > 0.0), "{before:?}");
    assert_eq!(door.process.find("a live stream moves to another worker"), None);

    client.stream("moved").await;
    let mut told = Told::default();
    let half = bytes.len() / 4 * 2;
    plays_until_something_stays(&mut client, &bytes[..half], &mut told).await;
    let now = lives(&workers).await;
    let more: Vec<f64> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
    let its = if more[0] > more[1] { 0 } else { 1 };
    assert!(more[its] > 0.0 && more[1 - its] == 0.0, "a stream stays with one worker: {more:?}");
    workers[its].process.kill();
    client.play(&bytes[half..]).await;
    // `finish` sees that all that was committed, put together, is the text: nothing was taken back.
    let moved = client.finish(&mut told).await;
    assert_eq!(moved["transcription"], whole["transcription"]);
    assert_eq!(told.restarts, 0);
    let line = door.process.said("a live stream moves to another worker").await;
    assert!(line.contains("from=") && line.contains("to="), "{line}");
    assert!(workers[1 - its].lives().await > now[1 - its]);
    cluster.broker.look().await.nothing_is_left().await;
}

/// Plays audio, until some of its text is committed.
async fn plays_until_something_stays(client: &mut Client, bytes: &[u8], told: &mut Told) {
    client.play(bytes).await;
    while told.committed.is_empty() {
        let message = client.next().await;
        assert!(told.take(&message), "{message}");
    }
}

async fn lives(workers: &[Worker]) -> Vec<f64> {
    let mut lives = Vec::new();
    for worker in workers {
        lives.push(worker.lives().await);
    }
    lives
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_sleeps_with_its_worker_no_longer_than_that_may() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut door, workers) = cluster.with_workers(&[], 2).await;
    let bytes = pcm(3);
    let mut client = door.client().await;
    client.stream("s").await;
    let mut told = Told::default();
    let half = bytes.len() / 4 * 2;
    plays_until_something_stays(&mut client, &bytes[..half], &mut told).await;
    let its = if workers[0].lives().await > 0.0 { 0 } else { 1 };
    // It takes what it is sent, as far as its system can see, and does nothing.
    workers[its].process.signal("STOP");
    client.play(&bytes[half..]).await;
    let found = client.finish(&mut told).await;
    assert_eq!(found["transcription"], SAID[3].1);
    assert_eq!(told.restarts, 0);
    door.process.said("a live stream moves to another worker").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_answer_comes_while_its_door_is_cut_off_is_not_held_up() {
    let Some(cluster) = Cluster::start().await else { return };
    let proxy = Proxy::start(cluster.broker.port).await;
    let worker = cluster.worker("worker-1", &[]).await;
    let door = Door::start(&format!("nats://127.0.0.1:{}", proxy.port), &[]).await;
    door.is_ready().await;
    let bytes = pcm(3);
    let mut client = door.client().await;
    client.stream("s").await;
    let mut told = Told::default();
    let most = bytes.len() / 16 * 14;
    plays_until_something_stays(&mut client, &bytes[..most], &mut told).await;
    // What comes of the last phrase comes when nobody listens.
    worker.process.signal("STOP");
    client.play(&bytes[most..]).await;
    let begin = Instant::now();
    let cut = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.set(Line::Cut);
        worker.process.signal("CONT");
        tokio::time::sleep(Duration::from_millis(400)).await;
        proxy.set(Line::Whole);
    };
    let (found, ()) = tokio::join!(client.finish(&mut told), cut);
    assert_eq!(found["transcription"], SAID[3].1, "{found}");
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert_eq!(door.process.find("a worker is gone"), None);
}
