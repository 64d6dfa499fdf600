//! A file's window: from the stream of jobs to its acknowledgement.
//!
//! In this order, so that a job is done at least once, and its result is there once: the job is taken; while it is heard
//! the broker is told that somebody is at it; its result is stored under its id; then it is acknowledged, and deleted.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;

use super::super::wire::{self, DeadLetter, Fault, JobMessage, ResultMessage};
use super::Shared;
use crate::asr::recognizer::Heard;
use crate::audio::SAMPLE_RATE;
use crate::error::{Error, Result};

/// A question for a job lasts so long, then comes the next one: at the end nobody waits for longer.
const EXPIRES: Duration = Duration::from_secs(2);
/// The broker answers in this time on top, or something is wrong.
const GRACE: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// A job that failed here is left to others for a moment.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a result may wait to be stored: longer than the broker is away in most cases.
const STORE: Duration = Duration::from_secs(600);

/// Takes jobs one after the other until the worker leaves. There is one of these for each state.
pub(super) async fn take(shared: Arc<Shared>) {
    let mut consumer = None;
    while !*shared.leaving.borrow() {
        let known = match consumer.take() {
            Some(known) => known,
            None => match shared.broker.workers(&shared.model, shared.options.redeliver_after).await {
                Ok(made) => made,
                Err(error) => {
                    tracing::debug!("{error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        match next(&known).await {
            // Also one that comes at the last moment: it was given to this worker.
            Ok(Some(message)) => {
                shared.one(&message).await;
                consumer = Some(known);
            }
            Ok(None) => consumer = Some(known),
            Err(error) => {
                tracing::debug!("asking for a job: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The next job; `None` when there is none for a while.
async fn next(consumer: &Consumer<pull::Config>) -> std::result::Result<Option<Message>, async_nats::Error> {
    let ask = async {
        let mut batch = consumer.batch().max_messages(1).expires(EXPIRES).messages().await?;
        batch.next().await.transpose()
    };
    tokio::time::timeout(EXPIRES + GRACE, ask).await?
}

async fn answer(message: &Message, kind: AckKind) {
    if let Err(error) = message.ack_with(kind).await {
        tracing::debug!("answering the broker: {error}");
    }
}

/// A job is over: the broker may forget it. It says so itself, or it will come again, which does no harm.
async fn over(message: &Message) {
    if let Err(error) = message.double_ack().await {
        tracing::debug!("acknowledging a job: {error}");
    }
}

impl Shared {
    /// Does one job.
    async fn one(&self, message: &Message) {
        let (deliveries, sequence) =
            message.info().map_or((1, 0), |info| (info.delivered, info.stream_sequence));
        if deliveries > 1 {
            self.counters.redelivered();
        }
        let job: JobMessage = match wire::decode(&message.payload) {
            Ok(job) => job,
            Err(error) => return self.bury(message, None, error.to_string(), deliveries).await,
        };
        let Some(running) = self.begin(&job.id) else {
            // It is at it, and the broker has not heard so.
            return answer(message, AckKind::Nak(Some(self.options.redeliver_after))).await;
        };
        let about = About { id: job.id.clone(), door: job.door.clone(), samples: job.samples, sequence };
        if deliveries > i64::from(self.options.deliveries) {
            let reason = format!("it was begun {} times, and never finished", deliveries - 1);
            return self.bury(message, Some(about), reason, deliveries).await;
        }
        tracing::debug!(job = about.id, deliveries, "a job is begun");
        let done = async {
            let result = self.hear("file", job, &running.cancel).await;
            if running.cancel.is_cancelled() {
                return over(message).await;
            }
            match result.map_err(|error| self.failed(&error)) {
                Err(fault) if fault.is_transient() && deliveries < i64::from(self.options.deliveries) => {
                    answer(message, AckKind::Nak(Some(AGAIN))).await;
                }
                Err(fault) if fault.is_transient() => {
                    let reason = format!("it failed {deliveries} times; the last time: {}", fault.message());
                    self.bury(message, Some(about), reason, deliveries).await;
                }
                outcome => match self.store(&about, outcome).await {
                    Ok(()) => over(message).await,
                    Err(error) => tracing::warn!("a result was not stored: {error}; the job will come again"),
                },
            }
        };
        tokio::select! {
            () = done => {}
            () = self.say_that_it_is_at(message) => {}
        }
    }

    /// Tells the broker again and again, for ever.
    async fn say_that_it_is_at(&self, message: &Message) {
        loop {
            tokio::time::sleep(self.options.redeliver_after / 3).await;
            answer(message, AckKind::Progress).await;
        }
    }

    /// What goes to a door of an error. The log has all of it.
    pub(super) fn failed(&self, error: &Error) -> Fault {
        if let Error::Internal { source, .. } = error {
            let source = source.as_deref().map(|source| source as &(dyn std::error::Error + 'static));
            tracing::error!(source, "a window was not heard: {error}");
        }
        self.counters.failed();
        Fault::from(error)
    }

    /// Stores a result under its job's id: a second one of the same job is the same to the broker.
    async fn store(&self, about: &About, outcome: std::result::Result<Heard, Fault>) -> Result<()> {
        let (id, worker) = (about.id.clone(), self.options.name.clone());
        let result = wire::encode(&ResultMessage { id, worker, outcome })?;
        let subject = self.broker.names.result(&about.door, &about.id);
        self.broker.publish(subject, &format!("{}-{}", about.id, about.sequence), result, STORE).await?;
        Ok(())
    }

    /// Gives a job up: its door is told, and a letter says why, without audio or text.
    async fn bury(&self, message: &Message, about: Option<About>, reason: String, deliveries: i64) {
        tracing::error!(
            job = about.as_ref().map(|about| about.id.as_str()),
            deliveries,
            "a job is given up: {reason}"
        );
        self.counters.failed();
        let letter = DeadLetter {
            job: about.as_ref().map(|about| about.id.clone()),
            door: about.as_ref().map(|about| about.door.clone()),
            model: self.model.to_string(),
            reason: reason.clone(),
            deliveries,
            worker: self.options.name.clone(),
            seconds: about.as_ref().map(|about| about.samples as f64 / f64::from(SAMPLE_RATE)),
        };
        let sequence = message.info().map_or(0, |info| info.stream_sequence);
        let stored = async {
            if let Some(about) = &about {
                let fault = Fault::from(&Error::internal(format!("a job was given up: {reason}")));
                self.store(about, Err(fault)).await?;
            }
            let letter =
                serde_json::to_vec(&letter).map_err(|error| Error::internal_from("a dead letter", error))?;
            let subject = self.broker.names.dead_of(&self.model);
            self.broker.publish(subject, &format!("dead-{sequence}"), letter, STORE).await
        };
        let stored = tokio::select! {
            stored = stored => stored,
            () = self.say_that_it_is_at(message) => return,
        };
        match stored {
            Ok(_) => over(message).await,
            Err(error) => tracing::warn!("a job could not be given up: {error}"),
        }
    }
}

/// What is known of a job while it is done.
struct About {
    id: String,
    door: String,
    samples: usize,
    /// Its number in the stream: another one when its door has sent it again.
    sequence: u64,
}
