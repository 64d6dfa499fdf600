//! The arguments of `convert`, which is a program and a subcommand.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::convert::{Options, convert};
use super::quantize::{QuantType, QuantTypeParser};

/// Turns a Hugging Face Whisper checkpoint into a GGML file.
#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// The checkpoint folder: config.json, and model.safetensors or pytorch_model.bin
    #[arg(long, value_name = "DIR")]
    pub checkpoint: PathBuf,
    /// The type of the weights
    #[arg(long, value_name = "TYPE", value_parser = QuantTypeParser, default_value_t = QuantType::Q8_0)]
    pub quantize: QuantType,
    /// The file to write [default: ggml-TYPE.bin in the checkpoint folder]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Converts, and says on stderr what came of it.
pub fn run(args: ConvertArgs) -> ExitCode {
    let start = Instant::now();
    match convert(&Options { checkpoint: args.checkpoint, quantize: args.quantize, out: args.out }) {
        Ok(made) => {
            let (name, megabytes) = (made.ggml.display(), made.info.bytes as f64 / 1e6);
            eprintln!(
                "{name}: {megabytes:.1} MB of {}, {:.1} s",
                args.quantize,
                start.elapsed().as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
