//! The server: connections in, transcripts out.
//!
//! - [`run`]: accepts connections until it is told to stop (`accept`); each is a `socket`, perhaps behind
//!   [`tls`] (its key from `keys`, its certificate from [`certificate`]), over which requests come (`front`).
//! - `http`: the requests that are no WebSocket's: the APIs, health, metrics. [`access`]: who may come in: API keys,
//!   their limits, and the origins of web pages; `welcome`: a connection that has to say first who it is; `ending`: why one ends.
//! - `queue`: who may wait; `job`: one recording from its bytes to its transcript, for every front; [`engine`]: the models
//!   that do it; `metrics`: what is counted of it.
//! - `session`: one connection. It reads messages (`json`, `parse`, [`protocol`], `request`, `base64`) and never waits for a
//!   transcription: those are done one after the other by the connection's `lane`, over the transcriber that
//!   all share. What both say goes through the `outbox`.
//! - `live`: the live audio of a connection; `streams`: all streams, which outlive connections; `hearing`: what becomes of one; `forward`: what a client
//!   gets of one.
//! - `page`: what a browser is shown, the files of `src/page`.
//! - `decoders`: from audio files to samples, none at the cost of the others.
//! - `upload`: files that come in chunks, also across a restart; `spool` holds their bytes.
//! - `pace`: how many messages a connection may send; `intake`: how many bytes an address may.
//! - [`limits`] and `budget`: the bounds of all of it. `failure`: errors get their codes.

mod accept;
pub mod access;
mod base64;
mod budget;
pub mod certificate;
mod decoders;
mod ending;
pub mod engine;
mod failure;
mod forward;
mod front;
mod hearing;
mod http;
mod intake;
mod job;
mod json;
mod keys;
mod lane;
pub mod limits;
mod live;
mod metrics;
mod outbox;
mod pace;
mod page;
mod parse;
pub mod protocol;
mod queue;
mod request;
mod session;
mod socket;
mod spool;
mod stamp;
mod streams;
pub mod tls;
mod upload;
mod welcome;

pub use accept::run;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use self::access::Access;
use self::budget::Budget;
use self::decoders::Decoders;
use self::engine::{Engine, Models};
use self::intake::Intakes;
use self::limits::Limits;
use self::metrics::Metrics;
use self::queue::Queue;
use self::streams::Streams;
use self::upload::Uploads;
use crate::asr::transcriber::{Request, Transcriber};

/// What a server is made of.
pub struct Service {
    /// The models.
    pub models: Models,
    /// Who may ask.
    pub access: Access,
    /// How audio is decoded where a message is silent. Its beams are also the most that a message may ask for.
    pub defaults: Request,
    /// The bounds.
    pub limits: Limits,
    /// With it all connections are encrypted, without it none.
    pub tls: Option<tls::Acceptor>,
    /// Where metrics are asked for, health and readiness too, without encryption; otherwise it is where all else is.
    pub metrics: Option<TcpListener>,
    /// Each of these means: look at the model, the keys and the certificate again.
    pub hangups: Option<mpsc::Receiver<()>>,
}

impl Service {
    /// One without TLS, whose model stays as it is.
    pub fn new(transcriber: Transcriber, access: Access, defaults: Request, limits: Limits) -> Self {
        let (transcriber, id) = (Box::new(transcriber), env!("CARGO_PKG_NAME").to_owned());
        let models = Models::Own { transcriber, id, load: None };
        Self { models, access, defaults, limits, tls: None, metrics: None, hangups: None }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("models", &self.models)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
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
    engine: Arc<Engine>,
    access: Arc<Access>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    /// Whether metrics are on an address of their own.
    metrics_elsewhere: bool,
    /// Connections that are open.
    connected: AtomicUsize,
    intakes: Intakes,
    defaults: Request,
    limits: Limits,
    uploads: Uploads,
    streams: Streams,
    /// Bytes of messages that come in or wait and of decoded audio.
    memory: Arc<Budget>,
    /// Bytes of uploads and of long recordings.
    disk: Arc<Budget>,
    /// Audio files that are decoded at the same time: no more than there are cores.
    decoders: Decoders,
    stage: watch::Receiver<Stage>,
}

impl Shared {
    fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    fn connections(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }
}
