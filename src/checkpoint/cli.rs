//! The arguments of `convert`, which is a program and a subcommand.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::convert::{Converted, Options, convert_all};
use super::error::{self, Error};
use super::hub;
use super::inspect::inspect;
use super::quantize::{QuantType, QuantTypeParser};
use super::resolve::DEFAULT_TYPE;

/// Turns a Whisper checkpoint into GGML files.
#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// The checkpoint: a folder as training left it, a weight file (OpenAI's .pt, for example), a GGML file, or
    /// hf:OWNER/NAME (or hf:OWNER/NAME@REVISION), which is downloaded
    #[arg(long, value_name = "PATH", required_unless_present = "inspect")]
    pub checkpoint: Option<PathBuf>,
    /// For a LoRA adapter: the model that it was trained on, also hf:OWNER/NAME [default: the one that it names]
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
    #[arg(long, value_name = "PATH", group = "report", conflicts_with_all = ["checkpoint", "base", "out", "probe"])]
    pub inspect: Option<PathBuf>,
    /// Print the report as JSON: that of --inspect, or that of --eval with all texts
    #[arg(long, requires = "report")]
    pub json: bool,
}

impl ConvertArgs {
    /// The same with what is named at a hub fetched, so that it is the same through all that follows.
    ///
    /// # Errors
    /// The code to exit with; what went wrong has been said.
    pub fn fetched(&self) -> Result<Self, ExitCode> {
        let local = |named: &Option<PathBuf>| named.as_deref().map(hub::local).transpose();
        let fetch = || {
            let (checkpoint, base) = (local(&self.checkpoint)?, local(&self.base)?.map(|base| base.path));
            let base = base.or_else(|| checkpoint.as_ref()?.base.clone());
            Ok(Self { checkpoint: checkpoint.map(|found| found.path), base, ..self.clone() })
        };
        fetch().map_err(|error| said(&error))
    }
}

/// Converts, says on stderr what came of it, and hands on what was made, one for each type.
///
/// # Errors
/// The code to exit with; what went wrong has been said.
pub fn made(args: &ConvertArgs) -> Result<Vec<Converted>, ExitCode> {
    let start = Instant::now();
    let options = Options {
        checkpoint: args.checkpoint.clone().unwrap_or_default(),
        base: args.base.clone(),
        // The list counts.
        quantize: args.quantize.first().copied().unwrap_or(DEFAULT_TYPE),
        out: args.out.clone(),
    };
    let made = convert_all(&options, &args.quantize).map_err(|error| said(&error))?;
    for made in &made {
        let (name, megabytes) = (made.ggml.display(), made.info.bytes as f64 / 1e6);
        eprintln!("{name}: {megabytes:.1} MB of {}", made.info.type_name);
    }
    eprintln!("{:.1} s", start.elapsed().as_secs_f64());
    Ok(made)
}

/// Prints what a file or folder holds, and what is wrong with it. The code to exit with is 2 where it is of
/// no use.
pub fn report(path: &Path, json: bool) -> ExitCode {
    match print(path, json) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => said(&error),
    }
}

fn said(error: &Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(error.exit_code())
}

/// Whether it is usable.
fn print(path: &Path, json: bool) -> error::Result<bool> {
    let report = inspect(&hub::local(path)?.path)?;
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
    Ok(report.is_usable())
}
