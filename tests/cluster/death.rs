//! Workers that die or sleep, a broker that dies, a door that is cut off: every job is answered once.

use std::time::Duration;

use super::crowd::Crowd;
use super::proxy::{Line, Proxy};
use super::{Cluster, Door};

/// As long as a worker may be silent before its jobs are another's (`--redeliver-after` of the tests), and more.
const SLEEP: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_is_answered_once_whoever_dies() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let (door, mut workers) = cluster.with_workers(&["--max-pending", "64"], 2).await;
    let crowd = Crowd::start(&door.url, 5, 100);

    crowd.reaches(60).await;
    workers[0].process.kill();
    // Another comes in its place; the second one has gone on meanwhile.
    workers.push(cluster.worker("worker-3", &[]).await);

    crowd.reaches(180).await;
    workers[1].process.signal("STOP");
    tokio::time::sleep(SLEEP).await;
    // It wakes up with jobs that others have done by now.
    workers[1].process.signal("CONT");

    crowd.reaches(320).await;
    cluster.broker.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.broker.restart().await;

    crowd.ends().await;
    let heard = (workers[1].files().await, workers[2].files().await);
    assert!(heard.0 > 0.0 && heard.1 > 0.0, "{heard:?}");
    let again = workers[1].metric("imesli_worker_redelivered_total").await
        + workers[2].metric("imesli_worker_redelivered_total").await;
    assert!(again > 0.0, "the jobs of the dead and the sleeping were done by others");
    let look = cluster.broker.look().await;
    look.nothing_is_left().await;
    assert_eq!(look.messages("imesli_dead").await, 0, "no job was given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_that_is_cut_off_for_a_while_answers_every_job_once() {
    let Some(cluster) = Cluster::start().await else { return };
    let proxy = Proxy::start(cluster.broker.port).await;
    let _workers = (cluster.worker("worker-1", &[]).await, cluster.worker("worker-2", &[]).await);
    let door = Door::start(&format!("nats://127.0.0.1:{}", proxy.port), &["--max-pending", "64"]).await;
    door.is_ready().await;
    let crowd = Crowd::start(&door.url, 4, 60);

    crowd.reaches(40).await;
    proxy.set(Line::Cut);
    tokio::time::sleep(Duration::from_secs(3)).await;
    proxy.set(Line::Whole);

    crowd.reaches(140).await;
    proxy.set(Line::Silent);
    tokio::time::sleep(SLEEP).await;
    proxy.set(Line::Whole);

    crowd.ends().await;
    cluster.broker.look().await.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_leave_finishes_what_it_has() {
    let Some(cluster) = Cluster::start().await else { return };
    let (door, mut workers) = cluster.with_workers(&["--max-pending", "64"], 2).await;
    let crowd = Crowd::start(&door.url, 3, 40);
    crowd.reaches(40).await;
    workers[0].process.signal("TERM");
    let status = workers[0].process.ended(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0));
    let line = workers[0].process.find("the worker leaves").expect("a last line");
    for field in ["worker=", "windows=", "seconds=", "live=", "failed=0", "redelivered=0"] {
        assert!(line.contains(field), "{field}: {line}");
    }
    assert_eq!(crowd.ends().await.answered, 120, "nobody was refused");
    // None was handed out twice: what it had was done, and the rest never was its own.
    assert_eq!(workers[1].metric("imesli_worker_redelivered_total").await, 0.0);
    cluster.broker.look().await.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_leave_leaves_without_a_broker_too() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let mut worker = cluster.worker("worker-1", &[]).await;
    cluster.broker.kill();
    worker.process.signal("TERM");
    let status = worker.process.ended(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0));
}
