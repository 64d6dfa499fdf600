//! The jobs of one connection, one after the other, in the order in which they were asked for.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::budget::Reservation;
use super::failure::Failure;
use super::outbox::Outbox;
use super::protocol::{Code, Id, Segment, ServerMessage, Skipped, State, Transcription};
use super::request::Subtitles;
use super::spool::Spool;
use super::{Shared, Stage, base64};
use crate::asr::pool::Permit;
use crate::asr::recognizer::Cancel;
use crate::asr::timing::TimedWord;
use crate::asr::transcriber::{Progress, Request, Timings, Transcript};
use crate::audio::samples::Samples;
use crate::error::{Error, Result as AsrResult};
use crate::subtitle::{Passage, Word};

/// A job: what to do, or why it is refused, which is said in its turn.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) audio_id: Id,
    pub(super) work: Result<Work, Failure>,
}

/// What there is to do.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) source: Source,
    pub(super) request: Request,
    /// A subtitle file to be made of it.
    pub(super) subtitles: Option<Subtitles>,
    /// Admission, from the moment the job was asked for.
    pub(super) permit: Permit,
    /// The share of memory or disk that the source takes.
    pub(super) held: Reservation,
}

/// Where the bytes of the audio are.
#[derive(Debug)]
pub(super) enum Source {
    /// In a message, in base64.
    Message {
        /// What the message says it is.
        format: Option<String>,
        /// The text.
        audio_data: String,
    },
    /// In an upload.
    Upload(Spool),
}

/// The way in. Dropped, it gives up what waits and what runs.
#[derive(Debug)]
pub(super) struct Lane {
    queue: mpsc::Sender<(Job, Instant)>,
    /// Jobs that have not been answered.
    pending: Arc<watch::Sender<usize>>,
    task: AbortHandle,
}

/// Something that has to be answered before the connection may end.
#[derive(Debug)]
pub(super) struct Pending(Arc<watch::Sender<usize>>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lane {
    pub(super) fn start(shared: Arc<Shared>, outbox: Outbox, connection: u64) -> Self {
        let (queue, receiver) = mpsc::channel(shared.limits.jobs_per_connection.max(1));
        let pending = Arc::new(watch::Sender::new(0));
        let worker = Worker { shared, outbox, connection, pending: Arc::clone(&pending) };
        Self { queue, pending, task: tokio::spawn(worker.run(receiver)).abort_handle() }
    }

    /// Whether there is room for a job. It does not go away: only the session, which asks, adds jobs.
    pub(super) fn has_room(&self) -> bool {
        *self.pending.borrow() < self.queue.max_capacity()
    }

    /// Puts a job at the end of the line, where there must be room.
    pub(super) fn submit(&self, job: Job) {
        self.pending.send_modify(|n| *n += 1);
        if self.queue.try_send((job, Instant::now())).is_err() {
            tracing::error!("a job came to a lane without room, and got lost");
            self.pending.send_modify(|n| *n -= 1);
        }
    }

    /// Counts something else that has to be answered, until what is given is dropped.
    pub(super) fn also(&self) -> Pending {
        self.pending.send_modify(|n| *n += 1);
        Pending(Arc::clone(&self.pending))
    }

    /// Watches how many jobs have not been answered.
    pub(super) fn pending(&self) -> watch::Receiver<usize> {
        self.pending.subscribe()
    }
}

struct Worker {
    shared: Arc<Shared>,
    outbox: Outbox,
    connection: u64,
    pending: Arc<watch::Sender<usize>>,
}

/// What became of a job.
pub(super) struct Outcome {
    pub(super) transcript: Transcript,
    /// The subtitle file that was asked for.
    pub(super) formatted: Option<String>,
    /// Time spent on decoding the file.
    pub(super) load: Duration,
}

impl Worker {
    async fn run(self, mut queue: mpsc::Receiver<(Job, Instant)>) {
        while let Some((job, asked)) = queue.recv().await {
            let begun = Instant::now();
            let (audio_id, waited) = (job.audio_id, begun - asked);
            let result = match job.work {
                Ok(work) => {
                    self.outbox.enter(State::Processing, "Processing audio...", Some(&audio_id)).await;
                    let work = AssertUnwindSafe(self.work(&audio_id, work)).catch_unwind();
                    tokio::select! {
                        result = work => result.unwrap_or_else(|_| Err(Failure::internal())),
                        () = self.stopping() => {
                            Err(Failure::new(Code::Cancelled, "the server stopped before this was done"))
                        }
                    }
                }
                Err(refusal) => Err(refusal),
            };
            self.log(&audio_id, waited, begun.elapsed(), &result);
            match result {
                Ok(outcome) => {
                    let answer = answer(audio_id, outcome, waited, begun.elapsed());
                    self.outbox.send(ServerMessage::Transcription(Box::new(answer))).await;
                }
                Err(failure) => self.outbox.fail(failure.about(&audio_id)).await,
            }
            self.outbox.enter(State::Ready, "Ready for next audio", None).await;
            self.pending.send_modify(|n| *n -= 1);
        }
    }

    async fn stopping(&self) {
        let mut stage = self.shared.stage.clone();
        // The sender outlives every connection; without it there is nobody left to ask.
        let _ = stage.wait_for(|stage| *stage == Stage::Stopping).await;
    }

    async fn work(&self, audio_id: &Id, work: Work) -> Result<Outcome, Failure> {
        let begun = Instant::now();
        let bytes = self.bytes(work.source).await?;
        self.outbox.enter(State::Loading, "Loading audio...", Some(audio_id)).await;
        let samples = self.load(bytes).await.map_err(|error| Failure::at(Code::AudioLoadError, &error))?;
        drop(work.held);
        let load = begun.elapsed();
        let held = self
            .shared
            .memory
            .reserve(samples.memory_bytes())
            .zip(self.shared.disk.reserve(samples.disk_bytes()));
        let _held = held.ok_or_else(|| {
            let message = "there is no room left for audio of this length; try again later";
            Failure::new(Code::Overloaded, message)
        })?;
        self.outbox.enter(State::Transcribing, "Transcribing audio...", Some(audio_id)).await;
        let progress = |progress: Progress| {
            if progress.total > 1 {
                self.outbox.progress(audio_id, 100.0 * progress.done as f64 / progress.total as f64);
            }
        };
        let cancel = Cancel::default();
        let transcribe = &self.shared.transcriber;
        let transcript = transcribe.transcribe(samples, &work.request, work.permit, &cancel, progress).await;
        let transcript = transcript.map_err(|error| Failure::at(Code::TranscriptionError, &error))?;
        let write = |(format, layout): Subtitles| format.write(&passages(&transcript), layout);
        let formatted = work.subtitles.map(write);
        Ok(Outcome { transcript, formatted, load })
    }

    /// The bytes of the audio file.
    async fn bytes(&self, source: Source) -> Result<Spool, Failure> {
        let (format, audio_data) = match source {
            Source::Upload(spool) => return Ok(spool),
            Source::Message { format, audio_data } => (format, audio_data),
        };
        if let Some(other) = format.filter(|format| format != "base64") {
            let other: String = other.chars().take(64).collect();
            let message = format!("Unsupported format: {other} (it should be base64)");
            return Err(Failure::new(Code::UnsupportedFormat, message));
        }
        let dir = self.shared.limits.spool_dir.clone();
        blocking(move || {
            let bytes = base64::decode(&audio_data)
                .map_err(|error| Failure::new(Code::Base64DecodeError, format!("Invalid base64: {error}")))?;
            Ok(Spool::in_memory(dir, bytes))
        })
        .await
        .unwrap_or_else(|error| Err(Failure::at(Code::InternalError, &error)))
    }

    async fn load(&self, bytes: Spool) -> AsrResult<Arc<Samples>> {
        let limits = self.shared.limits.audio();
        let decoder = self.shared.decoders.acquire().await;
        let samples = blocking(move || Ok(Arc::new(bytes.recording(&limits)?.samples))).await;
        drop(decoder);
        samples?
    }

    /// One line for each job: whose, how long, how fast; never what was said.
    fn log(&self, audio_id: &Id, waited: Duration, took: Duration, result: &Result<Outcome, Failure>) {
        let connection = self.connection;
        match result {
            Ok(Outcome { transcript, load, .. }) => {
                let Timings { listening, queued, encode, decode, align } = transcript.timings;
                tracing::info!(
                    connection,
                    audio = %audio_id,
                    seconds = rounded(transcript.duration),
                    queued = rounded((waited + queued).as_secs_f64()),
                    load = rounded(load.as_secs_f64()),
                    listening = rounded(listening.as_secs_f64()),
                    encode = rounded(encode.as_secs_f64()),
                    decode = rounded(decode.as_secs_f64()),
                    align = rounded(align.as_secs_f64()),
                    took = rounded(took.as_secs_f64()),
                    real_time_factor = rounded(took.as_secs_f64() / transcript.duration.max(0.001)),
                    "transcribed"
                );
            }
            Err(failure) => {
                tracing::info!(
                    connection,
                    audio = %audio_id,
                    code = ?failure.code,
                    queued = rounded(waited.as_secs_f64()),
                    took = rounded(took.as_secs_f64()),
                    "not transcribed"
                );
            }
        }
    }
}

/// Runs what computes or waits for the disk on a thread where that does no harm.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> AsrResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal_from("working on a message", error))
}

pub(super) fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

pub(super) fn passages(transcript: &Transcript) -> Vec<Passage> {
    let passage = |segment: &crate::asr::segment::Segment| Passage {
        start: segment.start,
        end: segment.end,
        text: segment.text.clone(),
        words: segment.words.iter().map(word).collect(),
    };
    transcript.segments.iter().map(passage).collect()
}

fn word(word: &TimedWord) -> Word {
    Word { start: word.start, end: word.end, text: word.text.clone() }
}

impl Segment {
    /// A segment, and its text as the model wrote it where that is something else.
    pub(super) fn of(segment: crate::asr::segment::Segment, raw_text: Option<String>) -> Self {
        Self {
            start: rounded(segment.start),
            end: rounded(segment.end),
            text: segment.text,
            raw_text,
            words: segment.words.into_iter().map(rounded_word).collect(),
        }
    }
}

fn rounded_word(word: TimedWord) -> TimedWord {
    let probability = (word.probability * 1000.0).round() / 1000.0;
    TimedWord { start: rounded(word.start), end: rounded(word.end), probability, ..word }
}

pub(super) fn answer(audio_id: Id, outcome: Outcome, waited: Duration, took: Duration) -> Transcription {
    let Outcome { transcript, formatted, .. } = outcome;
    let speech_duration = transcript.speech_duration().map(rounded);
    let (raw, raw_segments) = transcript.raw.map(|raw| (raw.text, raw.segments)).unzip();
    let mut raw_segments = raw_segments.unwrap_or_default().into_iter();
    let segments = transcript.segments.into_iter();
    let queued = transcript.timings.queued;
    Transcription {
        transcription: transcript.text,
        raw_transcription: raw,
        audio_id,
        language: transcript.language,
        timestamps: transcript.timestamps,
        word_times: transcript.word_times,
        duration: rounded(transcript.duration),
        decoded: rounded(transcript.decoded),
        speech_duration,
        skipped: transcript
            .skipped
            .into_iter()
            .map(|s| Skipped { start: rounded(s.start), end: rounded(s.end), reason: s.reason })
            .collect(),
        segments: segments.map(|segment| Segment::of(segment, raw_segments.next())).collect(),
        formatted,
        unended: transcript.unended,
        looped: transcript.looped,
        queue_seconds: rounded((waited + queued).as_secs_f64()),
        processing_seconds: rounded(took.saturating_sub(queued).as_secs_f64()),
    }
}
