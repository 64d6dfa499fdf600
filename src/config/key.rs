//! Arguments of `imesli key`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::serve::access::Rules;

/// Arguments of `imesli key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key, print it once, and add its hash to the key file.
    New(NewKeyArgs),
}

/// Arguments of `imesli key new`.
#[derive(Debug, Args)]
pub struct NewKeyArgs {
    /// What the key is called in the file and in the log: letters, digits, dots, dashes and underscores.
    pub name: String,
    /// The key file, made where there is none.
    #[arg(long, env = "IMESLI_KEY_FILE", value_name = "FILE", default_value = "./keys.toml")]
    pub key_file: PathBuf,
    /// Jobs that it may begin in a minute [default: any number].
    #[arg(long, value_name = "N")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Jobs that may run or wait at the same time [default: any number].
    #[arg(long, value_name = "N")]
    pub concurrent: Option<NonZeroU32>,
    /// Minutes of audio in a day (UTC) [default: any number].
    #[arg(long, value_name = "N")]
    pub audio_minutes_per_day: Option<NonZeroU32>,
    /// It may ask for what concerns the whole server.
    #[arg(long)]
    pub admin: bool,
}

impl NewKeyArgs {
    /// What the key may do.
    pub fn rules(&self) -> Rules {
        Rules {
            requests_per_minute: self.requests_per_minute,
            concurrent: self.concurrent,
            audio_minutes_per_day: self.audio_minutes_per_day,
            admin: self.admin,
        }
    }
}
