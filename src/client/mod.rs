//! The client of a running server, behind `imesli transcribe --server`: the other end of the protocol that
//! `serve` speaks. It loads no model and decodes no audio; the file goes out as it is.
//!
//! - [`Address`]: what the user named, taken apart.
//! - [`ApiKey`]: what some servers want.
//! - `connection`: TCP, TLS, the handshake, one message at a time, and a deadline for everything.
//! - `message`: what goes over the wire.
//! - [`Client`]: a file out, its transcript in. Large files go in chunks, and a connection that breaks is made
//!   again and goes on where it was.
//! - [`live`]: audio out as it is recorded, text in as it grows.

mod address;
mod connection;
mod job;
mod key;
pub mod live;
mod message;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::address::Address;
use self::connection::Connection;
use self::job::Job;
pub use self::key::ApiKey;
pub use self::message::{Answer, AnswerSegment, AnswerSkipped, Options, Sound};

/// How often a broken connection is made again before the file is given up, unless chunks got through in
/// between.
const RETRIES: u32 = 4;

/// How long to wait before the next try.
fn pause(failures: u32) -> Duration {
    /// 8 s.
    const LONGEST: u32 = 5;
    Duration::from_millis(250 << failures.saturating_sub(1).min(LONGEST))
}

/// What went wrong, sorted by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no connection to be had.
    #[error("cannot connect to {address}: {fact}")]
    Unreachable {
        /// The server.
        address: String,
        /// Why, and what may help.
        fact: String,
    },
    /// A connection there was, and it broke. Worth another try.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server said no.
    #[error("the server says {code}: {message}")]
    Refused {
        /// One of the protocol's codes.
        code: String,
        /// Its explanation.
        message: String,
    },
    /// The other side speaks something else.
    #[error("the server's answer makes no sense: {0}")]
    Protocol(String),
    /// What came can't be written.
    #[error("writing the text: {0}")]
    Output(#[source] io::Error),
}

/// How far a file has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Bytes that the server has, of all.
    Sent(u64, u64),
    /// The server's word for what it does, and how much of it is done, in percent, where it says so.
    State(String, Option<f64>),
}

/// A connection to a server, made again when it breaks.
#[derive(Debug)]
pub struct Client {
    address: Address,
    /// Whether any certificate will do.
    insecure: bool,
    key: Option<ApiKey>,
    options: Options,
    connection: Option<Connection>,
}

impl Client {
    /// A client that is not connected yet. `insecure` accepts any certificate, also self-signed ones.
    pub fn new(address: Address, insecure: bool, key: Option<ApiKey>, options: Options) -> Self {
        Self { address, insecure, key, options, connection: None }
    }

    /// Connects, unless that has been done.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn connect(&mut self) -> Result<(), Error> {
        self.connected().await.map(|_| ())
    }

    /// Sends a file and waits for its transcript.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn transcribe(
        &mut self,
        file: &Path,
        mut progress: impl FnMut(Stage),
    ) -> Result<Answer, Error> {
        let mut job = Job::open(file)?;
        let mut failures = 0;
        loop {
            let before = job.chunks_sent();
            let error = match self.attempt(&mut job, &mut progress).await {
                Err(error @ (Error::Broken(_) | Error::Unreachable { .. })) => error,
                result => return result,
            };
            self.connection = None;
            failures = if job.chunks_sent() > before { 1 } else { failures + 1 };
            if failures > RETRIES {
                return Err(error);
            }
            tracing::warn!("{}: {error}; trying again", file.display());
            tokio::time::sleep(pause(failures)).await;
        }
    }

    async fn attempt(&mut self, job: &mut Job, progress: &mut impl FnMut(Stage)) -> Result<Answer, Error> {
        let options = self.options.clone();
        let connection = self.connected().await?;
        job.run(connection, &options, progress).await
    }

    async fn connected(&mut self) -> Result<&mut Connection, Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address, self.insecure, self.key.as_ref()).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }
}
