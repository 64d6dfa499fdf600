//! What the server has said about a stream so far.

use std::io;

use super::tail::Tail;
use super::{Ending, Event, Text};
use crate::client::Error;
use crate::client::message::{Answer, Incoming, Partial};

/// Codes after which the server goes on as if it had been told to stop.
const ENDS: [&str; 3] = ["PAYLOAD_TOO_LARGE", "QUOTA_EXCEEDED", "SHUTTING_DOWN"];

/// A stream, over all its connections.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Nobody can guess it, and it stays when the connection does not.
    id: String,
    /// Whether the server has it.
    open: bool,
    /// Whether it is open on this connection.
    streaming: bool,
    /// Whether the server was told on this connection that there is no more.
    stopped: bool,
    /// Whether it was told at all.
    over: bool,
    /// All that was committed.
    committed: String,
    /// How many segments there were.
    segments: u64,
    /// Where the first phrase begins that is not complete, in seconds: audio from there on waits, for the server.
    waiting: f64,
    /// Why the server takes no more audio.
    cut: Option<String>,
}

impl Progress {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// An id for another try: the server may have heard of the first, and must not take it for the same.
    pub(super) fn new_id(&mut self) -> &str {
        self.id = uuid::Uuid::new_v4().to_string();
        &self.id
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn segments(&self) -> u64 {
        self.segments
    }

    pub(super) fn waiting(&self) -> f64 {
        self.waiting
    }

    /// Begins anew with another connection.
    pub(super) fn connect(&mut self) {
        (self.streaming, self.stopped) = (false, false);
    }

    /// The server was told that there is no more.
    pub(super) fn stop(&mut self) {
        (self.stopped, self.over) = (true, true);
    }

    /// Whether audio, or its end, can be sent.
    pub(super) fn takes_audio(&self) -> bool {
        self.streaming && !self.stopped && self.cut.is_none()
    }

    /// Takes a message, shows what is new in it, and forgets the audio that the server has. At last, the ending.
    pub(super) fn take(
        &mut self,
        message: Incoming,
        tail: &mut Tail,
        show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
    ) -> Result<Option<Ending>, Error> {
        match message {
            Incoming::State { state, data: Some(data) }
                if state == "streaming" && data.stream_id.as_ref() == Some(&self.id) =>
            {
                let next = data.next_sample.unwrap_or_default();
                if !tail.go_on_from(next) {
                    let (start, end) = (tail.start(), tail.end());
                    let fact = format!("it wants audio from sample {next} on, and there is {start} to {end}");
                    return Err(Error::Protocol(fact));
                }
                (self.open, self.streaming) = (true, true);
            }
            Incoming::Partial(partial) if partial.stream_id == self.id => {
                tail.forget(partial.received_samples);
                self.waiting = self.waiting.max(partial.start);
                show(Event::Text(self.text(partial))).map_err(Error::Output)?;
            }
            Incoming::Segment { stream_id, index, segment }
                if stream_id == self.id && index >= self.segments =>
            {
                self.segments = index.saturating_add(1);
                show(Event::Segment(index, segment)).map_err(Error::Output)?;
            }
            Incoming::Transcription { audio_id, answer } if audio_id == self.id => {
                return self.finish(answer, show).map(Some);
            }
            Incoming::Error { code, message, audio_id, .. }
                if audio_id.as_ref().is_none_or(|id| *id == self.id) =>
            {
                self.fail(code, message)?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn fail(&mut self, code: String, message: String) -> Result<(), Error> {
        let ended = code == "STREAM_NOT_FOUND" && self.streaming;
        if ended && (self.stopped || self.cut.is_some()) {
            // It has ended already, and what there is to say of that has come or comes.
            return Ok(());
        }
        if ended || (self.streaming && ENDS.contains(&code.as_str())) {
            self.cut = Some(format!("{code}: {message}"));
            return Ok(());
        }
        Err(Error::Refused { code, message })
    }

    /// What is new in a partial.
    fn text(&mut self, partial: Partial) -> Text {
        let Partial { mut committed, volatile, mut from_start, start, committed_end, end, .. } = partial;
        if from_start && let Some(new) = committed.strip_prefix(self.committed.as_str()) {
            (committed, from_start) = (new.to_owned(), false);
        }
        if from_start {
            self.committed.clear();
        }
        self.committed.push_str(&committed);
        Text { committed, volatile, from_start, start, committed_end, end }
    }

    fn finish(
        &mut self,
        answer: Answer,
        show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
    ) -> Result<Ending, Error> {
        if self.committed != answer.text {
            let end = answer.duration.unwrap_or(self.waiting);
            let last = Partial {
                stream_id: self.id.clone(),
                committed: answer.text.clone(),
                volatile: String::new(),
                from_start: true,
                start: end,
                committed_end: end,
                end,
                received_samples: 0,
            };
            show(Event::Text(self.text(last))).map_err(Error::Output)?;
        }
        let cut = self.cut.take();
        let cut = cut.or_else(|| (!self.over).then(|| "no reason was given".to_owned()));
        Ok(Ending { answer, cut })
    }
}
