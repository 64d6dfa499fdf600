//! Arguments of `convert`: the conversion, and the trials of what it made.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::DecodeArgs;
use super::model::cores;
use crate::asr::pool::PoolOptions;
use crate::checkpoint;

/// Arguments of `imesli convert`, and of `convert`.
#[derive(Debug, Clone, Args)]
pub struct ConvertCommand {
    /// The conversion.
    #[command(flatten)]
    pub convert: checkpoint::cli::ConvertArgs,
    /// Try the converted model on these recordings, and write into its profile whether it writes timestamps and
    /// which language it prefers. The server goes by it.
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Trials")]
    pub probe: Vec<PathBuf>,
    /// Transcribe the clips of this list with each type and with f16, and print error rates, speed and memory: a
    /// Common Voice TSV, or CSV or JSON lines with path and sentence.
    #[arg(long, value_name = "MANIFEST", group = "report", help_heading = "Trials")]
    pub eval: Option<PathBuf>,
    /// Only so many of its clips, spread evenly.
    #[arg(long, value_name = "N", requires = "eval", help_heading = "Trials",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub eval_clips: Option<u32>,
    /// What error rates are counted on.
    #[arg(long, value_enum, default_value_t, requires = "eval", help_heading = "Trials")]
    pub eval_text: EvalText,
    /// Fail (exit code 1) when a type's word error rate is more than so many percentage points above that of f16.
    #[arg(
        long,
        value_name = "POINTS",
        requires = "eval",
        help_heading = "Trials",
        allow_negative_numbers = true
    )]
    pub max_wer_loss: Option<f64>,
    /// How the recordings of --probe and --eval are decoded.
    #[command(flatten, next_help_heading = "Decoding in trials")]
    pub decode: DecodeArgs,
    /// Threads for the model [default: the cores].
    #[arg(long, env = "IMESLI_THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Compute on the CPU, also where this build supports a GPU.
    #[arg(long, env = "IMESLI_CPU")]
    pub cpu: bool,
    /// Transcribe for the process that started this one, which measures it.
    #[arg(long, hide = true)]
    pub eval_worker: bool,
}

/// What error rates are counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalText {
    /// NFC, lower case, punctuation and symbols read as spaces.
    #[default]
    Normalized,
    /// NFC, as written.
    Written,
}

impl ConvertCommand {
    /// One recording after the other.
    pub fn pool(&self) -> PoolOptions {
        PoolOptions { states: 1, threads: self.threads.map_or_else(cores, usize::from), requests: 1 }
    }
}
