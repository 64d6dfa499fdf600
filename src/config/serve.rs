//! Arguments of the server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{AccessArgs, DecodeArgs, DoorArgs, ModelArgs};
use crate::cluster::{DoorOptions, NatsOptions};
use crate::serve::limits::Limits;

/// Arguments of `imesli` without a command. The Python server's `--host`, `--port`, `--checkpoint` are here.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The address to listen on; 0.0.0.0 is all of IPv4, and wants --key-file or --allow-anonymous.
    #[arg(long, env = "IMESLI_HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// The port to listen on.
    #[arg(long, env = "IMESLI_PORT", default_value_t = 16391)]
    pub port: u16,
    /// The certificate for wss, PEM, with its chain.
    #[arg(
        long,
        env = "IMESLI_TLS_CERT",
        alias = "ssl-cert",
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "tls_self_signed"
    )]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM: PKCS#8, PKCS#1 or SEC1.
    #[arg(long, env = "IMESLI_TLS_KEY", alias = "ssl-key", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve wss with a certificate of our own, made on first use.
    #[arg(long, env = "IMESLI_TLS_SELF_SIGNED")]
    pub tls_self_signed: bool,
    /// Where that certificate lies.
    #[arg(long, env = "IMESLI_CERTS_DIR", default_value = "./certs", value_name = "DIR")]
    pub certs_dir: PathBuf,
    /// An address and port of their own for /metrics, /health and /ready, without encryption or keys.
    #[arg(long, env = "IMESLI_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<String>,
    /// An OpenTelemetry collector that spans are sent to by OTLP over HTTP, such as http://127.0.0.1:4318.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Who may use it.
    #[command(flatten)]
    pub access: AccessArgs,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The decoding, where a message is silent.
    #[command(flatten)]
    pub decode: DecodeArgs,
    /// The bounds.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Models elsewhere.
    #[command(flatten)]
    pub cluster: DoorArgs,
}

/// What clients may ask for, and for how long.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// The largest message in MiB; longer files go as uploads.
    #[arg(long, env = "IMESLI_MAX_MESSAGE_MIB", default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_message_mib: u32,
    /// The longest recording in seconds.
    #[arg(long, env = "IMESLI_MAX_AUDIO_SECONDS", default_value_t = 14_400, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_audio_seconds: u32,
    /// Connections at a time.
    #[arg(long, env = "IMESLI_MAX_CONNECTIONS", default_value_t = 256, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_connections: u32,
    /// Requests that wait or are worked on, all connections together; more are refused at once (OVERLOADED).
    #[arg(long, env = "IMESLI_MAX_REQUESTS", default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_requests: u32,
    /// The same for each connection.
    #[arg(long, env = "IMESLI_MAX_REQUESTS_PER_CONNECTION", default_value_t = 16, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_requests_per_connection: u32,
    /// Seconds of audio that wait or are worked on, all connections together; more is refused (OVERLOADED). A recording
    /// that is alone may be longer.
    #[arg(long, env = "IMESLI_MAX_QUEUED_AUDIO", default_value_t = 14_400, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_queued_audio: u32,
    /// Memory in MiB for messages that come in or wait and for decoded audio (220 MiB an hour).
    #[arg(long, env = "IMESLI_MAX_MEMORY_MIB", default_value_t = 1024, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_memory_mib: u32,
    /// Uploads at a time.
    #[arg(long, env = "IMESLI_MAX_UPLOADS", default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_uploads: u32,
    /// Of those, how many one connection may have started.
    #[arg(long, env = "IMESLI_MAX_UPLOADS_PER_CONNECTION", default_value_t = 8, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_uploads_per_connection: u32,
    /// The largest upload in MiB.
    #[arg(long, env = "IMESLI_MAX_UPLOAD_MIB", default_value_t = 1024, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_upload_mib: u32,
    /// Disk in MiB for all uploads together.
    #[arg(long, env = "IMESLI_MAX_SPOOL_MIB", default_value_t = 4096, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_spool_mib: u32,
    /// Where uploads lie while they come in [default: the system's folder for temporary files].
    #[arg(long, env = "IMESLI_SPOOL_DIR", value_name = "DIR")]
    pub spool_dir: Option<PathBuf>,
    /// Streams of live audio at a time.
    #[arg(long, env = "IMESLI_MAX_STREAMS", default_value_t = 32, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_streams: u32,
    /// Seconds of a stream's audio that may wait; when it is more, the stream is ended (OVERLOADED).
    #[arg(long, env = "IMESLI_MAX_STREAM_BACKLOG", default_value_t = 60, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(30..=3600))]
    pub max_stream_backlog: u32,
    /// Seconds for which a stream whose connection broke can be gone on with.
    #[arg(long, env = "IMESLI_STREAM_RESUME", default_value_t = 60, value_name = "SECONDS")]
    pub stream_resume: u32,
    /// Seconds without audio after which a stream is ended.
    #[arg(long, env = "IMESLI_STREAM_IDLE_TIMEOUT", default_value_t = 30, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub stream_idle_timeout: u32,
    /// Seconds after which a connection without messages is closed; 0 for never.
    #[arg(long, env = "IMESLI_IDLE_TIMEOUT", default_value_t = 3600, value_name = "SECONDS")]
    pub idle_timeout: u32,
    /// Seconds between pings; a connection that is silent for twice as long is closed.
    #[arg(long, env = "IMESLI_PING_INTERVAL", default_value_t = 20, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub ping_interval: u32,
    /// Seconds in which a client has to read what it is sent.
    #[arg(long, env = "IMESLI_WRITE_TIMEOUT", default_value_t = 30, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub write_timeout: u32,
    /// MiB in a second that are read from one address (of IPv6: one /64), after a burst of sixteen seconds' worth.
    #[arg(long, env = "IMESLI_MAX_INTAKE_MIB", default_value_t = 16, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_intake_mib: u32,
    /// Seconds that the body of an HTTP request may take to come in.
    #[arg(long, env = "IMESLI_BODY_TIMEOUT", default_value_t = 600, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub body_timeout: u32,
    /// Seconds that running work gets to finish when the server is stopped.
    #[arg(long, env = "IMESLI_SHUTDOWN_TIMEOUT", default_value_t = 30, value_name = "SECONDS")]
    pub shutdown_timeout: u32,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFiles {
    /// No TLS.
    None,
    /// These files.
    Given {
        /// The certificate's.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// One of our own in this folder.
    SelfSigned(PathBuf),
}

impl ServeArgs {
    /// Where the certificate comes from.
    pub fn tls(&self) -> TlsFiles {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => TlsFiles::Given { cert: cert.clone(), key: key.clone() },
            _ if self.tls_self_signed => TlsFiles::SelfSigned(self.certs_dir.clone()),
            _ => TlsFiles::None,
        }
    }

    /// The broker behind which the models are, and what is wanted of it; `None` where the model is in this process.
    pub fn door(&self) -> Option<(NatsOptions, DoorOptions)> {
        self.cluster.door(self.limits.max_requests as usize, self.model.vad_model.clone())
    }

    /// The bounds of the server. Uploads outlive it in a folder that is its own as its port is; on a port that the
    /// system chooses, nobody would find them again.
    pub fn limits(&self) -> Limits {
        let limits = self.limits.limits();
        let upload_dir =
            (self.port != 0).then(|| limits.spool_dir.join(format!("imesli-uploads-{}", self.port)));
        Limits { upload_dir, ..limits }
    }
}

impl LimitArgs {
    /// The bounds of the server.
    pub fn limits(&self) -> Limits {
        let mib = |n: u32| u64::from(n) << 20;
        let seconds = |n: u32| Duration::from_secs(n.into());
        let defaults = Limits::default();
        Limits {
            message_bytes: (self.max_message_mib as usize) << 20,
            audio_seconds: self.max_audio_seconds,
            connections: self.max_connections as usize,
            requests: self.max_requests as usize,
            jobs_per_connection: self.max_requests_per_connection as usize,
            queue_seconds: self.max_queued_audio,
            memory_bytes: mib(self.max_memory_mib),
            uploads: self.max_uploads as usize,
            uploads_per_connection: self.max_uploads_per_connection as usize,
            upload_bytes: mib(self.max_upload_mib),
            spool_bytes: mib(self.max_spool_mib),
            spool_dir: self.spool_dir.clone().unwrap_or(defaults.spool_dir),
            streams: self.max_streams as usize,
            stream_backlog: self.max_stream_backlog,
            stream_resume: seconds(self.stream_resume),
            stream_idle: seconds(self.stream_idle_timeout),
            idle: seconds(self.idle_timeout),
            ping: seconds(self.ping_interval),
            write: seconds(self.write_timeout),
            intake_bytes: mib(self.max_intake_mib),
            body: seconds(self.body_timeout),
            shutdown: seconds(self.shutdown_timeout),
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::super::Cli;
    use super::*;

    fn serve(arguments: &[&str]) -> Result<ServeArgs, clap::Error> {
        let cli = Cli::read(["imesli"].iter().chain(arguments))?;
        assert!(cli.command.is_none());
        Ok(cli.serve)
    }

    #[test]
    fn the_python_servers_command_line_works() {
        let args = serve(&["--host", "0.0.0.0", "--port", "1", "--checkpoint", "./checkpoint"]).unwrap();
        assert_eq!((args.host.as_str(), args.port), ("0.0.0.0", 1));
        assert_eq!(args.tls(), TlsFiles::None);
        let args = serve(&["--ssl-cert", "a.pem", "--ssl-key", "b.pem"]).unwrap();
        assert_eq!(args.tls(), TlsFiles::Given { cert: "a.pem".into(), key: "b.pem".into() });
    }

    #[test]
    fn a_certificate_wants_its_key() {
        assert!(serve(&["--tls-cert", "a.pem"]).is_err());
        assert!(serve(&["--tls-key", "b.pem"]).is_err());
        assert!(serve(&["--tls-cert", "a.pem", "--tls-key", "b.pem", "--tls-self-signed"]).is_err());
        let args = serve(&["--tls-self-signed", "--certs-dir", "x"]).unwrap();
        assert_eq!(args.tls(), TlsFiles::SelfSigned("x".into()));
    }

    #[test]
    fn who_may_come_in_is_said_in_one_way() {
        let args =
            serve(&["--key-file", "k", "--allow-origin", "https://A.org:443,null", "--allow-origin", "*"]);
        let options = args.unwrap().access.options(true);
        assert_eq!((options.key_file, options.allow_anonymous), (Some("k".into()), false));
        let origins: Vec<String> = options.origins.iter().map(ToString::to_string).collect();
        assert_eq!(origins, ["https://a.org", "null", "*"]);
        assert!(serve(&["--key-file", "k", "--allow-anonymous"]).is_err());
        assert!(serve(&["--allow-origin", "a.org"]).is_err());
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        assert_eq!(serve(&[]).unwrap().limits.limits(), Limits::default());
    }
}
