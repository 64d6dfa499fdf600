//! The arguments of `convert`, which is a program and a subcommand.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::convert::{Options, convert_all};
use super::error::Result;
use super::quantize::{QuantType, QuantTypeParser};
use super::resolve::DEFAULT_TYPE;

/// Turns a Whisper checkpoint into GGML files.
#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// The checkpoint folder (config.json, and model.safetensors or pytorch_model.bin), or a GGML file
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// The type of the weights; several, separated by commas, are made in one pass
    #[arg(
        long,
        value_name = "TYPE,…",
        value_delimiter = ',',
        value_parser = QuantTypeParser,
        default_values_t = [DEFAULT_TYPE]
    )]
    pub quantize: Vec<QuantType>,
    /// The file to write, or a folder for it [default: ggml-TYPE.bin in the checkpoint folder]
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

/// Converts, and says on stderr what came of it.
pub fn run(args: ConvertArgs) -> ExitCode {
    match make(args.checkpoint, &args.quantize, args.out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn make(checkpoint: PathBuf, types: &[QuantType], out: Option<PathBuf>) -> Result<()> {
    let start = Instant::now();
    // The list counts.
    let quantize = types.first().copied().unwrap_or(DEFAULT_TYPE);
    for made in convert_all(&Options { checkpoint, quantize, out }, types)? {
        let (name, megabytes) = (made.ggml.display(), made.info.bytes as f64 / 1e6);
        eprintln!("{name}: {megabytes:.1} MB of {}", made.info.type_name);
    }
    eprintln!("{:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
