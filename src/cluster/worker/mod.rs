//! A worker: takes windows from the broker, hears them, and stores what it heard.
//!
//! - `job`: a file's window, from the stream of jobs to its acknowledgement.
//! - `live`: the windows of live streams, by request and reply.
//! - `health`: what is counted, and who may ask for it.

mod health;
mod job;
mod live;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::service::ServiceExt;
use futures_util::{FutureExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::health::Counters;
use super::audio;
use super::broker::Broker;
use super::card::{self, Card};
use super::connection::NatsOptions;
use super::directory::metadata;
use super::names::{ModelKey, SERVICE, word};
use super::wire::{Audio, JobMessage};
use crate::asr::backend::{Backend, Home, Job};
use crate::asr::pool::Pool;
use crate::asr::recognizer::{Cancel, Heard};
use crate::asr::transcriber::Defaults;
use crate::asr::vocabulary::Vocabulary;
use crate::audio::SAMPLE_RATE;
use crate::audio::excerpt::Excerpt;
use crate::audio::samples::Samples;
use crate::error::{Error, Result};

/// A model that hears windows, and all that has to be known of it elsewhere to make them and their texts.
#[derive(Debug)]
pub struct Loaded {
    /// What hears windows.
    pub pool: Pool,
    /// Tokens and text.
    pub vocabulary: Arc<Vocabulary>,
    /// What the checkpoint says about decoding.
    pub defaults: Defaults,
    /// The SHA-256 of the weights.
    pub weights: Vec<u8>,
}

/// How long the broker has to take what was said to it last.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// As many as a server may be set up for (`--beam-size`).
const MOST_BEAMS: usize = 16;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// What people call it.
    pub name: String,
    /// What its model is called.
    pub model: String,
    /// A job that nobody says to be at for so long is begun again elsewhere.
    pub redeliver_after: Duration,
    /// So often a job is begun at most.
    pub deliveries: u32,
    /// Where health and metrics are asked for.
    pub listen: Option<String>,
    /// How long running jobs get to finish at the end.
    pub drain: Duration,
}

/// What all tasks of a worker share.
#[derive(Debug)]
struct Shared {
    broker: Broker,
    pool: Pool,
    model: ModelKey,
    options: WorkerOptions,
    /// Its own, and what it is called at the broker.
    id: String,
    counters: Counters,
    /// The jobs that it is at, by id, with what stops them.
    running: Mutex<HashMap<String, Cancel>>,
    /// Becomes true when no more jobs are taken.
    leaving: watch::Receiver<bool>,
}

/// A job that is being done; ends with it.
struct Running<'a> {
    shared: &'a Shared,
    id: String,
    cancel: Cancel,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.running().remove(&self.id);
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<String, Cancel>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a job is begun; `None` when it is already.
    fn begin(&self, id: &str) -> Option<Running<'_>> {
        let mut running = self.running();
        if running.contains_key(id) {
            return None;
        }
        let cancel = Cancel::default();
        running.insert(id.to_owned(), cancel.clone());
        Some(Running { shared: self, id: id.to_owned(), cancel })
    }

    /// What is heard in a window of this kind; counts it. A panic costs this window only.
    async fn hear(&self, kind: &str, message: JobMessage, cancel: &Cancel) -> Result<Heard> {
        let heard = AssertUnwindSafe(self.window(kind, message, cancel)).catch_unwind().await;
        heard.unwrap_or_else(|_| Err(Error::internal("hearing a window panicked")))
    }

    async fn window(&self, kind: &str, message: JobMessage, cancel: &Cancel) -> Result<Heard> {
        if message.options.search.beams > MOST_BEAMS {
            return Err(Error::InvalidInput(format!("a beam is {MOST_BEAMS} wide at most")));
        }
        let stored;
        let bytes = match &message.audio {
            Audio::Here(bytes) => bytes,
            Audio::Stored => {
                stored = self.broker.audio().get(&message.id).await?;
                &stored
            }
        };
        let samples = audio::unpack(message.encoding, bytes)?;
        let range = 0..samples.len();
        let seconds = samples.len() as f64 / f64::from(SAMPLE_RATE);
        let receiver = self.pool.submit(Job {
            excerpt: Arc::new(Excerpt::whole(Arc::new(Samples::from(samples)))),
            range,
            options: Arc::new(message.options),
            cancel: cancel.clone(),
            permit: None,
            urgency: message.urgency,
            home: Home::default(),
        });
        let done = receiver.await.map_err(|_| Error::Unavailable("the worker leaves".into()))??;
        self.counters.heard(kind, seconds, &done.heard);
        Ok(done.heard)
    }
}

/// Works until `stop` resolves. Within a tokio runtime.
///
/// # Errors
/// When the broker can't be reached for half a minute at the beginning, or does not let us in; when `listen` is taken; when
/// it can't go on.
pub async fn work(
    nats: &NatsOptions,
    loaded: Loaded,
    options: WorkerOptions,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    use anyhow::Context as _;

    let listener = match &options.listen {
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.with_context(|| format!("cannot listen on {address} for health and metrics"))?)
        }
        None => None,
    };
    let broker = Broker::connect(nats, &format!("worker {}", options.name)).await?;
    let card = Card::new(&loaded.vocabulary, &loaded.defaults).encode()?;
    let model = ModelKey { id: options.model.clone(), revision: card::revision(&card, &loaded.weights) };
    if !broker.models().has(&model.revision).await {
        broker.models().put(&model.revision, &card).await?;
    }
    let id = format!("{}-{:08x}", word(&options.name), fastrand::u32(..));
    let (leave, leaving) = watch::channel(false);
    let counters = Counters::new()?;
    let (pool, running) = (loaded.pool, Mutex::default());
    let shared = Arc::new(Shared { broker, pool, model, options, id, counters, running, leaving });

    // The consumer first: who sees the worker may send jobs.
    shared.broker.workers(&shared.model, shared.options.redeliver_after).await?;
    let mut tasks = JoinSet::new();
    for _ in 0..shared.pool.states() {
        tasks.spawn(job::take(Arc::clone(&shared)));
    }
    let mut helpers = JoinSet::new();
    helpers.spawn(cancels(Arc::clone(&shared)));
    if let Some(listener) = listener {
        helpers.spawn(health::serve(listener, Arc::clone(&shared)));
    }
    let service = announce(&shared).await?;
    let subject = shared.broker.names.live(&shared.id);
    let endpoint = service.endpoint_builder().name("live").add(subject).await;
    let endpoint = endpoint.map_err(|error| anyhow::anyhow!("listening for live windows: {error}"))?;
    tasks.spawn(live::take(Arc::clone(&shared), endpoint));
    let Shared { model, options, id, .. } = &*shared;
    tracing::info!(
        worker = options.name,
        id,
        model = model.id,
        revision = model.revision,
        states = shared.pool.states(),
        "the worker is ready"
    );

    // What takes windows ends only when it is told to: one that ends otherwise would leave a state idle for good.
    let is_broken = tokio::select! {
        () = stop => false,
        ended = tasks.join_next() => {
            tracing::error!("a part of the worker has ended: {ended:?}");
            true
        }
    };
    // Who asks for workers does not find it any more; what it has is done.
    if let Err(error) = service.stop().await {
        tracing::debug!("leaving the list of workers: {error}");
    }
    leave.send_replace(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(shared.options.drain, all).await.is_err() {
        tracing::warn!("some jobs were not done in time; other workers will do them");
        shared.running().values().for_each(Cancel::cancel);
        tasks.shutdown().await;
    }
    // Without a broker this would wait until there is one.
    let sent = tokio::time::timeout(LAST_WORDS, shared.broker.client.flush()).await;
    if !matches!(sent, Ok(Ok(()))) {
        tracing::debug!("the broker was not told of the last: {sent:?}");
    }
    shared.counters.tell(&shared.options.name);
    anyhow::ensure!(!is_broken, "the worker can't go on");
    Ok(())
}

/// Says who it is, to who asks by NATS' services API.
async fn announce(shared: &Shared) -> anyhow::Result<async_nats::service::Service> {
    let Shared { broker, model, options, id, .. } = shared;
    broker
        .client
        .service_builder()
        .description("imesli: hears windows of speech")
        .metadata(metadata(&broker.names, id, &options.name, model, shared.pool.states()))
        .start(SERVICE, env!("CARGO_PKG_VERSION"))
        .await
        .map_err(|error| anyhow::anyhow!("announcing the worker: {error}"))
}

/// Stops what nobody wants any more.
async fn cancels(shared: Arc<Shared>) {
    loop {
        match shared.broker.client.subscribe(shared.broker.names.cancel()).await {
            Ok(mut ids) => {
                while let Some(message) = ids.next().await {
                    let id = String::from_utf8_lossy(&message.payload);
                    if let Some(cancel) = shared.running().get(&*id) {
                        cancel.cancel();
                    }
                }
            }
            Err(error) => tracing::debug!("listening for what is not wanted: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
