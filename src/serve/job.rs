//! One recording from its bytes to its transcript: the way that all fronts share.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tracing::Instrument;

use super::access::{Client, Running};
use super::budget::Reservation;
use super::failure::Failure;
use super::protocol::{Code, State};
use super::queue::{Place, Queue};
use super::request::Subtitles;
use super::spool::{Kept, Spool};
use super::{Shared, Stage, base64};
use crate::asr::backend::Permit;
use crate::asr::recognizer::Cancel;
use crate::asr::transcriber::{Progress, Request, Timings, Transcriber, Transcript};
use crate::audio::samples::Samples;
use crate::error::{Error, Result as AsrResult};
use crate::subtitle::{Passage, Word};

/// What there is to do.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) source: Source,
    pub(super) request: Request,
    /// A subtitle file to be made of it.
    pub(super) subtitles: Option<Subtitles>,
    /// From the moment the job was asked for.
    pub(super) admission: Admission,
    /// The share of memory or disk that the source takes.
    pub(super) held: Reservation,
}

impl Work {
    /// The files of an upload, which can be gone on with after a restart for as long as this is held.
    pub(super) fn kept(&self) -> Option<Arc<Kept>> {
        match &self.source {
            Source::Upload(spool) => spool.kept(),
            Source::Message { .. } => None,
        }
    }
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
    /// As they are.
    Upload(Spool),
}

/// Where a job came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// A message with the audio in it.
    WebSocket,
    /// An upload in chunks.
    Upload,
    /// Live audio.
    Live,
    /// OpenAI's API.
    Api,
    /// whisper.cpp's.
    Inference,
}

impl Front {
    /// Its name in the metrics and in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Upload => "upload",
            Self::Live => "live",
            Self::Api => "openai",
            Self::Inference => "inference",
        }
    }
}

/// The right to have a recording transcribed: a place in the queue, within what the client's key allows, on the model
/// of the moment.
#[derive(Debug)]
pub(super) struct Admission {
    place: Place,
    transcriber: Arc<Transcriber>,
    permit: Permit,
    running: Option<Running>,
    asked: Instant,
}

/// Admits a request to a model, the default one where it names none, or says why not.
pub(super) fn admit(shared: &Shared, client: &Client, model: Option<&str>) -> Result<Admission, Failure> {
    if shared.stage() != Stage::Running {
        return Err(Failure::shutting_down());
    }
    let group = client.group();
    let place = Queue::enter(&shared.queue, &group)?;
    let transcriber = find(shared, model, Code::MessageProcessingError)?;
    let permit =
        transcriber.admit_of(&group).map_err(|error| refusal(shared, Code::TranscriptionError, &error))?;
    // The last one: what is refused counts for nothing.
    let running = client.begin()?;
    Ok(Admission { place, transcriber, permit, running, asked: Instant::now() })
}

/// The model for a request that asks for this one. Where there is no such model, the failure has the code of the step.
pub(super) fn find(shared: &Shared, model: Option<&str>, step: Code) -> Result<Arc<Transcriber>, Failure> {
    shared.engine.find(model).map_err(|error| refusal(shared, step, &error))
}

/// Why a model takes no request; where it may do so later, with an estimate of when.
pub(super) fn refusal(shared: &Shared, step: Code, error: &Error) -> Failure {
    let failure = Failure::at(step, error);
    if failure.code == Code::Overloaded { failure.after(shared.queue.retry_after()) } else { failure }
}

/// What became of a job.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) transcript: Transcript,
    /// The subtitle file that was asked for.
    pub(super) formatted: Option<String>,
    /// Time spent on decoding the file.
    pub(super) load: Duration,
    /// Time between being asked for and being begun.
    pub(super) waited: Duration,
    /// Time since then.
    pub(super) took: Duration,
}

/// Who is told how far a job is.
pub(super) trait Audience: Send {
    /// A state is entered.
    fn enter(&mut self, state: State) -> impl Future<Output = ()> + Send;
    /// A window is done.
    fn progress(&mut self, progress: Progress<'_>);
}

/// Somebody who wants to know of windows alone.
struct Quiet<F>(F);

impl<F: FnMut(Progress<'_>) + Send> Audience for Quiet<F> {
    async fn enter(&mut self, _: State) {}

    fn progress(&mut self, progress: Progress<'_>) {
        (self.0)(progress);
    }
}

/// Does a job. Dropping the future gives it up.
pub(super) async fn run(
    shared: &Shared,
    work: Work,
    front: Front,
    progress: impl FnMut(Progress<'_>) + Send,
) -> Result<Outcome, Failure> {
    run_before(shared, work, front, Quiet(progress)).await
}

/// The same before an audience.
pub(super) async fn run_before(
    shared: &Shared,
    work: Work,
    front: Front,
    audience: impl Audience,
) -> Result<Outcome, Failure> {
    let span = tracing::info_span!("job", front = front.name());
    done(shared, work, front, audience).instrument(span).await
}

async fn done(
    shared: &Shared,
    work: Work,
    front: Front,
    mut audience: impl Audience,
) -> Result<Outcome, Failure> {
    let counted = Counted::new(shared, front);
    let begun = Instant::now();
    let waited = begun - work.admission.asked;
    let steps = AssertUnwindSafe(steps(shared, work, &mut audience)).catch_unwind();
    let result = tokio::select! {
        result = steps => result.unwrap_or_else(|_| Err(Failure::internal())),
        () = stopping(shared) => Err(Failure::new(Code::Cancelled, "the server stopped before this was done")),
    };
    let result = result.map(|done| Outcome { waited, took: begun.elapsed(), ..done });
    counted.tell(&result);
    log(&result);
    result
}

/// Counts and logs a job that was refused before it could begin.
pub(super) fn refused(shared: &Shared, front: Front, refusal: &Failure) {
    shared.metrics.request(front, Some(refusal.code));
    tracing::info!(code = ?refusal.code, "not transcribed");
}

/// One line for each job: how long, how fast; never what was said. Whose it is says the span around it.
fn log(result: &Result<Outcome, Failure>) {
    let Outcome { transcript, load, waited, took, .. } = match result {
        Ok(outcome) => outcome,
        Err(failure) => return tracing::info!(code = ?failure.code, "not transcribed"),
    };
    let Timings { listening, queued, encode, decode, align } = transcript.timings;
    tracing::info!(
        seconds = rounded(transcript.duration),
        queued = rounded((*waited + queued).as_secs_f64()),
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

/// Seconds to the millisecond.
pub(super) fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Counts a job in the metrics, also one whose client went away.
pub(super) struct Counted<'a> {
    shared: &'a Shared,
    front: Front,
    told: bool,
}

impl<'a> Counted<'a> {
    pub(super) fn new(shared: &'a Shared, front: Front) -> Self {
        Self { shared, front, told: false }
    }

    fn end(&mut self, failure: Option<&Failure>) {
        self.told = true;
        self.shared.metrics.request(self.front, failure.map(|failure| failure.code));
    }

    fn tell(mut self, result: &Result<Outcome, Failure>) {
        self.end(result.as_ref().err());
        if let Ok(outcome) = result {
            let waited = outcome.waited + outcome.transcript.timings.queued;
            let metrics = &self.shared.metrics;
            metrics.recording(self.front, outcome.transcript.duration, waited, outcome.took);
        }
    }

    /// The same for a stream of live audio.
    pub(super) fn stream(mut self, result: &Result<Transcript, Failure>) {
        self.end(result.as_ref().err());
        if let Ok(transcript) = result {
            self.shared.metrics.audio(self.front, transcript.duration);
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.shared.metrics.request(self.front, Some(Code::Cancelled));
        }
    }
}

async fn stopping(shared: &Shared) {
    let mut stage = shared.stage.clone();
    // The sender outlives every connection; without it there is nobody left to ask.
    let _ = stage.wait_for(|stage| *stage == Stage::Stopping).await;
}

async fn steps(shared: &Shared, work: Work, audience: &mut impl Audience) -> Result<Outcome, Failure> {
    let Work { source, request, subtitles, admission, held } = work;
    let Admission { mut place, transcriber, permit, running, .. } = admission;
    let begun = Instant::now();
    audience.enter(State::Processing).await;
    let bytes = bytes(shared, source).await?;
    audience.enter(State::Loading).await;
    let samples = load(shared, bytes)
        .instrument(tracing::info_span!("load"))
        .await
        .map_err(|error| Failure::at(Code::AudioLoadError, &error))?;
    drop(held);
    let load = begun.elapsed();
    let held = shared.memory.reserve(samples.memory_bytes()).zip(shared.disk.reserve(samples.disk_bytes()));
    let _held = held.ok_or_else(|| {
        let message = "there is no room left for audio of this length; try again later";
        Failure::new(Code::Overloaded, message)
    })?;
    let seconds = samples.seconds();
    place.lengthen(seconds)?;
    if let Some(running) = &running {
        running.spend(seconds)?;
    }
    audience.enter(State::Transcribing).await;
    let cancel = Cancel::default();
    let progress = |progress: Progress<'_>| {
        place.shorten(seconds * (1.0 - progress.done as f64 / progress.total.max(1) as f64));
        audience.progress(progress);
    };
    let transcript = transcriber
        .transcribe(samples, &request, permit, &cancel, progress)
        .instrument(tracing::info_span!("transcribe", seconds))
        .await
        .map_err(|error| Failure::at(Code::TranscriptionError, &error))?;
    let timings = transcript.timings;
    let at_work = timings.encode + timings.decode + timings.align;
    shared.queue.measured(transcript.duration, at_work.as_secs_f64(), transcriber.states().0);
    let formatted = subtitles.map(|(format, layout): Subtitles| format.write(&passages(&transcript), layout));
    Ok(Outcome { transcript, formatted, load, waited: Duration::ZERO, took: Duration::ZERO })
}

/// The bytes of the audio file.
async fn bytes(shared: &Shared, source: Source) -> Result<Spool, Failure> {
    let (format, audio_data) = match source {
        Source::Upload(spool) => return Ok(spool),
        Source::Message { format, audio_data } => (format, audio_data),
    };
    if let Some(other) = format.filter(|format| format != "base64") {
        let other: String = other.chars().take(64).collect();
        let message = format!("Unsupported format: {other} (it should be base64)");
        return Err(Failure::new(Code::UnsupportedFormat, message));
    }
    let dir = shared.limits.spool_dir.clone();
    blocking(move || {
        let bytes = base64::decode(&audio_data)
            .map_err(|error| Failure::new(Code::Base64DecodeError, format!("Invalid base64: {error}")))?;
        Ok(Spool::in_memory(dir, bytes))
    })
    .await
    .unwrap_or_else(|error| Err(Failure::at(Code::InternalError, &error)))
}

async fn load(shared: &Shared, bytes: Spool) -> AsrResult<Arc<Samples>> {
    shared.decoders.samples(bytes, shared.limits.audio()).await.map(Arc::new)
}

/// Runs what computes or waits for the disk on a thread where that does no harm.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> AsrResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal_from("working on a message", error))
}

/// What subtitles are made of.
pub(super) fn passages(transcript: &Transcript) -> Vec<Passage> {
    let word = |word: &crate::asr::timing::TimedWord| Word {
        start: word.start,
        end: word.end,
        text: word.text.clone(),
    };
    let passage = |segment: &crate::asr::segment::Segment| Passage {
        start: segment.start,
        end: segment.end,
        text: segment.text.clone(),
        words: segment.words.iter().map(word).collect(),
    };
    transcript.segments.iter().map(passage).collect()
}
