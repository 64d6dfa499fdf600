//! The arguments of `convert`, which is a program and a subcommand.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::convert::{Options, convert_all};
use super::error::{Error, Result};
use super::inspect::inspect;
use super::quantize::{QuantType, QuantTypeParser};
use super::resolve::DEFAULT_TYPE;

/// Turns a Whisper checkpoint into GGML files.
#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// The checkpoint: a folder as training left it, a weight file (OpenAI's .pt, for example), or a GGML file
    #[arg(long, value_name = "PATH", required_unless_present = "inspect")]
    pub checkpoint: Option<PathBuf>,
    /// For a LoRA adapter: the model that it was trained on [default: the folder that the adapter names]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
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
    /// Make nothing: print what a GGML file, a checkpoint folder or a weight file holds, and what is wrong
    #[arg(long, value_name = "PATH", conflicts_with_all = ["checkpoint", "base", "out"])]
    pub inspect: Option<PathBuf>,
    /// Print that as JSON
    #[arg(long, requires = "inspect")]
    pub json: bool,
}

/// What the exit code says.
enum Outcome {
    Fine,
    /// What was looked at is of no use.
    Unusable,
}

/// Does what the arguments say: what was made is told on stderr, a report goes to stdout.
pub fn run(args: ConvertArgs) -> ExitCode {
    let outcome = match args.inspect {
        Some(path) => report(&path, args.json),
        None => make(args.checkpoint.unwrap_or_default(), args.base, &args.quantize, args.out),
    };
    match outcome {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Unusable) => ExitCode::from(2),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn make(
    checkpoint: PathBuf,
    base: Option<PathBuf>,
    types: &[QuantType],
    out: Option<PathBuf>,
) -> Result<Outcome> {
    let start = Instant::now();
    // The list counts.
    let quantize = types.first().copied().unwrap_or(DEFAULT_TYPE);
    for made in convert_all(&Options { checkpoint, base, quantize, out }, types)? {
        let (name, megabytes) = (made.ggml.display(), made.info.bytes as f64 / 1e6);
        eprintln!("{name}: {megabytes:.1} MB of {}", made.info.type_name);
    }
    eprintln!("{:.1} s", start.elapsed().as_secs_f64());
    Ok(Outcome::Fine)
}

fn report(path: &Path, json: bool) -> Result<Outcome> {
    let report = inspect(path)?;
    let mut out = std::io::stdout().lock();
    let written = if json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(Into::into).and_then(|()| writeln!(out))
    } else {
        report.print(&mut out)
    };
    // A reader that has seen enough, such as `head`, is no failure.
    written
        .or_else(|e| if e.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(e) })
        .map_err(|source| Error::Write { path: "standard output".into(), source })?;
    Ok(if report.is_usable() { Outcome::Fine } else { Outcome::Unusable })
}
