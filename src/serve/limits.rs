//! The bounds of a server, each with its default.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::audio;
use crate::error::{Error, Result};

const MIB: u64 = 1 << 20;

/// What a client may ask of a server, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, and the largest frame.
    pub message_bytes: usize,
    /// The longest recording.
    pub audio_seconds: u32,
    /// Connections at a time.
    pub connections: usize,
    /// Requests that wait or are worked on where the models are elsewhere; one of our own was started with its places.
    pub requests: usize,
    /// Audio of one connection that waits or is being worked on.
    pub jobs_per_connection: usize,
    /// Seconds of audio that may wait, all connections together; a recording that is alone may be longer.
    pub queue_seconds: u32,
    /// Bytes of messages that come in or wait and of decoded audio, all connections together.
    pub memory_bytes: u64,
    /// Uploads at a time.
    pub uploads: usize,
    /// Of those, how many one connection may have started.
    pub uploads_per_connection: usize,
    /// The largest upload.
    pub upload_bytes: u64,
    /// Bytes of all uploads and of long recordings together; what is not small lies on disk.
    pub spool_bytes: u64,
    /// Where it lies.
    pub spool_dir: PathBuf,
    /// Where uploads lie that outlive the process, a folder of this server's own. `None`: they don't.
    pub upload_dir: Option<PathBuf>,
    /// How long an upload is remembered without a further chunk.
    pub upload_idle: Duration,
    /// How long an upload may take in all.
    pub upload_total: Duration,
    /// Streams of live audio at a time.
    pub streams: usize,
    /// Seconds of a stream's audio that may wait before it is ended.
    pub stream_backlog: u32,
    /// How long a stream outlives its connection.
    pub stream_resume: Duration,
    /// How long a stream may stay without audio.
    pub stream_idle: Duration,
    /// How long a connection may stay without a message. Zero: for ever.
    pub idle: Duration,
    /// How often a connection is pinged; one that sends nothing at all for twice as long is gone.
    pub ping: Duration,
    /// How long a client may take to read what it is sent.
    pub write: Duration,
    /// Bytes in a second that are read from one address, beyond a burst of sixteen seconds' worth.
    pub intake_bytes: u64,
    /// How long a TLS handshake and a request's head may take each, and how long a connection may wait for a request.
    pub handshake: Duration,
    /// How long a request's body may take to come in.
    pub body: Duration,
    /// How long running work may go on after a shutdown was asked for.
    pub shutdown: Duration,
}

impl Limits {
    /// Whether a file can be made, and written to, where uploads and long recordings lie.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] names the folder, and says why not.
    pub fn check_spool(&self) -> Result<()> {
        let tried = tempfile::tempfile_in(&self.spool_dir).and_then(|mut file| file.write_all(&[0; 4096]));
        tried.map_err(|error| {
            let dir = self.spool_dir.display();
            Error::InvalidInput(format!("files can't be written to {dir} (--spool-dir): {error}"))
        })
    }

    /// Those of one recording.
    pub(super) fn audio(&self) -> audio::Limits {
        let spool_dir = self.spool_dir.clone();
        audio::Limits { max_seconds: self.audio_seconds, spool_dir, ..audio::Limits::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 20,
            audio_seconds: 4 * 3600,
            connections: 256,
            requests: 64,
            jobs_per_connection: 16,
            queue_seconds: 4 * 3600,
            memory_bytes: 1024 * MIB,
            uploads: 64,
            uploads_per_connection: 8,
            upload_bytes: 1024 * MIB,
            spool_bytes: 4096 * MIB,
            spool_dir: std::env::temp_dir(),
            upload_dir: None,
            upload_idle: Duration::from_secs(600),
            upload_total: Duration::from_secs(3600),
            streams: 32,
            stream_backlog: 60,
            stream_resume: Duration::from_secs(60),
            stream_idle: Duration::from_secs(30),
            idle: Duration::from_secs(3600),
            ping: Duration::from_secs(20),
            write: Duration::from_secs(30),
            intake_bytes: 16 * MIB,
            handshake: Duration::from_secs(10),
            body: Duration::from_secs(600),
            shutdown: Duration::from_secs(30),
        }
    }
}
