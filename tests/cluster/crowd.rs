//! Several clients with many jobs, and what became of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use super::process::until;
use crate::asr::SAID;
use crate::serve::{Client, PATIENCE, audio, encoded};

/// Jobs of one client that are on their way at a time.
const AHEAD: usize = 6;
/// How long a client rests that was refused.
const REST: Duration = Duration::from_millis(400);

/// What became of all jobs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) answered: usize,
    /// By code.
    pub(super) refused: BTreeMap<String, usize>,
}

/// Clients that talk to one door.
pub(super) struct Crowd {
    jobs: usize,
    over: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Crowd {
    /// So many clients with so many jobs each.
    pub(super) fn start(url: &str, clients: usize, each: usize) -> Self {
        let over = Arc::new(AtomicUsize::new(0));
        let recordings: Arc<Vec<String>> = Arc::new((0..3).map(encoded).collect());
        let one =
            |number| tokio::spawn(client(url.to_owned(), number, each, recordings.clone(), over.clone()));
        let tasks = (0..clients).map(one).collect();
        Self { jobs: clients * each, over, clients: tasks }
    }

    /// Waits until so many jobs have come to their end.
    pub(super) async fn reaches(&self, count: usize) {
        until(&format!("{count} jobs are over"), PATIENCE, async || {
            // A client that fails has no more to say; its own panic says why.
            self.over.load(Ordering::Relaxed) >= count || self.clients.iter().any(JoinHandle::is_finished)
        })
        .await;
    }

    /// Waits for the last one. Every job was answered once by what was said, or refused once with a code; those that were
    /// refused are the few of the time in which nobody could do them.
    pub(super) async fn ends(self) -> Tally {
        let mut all = Tally::default();
        for client in self.clients {
            let Tally { answered, refused } = client.await.unwrap();
            all.answered += answered;
            for (code, count) in refused {
                *all.refused.entry(code).or_default() += count;
            }
        }
        eprintln!("{} jobs: {all:?}", self.jobs);
        assert_eq!(all.answered + all.refused.values().sum::<usize>(), self.jobs);
        assert!(all.answered * 10 >= self.jobs * 7, "{all:?} of {}", self.jobs);
        all
    }
}

async fn client(
    url: String,
    number: usize,
    jobs: usize,
    recordings: Arc<Vec<String>>,
    over: Arc<AtomicUsize>,
) -> Tally {
    let mut client = Client::connect(&url).await;
    assert_eq!(client.state().await, "ready");
    let mut waiting: HashMap<String, usize> = HashMap::new();
    let mut tally = Tally::default();
    let (mut sent, mut last) = (0, None);
    while sent < jobs || !waiting.is_empty() {
        while sent < jobs && waiting.len() < AHEAD {
            let id = format!("{number}-{sent}");
            client.send(audio(&id, &recordings[(number + sent) % recordings.len()])).await;
            waiting.insert(id, sent);
            sent += 1;
        }
        let message = client.next().await;
        if message["type"] == "state" {
            continue;
        }
        let id = message["audio_id"].as_str().unwrap_or_else(|| panic!("{message}"));
        let job = waiting.remove(id).unwrap_or_else(|| panic!("nobody waits for this: {message}"));
        over.fetch_add(1, Ordering::Relaxed);
        if message["type"] == "transcription" {
            assert_eq!(message["transcription"], SAID[(number + job) % recordings.len()].1, "{message}");
            assert!(last < Some(job), "{job} after {last:?}");
            last = Some(job);
            tally.answered += 1;
        } else {
            let code = message["code"].as_str().unwrap_or_else(|| panic!("{message}"));
            assert_eq!(code, "OVERLOADED", "{message}");
            *tally.refused.entry(code.to_owned()).or_default() += 1;
            tokio::time::sleep(REST).await;
        }
    }
    // A second answer to a job would come in between, and is no state.
    tokio::time::sleep(2 * REST).await;
    client.send(json!({ "type": "ping" })).await;
    while client.state().await != "pong" {}
    tally
}
