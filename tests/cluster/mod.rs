//! Doors, workers and a broker between them, as real processes: what comes in at a door is heard by workers, and
//! nothing is lost, whoever dies.
//!
//! The broker is nats-server. Where there is none, each test says so loudly and passes; where
//! `IMESLI_REQUIRE_NATS` is set, it fails.

mod broken;
mod broker;
mod choice;
mod credentials;
mod crowd;
mod death;
mod full;
mod live;
mod permissions;
mod process;
mod proxy;
mod same;
mod secure;
mod three;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use imesli::checkpoint::QuantType;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};

use self::broker::{Broker, free_port};
use self::process::{Process, until};
use crate::asr::SAID;
use crate::serve::http::request;
use crate::serve::{Client, PATIENCE, audio, encoded};
use crate::support::{demo, root};

/// What the model is called, where a test says nothing else.
const MODEL: &str = "kabyle";
/// How soon workers and the broker notice that somebody is gone.
const SOON: Duration = Duration::from_secs(30);

/// One of these tests at a time: each has several processes that would like a core.
static TURN: Mutex<()> = Mutex::const_new(());

/// `imesli` with these arguments, and no environment of the tests' own.
fn imesli(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imesli"));
    command.args(arguments).current_dir(root("")).env_remove("RUST_LOG").env("IMESLI_THREADS", "1");
    command
}

/// A broker, and the turn to use the machine.
struct Cluster {
    broker: Broker,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts a broker; `None` where there is no nats-server.
    async fn start() -> Option<Self> {
        Self::with("").await
    }

    /// The same with these lines in the broker's configuration.
    async fn with(more: &str) -> Option<Self> {
        let program = broker::program()?;
        let turn = TURN.lock().await;
        Some(Self { broker: Broker::start(&program, more).await, _turn: turn })
    }

    async fn door(&self, arguments: &[&str]) -> Door {
        Door::start(&self.broker.url(), arguments).await
    }

    /// A worker with the demo model as [`MODEL`].
    async fn worker(&self, name: &str, arguments: &[&str]) -> Worker {
        self.worker_of(name, MODEL, &demo(QuantType::Q8_0), arguments).await
    }

    /// A worker with this checkpoint under this name.
    async fn worker_of(&self, name: &str, model: &str, checkpoint: &Path, arguments: &[&str]) -> Worker {
        Worker::start(&self.broker.url(), name, model, checkpoint, arguments).await
    }

    /// The same as [`Self::worker`], without waiting for it.
    fn worker_unseen(&self, name: &str, arguments: &[&str]) -> Worker {
        Worker::begin(&self.broker.url(), name, MODEL, &demo(QuantType::Q8_0), arguments)
    }

    /// One door and so many workers, all of which the door knows.
    async fn with_workers(&self, arguments: &[&str], count: usize) -> (Door, Vec<Worker>) {
        let mut workers = Vec::new();
        for index in 1..=count {
            workers.push(self.worker(&format!("worker-{index}"), &[]).await);
        }
        let door = self.door(arguments).await;
        door.is_ready().await;
        (door, workers)
    }
}

/// A server without a model.
struct Door {
    process: Process,
    url: String,
}

impl Door {
    /// Starts one, and waits until it listens.
    async fn start(broker: &str, arguments: &[&str]) -> Self {
        let mut command = imesli(&["--port", "0", "--engine", broker]);
        let mut process = Process::start("the door", command.args(arguments));
        let line = process.said("listening on ").await;
        let url = line.split_once("listening on ").unwrap().1.trim().to_owned();
        Self { process, url }
    }

    async fn client(&self) -> Client {
        let mut client = Client::connect(&self.url).await;
        assert_eq!(client.state().await, "ready");
        client
    }

    fn address(&self) -> &str {
        self.url.split("://").nth(1).unwrap().trim_end_matches('/')
    }

    async fn get(&self, path: &str) -> (u16, String) {
        get(self.address(), path).await
    }

    /// Waits until it would take a request.
    async fn is_ready(&self) {
        until("the door is ready", SOON, async || self.get("/ready").await.0 == 200).await;
    }

    /// The models that are alive, by their ids.
    async fn models(&self) -> Vec<String> {
        let (status, body) = self.get("/v1/models").await;
        assert_eq!(status, 200, "{body}");
        let list: Value = serde_json::from_str(&body).unwrap();
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A worker with one state on one thread.
struct Worker {
    process: Process,
    health: String,
    /// Which weights it has; empty until it is ready.
    revision: String,
}

impl Worker {
    /// Starts one.
    fn begin(broker: &str, name: &str, model: &str, checkpoint: &Path, arguments: &[&str]) -> Self {
        let health = format!("127.0.0.1:{}", free_port());
        let fixed = ["--cpu", "--threads", "1", "--states", "1", "--redeliver-after", "2"];
        let mut command = imesli(&["worker", "--nats", broker, "--name", name, "--model-name", model]);
        command
            .args(["--health-listen", &health])
            .args(fixed)
            .arg("--checkpoint")
            .arg(checkpoint)
            .args(arguments);
        Self { process: Process::start(name, &mut command), health, revision: String::new() }
    }

    /// Starts one, and waits until it is ready.
    async fn start(broker: &str, name: &str, model: &str, checkpoint: &Path, arguments: &[&str]) -> Self {
        let mut worker = Self::begin(broker, name, model, checkpoint, arguments);
        let line = worker.process.said("the worker is ready").await;
        let revision = line.split_once("revision=").unwrap_or_else(|| panic!("no revision: {line}")).1;
        worker.revision = revision.trim_start_matches('"').split(['"', ' ']).next().unwrap().to_owned();
        worker
    }

    /// One of its metrics; what never happened has none.
    async fn metric(&self, name: &str) -> f64 {
        let (status, body) = get(&self.health, "/metrics").await;
        assert_eq!(status, 200, "{body}");
        let value = |line: &str| -> Option<f64> { line.strip_prefix(name)?.trim().parse().ok() };
        body.lines().find_map(value).unwrap_or(0.0)
    }

    /// Windows of files that it heard.
    async fn files(&self) -> f64 {
        self.metric("imesli_worker_windows_total{kind=\"file\"}").await
    }

    /// Windows of live streams that it heard.
    async fn lives(&self) -> f64 {
        self.metric("imesli_worker_windows_total{kind=\"live\"}").await
    }
}

async fn get(address: &str, path: &str) -> (u16, String) {
    exchange(address, &request("GET", path, &[("Connection", "close")], b"")).await
}

/// The status and the body of the answer to a request that wants the connection closed.
async fn exchange(address: &str, request: &[u8]) -> (u16, String) {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await.expect("no answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Seconds after which to try again, of a refusal.
fn retry_after(message: &Value) -> u64 {
    message["retry_after"].as_u64().unwrap_or_else(|| panic!("no retry_after in {message}"))
}

/// Sends a recording with these options, which is answered by what is said in it.
async fn is_answered(client: &mut Client, options: Value) {
    let answer = asked(client, options).await;
    assert_eq!(answer["audio_id"], "asked", "{answer}");
    assert_eq!(answer["transcription"], SAID[0].1, "{answer}");
}

/// The answer to a recording with these options.
async fn asked(client: &mut Client, options: Value) -> Value {
    let mut message = audio("asked", &encoded(0));
    message.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    client.send(message).await;
    let answer = client.answer().await;
    // Whether a state follows is not the same for all errors.
    client.send(json!({ "type": "ping" })).await;
    while client.state().await != "pong" {}
    answer
}
