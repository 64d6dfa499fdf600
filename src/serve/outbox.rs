//! What a connection says: a bounded queue that the session and its lane fill, and a task that sends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use chrono::{SecondsFormat, Utc};
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};

use super::failure::Failure;
use super::limits::Limits;
use super::protocol::{Id, ServerMessage, State, StateData, StreamData};

/// Messages that wait to be sent. A client that reads too slowly makes whoever fills the queue wait, until the
/// write deadline ends the connection.
const QUEUE: usize = 32;

/// The close code of a client that does not read what it is sent.
const NOT_READING: u16 = 4001;
/// How long it gets for that.
const LAST_WORD: Duration = Duration::from_secs(2);

/// A message and the time at which it was said.
#[derive(Serialize)]
struct Stamped<'a> {
    #[serde(flatten)]
    message: &'a ServerMessage,
    timestamp: String,
}

/// The way out of a connection.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Message>,
    current: Arc<Mutex<State>>,
}

impl Outbox {
    /// An outbox, and the end of it that [`send_all`] empties.
    pub(super) fn new() -> (Self, mpsc::Receiver<Message>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue, current: Arc::new(Mutex::new(State::Ready)) }, receiver)
    }

    pub(super) async fn send(&self, message: ServerMessage) {
        if let Some(message) = encode(&message) {
            // A closed queue is a connection that is over; its session is about to notice.
            let _ = self.queue.send(message).await;
        }
    }

    pub(super) async fn fail(&self, failure: Failure) {
        self.send(failure.into()).await;
    }

    /// Enters a state and says so.
    pub(super) async fn enter(&self, state: State, message: &str, audio_id: Option<&Id>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.state(state, message, audio_id).await;
    }

    /// Says a state without entering it.
    pub(super) async fn state(&self, state: State, message: &str, audio_id: Option<&Id>) {
        let data = audio_id.map(|id| StateData { audio_id: id.clone(), progress: None, stream: None });
        self.send(ServerMessage::State { state, message: message.to_owned(), data }).await;
    }

    /// Enters the state of a stream that is open, and says so.
    pub(super) async fn stream(&self, stream: StreamData) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = State::Streaming;
        let data =
            Some(StateData { audio_id: stream.stream_id.clone(), progress: None, stream: Some(stream) });
        let message = "Streaming audio...".to_owned();
        self.send(ServerMessage::State { state: State::Streaming, message, data }).await;
    }

    /// The state that was entered last.
    pub(super) fn current(&self) -> State {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how far a long recording is, unless the client is behind with reading anyway.
    pub(super) fn progress(&self, audio_id: &Id, percent: f64) {
        let data = Some(StateData { audio_id: audio_id.clone(), progress: Some(percent), stream: None });
        let message = format!("Transcribing audio: {percent:.0} %");
        if let Some(message) = encode(&ServerMessage::State { state: State::Transcribing, message, data }) {
            let _ = self.queue.try_send(message);
        }
    }

    /// The same, if there is room for it.
    pub(super) fn try_close(&self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = self.queue.try_send(Message::Close(Some(frame)));
    }

    /// Ends the connection after what was said before.
    pub(super) async fn close(&self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = self.queue.send(Message::Close(Some(frame))).await;
    }
}

fn encode(message: &ServerMessage) -> Option<Message> {
    let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, false);
    let text = serde_json::to_string(&Stamped { message, timestamp });
    text.inspect_err(|error| tracing::error!("a message can't be encoded: {error}")).ok().map(Message::text)
}

/// Sends what is in the queue, and pings in between, until a close frame was sent, all senders are gone, or
/// the client does not read.
pub(super) async fn send_all(
    mut sink: SplitSink<WebSocket, Message>,
    mut queue: mpsc::Receiver<Message>,
    limits: &Limits,
) {
    let mut ping = tokio::time::interval(limits.ping.max(Duration::from_millis(1)));
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let message = tokio::select! {
            message = queue.recv() => match message {
                Some(message) => message,
                None => return,
            },
            _ = ping.tick() => Message::Ping(Default::default()),
        };
        let last = matches!(message, Message::Close(_));
        match timeout(limits.write, sink.send(message)).await {
            Ok(Ok(())) if !last => {}
            Err(_) => {
                // It may yet read this, behind what it has not read so far.
                let frame = CloseFrame { code: NOT_READING, reason: "what is sent is not read".into() };
                let _ = timeout(LAST_WORD, sink.send(Message::Close(Some(frame)))).await;
                return;
            }
            _ => return,
        }
    }
}
