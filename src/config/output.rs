//! Arguments: how results are written.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::subtitle::Layout;

/// How results are written.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// How a result is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// A folder for the results, a file for each: NAME.txt, NAME.srt and so on [default: standard output].
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Columns in a line of a subtitle.
    #[arg(long, value_name = "N", default_value_t = 42, value_parser = clap::value_parser!(u8).range(8..))]
    pub max_line_chars: u8,
    /// Lines of a subtitle.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub max_lines: u8,
}

impl OutputArgs {
    /// How subtitles are laid out.
    pub fn layout(&self) -> Layout {
        Layout { max_line_chars: self.max_line_chars.into(), max_lines: self.max_lines.into() }
    }
}

/// The result's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// The text alone, a line for each file.
    #[default]
    Text,
    /// A JSON object for each file, one on a line.
    Json,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
    /// Tab-separated values: start and end in milliseconds, and text.
    Tsv,
}

impl Format {
    /// What names of such files end in.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Json => "json",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Tsv => "tsv",
        }
    }
}
