//! Arguments: live audio.

use std::path::PathBuf;

use clap::{Args, value_parser};

use crate::audio::pcm::Encoding;
use crate::client::Sound;

/// Live audio instead of files.
#[derive(Debug, Clone, Args)]
pub struct LiveArgs {
    /// Audio as it is recorded, from this file or pipe, or - for standard input, e.g. of `arecord` or `ffmpeg`: raw
    /// samples, or WAV. Its text is written as it grows, a line for each phrase; where standard output is a terminal,
    /// what may still change is shown dim behind it. Ctrl-C ends the recording and waits for the rest, a second one
    /// leaves at once. For recordings that are complete give FILE instead, which is faster and knows
    /// more context.
    #[arg(long, value_name = "FILE or -", conflicts_with_all = ["files", "output_dir"])]
    pub live: Option<PathBuf>,
    /// Samples in a second. A WAV file's own rate and channels come before these options.
    #[arg(long, value_name = "HZ", conflicts_with = "files", default_value_t = 16_000, value_parser = value_parser!(u32).range(1_000..=384_000))]
    pub rate: u32,
    /// Channels, interleaved; they are mixed.
    #[arg(long, value_name = "N", conflicts_with = "files", default_value_t = 1, value_parser = value_parser!(u8).range(1..=8))]
    pub channels: u8,
    /// How the samples are written.
    #[arg(long, conflicts_with = "files", value_enum, default_value_t)]
    pub encoding: Encoding,
    /// Silence that ends a phrase, 200 to 5000 [default: the server's, 700].
    #[arg(long, value_name = "MS", conflicts_with = "files", value_parser = value_parser!(u32).range(200..=5_000))]
    pub silence_ms: Option<u32>,
}

impl LiveArgs {
    /// What raw audio is made of.
    pub fn sound(&self) -> Sound {
        Sound { encoding: self.encoding, rate: self.rate, channels: self.channels }
    }
}
