//! The server: WebSocket connections in, transcripts out.
//!
//! - [`run`]: accepts connections until it is told to stop (`front`); each is a `socket`, perhaps behind
//!   [`tls`] (its key from `keys`, its certificate from [`certificate`]).
//! - `session`: one connection. It reads messages (`parse`, [`protocol`], `request`, `base64`) and never waits for a
//!   transcription: those are done one after the other by the connection's `lane`, over the transcriber that
//!   all share. What both say goes through the `outbox`.
//! - `live`: the live audio of a connection; `streams`: all streams, which outlive connections; `forward`: what a client
//!   gets of one.
//! - `page`: what a browser is shown, the files of `src/page`.
//! - `upload`: files that come in chunks; `spool` holds their bytes.
//! - [`limits`] and `budget`: the bounds of all of it. `failure`: errors get their codes.

mod base64;
mod budget;
pub mod certificate;
mod failure;
mod forward;
mod front;
mod keys;
mod lane;
pub mod limits;
mod live;
mod outbox;
mod page;
mod parse;
pub mod protocol;
mod request;
mod session;
mod socket;
mod spool;
mod streams;
pub mod tls;
mod upload;

pub use front::run;

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use self::budget::Budget;
use self::limits::Limits;
use self::streams::Streams;
use self::upload::Uploads;
use crate::asr::transcriber::{Request, Transcriber};

/// What a server is made of.
#[derive(Debug)]
pub struct Service {
    /// The engine.
    pub transcriber: Transcriber,
    /// How audio is decoded where a message is silent. Its beams are also the most that a message may ask for.
    pub defaults: Request,
    /// The bounds.
    pub limits: Limits,
    /// With it all connections are encrypted, without it none.
    pub tls: Option<tls::Acceptor>,
}

/// How far the shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// New work is refused, running work goes on.
    Draining,
    /// Running work is given up.
    Stopping,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    transcriber: Transcriber,
    defaults: Request,
    limits: Limits,
    uploads: Uploads,
    streams: Streams,
    /// Bytes of messages that come in or wait and of decoded audio.
    memory: Arc<Budget>,
    /// Bytes of uploads and of long recordings.
    disk: Arc<Budget>,
    /// Audio files that are decoded at the same time: no more than there are cores.
    decoders: Semaphore,
    stage: watch::Receiver<Stage>,
}

impl Shared {
    fn stage(&self) -> Stage {
        *self.stage.borrow()
    }
}
