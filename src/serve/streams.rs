//! Streams of live audio: they belong to the server and not to a connection, which may break and be made again.
//!
//! What is said to a client is not queued for it but kept here: whoever is connected sends what its client does not have
//! yet (`forward`). So a client that reads slowly gets fewer and larger messages, and one that comes back gets all of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;

use super::Shared;
use super::access::{Client, Meter, Owner};
use super::failure::Failure;
use super::hearing::{hear, text_of};
use super::job::{find, refusal};
use super::limits::Limits;
use super::protocol::{Code, Id, Segment, StreamResume, Transcription};
use super::request::Subtitles;
use crate::asr::live::{Input, LiveOptions, Update};
use crate::audio::pcm::{PcmDecoder, PcmFormat};
use crate::error::Error;

/// Messages on their way to the transcriber, which takes them in at once.
const QUEUE: usize = 16;
/// What a stream holds besides its backlog, in bytes: a phrase several times, and its text.
const OVERHEAD: u64 = 8 << 20;
/// Bytes of a second of 16 kHz samples.
const SECOND_BYTES: u64 = 64_000;

/// Flushes of a stream that may wait for their answers, and all of them.
const FLUSHES: usize = 1000;
const MAX_FLUSHES: usize = 1 << 17;
/// Streams that are over can be asked for again for a while: so many times as many as may be open, the latest ones.
const KEPT: usize = 4;

/// What is to be told of a stream.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// All text that is committed.
    pub(super) committed: String,
    /// What may follow, and the times: as in `partial`.
    pub(super) volatile: String,
    pub(super) start: f64,
    pub(super) committed_end: f64,
    pub(super) end: f64,
    /// How often these have changed.
    pub(super) changes: u64,
    /// Messages that were sent, over all connections.
    pub(super) seq: u64,
    pub(super) segments: Vec<Segment>,
    /// The flushes that were asked for, how many of them are done, and how many a client was told of.
    pub(super) flushes: Vec<Option<Id>>,
    pub(super) flushed: usize,
    pub(super) told: usize,
    /// An error that does not keep the transcript from being told.
    pub(super) warning: Option<Failure>,
    /// How it ended.
    pub(super) outcome: Option<Result<Box<Transcription>, Failure>>,
}

/// The way in: one connection at a time has it.
#[derive(Debug)]
struct Intake {
    decoder: PcmDecoder,
    /// `None` after a stop.
    queue: Option<mpsc::Sender<Input>>,
    samples: Vec<f32>,
    /// Pays for the audio.
    meter: Meter,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: Id,
    intake: tokio::sync::Mutex<Intake>,
    /// Samples that came, at the stream's own rate.
    received: AtomicU64,
    most_samples: u64,
    /// The connection that feeds it, 0 for none.
    owner: AtomicU64,
    feed: Mutex<Feed>,
    changed: watch::Sender<()>,
    /// Since when nobody is connected or, when it is over, since when it is.
    alone: Mutex<Option<Instant>>,
    task: Mutex<Option<AbortHandle>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// All streams of a server.
#[derive(Debug)]
pub(super) struct Streams {
    known: Mutex<HashMap<(Owner, Id), Arc<Stream>>>,
    places: Arc<Semaphore>,
    most: usize,
    resume: Duration,
}

impl Streams {
    pub(super) fn new(limits: &Limits) -> Self {
        let places = Arc::new(Semaphore::new(limits.streams.min(Semaphore::MAX_PERMITS)));
        let most = limits.streams.saturating_mul(KEPT);
        Self { known: Mutex::default(), places, most, resume: limits.stream_resume }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Owner, Id), Arc<Stream>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream for a connection, on a model, the default one where none is named.
    pub(super) fn open(
        shared: &Arc<Shared>,
        (owner, client): (u64, &Client),
        id: Id,
        format: PcmFormat,
        (model, options): (Option<&str>, LiveOptions),
        subtitles: Option<Subtitles>,
    ) -> Result<Arc<Stream>, Failure> {
        let wrong = |error: &Error| refusal(shared, Code::StreamStartError, error);
        let decoder = PcmDecoder::new(format).map_err(|error| wrong(&error))?;
        let transcriber = find(shared, model, Code::StreamStartError)?;
        transcriber.check_live(&options).map_err(|error| wrong(&error))?;
        transcriber.check().map_err(|error| wrong(&error))?;
        let streams = &shared.streams;
        let place = Arc::clone(&streams.places).try_acquire_owned().map_err(|_| {
            let limit = shared.limits.streams;
            Failure::new(Code::Overloaded, format!("there are {limit} streams already; try again later"))
        })?;
        let bytes = u64::from(options.max_backlog_seconds) * SECOND_BYTES + OVERHEAD;
        let held = shared.memory.reserve(bytes).ok_or_else(|| {
            Failure::new(Code::Overloaded, "there is no memory left for a stream; try again later")
        })?;
        let meter = Meter::new(client.key.as_ref(), format.sample_rate)?;
        let running = client.begin()?;
        let (queue, input) = mpsc::channel(QUEUE);
        let intake = Intake { decoder, queue: Some(queue), samples: Vec::new(), meter };
        let stream = Arc::new(Stream {
            id: id.clone(),
            intake: tokio::sync::Mutex::new(intake),
            received: AtomicU64::new(0),
            most_samples: u64::from(shared.limits.audio_seconds) * u64::from(format.sample_rate),
            owner: AtomicU64::new(owner),
            feed: Mutex::default(),
            changed: watch::Sender::new(()),
            alone: Mutex::new(None),
            task: Mutex::new(None),
        });
        let mut known = streams.lock();
        if known.len() > streams.most {
            forget_one(&mut known);
        }
        match known.entry((client.owner(), id)) {
            Entry::Occupied(known) if !known.get().is_over() => {
                let message = "a stream of this stream_id is open already";
                return Err(Failure::new(Code::StreamStartError, message));
            }
            Entry::Occupied(mut known) => {
                known.insert(Arc::clone(&stream));
            }
            Entry::Vacant(place) => {
                place.insert(Arc::clone(&stream));
            }
        }
        drop(known);
        let text = text_of(transcriber, options, input, Arc::downgrade(&stream));
        let work = hear(Arc::clone(shared), Arc::downgrade(&stream), text, subtitles, (place, held, running));
        *stream.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(work).abort_handle());
        Ok(stream)
    }

    /// Gives a stream to another connection, which has the audio from a sample on.
    pub(super) async fn resume(
        &self,
        (owner, client): (u64, &Client),
        resume: &StreamResume,
    ) -> Result<Arc<Stream>, Failure> {
        let known = self.lock().get(&(client.owner(), resume.stream_id.clone())).cloned();
        let stream = known.ok_or_else(not_found)?;
        let mut intake = stream.intake.lock().await;
        let next = stream.received();
        if resume.received_samples > next && intake.queue.is_some() {
            return Err(Failure::new(
                Code::StreamStartError,
                format!(
                    "resume.received_samples: audio is wanted from sample {next} on, which is before that"
                ),
            ));
        }
        intake.decoder.forget_partial();
        drop(intake);
        stream.owner.store(owner, Ordering::Relaxed);
        *stream.alone.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Whoever had it notices.
        stream.changed.send_replace(());
        Ok(stream)
    }

    /// How many are known.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Forgets streams that nobody came back for, and those that have been over for long.
    pub(super) fn sweep(&self, now: Instant) {
        let mut forgotten = Vec::new();
        self.lock().retain(|_, stream| {
            let alone = *stream.alone.lock().unwrap_or_else(PoisonError::into_inner);
            let keep = alone.is_none_or(|since| now.saturating_duration_since(since) < self.resume);
            if !keep {
                forgotten.push(Arc::clone(stream));
            }
            keep
        });
        for stream in forgotten.iter().filter(|stream| !stream.is_over()) {
            tracing::info!(stream = %stream.id, "nobody came back for a stream");
        }
    }
}

/// Forgets the one that has been over for the longest time.
fn forget_one(known: &mut HashMap<(Owner, Id), Arc<Stream>>) {
    let over = known.iter().filter(|(_, stream)| stream.is_over());
    let alone = |stream: &Stream| *stream.alone.lock().unwrap_or_else(PoisonError::into_inner);
    let oldest = over.min_by_key(|(_, stream)| alone(stream)).map(|(id, _)| id.clone());
    oldest.and_then(|id| known.remove(&id));
}

pub(super) fn not_found() -> Failure {
    Failure::new(Code::StreamNotFound, "there is no such stream")
}

impl Stream {
    /// Samples that came, at the stream's own rate.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether it is fed by this connection.
    pub(super) fn is_of(&self, owner: u64) -> bool {
        self.owner.load(Ordering::Relaxed) == owner
    }

    /// Whether its end is known.
    pub(super) fn is_over(&self) -> bool {
        self.feed().outcome.is_some()
    }

    pub(super) fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches for something new.
    pub(super) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Feed)) {
        change(&mut self.feed());
        self.changed.send_replace(());
    }

    /// Takes the next bytes, unless another connection has the stream. Waits while the transcriber is busy taking in
    /// what came before.
    pub(super) async fn audio(&self, owner: u64, bytes: &[u8]) -> Result<(), Failure> {
        let mut intake = self.intake.lock().await;
        let Intake { decoder, queue, samples, meter } = &mut *intake;
        let Some(sender) = queue.as_ref().filter(|_| self.is_of(owner)) else { return Ok(()) };
        decoder.push(bytes, samples).map_err(|error| Failure::at(Code::InternalError, &error))?;
        self.received.store(decoder.received(), Ordering::Relaxed);
        if !samples.is_empty() {
            // A transcriber that is gone has said why.
            let _ = sender.send(Input::Audio(std::mem::take(samples))).await;
        }
        let paid = meter.take(decoder.received());
        let over = decoder.received() > self.most_samples;
        let message = "the stream is as long as this server allows; it ends here";
        let warning = over.then(|| Failure::new(Code::PayloadTooLarge, message)).or(paid.err());
        if warning.is_some() {
            self.feed().warning = warning;
            stop(&mut intake).await;
        }
        Ok(())
    }

    /// Ends the phrase.
    pub(super) async fn flush(&self, owner: u64, flush_id: Option<Id>) -> Result<(), Failure> {
        let intake = self.intake.lock().await;
        let Some(sender) = intake.queue.as_ref().filter(|_| self.is_of(owner)) else {
            return Err(not_found());
        };
        let number = {
            let mut feed = self.feed();
            if feed.flushes.len() - feed.told >= FLUSHES || feed.flushes.len() >= MAX_FLUSHES {
                return Err(Failure::new(Code::Overloaded, "too many flushes; wait for the answers"));
            }
            feed.flushes.push(flush_id);
            feed.flushes.len() as u64
        };
        let _ = sender.send(Input::Flush(number)).await;
        Ok(())
    }

    /// No more audio comes.
    pub(super) async fn stop(&self, owner: u64) {
        let mut intake = self.intake.lock().await;
        if self.is_of(owner) {
            stop(&mut intake).await;
        }
    }

    /// The connection is gone; the stream waits for another one.
    pub(super) fn leave(&self, owner: u64) {
        if self.owner.compare_exchange(owner, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.now_alone();
        }
    }

    pub(super) fn now_alone(&self) {
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        *alone = Some(Instant::now());
    }

    pub(super) fn update(&self, update: Update) {
        self.change(|feed| match update {
            Update::Text { committed, volatile, start, committed_end, end } => {
                feed.committed.push_str(&committed);
                (feed.volatile, feed.start, feed.committed_end, feed.end) =
                    (volatile, start, committed_end, end);
                feed.changes += 1;
            }
            Update::Segment { segment, raw } => feed.segments.push(Segment::of(segment, raw)),
            Update::Flushed(number) => feed.flushed = feed.flushed.max(number as usize),
        });
    }
}

async fn stop(intake: &mut Intake) {
    let Some(queue) = intake.queue.take() else { return };
    intake.meter.settle();
    let mut rest = Vec::new();
    // What the resampler still holds: nothing is lost but in an error that is told anyway.
    if intake.decoder.finish(&mut rest).is_ok() && !rest.is_empty() {
        let _ = queue.send(Input::Audio(rest)).await;
    }
    let _ = queue.send(Input::Stop).await;
}
