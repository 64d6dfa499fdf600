//! The connection to the broker: where it is, who we are to it, and what becomes of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(300);
/// The broker is asked that often whether it is there; the second question without an answer ends the connection.
const PING: Duration = Duration::from_secs(5);
/// How long an answer may take. Until a cluster of brokers has a new leader, some seconds, nobody answers, nor later.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// Where the broker is, and who we are to it.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// `nats://` or `tls://`, one or several of a cluster, separated by commas.
    pub url: String,
    /// A file of credentials, as `nsc` and `nats` write them.
    pub creds: Option<PathBuf>,
    /// A file with the seed of an nkey.
    pub nkey: Option<PathBuf>,
    /// Certificates of authorities to trust beside those of the system, PEM.
    pub ca: Option<PathBuf>,
    /// Our own certificate, PEM.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// What the names of streams and subjects begin with.
    pub prefix: String,
    /// Servers that keep each stream, where they are made first.
    pub replicas: usize,
    /// How long audio and results may lie there.
    pub keep: Duration,
}

/// Since when there is no connection; `None` while there is one.
pub(super) type Lost = watch::Receiver<Option<Instant>>;

/// A connection that is tried again and again when it breaks later.
pub(super) async fn connected(options: &NatsOptions, who: &str) -> anyhow::Result<(Client, Lost)> {
    let mut servers = Vec::new();
    for url in options.url.split(',').map(str::trim).filter(|url| !url.is_empty()) {
        servers.push(url.parse::<ServerAddr>().with_context(|| "the address of the broker".to_owned())?);
    }
    let (note, lost) = watch::channel(None);
    let note = Arc::new(note);
    let mut connect = ConnectOptions::new()
        .name(format!("imesli {who}"))
        .ping_interval(PING)
        .request_timeout(Some(ANSWER))
        .max_reconnects(None)
        .event_callback(move |event| tell(event, Arc::clone(&note)));
    // Of the first address that has any: the client takes none out of addresses.
    if let Some((user, password)) =
        servers.iter().find_map(|server| Some((server.username()?, server.password())))
    {
        connect = match password {
            Some(password) => connect.user_and_password(decoded(user), decoded(password)),
            None => connect.token(decoded(user)),
        };
    }
    if let Some(path) = &options.creds {
        let read = connect.credentials_file(path).await;
        connect = read.with_context(|| format!("the credentials {}", path.display()))?;
    }
    if let Some(path) = &options.nkey {
        let seed = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        connect = connect.nkey(seed.trim().to_owned());
    }
    if let Some(path) = &options.ca {
        // What is not there is otherwise found out too late to say so.
        std::fs::metadata(path).with_context(|| path.display().to_string())?;
        connect = connect.add_root_certificates(path.clone());
    }
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        connect = connect.add_client_certificate(cert.clone(), key.clone());
    }
    loop {
        match connect.clone().connect(servers.clone()).await {
            Ok(client) => return Ok((client, lost)),
            Err(error) if is_worth_another_try(&error) => {
                tracing::debug!("the broker can't be reached yet: {error}");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error).context("the broker does not let us in"),
        }
    }
}

/// A part of an address, in which some characters have to be written as %XX.
fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// Nobody is there yet, which may change; a key that is wrong does not become right.
fn is_worth_another_try(error: &async_nats::ConnectError) -> bool {
    use async_nats::ConnectErrorKind::{Dns, Io, TimedOut};
    matches!(error.kind(), Dns | Io | TimedOut)
}

async fn tell(event: Event, lost: Arc<watch::Sender<Option<Instant>>>) {
    match event {
        Event::Connected => {
            lost.send_replace(None);
            tracing::info!("connected to the broker");
        }
        Event::Disconnected => {
            lost.send_modify(|lost| _ = lost.get_or_insert_with(Instant::now));
            tracing::warn!("the connection to the broker is gone; trying again");
        }
        Event::ServerError(error) => tracing::warn!("the broker says: {error}"),
        Event::ClientError(error) => tracing::warn!("the broker can't be reached: {error}"),
        other => tracing::debug!("broker: {other}"),
    }
}
