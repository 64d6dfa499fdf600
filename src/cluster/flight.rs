//! One window on its way to a worker and back.
//!
//! A file's goes into the stream of jobs, and whichever worker is free takes it; it is begun again elsewhere when its worker
//! is gone. A live stream's goes to the worker that the stream has, by request and reply: nobody needs it later, and another
//! worker gets it, with the text that stays, when that one is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::client::RequestErrorKind;
use bytes::Bytes;
use tokio::sync::watch;

use super::audio;
use super::broker::{Broker, Pending};
use super::directory::Directory;
use super::names::ModelKey;
use super::results::Results;
use super::wire::{self, Audio, JobMessage, ResultMessage};
use crate::asr::backend::{Home, Job};
use crate::error::{Error, Result};

/// A live window that is not answered for so long is sent again: its answer got lost.
const LIVE_PATIENCE: Duration = Duration::from_secs(60);
/// A result is here so long after its job is done at the latest, also when it was sent twice; a broker that was killed may
/// have lost either.
const ON_ITS_WAY: Duration = Duration::from_secs(12);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// Tries of a live window on workers that fail at it.
const LIVE_TRIES: usize = 3;

/// Resolves when a window is not at the broker for so long that its result should be here.
async fn lost(at_broker: &mut watch::Receiver<Option<Pending>>, sequence: u64) {
    let mut since: Option<Instant> = None;
    loop {
        if at_broker.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let lacks = at_broker.borrow_and_update().is_some_and(|pending| pending.lacks(sequence));
        match since {
            _ if !lacks => since = None,
            None => since = Some(Instant::now()),
            Some(since) if since.elapsed() > ON_ITS_WAY => return,
            Some(_) => {}
        }
    }
}

/// What windows need on their way.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) broker: Broker,
    pub(super) directory: Directory,
    pub(super) results: Arc<Results>,
    /// Who waits: this process.
    pub(super) door: String,
    /// 32-bit samples.
    pub(super) exact: bool,
    /// How long a window may take, its time in the queue included.
    pub(super) patience: Duration,
}

/// A window on its way.
#[derive(Debug)]
pub(super) struct Flight {
    way: Arc<Way>,
    id: String,
    /// Its number in the stream of jobs.
    sequence: Option<u64>,
    /// Whether its audio lies by itself.
    stored: bool,
}

impl Flight {
    pub(super) fn new(way: &Arc<Way>) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self { way: Arc::clone(way), id, sequence: None, stored: false }
    }

    /// A file's window: what a worker says to it.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when nobody has done it in time, or it can't be sent; what reading its samples fails with.
    pub(super) async fn file(
        &mut self,
        model: &ModelKey,
        job: &Job,
        mut at_broker: watch::Receiver<Option<Pending>>,
    ) -> Result<ResultMessage> {
        let deadline = Instant::now() + self.way.patience;
        let message = self.message(job).await?;
        let mut result = self.way.results.expect(&self.id);
        let subject = self.way.broker.names.jobs_of(model);
        for time in 0.. {
            // Under another name than before, or it would be taken for the same.
            let name = format!("{}-{time}", self.id);
            let sent = self.way.broker.publish(subject.clone(), &name, message.clone(), self.way.patience);
            let sequence = sent.await?;
            self.sequence = Some(sequence);
            tokio::select! {
                heard = tokio::time::timeout_at(deadline.into(), &mut result) => return match heard {
                    Ok(Ok(result)) => Ok(result),
                    Ok(Err(_)) => Err(Error::internal("nobody waits for a result any more")),
                    Err(_) => Err(self.too_late()),
                },
                () = lost(&mut at_broker, sequence) => {
                    tracing::info!("a window is sent again: the broker has lost it, or what was heard");
                }
            }
        }
        Err(self.too_late())
    }

    /// The window of a live stream: what a worker says to it. `load` is how many streams each worker has.
    ///
    /// # Errors
    /// As for a file's.
    pub(super) async fn live(
        &mut self,
        model: &ModelKey,
        job: &Job,
        load: impl Fn(&str) -> usize,
    ) -> Result<ResultMessage> {
        let deadline = Instant::now() + self.way.patience;
        let message = Bytes::from(self.message(job).await?);
        let mut failures = 0;
        loop {
            let worker = tokio::time::timeout_at(deadline.into(), self.worker(model, &job.home, &load));
            let worker = worker.await.map_err(|_| self.too_late())?;
            let sent = self.ask(&worker, message.clone());
            match tokio::time::timeout_at(deadline.into(), sent).await.map_err(|_| self.too_late())? {
                Some(result) => {
                    failures += 1;
                    let again = result.outcome.as_ref().is_err_and(wire::Fault::is_transient);
                    if !again || failures == LIVE_TRIES {
                        return Ok(result);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The worker of a stream, as soon as there is one.
    async fn worker(&self, model: &ModelKey, home: &Home, load: impl Fn(&str) -> usize) -> String {
        let mut directory = self.way.directory.clone();
        loop {
            if let Some(worker) = directory.home(home, model, &load) {
                let before = home.get();
                if let Some(before) = before.filter(|before| *before != worker) {
                    let (from, to) = (before, directory.name(&worker));
                    tracing::info!(from, to, "a live stream moves to another worker");
                }
                home.set(Some(worker.clone()));
                return worker;
            }
            directory.changed().await;
        }
    }

    /// What one worker says; nothing, where it is gone or its answer is lost.
    async fn ask(&self, worker: &str, message: Bytes) -> Option<ResultMessage> {
        let Broker { client, names, .. } = &self.way.broker;
        let request = async_nats::client::Request::new().payload(message).timeout(Some(LIVE_PATIENCE));
        let answer = tokio::select! {
            answer = client.send_request(names.live(worker), request) => answer,
            () = self.way.directory.until_gone(worker) => return None,
            // What was said when nobody listened here is not said again.
            () = self.way.broker.until_back() => return None,
        };
        match answer {
            Ok(answer) => match wire::decode(&answer.payload) {
                Ok(result) => Some(result),
                Err(error) => {
                    tracing::warn!("a result can't be read: {error}");
                    None
                }
            },
            Err(error) => {
                if error.kind() == RequestErrorKind::NoResponders {
                    self.way.directory.is_gone(worker);
                }
                tracing::debug!(worker, "a live window was not answered: {error}");
                None
            }
        }
    }

    /// The message of a job, its audio within it or stored beside it.
    async fn message(&mut self, job: &Job) -> Result<Vec<u8>> {
        let (excerpt, range, exact) = (Arc::clone(&job.excerpt), job.range.clone(), self.way.exact);
        // The samples may lie on disk.
        let packed = tokio::task::spawn_blocking(move || {
            excerpt.read(range).map(|samples| audio::pack(&samples, exact))
        });
        let (encoding, samples) =
            packed.await.map_err(|error| Error::internal_from("reading a window", error))??;
        let audio = if samples.len() <= self.way.broker.message_room() {
            Audio::Here(samples)
        } else {
            self.stored = true;
            self.way.broker.audio().put(&self.id, &samples).await?;
            Audio::Stored
        };
        wire::encode(&JobMessage {
            id: self.id.clone(),
            door: self.way.door.clone(),
            urgency: job.urgency,
            options: (*job.options).clone(),
            samples: job.range.len(),
            encoding,
            audio,
        })
    }

    fn too_late(&self) -> Error {
        Error::Overloaded(format!("no worker has heard this within {} s", self.way.patience.as_secs()))
    }

    /// Leaves nothing behind. `wanted` is false when somebody may still be at it, for nothing.
    pub(super) async fn end(self, wanted: bool) {
        let broker = &self.way.broker;
        self.way.results.forget(&self.id);
        if !wanted {
            if let Some(sequence) = self.sequence {
                broker.withdraw(sequence).await;
            }
            let _ = broker.client.publish(broker.names.cancel(), Bytes::from(self.id.clone())).await;
        }
        if self.stored {
            broker.audio().delete(self.id);
        }
    }
}
