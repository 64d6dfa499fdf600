//! The broker: NATS with JetStream. Connected once, and asked for streams and their messages.

use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context, consumer};

use super::connection::{ANSWER, Lost, NatsOptions, connected};
use super::names::{ModelKey, Names};
use super::objects::Bucket;
use crate::error::{Error, Result};

/// How long a start waits for the broker.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Without a connection for so long there is no broker; before, another one of its cluster may be found.
const AWAY: Duration = Duration::from_secs(3);
/// Between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(300);
/// What a message needs beside the audio: options, ids, headers.
const HEAD_ROOM: usize = 32 << 10;
/// A message that comes twice within this is one.
const DUPLICATES: Duration = Duration::from_secs(120);
/// How long jobs that nobody could do are known.
const DEAD: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many bytes of them, about a kilobyte each.
const MOST_DEAD_BYTES: i64 = 64 << 20;
/// Workers of a model that ask for a job at the same time, one for each state.
const MOST_WAITING: i64 = 16_384;
/// A result that a door has not acknowledged for so long comes again.
const TAKEN: Duration = Duration::from_secs(5);
/// Messages that are deleted at a time of those that a broker should not have any more.
const TIDIED: usize = 64;
/// How long a door that is gone keeps its consumer.
const DOOR_AWAY: Duration = Duration::from_secs(600);

/// A model's windows at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    /// Those that wait or are heard, of all doors.
    pub(super) all: usize,
    /// All up to this number are done.
    pub(super) done: u64,
}

impl Pending {
    /// Whether a window of this number is not there, or not any more.
    pub(super) fn lacks(self, sequence: u64) -> bool {
        self.all == 0 || self.done >= sequence
    }
}

/// A connection.
#[derive(Clone)]
pub(super) struct Broker {
    pub(super) client: Client,
    pub(super) names: Names,
    context: Context,
    audio: Bucket,
    models: Bucket,
    lost: Lost,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Broker {
    /// Connects, and makes the streams that are not there.
    ///
    /// # Errors
    /// What is wrong with the options; when the broker can't be reached for half a minute, or does not let us in.
    pub(super) async fn connect(options: &NatsOptions, who: &str) -> anyhow::Result<Self> {
        let (client, lost) = tokio::time::timeout(PATIENCE, connected(options, who))
            .await
            .map_err(|_| anyhow::anyhow!("the broker can't be reached: no answer within {PATIENCE:?}"))??;
        let names = Names::new(&options.prefix);
        let context = jetstream::context::ContextBuilder::new().timeout(ANSWER).build(client.clone());
        let prepare = async {
            loop {
                match prepare(&context, &names, options).await {
                    Ok(buckets) => return Ok(buckets),
                    // A cluster that has just begun has no leader yet.
                    Err(error) if is_not_ready(&error) => tokio::time::sleep(PAUSE).await,
                    Err(error) => return Err(error),
                }
            }
        };
        let (audio, models) = tokio::time::timeout(PATIENCE, prepare)
            .await
            .map_err(|_| anyhow::anyhow!("the broker has no JetStream that is ready"))??;
        Ok(Self { client, names, context, audio, models, lost })
    }

    /// Whether there is a connection now.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Whether there is one now, or was a moment ago: what is sent meanwhile waits.
    pub(super) fn is_there(&self) -> bool {
        self.lost.borrow().is_none_or(|lost| lost.elapsed() < AWAY)
    }

    /// Resolves when the connection has been lost from now on, and is there again.
    pub(super) async fn until_back(&self) {
        let mut lost = self.lost.clone();
        let away = lost.wait_for(Option::is_some).await.is_ok();
        if !away || lost.wait_for(Option::is_none).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The largest audio that goes into a message.
    pub(super) fn message_room(&self) -> usize {
        self.client.max_payload().saturating_sub(HEAD_ROOM)
    }

    /// Stores a message, and says under which number: tries until the broker has it, or for `patience`. `id` makes repeats
    /// harmless.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when it could not be stored, [`Error::Internal`] when it never will.
    pub(super) async fn publish(
        &self,
        subject: String,
        id: &str,
        payload: Vec<u8>,
        patience: Duration,
    ) -> Result<u64> {
        let payload = bytes::Bytes::from(payload);
        let store = async {
            loop {
                let message = PublishMessage::build().message_id(id).payload(payload.clone());
                let sent = match self.context.send_publish(subject.clone(), message).await {
                    Ok(acknowledged) => acknowledged.await,
                    Err(error) => Err(error),
                };
                match sent {
                    Ok(stored) => return Ok(stored.sequence),
                    Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                        return Err(Error::internal_from("a message for the broker", error));
                    }
                    Err(error) => tracing::debug!("the broker has not stored a message yet: {error}"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(patience, store)
            .await
            .unwrap_or_else(|_| Err(Error::Overloaded("the broker stores nothing at the moment".into())))
    }

    /// Takes a message out of the stream of jobs, where it still is.
    pub(super) async fn withdraw(&self, sequence: u64) {
        let jobs = match self.context.get_stream_no_info(self.names.jobs()).await {
            Ok(jobs) => jobs,
            Err(error) => return tracing::debug!("withdrawing a job: {error}"),
        };
        if let Err(error) = jobs.delete_message(sequence).await {
            tracing::debug!("withdrawing a job: {error}");
        }
    }

    /// The consumer that the workers of a model share.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the broker can't be asked.
    pub(super) async fn workers(
        &self,
        model: &ModelKey,
        redeliver_after: Duration,
    ) -> Result<consumer::Consumer<pull::Config>> {
        let config = pull::Config {
            durable_name: Some(Names::workers_of(model)),
            description: Some(format!("windows for {model}")),
            filter_subject: self.names.jobs_of(model),
            ack_wait: redeliver_after,
            // Bounded by the workers, who say what became of a job. As many at once as there are workers.
            max_ack_pending: -1,
            max_waiting: MOST_WAITING,
            ..Default::default()
        };
        self.consumer(self.names.jobs(), config).await
    }

    /// What there is of a model's windows; `None` where no worker ever was, or nobody can be asked.
    pub(super) async fn pending(&self, model: &ModelKey) -> Option<Pending> {
        let jobs = self.context.get_stream_no_info(self.names.jobs()).await.ok()?;
        let info = jobs.consumer_info(Names::workers_of(model)).await.ok()?;
        let waiting = usize::try_from(info.num_pending).unwrap_or(usize::MAX);
        let all = waiting.saturating_add(info.num_ack_pending);
        Some(Pending { all, done: info.ack_floor.stream_sequence })
    }

    /// Deletes what is done. A broker that was killed has messages again that were acknowledged before, with all the audio that
    /// is in them, and nobody would ever get them (nats-server 2.9 does not compare what it has with what its consumers
    /// know).
    pub(super) async fn tidy_jobs(&self, model: &ModelKey) {
        self.tidy(self.names.jobs(), Names::workers_of(model), self.names.jobs_of(model)).await;
    }

    /// The same for the results of a door.
    pub(super) async fn tidy_results(&self, door: &str) {
        self.tidy(self.names.results(), Names::door(door), self.names.results_of(door)).await;
    }

    /// One by one: a purge of some subjects moves the consumers of all others past what they have not seen (nats-server 2.9).
    async fn tidy(&self, stream: String, consumer: String, subject: String) {
        let Ok(stream) = self.context.get_stream_no_info(stream).await else { return };
        let Ok(info) = stream.consumer_info(consumer).await else { return };
        let done = info.ack_floor.stream_sequence;
        for _ in 0..TIDIED {
            let first =
                stream.raw_message_builder().sequence(1).next_by_subject(subject.clone()).send().await;
            let Some(sequence) = first.ok().map(|message| message.sequence).filter(|first| *first <= done)
            else {
                return;
            };
            tracing::debug!(sequence, "deleting what was done before");
            if let Err(error) = stream.delete_message(sequence).await {
                return tracing::debug!("deleting what was done before: {error}");
            }
        }
    }

    /// The consumer of a door's results.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the broker can't be asked.
    pub(super) async fn results(&self, door: &str) -> Result<consumer::Consumer<pull::Config>> {
        let config = pull::Config {
            durable_name: Some(Names::door(door)),
            filter_subject: self.names.results_of(door),
            ack_wait: TAKEN,
            inactive_threshold: DOOR_AWAY,
            max_ack_pending: -1,
            ..Default::default()
        };
        self.consumer(self.names.results(), config).await
    }

    async fn consumer(
        &self,
        stream: String,
        config: pull::Config,
    ) -> Result<consumer::Consumer<pull::Config>> {
        self.context
            .create_consumer_on_stream(config, stream)
            .await
            .map_err(|error| Error::Overloaded(format!("the broker has no consumer for us: {error}")))
    }

    /// Audio that is too large for a message, by job.
    pub(super) fn audio(&self) -> &Bucket {
        &self.audio
    }

    /// What doors have to know of each model, by revision.
    pub(super) fn models(&self) -> &Bucket {
        &self.models
    }
}

/// Makes what is not there. What is there stays as its owner has set it up.
async fn prepare(
    context: &Context,
    names: &Names,
    options: &NatsOptions,
) -> anyhow::Result<(Bucket, Bucket)> {
    let work = |name: String, subjects: String, what: &str| stream::Config {
        name,
        subjects: vec![subjects],
        description: Some(what.to_owned()),
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        num_replicas: options.replicas,
        max_age: options.keep,
        duplicate_window: DUPLICATES.min(options.keep),
        ..Default::default()
    };
    let jobs = work(names.jobs(), names.all_jobs(), "imesli: windows that wait for a worker");
    let results = work(names.results(), names.all_results(), "imesli: what was heard, until its door has it");
    let dead = stream::Config {
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_age: DEAD,
        max_bytes: MOST_DEAD_BYTES,
        duplicate_window: DUPLICATES,
        ..work(names.dead(), names.all_dead(), "imesli: jobs that nobody could do")
    };
    for config in [jobs, results, dead] {
        context.get_or_create_stream(config).await?;
    }
    let audio = Bucket::open(context, names.audio(), options.keep, options.replicas).await?;
    let models = Bucket::open(context, names.models(), Duration::ZERO, options.replicas).await?;
    Ok((audio, models))
}

/// Whether JetStream is there, but not yet.
fn is_not_ready(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    ["timed out", "temporarily unavailable", "no suitable peers", "not current leader"]
        .iter()
        .any(|reason| text.contains(reason))
}
