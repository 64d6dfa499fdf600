//! The live audio of one connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::access::Client;
use super::base64;
use super::failure::Failure;
use super::forward::{Cursor, forward};
use super::lane::Lane;
use super::outbox::Outbox;
use super::protocol::{Code, Id, Options, StreamData, StreamStart};
use super::request::{request, subtitles};
use super::streams::{Stream, Streams, not_found};
use super::{Shared, Stage};
use crate::asr::live::{LiveOptions, MAX_PHRASE_MS, MIN_PHRASE_MS, SILENCE_MS};
use crate::audio::pcm::PcmFormat;

/// What a connection has to do with streams.
#[derive(Debug)]
pub(super) struct Live {
    shared: Arc<Shared>,
    connection: u64,
    client: Client,
    /// The stream that takes audio.
    open: Option<Arc<Stream>>,
    /// All that were opened here and may not be over yet.
    all: Vec<(Arc<Stream>, AbortHandle)>,
    last_audio: Instant,
}

impl Drop for Live {
    fn drop(&mut self) {
        for (stream, forward) in self.all.drain(..) {
            forward.abort();
            stream.leave(self.connection);
        }
    }
}

impl Live {
    pub(super) fn new(shared: Arc<Shared>, connection: u64, client: Client) -> Self {
        Self { shared, connection, client, open: None, all: Vec::new(), last_audio: Instant::now() }
    }

    /// Whether what comes in binary frames is audio. It stays so when a stream has ended by itself, until the client
    /// takes notice.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How long an open stream has had no audio.
    pub(super) fn starving(&self) -> Option<Duration> {
        self.open.as_ref().filter(|stream| !stream.is_over()).map(|_| self.last_audio.elapsed())
    }

    /// `stream_start`.
    pub(super) async fn start(
        &mut self,
        start: StreamStart,
        options: &Options,
        outbox: &Outbox,
        lane: &Lane,
    ) -> Result<(), Failure> {
        let is_taken = |stream: &Arc<Stream>| !stream.is_over() && stream.is_of(self.connection);
        if self.open.as_ref().is_some_and(is_taken) {
            let message = "a stream is open on this connection already";
            return Err(Failure::new(Code::StreamStartError, message));
        }
        let resumed = start.resume.is_some();
        let (stream, cursor) = match &start.resume {
            Some(resume) => {
                let stream = self.shared.streams.resume((self.connection, &self.client), resume).await;
                let stream = stream.map_err(|failure| failure.about(&resume.stream_id))?;
                let cursor = Cursor::back(&stream, resume.received_segments);
                (stream, cursor)
            }
            None => {
                let id = start.stream_id.clone().unwrap_or_else(Id::random);
                let stream = self.open(&id, &start, options).map_err(|failure| failure.about(&id))?;
                (stream, Cursor::fresh())
            }
        };
        tracing::info!(connection = self.connection, stream = %stream.id, resumed, "a stream begins");
        let next_sample = stream.received();
        outbox.stream(StreamData { stream_id: stream.id.clone(), next_sample, resumed }).await;
        let task = forward(Arc::clone(&stream), self.connection, cursor, outbox.clone(), lane.also());
        let task = tokio::spawn(task).abort_handle();
        self.all.retain(|(_, task)| !task.is_finished());
        self.all.push((Arc::clone(&stream), task));
        self.open = Some(stream);
        self.last_audio = Instant::now();
        Ok(())
    }

    fn open(&self, id: &Id, start: &StreamStart, options: &Options) -> Result<Arc<Stream>, Failure> {
        if self.shared.stage() != Stage::Running {
            return Err(Failure::shutting_down());
        }
        let live = self.options(start, options)?;
        let default = PcmFormat::default();
        let format = PcmFormat {
            encoding: start.encoding.unwrap_or(default.encoding),
            sample_rate: start.sample_rate.unwrap_or(default.sample_rate),
            channels: start.channels.unwrap_or(default.channels),
        };
        let who = (self.connection, &self.client);
        let wanted = (options.model.as_deref(), live);
        Streams::open(&self.shared, who, id.clone(), format, wanted, subtitles(options)?)
    }

    fn options(&self, start: &StreamStart, options: &Options) -> Result<LiveOptions, Failure> {
        let default = LiveOptions::default();
        let within = |name: &str, value: Option<u32>, bounds: std::ops::RangeInclusive<u32>, default: u32| {
            let value = value.unwrap_or(default);
            if bounds.contains(&value) {
                return Ok(value);
            }
            let message = format!("{name}: must be {} to {}", bounds.start(), bounds.end());
            Err(Failure::new(Code::StreamStartError, message))
        };
        Ok(LiveOptions {
            request: request(options, &self.shared.defaults)?,
            partials: start.partials.unwrap_or(default.partials),
            silence_ms: within("silence_ms", start.silence_ms, SILENCE_MS, default.silence_ms)?,
            min_phrase_ms: within(
                "min_phrase_ms",
                start.min_phrase_ms,
                MIN_PHRASE_MS,
                default.min_phrase_ms,
            )?,
            max_phrase_ms: within(
                "max_phrase_ms",
                start.max_phrase_ms,
                MAX_PHRASE_MS,
                default.max_phrase_ms,
            )?,
            max_backlog_seconds: self.shared.limits.stream_backlog,
        })
    }

    /// A binary frame.
    pub(super) async fn audio(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.last_audio = Instant::now();
        match &self.open {
            Some(stream) => {
                stream.audio(self.connection, bytes).await.map_err(|failure| failure.about(&stream.id))
            }
            None => Err(not_found()),
        }
    }

    /// `stream_audio`.
    pub(super) async fn audio_text(&mut self, text: &str) -> Result<(), Failure> {
        let bytes = base64::decode(text)
            .map_err(|error| Failure::new(Code::Base64DecodeError, format!("Invalid base64: {error}")))?;
        self.audio(&bytes).await
    }

    /// `stream_flush`.
    pub(super) async fn flush(&self, flush_id: Option<Id>) -> Result<(), Failure> {
        match &self.open {
            Some(stream) => stream.flush(self.connection, flush_id).await,
            None => Err(not_found()),
        }
    }

    /// `stream_stop`, or the server's own wish.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        let stream = self.open.take().ok_or_else(not_found)?;
        stream.stop(self.connection).await;
        Ok(())
    }
}
