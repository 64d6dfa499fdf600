//! Live audio out, text that grows in, over as many connections as it takes.
//!
//! - `intake`: audio as it is recorded, also while there is no connection.
//! - `tail`: what of it the server may need again.
//! - `duplex`: both directions of a connection at the same time.
//! - `progress`: what the server has said so far.

mod duplex;
mod intake;
mod progress;
mod tail;

use std::io;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use self::duplex::split;
use self::intake::{Intake, Step};
use self::progress::Progress;
use super::connection::{Connection, LAST_WORDS};
use super::message::{Answer, AnswerSegment, Options, Outgoing, Resume, Sound};
use super::{Address, ApiKey, Error, pause};

/// Seconds of audio that are sent before the server says that it has them.
const UNACKNOWLEDGED: f64 = 30.0;
/// Seconds of audio that are sent behind the start of a phrase that is not complete. The server gives a stream up when it
/// is 60 s, and a phrase can be 28 s long.
const INCOMPLETE: f64 = 40.0;

/// Live audio, and what a server is asked to do with it.
#[derive(Debug, Clone)]
pub struct Live {
    /// The server.
    pub address: Address,
    /// Whether any certificate will do.
    pub insecure: bool,
    /// What the server wants, where it does.
    pub key: Option<ApiKey>,
    /// What the audio is made of.
    pub sound: Sound,
    /// Whether text is wanted before the end of a phrase.
    pub partials: bool,
    /// Silence that ends a phrase; the server's own default where it is absent.
    pub silence_ms: Option<u32>,
    /// How it is decoded.
    pub options: Options,
}

/// What happens in a stream.
#[derive(Debug)]
pub enum Event<'a> {
    /// There is new text, or audio was looked at without any.
    Text(Text),
    /// A phrase has ended.
    Segment(u64, AnswerSegment),
    /// The connection broke, and is made again.
    Broken(&'a Error),
    /// So much audio waits that the recorder has to.
    Behind,
}

/// New text.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// What follows all that was committed before, and will stay.
    pub committed: String,
    /// What may follow that, for now.
    pub volatile: String,
    /// `committed` is all of the text and replaces what was committed before. It does not happen with a server that
    /// keeps its word.
    pub from_start: bool,
    /// Seconds from the start: where the phrase begins.
    pub start: f64,
    /// Up to where text is committed.
    pub committed_end: f64,
    /// Up to where audio was looked at.
    pub end: f64,
}

/// How often a broken connection is made again: 48 s of trying, and a server keeps a stream for 60.
const LIVE_RETRIES: u32 = 10;

/// How a stream ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// All of it.
    pub answer: Answer,
    /// Why the server ended it before its audio did.
    pub cut: Option<String>,
}

impl Live {
    /// Sends what `source` has until it ends or `stop` resolves, and waits for the rest of the text. What is read and
    /// can't be sent is bounded: then `source` is left alone.
    ///
    /// # Errors
    /// Every [`Error`]; [`Error::Output`] when `show` fails.
    pub async fn run(
        &self,
        source: mpsc::Receiver<Vec<u8>>,
        stop: impl Future<Output = ()> + 'static,
        mut show: impl FnMut(Event<'_>) -> io::Result<()>,
    ) -> Result<Ending, Error> {
        let mut intake = Intake::new(self.sound, source, stop);
        let mut progress = Progress::default();
        let (mut failures, mut connected) = (0, false);
        loop {
            let before = intake.tail.start();
            let error = match self.attempt(&mut intake, &mut progress, &mut connected, &mut show).await {
                Err(error @ (Error::Broken(_) | Error::Unreachable { .. })) if connected => error,
                result => return result,
            };
            failures = if intake.tail.start() > before { 1 } else { failures + 1 };
            if failures > LIVE_RETRIES {
                return Err(error);
            }
            show(Event::Broken(&error)).map_err(Error::Output)?;
            intake.meanwhile(sleep(pause(failures))).await;
        }
    }

    /// One connection.
    async fn attempt(
        &self,
        intake: &mut Intake,
        progress: &mut Progress,
        connected: &mut bool,
        show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
    ) -> Result<Ending, Error> {
        let opening = Connection::open(&self.address, self.insecure, self.key.as_ref());
        let connection = intake.meanwhile(opening).await?;
        *connected = true;
        let (outbox, mut inbox) = split(connection);
        let start = self.start(progress, intake.tail.start());
        // There is room for the first message, or the connection is broken, which the inbox tells.
        let _ = outbox.try_send(text(&start)?);
        progress.connect();
        let mut given_up = None;
        let ending = loop {
            let limit = self.limit(intake.tail.start(), progress.waiting());
            let audio_waits = intake.tail.is_waiting(limit);
            let stop_waits = intake.has_ended() && intake.tail.is_sent();
            let wants = progress.takes_audio() && (audio_waits || stop_waits) && given_up.is_none();
            tokio::select! {
                message = inbox.receive() => {
                    if let Some(ending) = progress.take(message?, &mut intake.tail, show)? {
                        break ending;
                    }
                }
                permit = outbox.reserve(), if wants => match permit {
                    Ok(permit) if audio_waits => permit.send(Message::binary(intake.tail.next(limit))),
                    Ok(permit) => {
                        permit.send(text(&Outgoing::StreamStop {})?);
                        progress.stop();
                    }
                    Err(_) => given_up = Some(Instant::now() + LAST_WORDS),
                },
                step = intake.step() => if step == Step::Full {
                    show(Event::Behind).map_err(Error::Output)?;
                },
                () = sleep_until(given_up.unwrap_or_else(Instant::now)), if given_up.is_some() => {
                    return Err(Error::Broken("nothing can be sent any more".to_owned()));
                }
            }
        };
        inbox.close(outbox).await;
        Ok(ending)
    }

    /// The first message of a connection.
    fn start<'a>(&'a self, progress: &'a mut Progress, received_samples: u64) -> Outgoing<'a> {
        if progress.is_open() {
            let received_segments = progress.segments();
            let resume = Resume { stream_id: progress.id(), received_samples, received_segments };
            return Outgoing::StreamResume { resume };
        }
        Outgoing::StreamStart {
            stream_id: progress.new_id(),
            sound: self.sound,
            partials: self.partials,
            silence_ms: self.silence_ms,
            options: &self.options,
        }
    }

    /// The sample up to which may be sent.
    fn limit(&self, received: u64, waiting: f64) -> u64 {
        let rate = f64::from(self.sound.rate);
        let unacknowledged = received.saturating_add((UNACKNOWLEDGED * rate) as u64);
        unacknowledged.min(((waiting + INCOMPLETE) * rate) as u64)
    }
}

fn text(message: &Outgoing<'_>) -> Result<Message, Error> {
    let text = serde_json::to_string(message).map_err(|error| Error::Protocol(error.to_string()))?;
    Ok(Message::text(text))
}
