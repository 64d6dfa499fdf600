//! One connection, from the upgrade to the close: a reader that never waits for a transcription.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, WebSocket, close_code};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::time::timeout;

use super::access::{Client, WRONG_KEY_PAUSE, wrong_key};
use super::budget::Reservation;
use super::ending::{DEAF, End, broken, drained, draining, no_memory, unauthorized};
use super::failure::Failure;
use super::job::{Source, Work, admit, blocking, find};
use super::lane::{Job, Lane};
use super::live::Live;
use super::outbox::{Outbox, send_all};
use super::pace::Pace;
use super::parse::parse;
use super::protocol::{
    Audio, Auth, ClientMessage, Code, Id, Options, ServerMessage, State, UploadChunk, UploadComplete,
    UploadStart,
};
use super::request::{Subtitles, request, subtitles};
use super::socket::Connection;
use super::upload::{Uploads, check_name};
use super::welcome::welcome;
use super::{Shared, Stage};
use crate::asr::transcriber::Request;

/// How long a client may take to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How often a connection is looked at, at least.
const CHECK: Duration = Duration::from_secs(1);
/// The close code when a stream has had no audio for too long.
const NO_AUDIO: u16 = 4000;
/// The close code when pings are not answered.
const NOT_ANSWERING: u16 = 4002;
/// What the log keeps of `device_info`.
const DEVICE_INFO_CHARS: usize = 1000;

/// Serves a connection until it ends. What it has not been answered by then is given up.
pub(super) async fn run(socket: WebSocket, shared: Arc<Shared>, connection: Arc<Connection>, client: Client) {
    let (sink, mut stream) = socket.split();
    let (outbox, queue) = Outbox::new();
    let limits = shared.limits.clone();
    let mut writer = tokio::spawn(async move { send_all(sink, queue, &limits).await });
    let welcome = welcome(&mut stream, &shared, &connection, &outbox, client).await;
    let (end, messages) = match welcome {
        Ok(client) => {
            let session = Session::begin(shared, Arc::clone(&connection), outbox, client).await;
            session.serve(stream, &mut writer).await
        }
        Err(end) => {
            drop(outbox);
            (end, 0)
        }
    };
    // What was said last is still on its way. A handle that has told its end must not be asked again.
    if end != DEAF {
        let _ = timeout(CLOSE_WAIT, &mut writer).await;
        writer.abort();
    }
    let seconds = connection.age().as_secs();
    tracing::info!(connection = connection.id, messages, seconds, reason = end, "disconnected");
}

struct Session {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    client: Client,
    outbox: Outbox,
    lane: Lane,
    live: Live,
    last_message: Instant,
    messages: u64,
    /// A stream had no audio for too long; the connection is closed when its text is out.
    starved: bool,
    /// It is over, and the client has been told.
    end: Option<End>,
}

impl Session {
    async fn begin(shared: Arc<Shared>, connection: Arc<Connection>, outbox: Outbox, client: Client) -> Self {
        let lane = Lane::start(Arc::clone(&shared), outbox.clone(), connection.id);
        outbox.enter(State::Ready, "", None).await;
        let live = Live::new(Arc::clone(&shared), connection.id, client.clone());
        let (last_message, messages, starved, end) = (Instant::now(), 0, false, None);
        Self { shared, connection, client, outbox, lane, live, last_message, messages, starved, end }
    }

    /// Why it ended, and how many messages came.
    async fn serve(
        mut self,
        stream: SplitStream<WebSocket>,
        writer: &mut tokio::task::JoinHandle<()>,
    ) -> (End, u64) {
        let end = self.read(stream, writer).await;
        (end, self.messages)
    }

    async fn read(
        &mut self,
        mut stream: SplitStream<WebSocket>,
        writer: &mut tokio::task::JoinHandle<()>,
    ) -> End {
        let mut pending = self.lane.pending();
        let (mut stage, mut left) = (self.shared.stage.clone(), self.shared.stage.clone());
        let limits = &self.shared.limits;
        let every = (limits.ping / 2).min(limits.stream_idle / 4).clamp(Duration::from_millis(1), CHECK);
        let mut check = tokio::time::interval(every);
        let mut pace = Pace::new(Instant::now());
        let end = loop {
            tokio::select! {
                incoming = stream.next() => match incoming {
                    Some(Ok(message)) => {
                        self.message(message).await;
                        pace.wait().await;
                        if let Some(end) = self.end {
                            break end;
                        }
                    }
                    Some(Err(error)) => {
                        // Not read from again: tungstenite would take in the rest of a frame that was too large.
                        self.connection.linger();
                        return broken(&self.outbox, self.shared.limits.message_bytes, error).await;
                    }
                    None => return "closed by the client",
                },
                () = draining(&mut left), if self.live.is_open() => {
                    // Its text is on the way, and waited for.
                    let _ = self.live.stop().await;
                }
                () = drained(&mut stage, &mut pending) => {
                    self.outbox.close(close_code::AWAY, "the server is shutting down").await;
                    break "shutdown";
                }
                _ = check.tick() => if let Some(end) = self.check().await { break end },
                _ = &mut *writer => {
                    // What it is told last must not be lost to what it still sends.
                    self.connection.linger();
                    return DEAF;
                }
            }
        };
        self.connection.linger();
        // The client may still have something on the way; what counts is its own close frame.
        let _ = timeout(CLOSE_WAIT, async { while let Some(Ok(_)) = stream.next().await {} }).await;
        end
    }

    /// Whether the client has gone without a word, or has nothing more to say.
    async fn check(&mut self) -> Option<End> {
        if self.client.is_revoked() && *self.lane.pending().borrow() == 0 {
            return Some(unauthorized(&self.outbox, wrong_key()).await);
        }
        let limits = &self.shared.limits;
        if self.connection.silent_for() > 2 * limits.ping {
            // Who can't be heard may hear.
            self.outbox.try_close(NOT_ANSWERING, "pings are not answered");
            return Some("no sign of life");
        }
        if self.live.starving().is_some_and(|time| time > limits.stream_idle) {
            let _ = self.live.stop().await;
            self.starved = true;
        }
        if self.starved && *self.lane.pending().borrow() == 0 {
            self.outbox.close(NO_AUDIO, "no audio comes").await;
            return Some("no audio");
        }
        let limits = &self.shared.limits;
        let idle = !limits.idle.is_zero() && self.last_message.elapsed() > limits.idle;
        if idle && *self.lane.pending().borrow() == 0 {
            self.outbox.close(close_code::NORMAL, "idle for too long").await;
            return Some("idle");
        }
        None
    }

    async fn message(&mut self, message: Message) {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(bytes) if self.live.is_open() => {
                self.last_message = Instant::now();
                drop(self.connection.message_is_whole());
                if let Err(failure) = self.live.audio(&bytes).await {
                    self.outbox.fail(failure).await;
                }
                return;
            }
            Message::Binary(bytes) => match std::str::from_utf8(&bytes) {
                // JSON in a binary frame is as good: Python's json.loads takes bytes, too.
                Ok(text) => text.into(),
                Err(error) => {
                    let failure = Failure::new(Code::InvalidJson, format!("Invalid JSON: {error}"));
                    return self.outbox.fail(failure).await;
                }
            },
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return,
        };
        self.last_message = Instant::now();
        self.messages += 1;
        let held = self.connection.message_is_whole();
        let parsed = parse(&text);
        drop(text);
        let result = match parsed {
            Ok(message) => self.act(message, held).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = result {
            tracing::debug!(connection = self.connection.id, code = ?failure.code, "refused a message");
            self.outbox.fail(failure).await;
        }
    }

    /// `held` is the message's share of memory.
    async fn act(&mut self, message: ClientMessage, held: Option<Reservation>) -> Result<(), Failure> {
        match message {
            ClientMessage::Audio(audio, options) => {
                // It waits for its turn under a share of its own.
                drop(held);
                self.audio(audio, &options)?;
            }
            ClientMessage::Auth(auth) => self.auth(&auth).await,
            ClientMessage::Ping => self.outbox.state(State::Pong, "Server is alive", None).await,
            ClientMessage::Status => {
                self.outbox.state(self.outbox.current(), "Current status", None).await;
            }
            ClientMessage::DeviceInfo(info) => {
                let info: String = format!("{info:?}").chars().take(DEVICE_INFO_CHARS).collect();
                tracing::info!(connection = self.connection.id, info, "device");
            }
            ClientMessage::UploadStart(start, options) => self.upload_start(start, options).await?,
            ClientMessage::UploadChunk(chunk) => self.upload_chunk(chunk).await?,
            ClientMessage::UploadComplete(complete, options) => {
                self.upload_complete(complete, options).await?
            }
            ClientMessage::StreamStart(start, options) => {
                self.live.start(start, &options, &self.outbox, &self.lane).await?;
            }
            ClientMessage::StreamAudio(audio) => self.live.audio_text(&audio.audio_data).await?,
            ClientMessage::StreamFlush(flush) => self.live.flush(flush.flush_id).await?,
            ClientMessage::StreamStop => self.live.stop().await?,
            ClientMessage::UploadError(error) => {
                tracing::info!(connection = self.connection.id, "the client gives an upload up");
                if let Some(id) = error.upload_id {
                    let owner = self.client.owner();
                    let abandon = move |uploads: &Uploads| {
                        uploads.abandon(&owner, &id);
                        Ok(())
                    };
                    self.uploads(abandon).await?;
                }
            }
        }
        Ok(())
    }

    /// A key once more, or where none is wanted. Whose the connection is does not change.
    async fn auth(&mut self, auth: &Auth) {
        if self.shared.access.wants_key() && self.shared.access.authenticate(&auth.key).is_none() {
            tokio::time::sleep(WRONG_KEY_PAUSE).await;
            self.end = Some(unauthorized(&self.outbox, wrong_key()).await);
            return;
        }
        self.outbox.state(self.outbox.current(), "Current status", None).await;
    }

    fn audio(&self, audio: Audio, options: &Options) -> Result<(), Failure> {
        let audio_id = audio.audio_id.unwrap_or_else(Id::random);
        let wanted = self.request(options).map_err(|failure| failure.about(&audio_id))?;
        if !self.lane.has_room() {
            return Err(self.too_many().about(&audio_id));
        }
        let source = Source::Message { format: audio.format, audio_data: audio.audio_data };
        let work = self.admit(source, wanted, options.model.as_deref());
        self.lane.submit(Job { audio_id, work });
        Ok(())
    }

    fn too_many(&self) -> Failure {
        let limit = self.shared.limits.jobs_per_connection;
        Failure::new(
            Code::Overloaded,
            format!("{limit} audios of this connection wait already; try again later"),
        )
    }

    /// A place in the queue for a job and for its bytes, or why there is none.
    fn admit(
        &self,
        source: Source,
        (request, subtitles): (Request, Option<Subtitles>),
        model: Option<&str>,
    ) -> Result<Work, Failure> {
        let size = match &source {
            Source::Message { audio_data, .. } => audio_data.len() as u64,
            Source::Upload(_) => 0,
        };
        let held = self.shared.memory.reserve(size).ok_or_else(no_memory)?;
        let admission = admit(&self.shared, &self.client, model)?;
        Ok(Work { source, request, subtitles, admission, held })
    }

    /// How a message wants its audio to be decoded.
    fn request(&self, options: &Options) -> Result<(Request, Option<Subtitles>), Failure> {
        Ok((request(options, &self.shared.defaults)?, subtitles(options)?))
    }

    async fn upload_start(&self, start: UploadStart, options: Options) -> Result<(), Failure> {
        if self.shared.stage() != Stage::Running {
            return Err(Failure::shutting_down());
        }
        self.request(&options)?;
        // A wrong name is told before the file has come; whether there is room shows when it has.
        if let Err(failure) = find(&self.shared, options.model.as_deref(), Code::MessageProcessingError)
            && failure.code != Code::Overloaded
        {
            return Err(failure);
        }
        if self.client.is_revoked() {
            return Err(wrong_key());
        }
        let (connection, owner) = (self.connection.id, self.client.owner());
        let (upload_id, resume) = (start.upload_id.clone(), start.resume == Some(true));
        let total = start.total_chunks;
        let received =
            self.uploads(move |uploads| uploads.start(connection, &owner, &start, options)).await?;
        let progress = 100.0 * received.len() as f64 / total.max(1) as f64;
        let message = if received.is_empty() { "Upload started" } else { "Upload resumed" }.to_owned();
        let received_chunks = resume.then_some(received);
        self.outbox
            .send(ServerMessage::UploadProgress { upload_id, progress, message, received_chunks })
            .await;
        Ok(())
    }

    async fn upload_chunk(&self, chunk: UploadChunk) -> Result<(), Failure> {
        let upload_id = chunk.upload_id.clone();
        let owner = self.client.owner();
        let progress = self.uploads(move |uploads| uploads.chunk(&owner, &chunk)).await?;
        let message = format!("Received chunk {} of {}", progress.received, progress.total);
        let progress = progress.percent();
        self.outbox
            .send(ServerMessage::UploadProgress { upload_id, progress, message, received_chunks: None })
            .await;
        Ok(())
    }

    /// The upload stays as it is when there is no room for its transcription, so that it can be asked again.
    async fn upload_complete(&self, complete: UploadComplete, options: Options) -> Result<(), Failure> {
        if let Some(name) = &complete.file_name {
            check_name(name)?;
        }
        self.request(&options)?;
        let id = complete.upload_id;
        if !self.lane.has_room() {
            return Err(self.too_many().about(&id));
        }
        // The options of the completion hold, all of them; where it has none, those that the upload began with.
        let is_silent = options == Options::default();
        let (owner, name) = (self.client.owner(), id.clone());
        let model = if is_silent {
            self.uploads(move |uploads| Ok(uploads.model(&owner, &name))).await?
        } else {
            options.model.clone()
        };
        let admission =
            admit(&self.shared, &self.client, model.as_deref()).map_err(|failure| failure.about(&id))?;
        let (owner, name) = (self.client.owner(), id.clone());
        let whole = self.uploads(move |uploads| uploads.finish(&owner, &name)).await?;
        let options = if is_silent { whole.options } else { options };
        let (request, subtitles) = self.request(&options)?;
        let message = "Upload complete, processing audio...".to_owned();
        self.outbox.send(ServerMessage::UploadComplete { upload_id: id.clone(), message }).await;
        let source = Source::Upload(whole.spool);
        self.lane.submit(Job {
            audio_id: id,
            work: Ok(Work { source, request, subtitles, admission, held: whole.reservation }),
        });
        Ok(())
    }

    /// Works on the uploads on a thread where waiting for the disk does no harm.
    async fn uploads<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Uploads) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let shared = Arc::clone(&self.shared);
        let done = blocking(move || work(&shared.uploads)).await;
        done.unwrap_or_else(|error| Err(Failure::at(Code::InternalError, &error)))
    }
}
