//! Command line and environment: one typed, checked configuration.

mod access;
mod cluster;
mod convert;
mod key;
mod live;
mod model;
mod output;
mod serve;

pub use access::AccessArgs;
pub use cluster::{DoorArgs, EngineArg, NatsArgs, NatsUrl, WorkerArgs};
pub use convert::{ConvertCommand, EvalText};
pub use key::{KeyArgs, KeyCommand, NewKeyArgs};
pub use live::LiveArgs;
pub use model::ModelArgs;
pub use output::{Format, OutputArgs};
pub use serve::{ServeArgs, TlsFiles};

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::asr::audio_context::{AudioContext, Margin};
use crate::asr::recognizer::Task;
use crate::asr::search::SearchOptions;
use crate::asr::segment::Timestamps;
use crate::asr::switch::Switch;
use crate::asr::transcriber::Request;
use crate::client::{Address, ApiKey};
use crate::logging::LogFormat;
use crate::text::Orthography;

/// Speech to text for your own fine-tuned Whisper model. Without a command, it serves.
#[derive(Debug, Parser)]
#[command(name = "imesli", version, about, propagate_version = true)]
pub struct Cli {
    /// How much is logged, on standard error: error, warn, info, debug or trace, in any case.
    #[arg(long, global = true, env = "IMESLI_LOG_LEVEL", default_value = "info", value_parser = log_level)]
    pub log_level: tracing::Level,
    /// How the log is written: lines for people, or a JSON object a line.
    #[arg(long, global = true, env = "IMESLI_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The server.
    #[command(flatten)]
    pub serve: ServeArgs,
}

impl Cli {
    /// Reads the arguments. An option of the server in front of another command is an error: that command
    /// has options of its own, and would not see it.
    ///
    /// # Errors
    /// What clap has to say, help and version included.
    pub fn read(arguments: impl IntoIterator<Item: Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(arguments)?;
        if let (Some((command, _)), Some(stray)) = (matches.subcommand(), stray_option(&matches)) {
            let message = format!("--{stray} is an option of the server here; put it after '{command}'\n");
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Self::from_arg_matches(&matches)
    }
}

/// An option other than the global ones that was given on the command line.
fn stray_option(matches: &ArgMatches) -> Option<String> {
    let given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let mut ids = matches.ids().map(clap::Id::as_str).filter(|id| !["log_level", "log_format"].contains(id));
    // Groups of flattened arguments have ids, too, and no source of their own.
    ids.find(|id| id.chars().all(|c| c.is_lowercase() || c == '_') && given(id))
        .map(|id| id.replace('_', "-"))
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the text of audio files.
    Transcribe(TranscribeArgs),
    /// Turn a Hugging Face checkpoint into a quantized GGML file.
    Convert(ConvertCommand),
    /// Make keys for those who may use the server.
    Key(KeyArgs),
    /// Load a model, and hear for servers that are started with --engine nats://HOST:PORT.
    Worker(WorkerArgs),
}

/// Arguments of `imesli transcribe`.
#[derive(Debug, Args)]
pub struct TranscribeArgs {
    /// Audio files: WAV, MP3, FLAC, Ogg Vorbis, M4A and others; the content counts, not the name.
    #[arg(required_unless_present = "live", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Live audio instead.
    #[command(flatten)]
    pub live: LiveArgs,
    /// The results.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Where the files go instead: a running server (ws:// or wss://HOST:PORT). Its model is used, or --model;
    /// --language, --task, --timestamps, --orthography, --prompt, --temperature, --beam-size and --vad are sent along.
    #[arg(long, env = "IMESLI_SERVER", value_name = "URL")]
    pub server: Option<Address>,
    /// Which of the server's models, where it has several: ID or ID@REVISION, as its /v1/models has them
    /// [default: the server's].
    #[arg(long = "model", requires = "server", value_name = "NAME")]
    pub server_model: Option<String>,
    /// Accept any certificate of the server, also a self-signed one.
    #[arg(long, requires = "server")]
    pub insecure: bool,
    /// The key that the server wants. Better in the environment: other users see command lines.
    #[arg(long, env = "IMESLI_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<ApiKey>,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The decoding.
    #[command(flatten)]
    pub decode: DecodeArgs,
}

impl TranscribeArgs {
    /// The times to ask for: subtitles are nothing without.
    pub fn timestamps(&self) -> Timestamps {
        let default = match self.output.format {
            Format::Text | Format::Json => Timestamps::None,
            Format::Srt | Format::Vtt | Format::Tsv => Timestamps::Word,
        };
        self.decode.timestamps.unwrap_or(default)
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
    /// Text that the model takes for what was said before: names and spellings to go by.
    #[arg(long, env = "IMESLI_PROMPT", value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub prompt: String,
    /// segment: the times that the model writes between stretches of text, which many fine-tuned models can't;
    /// word: when each word was said, by the model's attention to the audio [default: none; word for subtitles].
    #[arg(long, value_enum)]
    pub timestamps: Option<Timestamps>,
    /// The spelling that the text is brought to. kabyle: ɛ and ɣ for Greek and Cyrillic look-alikes, composed
    /// dotted letters.
    #[arg(long, env = "IMESLI_ORTHOGRAPHY", value_enum, default_value_t)]
    pub orthography: Orthography,
    /// Sequences that the search keeps at a time; 1 is greedy.
    #[arg(long, env = "IMESLI_BEAM_SIZE", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub beam_size: u8,
    /// 0 for the likeliest text; up to 1, each token is drawn with its probability, and there are no beams.
    #[arg(long, default_value_t = 0.0, value_name = "T", value_parser = temperature)]
    pub temperature: f32,
    /// The most tokens to write for each window of 30 s [default: what the model can]. A text that does not
    /// fit is cut; without this option its window is split and nothing is cut.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub max_tokens: Option<u16>,
    /// Leave out long stretches in which nobody speaks: models make text up there.
    #[arg(long, env = "IMESLI_VAD", value_name = "MODE", value_enum, default_value_t)]
    pub vad: Switch,
    /// Search once more where the text repeats itself beyond what anybody can say. Off: the model's own tokens.
    #[arg(long, env = "IMESLI_LOOP_GUARD", value_name = "MODE", value_enum, default_value_t)]
    pub loop_guard: Switch,
    /// How much of the encoder's 30 s is computed for shorter audio. auto: what the checkpoint was seen to bear (`convert
    /// --probe`), else all. full: all, as in training. A number: seconds of silence behind the audio.
    #[arg(long, env = "IMESLI_AUDIO_CONTEXT", value_name = "auto|full|SECONDS", default_value = "auto",
          value_parser = audio_context)]
    pub audio_context: AudioContextArg,
}

/// `--audio-context`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioContextArg(pub Option<AudioContext>);

impl DecodeArgs {
    /// The request that these arguments describe.
    pub fn request(&self) -> Request {
        Request {
            language: self.language.as_ref().map(|code| code.to_lowercase()),
            task: self.task.map(|task| match task {
                TaskArg::Transcribe => Task::Transcribe,
                TaskArg::Translate => Task::Translate,
            }),
            prompt: self.prompt.clone(),
            timestamps: self.timestamps.unwrap_or_default(),
            orthography: self.orthography,
            search: SearchOptions {
                beams: usize::from(self.beam_size),
                max_new_tokens: self.max_tokens.map_or(usize::MAX, usize::from),
                temperature: self.temperature,
                ..SearchOptions::default()
            },
            vad: self.vad,
            loop_guard: self.loop_guard,
            audio_context: self.audio_context.0,
        }
    }
}

/// The task, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskArg {
    /// Write it down in its own language.
    Transcribe,
    /// Translate it to English.
    Translate,
}

fn temperature(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("expected 0 to 1".to_owned()) }
}

fn audio_context(text: &str) -> Result<AudioContextArg, String> {
    let context = match text {
        "auto" => None,
        "full" => Some(AudioContext::Full),
        _ => match text.parse() {
            Ok(seconds) if (0.0..=30.0).contains(&seconds) => {
                Some(AudioContext::Margin(Margin { seconds, min_log_prob: None }))
            }
            _ => return Err("expected auto, full, or 0 to 30 seconds".to_owned()),
        },
    };
    Ok(AudioContextArg(context))
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
        match Cli::read(all)?.command {
            Some(Command::Transcribe(args)) => Ok(args),
            other => unreachable!("asked for transcribe, got {other:?}"),
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
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
        assert!(transcribe(&["a.wav", "--server", "localhost"]).is_err());
        assert!(transcribe(&["a.wav", "--insecure"]).is_err());
        assert!(transcribe(&["a.wav", "--model", "kab"]).is_err());
    }

    #[test]
    fn live_audio_comes_instead_of_files() {
        let args = transcribe(&["--live", "-", "--channels", "2"]).unwrap();
        assert_eq!((args.live.rate, args.live.channels), (16_000, 2));
        assert!(transcribe(&["--live", "-", "a.wav"]).is_err());
        assert!(transcribe(&["--live", "-", "--output-dir", "x"]).is_err());
        assert!(transcribe(&["--live", "-", "--silence-ms", "100"]).is_err());
        assert!(transcribe(&["--live", "-", "--encoding", "s24"]).is_err());
        assert!(transcribe(&["a.wav", "--rate", "8000"]).is_err(), "a file says that itself");
    }

    #[test]
    fn options_of_the_server_do_not_get_lost_before_a_command() {
        let error = Cli::read(["imesli", "--checkpoint", "x", "transcribe", "a.wav"]).unwrap_err();
        assert!(error.to_string().contains("--checkpoint"), "{error}");
        assert!(Cli::read(["imesli", "--log-level", "warn", "transcribe", "a.wav"]).is_ok());
    }
}
