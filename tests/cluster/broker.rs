//! The broker, a real nats-server, and what lies in its streams.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer, stream};
use futures_util::TryStreamExt;
use serde_json::Value;
use tokio::net::TcpStream;

use super::process::{Process, STEP, until};

/// The broker's program. `None`, and a loud line, where there is none; an error where it has to be there.
pub(super) fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(usual)
        .map(|dir| dir.join("nats-server"))
        .find(|file| file.is_file());
    if found.is_none() {
        let needed = std::env::var("IMESLI_REQUIRE_NATS").unwrap_or_default();
        assert!(needed.is_empty(), "no nats-server, and IMESLI_REQUIRE_NATS says that it has to be there");
        eprintln!("SKIPPED: no nats-server (tools/setup.sh --test installs it, NATS_SERVER names one)");
    }
    found
}

/// A port that is free now, and hardly taken a moment later.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A broker that keeps its port and its store when it is killed and started again.
pub(super) struct Broker {
    program: PathBuf,
    store: tempfile::TempDir,
    more: String,
    running: Option<Process>,
    pub(super) port: u16,
}

impl Broker {
    /// Starts one, with these lines in its configuration beside the usual ones.
    pub(super) async fn start(program: &Path, more: &str) -> Self {
        let store = tempfile::tempdir().unwrap();
        let (program, more) = (program.to_owned(), more.to_owned());
        let mut broker = Self { program, store, more, running: None, port: free_port() };
        broker.restart().await;
        broker
    }

    /// Kills it, by SIGKILL, where it runs.
    pub(super) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
        }
    }

    pub(super) async fn restart(&mut self) {
        self.kill();
        let file = self.store.path().join("nats.conf");
        let streams = self.store.path().join("streams");
        let text = format!(
            "listen: \"127.0.0.1:{}\"\njetstream {{ store_dir: \"{}\" }}\n{}\n",
            self.port,
            streams.display(),
            self.more
        );
        std::fs::write(&file, text).unwrap();
        let running = Process::start("the broker", Command::new(&self.program).arg("-c").arg(file));
        self.running = Some(running);
        let port = self.port;
        until("the broker listens", Duration::from_secs(60), async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        self.running.as_mut().unwrap().said("Server is ready").await;
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own.
    pub(super) async fn look(&self) -> Look {
        let client = async_nats::connect(self.url()).await.unwrap();
        Look(jetstream::new(client))
    }
}

/// What a test sees of the broker.
pub(super) struct Look(jetstream::Context);

impl Look {
    /// A stream by its name, whose case does not matter.
    async fn stream(&self, name: &str) -> Option<stream::Stream> {
        let names: Vec<String> = self.0.stream_names().try_collect().await.unwrap();
        let name = names.into_iter().find(|other| other.eq_ignore_ascii_case(name))?;
        Some(self.0.get_stream(name).await.unwrap())
    }

    /// The server of a cluster that leads a stream, once there is one.
    pub(super) async fn leader(&self, stream: &str) -> String {
        let begin = Instant::now();
        loop {
            let info = self.stream(stream).await.expect("this stream").get_info().await;
            if let Some(leader) = info.ok().and_then(|info| info.cluster?.leader) {
                return leader;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "nobody leads");
            tokio::time::sleep(STEP).await;
        }
    }

    /// Messages in a stream; 0 where there is none of this name.
    pub(super) async fn messages(&self, name: &str) -> u64 {
        match self.stream(name).await {
            Some(stream) => stream.get_info().await.unwrap().state.messages,
            None => 0,
        }
    }

    /// Pieces of audio that lie at the broker. What is deleted leaves a line about it, which is no audio.
    async fn audio(&self) -> usize {
        let Some(stream) = self.stream("OBJ_imesli_audio").await else { return 0 };
        let pieces = stream.info_with_subjects("$O.*.C.>").await.unwrap();
        let pieces: Vec<(String, usize)> = pieces.try_collect().await.unwrap();
        pieces.into_iter().map(|(_, count)| count).sum()
    }

    /// Waits until nobody's work and nobody's audio is left.
    pub(super) async fn nothing_is_left(&self) {
        self.no_more_is_left(0).await;
    }

    /// The same, but for so many pieces of audio.
    pub(super) async fn no_more_is_left(&self, pieces: usize) {
        let begin = Instant::now();
        loop {
            let (jobs, results) = (self.messages("imesli_jobs").await, self.messages("imesli_results").await);
            let left = (jobs, results, self.audio().await);
            if left.0 == 0 && left.1 == 0 && left.2 <= pieces {
                return;
            }
            if begin.elapsed() > Duration::from_secs(30) {
                panic!("jobs, results, pieces of audio: {left:?}; consumers: {:?}", self.consumers().await);
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// The workers' consumers of jobs: each model has one.
    pub(super) async fn consumers(&self) -> Vec<consumer::Info> {
        let stream = self.stream("imesli_jobs").await.expect("a stream of jobs");
        stream.consumers().try_collect().await.unwrap()
    }

    /// How often jobs were handed out, again and again counted.
    pub(super) async fn deliveries(&self) -> u64 {
        self.consumers().await.iter().map(|info| info.delivered.consumer_sequence).sum()
    }

    /// Puts this where the jobs of the only model lie.
    pub(super) async fn publish_job(&self, payload: &'static [u8]) {
        let consumers = self.consumers().await;
        let [consumer] = consumers.as_slice() else { panic!("{consumers:?}") };
        let subject = consumer.config.filter_subject.clone();
        assert!(subject.starts_with("imesli.jobs."), "{subject}");
        self.0.publish(subject, payload.into()).await.unwrap().await.unwrap();
    }

    /// The last that was given up, once there are so many.
    pub(super) async fn dead(&self, count: u64) -> Value {
        until("a job is given up", Duration::from_secs(60), async || {
            self.messages("imesli_dead").await >= count
        })
        .await;
        let stream = self.stream("imesli_dead").await.unwrap();
        let state = stream.get_info().await.unwrap().state;
        assert_eq!(state.messages, count);
        let message = stream.get_raw_message(state.last_sequence).await.unwrap();
        assert!(message.subject.starts_with("imesli.dead."), "{}", message.subject);
        serde_json::from_slice(&message.payload).unwrap()
    }
}
