//! Arguments: models on other machines, by way of NATS.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, value_parser};

use super::ModelArgs;
use crate::cluster::{DoorOptions, NatsOptions, WorkerOptions};

/// How the addresses of NATS servers begin.
const SCHEMES: [&str; 2] = ["nats://", "tls://"];
/// Characters of the longest prefix, and of the longest name of a worker or of a model.
const MAX_PREFIX: usize = 32;
const MAX_NAME: usize = 128;

/// The addresses of NATS servers that know each other, separated by commas. They may hold a password, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsUrl(String);

impl NatsUrl {
    /// As it was given, with the password.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NatsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let addresses: Vec<&str> = text.split(',').map(str::trim).collect();
        if !addresses.iter().all(|address| is_address(address)) {
            let expected = "expected nats://HOST:PORT or tls://HOST:PORT, several separated by commas";
            return Err(expected.to_owned());
        }
        Ok(Self(addresses.join(",")))
    }
}

/// Whether this is a scheme that we know, perhaps a name and a password, a host, and perhaps a port.
fn is_address(text: &str) -> bool {
    let Some(rest) = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) else { return false };
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place).trim_end_matches('/');
    // The colons within the brackets of an IPv6 address are no port's.
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !place.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let is_strange = |c: char| c.is_whitespace() || c.is_control();
    !host.is_empty() && !host.contains(is_strange) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |address: &str| match (address.split_once("://"), address.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
            _ => address.to_owned(),
        };
        let all: Vec<String> = self.0.split(',').map(shown).collect();
        f.write_str(&all.join(","))
    }
}

/// `--engine`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineArg {
    /// The model is in this process.
    Embedded,
    /// The models are those of the workers at this broker.
    Nats(NatsUrl),
}

impl FromStr for EngineArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "embedded" => Ok(Self::Embedded),
            other => other.parse().map(Self::Nats).map_err(|error| format!("{error}; or embedded")),
        }
    }
}

/// How a NATS server is talked to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct NatsArgs {
    /// A credentials file of NATS (JWT and seed), as nsc writes it.
    #[arg(long, env = "IMESLI_NATS_CREDS", value_name = "FILE", conflicts_with = "nats_nkey")]
    pub nats_creds: Option<PathBuf>,
    /// A file with the seed of an nkey.
    #[arg(long, env = "IMESLI_NATS_NKEY", value_name = "FILE")]
    pub nats_nkey: Option<PathBuf>,
    /// The authorities that NATS' certificate is checked by, PEM [default: the system's].
    #[arg(long, env = "IMESLI_NATS_CA", value_name = "FILE")]
    pub nats_ca: Option<PathBuf>,
    /// A certificate to show to NATS, PEM.
    #[arg(long, env = "IMESLI_NATS_CERT", value_name = "FILE", requires = "nats_key")]
    pub nats_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, env = "IMESLI_NATS_KEY", value_name = "FILE", requires = "nats_cert")]
    pub nats_key: Option<PathBuf>,
    /// What the names of all subjects, streams and buckets begin with: doors and workers find each other by it.
    #[arg(
        long,
        env = "IMESLI_NATS_PREFIX",
        value_name = "NAME",
        default_value = "imesli",
        value_parser = prefix
    )]
    pub nats_prefix: String,
    /// Copies that NATS keeps of what it holds, for a cluster of so many servers.
    #[arg(long, env = "IMESLI_NATS_REPLICAS", value_name = "N", default_value_t = 1,
          value_parser = value_parser!(u8).range(1..=5))]
    pub nats_replicas: u8,
    /// Seconds for which audio and results may lie at NATS.
    #[arg(long, env = "IMESLI_NATS_KEEP", value_name = "SECONDS", default_value_t = 3600,
          value_parser = value_parser!(u32).range(1..=604_800))]
    pub nats_keep: u32,
}

impl NatsArgs {
    /// The same for the servers at these addresses.
    fn options(&self, url: &NatsUrl) -> NatsOptions {
        NatsOptions {
            url: url.as_str().to_owned(),
            creds: self.nats_creds.clone(),
            nkey: self.nats_nkey.clone(),
            ca: self.nats_ca.clone(),
            cert: self.nats_cert.clone(),
            key: self.nats_key.clone(),
            prefix: self.nats_prefix.clone(),
            replicas: usize::from(self.nats_replicas),
            keep: Duration::from_secs(self.nats_keep.into()),
        }
    }
}

/// Where a server's models are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct DoorArgs {
    /// Where the models are: embedded, in this process; or elsewhere, where `imesli worker` has loaded them, by way of a NATS
    /// server: nats://HOST:PORT or tls://HOST:PORT, several separated by commas. --checkpoint means nothing then.
    #[arg(
        long,
        env = "IMESLI_ENGINE",
        hide_env_values = true,
        value_name = "embedded|URL",
        default_value = "embedded"
    )]
    pub engine: EngineArg,
    /// The model of requests that name none, ID or ID@REVISION [default: the first by name].
    #[arg(long, env = "IMESLI_DEFAULT_MODEL", value_name = "NAME")]
    pub default_model: Option<String>,
    /// Windows of 30 s that may wait for each state of the workers; beyond that requests are refused (OVERLOADED).
    #[arg(long, env = "IMESLI_MAX_PENDING", value_name = "N", default_value_t = 16,
          value_parser = value_parser!(u32).range(1..=100_000))]
    pub max_pending: u32,
    /// Seconds after which a window that no worker has done is given up.
    #[arg(long, env = "IMESLI_WINDOW_TIMEOUT", value_name = "SECONDS", default_value_t = 300,
          value_parser = value_parser!(u32).range(1..=86_400))]
    pub window_timeout: u32,
    /// Send audio to the workers as 32-bit floats, as exact as it was decoded, and not in 16 bits.
    #[arg(long, env = "IMESLI_EXACT_AUDIO")]
    pub exact_audio: bool,
    /// The broker.
    #[command(flatten)]
    pub nats: NatsArgs,
}

impl DoorArgs {
    /// How the broker is talked to, and what a door does there; `None` where the model is in this process. `requests` are
    /// admitted at a time, and what listens for speech is the model of this file, or the built-in one.
    pub fn door(&self, requests: usize, vad_model: Option<PathBuf>) -> Option<(NatsOptions, DoorOptions)> {
        let EngineArg::Nats(url) = &self.engine else { return None };
        let options = DoorOptions {
            requests,
            max_pending: self.max_pending as usize,
            window_timeout: Duration::from_secs(self.window_timeout.into()),
            exact_audio: self.exact_audio,
            model: self.default_model.clone(),
            vad_model,
        };
        Some((self.nats.options(url), options))
    }
}

/// Arguments of `imesli worker`.
// Speech is listened for at the door.
#[derive(Debug, Args)]
#[command(mut_arg("vad_model", |arg| arg.hide(true)))]
pub struct WorkerArgs {
    /// The NATS server: nats://HOST:PORT or tls://HOST:PORT, several separated by commas.
    #[arg(long, env = "IMESLI_NATS", hide_env_values = true, value_name = "URL")]
    pub nats: NatsUrl,
    /// What this worker is called in the log and by `nats micro list` [default: the host's name and the process's id].
    #[arg(long, env = "IMESLI_WORKER_NAME", value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// What clients know the model by [default: the name of its folder or file, or OWNER/NAME].
    #[arg(long, env = "IMESLI_MODEL_NAME", value_name = "NAME", value_parser = name)]
    pub model_name: Option<String>,
    /// Seconds without a sign of life after which another worker gets a window.
    #[arg(long, env = "IMESLI_REDELIVER_AFTER", value_name = "SECONDS", default_value_t = 6,
          value_parser = value_parser!(u32).range(1..=3600))]
    pub redeliver_after: u32,
    /// How often a window is given to a worker, before it is put aside.
    #[arg(long, env = "IMESLI_MAX_DELIVERIES", value_name = "N", default_value_t = 3,
          value_parser = value_parser!(u32).range(1..=100))]
    pub max_deliveries: u32,
    /// An address and port for /health, /ready and /metrics, without encryption or keys.
    #[arg(long, env = "IMESLI_HEALTH_LISTEN", value_name = "ADDRESS:PORT")]
    pub health_listen: Option<String>,
    /// Seconds that the windows that were begun get to finish when the worker is stopped.
    #[arg(long, env = "IMESLI_SHUTDOWN_TIMEOUT", value_name = "SECONDS", default_value_t = 30)]
    pub shutdown_timeout: u32,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The broker.
    #[command(flatten)]
    pub connection: NatsArgs,
}

impl WorkerArgs {
    /// How the broker is talked to.
    pub fn nats(&self) -> NatsOptions {
        self.connection.options(&self.nats)
    }

    /// What the worker does there.
    pub fn options(&self) -> WorkerOptions {
        WorkerOptions {
            name: self.name.clone().unwrap_or_else(own_name),
            model: self.model_name.clone().unwrap_or_else(|| self.model.name()),
            redeliver_after: Duration::from_secs(self.redeliver_after.into()),
            deliveries: self.max_deliveries,
            listen: self.health_listen.clone(),
            drain: Duration::from_secs(self.shutdown_timeout.into()),
        }
    }
}

/// The host's name and the process's id.
fn own_name() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    let host = told.as_deref().map(str::trim).filter(|host| name(host).is_ok()).unwrap_or("worker");
    format!("{host}-{}", std::process::id())
}

fn prefix(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=MAX_PREFIX).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("expected 1 to {MAX_PREFIX} letters, digits, dashes and underscores"))
}

/// A name that stands in logs, in headers and before the @ of a revision.
fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    if (1..=MAX_NAME).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("expected 1 to {MAX_NAME} bytes without spaces and @"))
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
