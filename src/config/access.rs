//! Arguments: who may use the server.

use std::path::PathBuf;

use clap::Args;

use crate::serve::access::{AccessOptions, Network, Origin};

/// Who may use the server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessArgs {
    /// Want a key of every client: one of this file, which `imesli key new NAME` writes. Changes are noticed while the
    /// server runs.
    #[arg(long, env = "IMESLI_KEY_FILE", value_name = "FILE", conflicts_with = "allow_anonymous")]
    pub key_file: Option<PathBuf>,
    /// Let other machines in without a key. Otherwise, without --key-file, the server listens on this machine alone.
    #[arg(long, env = "IMESLI_ALLOW_ANONYMOUS")]
    pub allow_anonymous: bool,
    /// Let web pages of this origin in besides the server's own: https://HOST:PORT, null for pages from disk, * for
    /// all. Several are separated by commas.
    #[arg(long, env = "IMESLI_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<Origin>,
    /// A proxy or tunnel that is believed whose requests it passes on (X-Forwarded-For), by its address or network:
    /// 127.0.0.1, 10.0.0.0/8. Otherwise all that comes by it is one client, but for keys. Several are separated by commas.
    #[arg(long, env = "IMESLI_TRUSTED_PROXY", value_name = "ADDRESS[/BITS]", value_delimiter = ',')]
    pub trusted_proxy: Vec<Network>,
}

impl AccessArgs {
    /// The same for a server that listens on an address that only this machine reaches, or on another one.
    pub fn options(&self, loopback: bool) -> AccessOptions {
        AccessOptions {
            key_file: self.key_file.clone(),
            allow_anonymous: self.allow_anonymous,
            origins: self.allow_origin.clone(),
            proxies: self.trusted_proxy.clone(),
            loopback,
        }
    }
}
