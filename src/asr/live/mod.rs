//! Live audio: text that grows while somebody speaks, and is never taken back.
//!
//! - [`Transcriber::live`]: a stream from its first sample to its transcript.
//! - `stream`: what comes in, and what comes of it; `schedule`: what is to be heard next. Pure.
//! - `phrase`: which words of a phrase are sure. `cut`: where to end one that is too long. Pure.
//! - `text`, `report`: what is told. `recent`: the samples that are still needed.

mod cut;
mod phrase;
mod recent;
mod report;
mod schedule;
mod stream;
#[cfg(test)]
mod tests;
mod text;

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use self::schedule::Task;
use self::stream::Stream;
use super::backend::{Done, Home, Job};
use super::recognizer::{Cancel, DecodeOptions};
use super::segment::Segment;
use super::switch::Switch;
use super::transcriber::{Request, Transcriber, Transcript};
use crate::audio::SAMPLE_RATE;
use crate::audio::excerpt::Excerpt;
use crate::audio::samples::Samples;
use crate::audio::voice::live::{Ears, Everything, LiveVoice};
use crate::error::{Error, Result};

/// Samples that are taken in at a time, so that others on this thread have their turn: one second.
const SLICE: usize = SAMPLE_RATE as usize;

/// How a stream is transcribed.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveOptions {
    /// How its phrases are decoded.
    pub request: Request,
    /// Whether there is text while a phrase goes on.
    pub partials: bool,
    /// The silence that ends a phrase, in milliseconds.
    pub silence_ms: u32,
    /// No silence ends a phrase before it is so long.
    pub min_phrase_ms: u32,
    /// A longer phrase is ended between two words; at most [`MAX_PHRASE_MS`].
    pub max_phrase_ms: u32,
    /// The stream fails when more seconds of audio wait than these.
    pub max_backlog_seconds: u32,
}

/// The bounds of [`LiveOptions::silence_ms`].
pub const SILENCE_MS: std::ops::RangeInclusive<u32> = 200..=5_000;
/// The bounds of [`LiveOptions::min_phrase_ms`].
pub const MIN_PHRASE_MS: std::ops::RangeInclusive<u32> = 0..=10_000;
/// The bounds of [`LiveOptions::max_phrase_ms`]: what the model takes at once, less a margin in which it sees its end.
pub const MAX_PHRASE_MS: std::ops::RangeInclusive<u32> = 5_000..=28_000;

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            request: Request::default(),
            partials: true,
            silence_ms: 700,
            min_phrase_ms: 1_000,
            max_phrase_ms: 20_000,
            max_backlog_seconds: 60,
        }
    }
}

/// What comes in.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The next samples, 16 kHz mono.
    Audio(Vec<f32>),
    /// The phrase ends here; the number comes back when everything so far has its text.
    Flush(u64),
    /// That was all.
    Stop,
}

/// What is told while audio comes in. Times are seconds from the start of the stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// Text.
    Text {
        /// What is new and stays: all of these together are the final text.
        committed: String,
        /// What may follow, for now.
        volatile: String,
        /// Where the phrase begins.
        start: f64,
        /// Up to where text is committed.
        committed_end: f64,
        /// Up to where audio was looked at.
        end: f64,
    },
    /// A stretch of committed text with its times.
    Segment {
        /// The stretch.
        segment: Segment,
        /// Its text as the model wrote it, where its spelling was changed.
        raw: Option<String>,
    },
    /// The answer to [`Input::Flush`].
    Flushed(u64),
}

/// A window that is being heard. Dropped, it is given up.
struct Hearing {
    result: oneshot::Receiver<Result<Done>>,
    cancel: Cancel,
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Transcriber {
    /// Transcribes a stream: what comes through `input` until [`Input::Stop`], and tells its text as it grows. Dropping the
    /// future, or the other end of `input`, gives it up.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an unknown language and the like, [`Error::Overloaded`] when more audio waits than
    /// the options allow, [`Error::Cancelled`] when `input` ends without a stop, [`Error::Internal`].
    pub async fn live(
        &self,
        options: LiveOptions,
        mut input: mpsc::Receiver<Input>,
        mut tell: impl FnMut(Update) + Send,
    ) -> Result<Transcript> {
        let limit = options.max_backlog_seconds as usize * SAMPLE_RATE as usize;
        let mut stream = self.stream(options)?;
        let mut hearing: Option<Hearing> = None;
        let mut failures = 0;
        let home = Home::default();
        loop {
            let task = stream.next();
            stream.updates().into_iter().for_each(&mut tell);
            if stream.is_over() {
                return Ok(stream.transcript());
            }
            if stream.backlog() > limit {
                return Err(Error::Overloaded(format!(
                    "the server can't keep up: {} s of audio wait; the text is settled up to {:.1} s of the stream",
                    stream.backlog() / SAMPLE_RATE as usize,
                    stream::seconds(stream.settled())
                )));
            }
            if let Some(task) = task {
                // A partial that is still being heard gives way.
                hearing = Some(self.hear(task, &home));
            }
            tokio::select! {
                message = input.recv(), if !stream.is_stopped() => match message {
                    Some(Input::Audio(samples)) => {
                        for slice in samples.chunks(SLICE) {
                            stream.push(slice);
                            tokio::task::yield_now().await;
                        }
                    }
                    Some(Input::Flush(id)) => stream.flush(id),
                    Some(Input::Stop) => stream.stop(),
                    None => return Err(Error::Cancelled),
                },
                done = wait(&mut hearing), if hearing.is_some() => {
                    hearing = None;
                    match done {
                        Ok(done) => {
                            failures = 0;
                            stream.heard(Some(done));
                        }
                        // Once more, on a state made anew; then it is no accident.
                        Err(Error::Internal { .. }) if failures == 0 => {
                            failures += 1;
                            stream.heard(None);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Whether a stream of such options could be transcribed.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an unknown language and the like.
    pub fn check_live(&self, options: &LiveOptions) -> Result<()> {
        self.decode_options(&options.request).map(|_| ())
    }

    fn stream(&self, options: LiveOptions) -> Result<Stream> {
        let decode = self.decode_options(&options.request)?;
        // The times of words tell which of them are sure, and the model's own timestamps would stand among them.
        let alignment = Some(self.defaults.alignment_heads.as_slice().into());
        let decode = DecodeOptions { alignment, timestamps: None, ..decode };
        let ears: Box<dyn Ears> = match options.request.vad {
            Switch::On => Box::new(LiveVoice::new(Arc::clone(&self.detector))),
            Switch::Off => Box::new(Everything::default()),
        };
        Ok(Stream::new(Arc::clone(&self.vocabulary), options, decode, ears))
    }

    fn hear(&self, task: Task, home: &Home) -> Hearing {
        let cancel = Cancel::default();
        let range: Range<usize> = 0..task.samples.len();
        let result = self.backend.submit(Job {
            excerpt: Arc::new(Excerpt::whole(Arc::new(Samples::from(task.samples)))),
            range,
            options: task.options,
            cancel: cancel.clone(),
            permit: None,
            urgency: task.urgency,
            home: home.clone(),
        });
        Hearing { result, cancel }
    }
}

/// The result of what is being heard; never, where nothing is.
async fn wait(hearing: &mut Option<Hearing>) -> Result<Done> {
    match hearing {
        Some(hearing) => (&mut hearing.result)
            .await
            .unwrap_or_else(|_| Err(Error::Unavailable("the server is shutting down".into()))),
        None => std::future::pending().await,
    }
}
