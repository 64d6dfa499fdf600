//! Command line and environment: one typed, checked configuration.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::asr::recognizer::Task;
use crate::asr::search::SearchOptions;
use crate::asr::transcriber::Request;
use crate::checkpoint::QuantType;

/// Speech to text for your own fine-tuned Whisper model.
#[derive(Debug, Parser)]
#[command(name = "imesli", version, about, propagate_version = true)]
pub struct Cli {
    /// How much is logged, on standard error: error, warn, info, debug or trace, in any case.
    #[arg(long, global = true, env = "IMESLI_LOG_LEVEL", default_value = "info", value_parser = log_level)]
    pub log_level: tracing::Level,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the text of audio files.
    Transcribe(TranscribeArgs),
    /// Turn a Hugging Face checkpoint into a quantized GGML file.
    Convert(crate::checkpoint::cli::ConvertArgs),
}

/// Arguments of `imesli transcribe`.
#[derive(Debug, Args)]
pub struct TranscribeArgs {
    /// Audio files: WAV, MP3, FLAC, Ogg Vorbis, M4A and others; the content counts, not the name.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How the result is written, on standard output.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The decoding.
    #[command(flatten)]
    pub decode: DecodeArgs,
}

/// Which model, and how much of the machine it gets.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// A checkpoint folder as training left it, or a GGML file.
    #[arg(long, env = "IMESLI_CHECKPOINT", default_value = "./checkpoint", value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// The type of the weights to use, and to convert to if that has not been done [default: q8_0, or what is there].
    #[arg(long, env = "IMESLI_QUANTIZE", value_name = "TYPE", value_enum)]
    pub quantize: Option<QuantType>,
    /// Windows that are decoded at the same time; each costs memory.
    #[arg(long, env = "IMESLI_STATES", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub states: u16,
    /// Threads for each of them [default: the cores, shared among the states].
    #[arg(long, env = "IMESLI_THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Compute on the CPU, also where this build supports a GPU.
    #[arg(long, env = "IMESLI_CPU")]
    pub cpu: bool,
}

impl ModelArgs {
    /// Threads for each state.
    pub fn threads_per_state(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(|| (cores / usize::from(self.states)).max(1), usize::from)
    }
}

/// How speech is turned into text.
#[derive(Debug, Clone, Args)]
pub struct DecodeArgs {
    /// The language spoken, by its code in the model's vocabulary; `auto` lets the model judge
    /// [default: what the checkpoint was trained for].
    #[arg(long, env = "IMESLI_LANGUAGE", value_name = "CODE")]
    pub language: Option<String>,
    /// Write down, or translate to English [default: what the checkpoint was trained for].
    #[arg(long, value_enum)]
    pub task: Option<TaskArg>,
    /// The times that the model writes between stretches of text. Many fine-tuned models can't.
    #[arg(long, value_enum, default_value_t)]
    pub timestamps: Timestamps,
    /// Sequences that the search keeps at a time; 1 is greedy.
    #[arg(long, env = "IMESLI_BEAM_SIZE", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub beam_size: u8,
    /// The most tokens to write for each window of 30 s [default: what the model can]. A text that does not
    /// fit is cut; without this option its window is split and nothing is cut.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_tokens: Option<u16>,
}

impl DecodeArgs {
    /// The request that these arguments describe.
    pub fn request(&self) -> Request {
        Request {
            language: self.language.as_ref().map(|code| code.to_lowercase()),
            task: self.task.map(|task| match task {
                TaskArg::Transcribe => Task::Transcribe,
                TaskArg::Translate => Task::Translate,
            }),
            timestamps: self.timestamps == Timestamps::Segment,
            search: SearchOptions {
                beams: usize::from(self.beam_size),
                max_new_tokens: self.max_tokens.map_or(usize::MAX, usize::from),
                ..SearchOptions::default()
            },
        }
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
}

/// Which times the result carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Timestamps {
    /// None but those of the windows.
    #[default]
    None,
    /// Those that the model writes between segments.
    Segment,
}

/// The task, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskArg {
    /// Write it down in its own language.
    Transcribe,
    /// Translate it to English.
    Translate,
}

fn log_level(text: &str) -> Result<tracing::Level, String> {
    // The Python server took Python's names.
    match text.to_lowercase().as_str() {
        "critical" | "error" => Ok(tracing::Level::ERROR),
        "warning" | "warn" => Ok(tracing::Level::WARN),
        "info" => Ok(tracing::Level::INFO),
        "debug" => Ok(tracing::Level::DEBUG),
        "trace" => Ok(tracing::Level::TRACE),
        _ => Err("expected error, warn, info, debug or trace".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn transcribe(arguments: &[&str]) -> Result<TranscribeArgs, clap::Error> {
        let all = ["imesli", "transcribe"].iter().chain(arguments);
        match Cli::try_parse_from(all)?.command {
            Command::Transcribe(args) => Ok(args),
            Command::Convert(_) => unreachable!("asked for transcribe"),
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn log_levels_are_taken_in_any_case_and_with_pythons_names() {
        assert_eq!(log_level("WARNING"), Ok(tracing::Level::WARN));
        assert_eq!(log_level("Info"), Ok(tracing::Level::INFO));
        assert!(log_level("loud").is_err());
    }

    #[test]
    fn the_defaults_are_the_python_servers() {
        let request = transcribe(&["a.wav"]).unwrap().decode.request();
        assert_eq!(request, Request { search: SearchOptions::default(), ..Request::default() });
        assert_eq!(request.search.beams, 5);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert!(transcribe(&["a.wav", "--beam-size", "0"]).is_err());
        assert!(transcribe(&["a.wav", "--states", "0"]).is_err());
        assert!(transcribe(&["a.wav", "--quantize", "q9"]).is_err());
        assert!(transcribe(&[]).is_err());
    }

    #[test]
    fn threads_are_shared_among_the_states() {
        let args = transcribe(&["a.wav", "--states", "64"]).unwrap();
        assert_eq!(
            args.model.threads_per_state(),
            std::thread::available_parallelism().unwrap().get().div_ceil(64)
        );
        let args = transcribe(&["a.wav", "--states", "2", "--threads", "3"]).unwrap();
        assert_eq!(args.model.threads_per_state(), 3);
    }
}
