//! A stream from its first sample to its transcript, beside whoever is connected to it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::access::Running;
use super::budget::Reservation;
use super::failure::Failure;
use super::job::{Counted, Front, Outcome, passages, rounded};
use super::lane::answer;
use super::protocol::{Code, Id};
use super::request::Subtitles;
use super::streams::Stream;
use super::{Shared, Stage};
use crate::asr::live::{Input, LiveOptions};
use crate::asr::transcriber::{Transcriber, Transcript};
use crate::error::Result as AsrResult;

/// The text of a stream. It stays with the model that it began with, also when the server goes on with another one.
pub(super) async fn text_of(
    transcriber: Arc<Transcriber>,
    options: LiveOptions,
    input: mpsc::Receiver<Input>,
    stream: Weak<Stream>,
) -> AsrResult<Transcript> {
    let tell = move |update| {
        if let Some(stream) = stream.upgrade() {
            stream.update(update);
        }
    };
    transcriber.live(options, input, tell).await
}

/// A stream from its first sample to its end. It is held weakly: a stream that is forgotten ends.
pub(super) async fn hear(
    shared: Arc<Shared>,
    stream: Weak<Stream>,
    text: impl Future<Output = AsrResult<Transcript>> + Send,
    subtitles: Option<Subtitles>,
    _held: (OwnedSemaphorePermit, Reservation, Option<Running>),
) {
    let counted = Counted::new(&shared, Front::Live);
    let mut stage = shared.stage.clone();
    let work = AssertUnwindSafe(text).catch_unwind();
    let result = tokio::select! {
        result = work => match result {
            Ok(result) => result.map_err(|error| Failure::at(Code::TranscriptionError, &error)),
            Err(_) => Err(Failure::internal()),
        },
        _ = stage.wait_for(|stage| *stage == Stage::Stopping) => {
            Err(Failure::new(Code::Cancelled, "the server stopped before this was done"))
        }
    };
    counted.stream(&result);
    let Some(stream) = stream.upgrade() else { return };
    log(&stream.id, &result);
    let outcome = result.map(|transcript| {
        let timings = transcript.timings;
        let took = timings.queued + timings.encode + timings.decode + timings.align;
        let formatted = subtitles.map(|(format, layout)| format.write(&passages(&transcript), layout));
        let (load, waited) = (Duration::ZERO, Duration::ZERO);
        Box::new(answer(stream.id.clone(), Outcome { transcript, formatted, load, waited, took }))
    });
    stream.now_alone();
    stream.change(|feed| feed.outcome = Some(outcome.map_err(|failure| failure.about(&stream.id))));
}

/// One line for each stream: how long, how fast; never what was said.
fn log(id: &Id, result: &Result<Transcript, Failure>) {
    match result {
        Ok(transcript) => {
            let timings = transcript.timings;
            tracing::info!(
                stream = %id,
                seconds = rounded(transcript.duration),
                decoded = rounded(transcript.decoded),
                phrases = transcript.tokens.len(),
                queued = rounded(timings.queued.as_secs_f64()),
                encode = rounded(timings.encode.as_secs_f64()),
                decode = rounded(timings.decode.as_secs_f64()),
                align = rounded(timings.align.as_secs_f64()),
                "transcribed a stream"
            );
        }
        Err(failure) => tracing::info!(stream = %id, code = ?failure.code, "a stream ended early"),
    }
}
