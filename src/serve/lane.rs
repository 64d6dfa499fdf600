//! The jobs of one connection, one after the other, in the order in which they were asked for.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::Instrument;

use super::Shared;
use super::failure::Failure;
use super::job::{Audience, Front, Outcome, Source, Work, refused, rounded, run_before};
use super::outbox::Outbox;
use super::protocol::{Id, Segment, ServerMessage, Skipped, State, Transcription};
use crate::asr::timing::TimedWord;
use crate::asr::transcriber::Progress;

/// A job: what to do, or why it is refused, which is said in its turn.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) audio_id: Id,
    pub(super) work: Result<Work, Failure>,
}

/// The way in. Dropped, it gives up what waits and what runs.
#[derive(Debug)]
pub(super) struct Lane {
    queue: mpsc::Sender<Job>,
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
        if self.queue.try_send(job).is_err() {
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

/// A client that is told how far its audio is.
struct Told<'a> {
    outbox: &'a Outbox,
    audio_id: &'a Id,
}

impl Audience for Told<'_> {
    async fn enter(&mut self, state: State) {
        let message = match state {
            State::Processing => "Processing audio...",
            State::Loading => "Loading audio...",
            _ => "Transcribing audio...",
        };
        self.outbox.enter(state, message, Some(self.audio_id)).await;
    }

    fn progress(&mut self, progress: Progress<'_>) {
        if progress.total > 1 {
            self.outbox.progress(self.audio_id, 100.0 * progress.done as f64 / progress.total as f64);
        }
    }
}

impl Worker {
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        while let Some(Job { audio_id, work }) = queue.recv().await {
            // An upload can be gone on with after a restart until it is answered.
            let _kept = work.as_ref().ok().and_then(Work::kept);
            let span = tracing::info_span!("audio", connection = self.connection, audio = %audio_id);
            match self.job(&audio_id, work).instrument(span).await {
                Ok(outcome) => {
                    let answer = answer(audio_id, outcome);
                    self.outbox.send(ServerMessage::Transcription(Box::new(answer))).await;
                }
                Err(failure) => self.outbox.fail(failure.about(&audio_id)).await,
            }
            self.outbox.enter(State::Ready, "Ready for next audio", None).await;
            self.pending.send_modify(|n| *n -= 1);
        }
    }

    async fn job(&self, audio_id: &Id, work: Result<Work, Failure>) -> Result<Outcome, Failure> {
        let work = work.inspect_err(|refusal| refused(&self.shared, Front::WebSocket, refusal))?;
        let front = match work.source {
            Source::Message { .. } => Front::WebSocket,
            Source::Upload(_) => Front::Upload,
        };
        run_before(&self.shared, work, front, Told { outbox: &self.outbox, audio_id }).await
    }
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

/// The `transcription` of an audio.
pub(super) fn answer(audio_id: Id, outcome: Outcome) -> Transcription {
    let Outcome { transcript, formatted, waited, took, .. } = outcome;
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
