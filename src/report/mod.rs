//! `convert`, and what a converted model is worth: where `checkpoint` and the engine meet once more.
//!
//! - `probe`: does the model write timestamps, which language does it prefer? Goes into its profile.
//! - `manifest`: the user's own clips and what is said in them.
//! - `worker`: transcribes them in a process of its own for each type, so that its memory can be measured.
//! - `score`: error rates. Pure.
//! - `eval`, `table`: all of it for each type, and how it is printed.

mod context;
mod eval;
mod manifest;
mod probe;
pub mod score;
mod table;
mod worker;

use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use crate::checkpoint::{self, Converted};
use crate::config::ConvertCommand;

/// What went wrong in a trial: an argument that can't be used (exit code 2), or the work itself (1).
#[derive(Debug)]
pub(crate) enum Failure {
    Argument(anyhow::Error),
    Work(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Work(error)
    }
}

/// Converts, and tries what was made where that is asked for. `myself` are the arguments by which this
/// program is told to convert: it starts itself for `--eval`.
pub fn run(args: &ConvertCommand, myself: &[&str]) -> ExitCode {
    let done = if args.eval_worker { worker::work().map_err(Failure::Work) } else { convert(args, myself) };
    match done {
        Ok(code) => code,
        Err(Failure::Argument(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
        Err(Failure::Work(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn convert(args: &ConvertCommand, myself: &[&str]) -> Result<ExitCode, Failure> {
    if let Some(path) = &args.convert.inspect {
        return Ok(checkpoint::cli::report(path, args.convert.json));
    }
    // A mistake in what is to be tried shows before the work of a conversion.
    probe::check(&args.probe).map_err(Failure::Argument)?;
    let clips = args.eval.as_deref().map(manifest::read).transpose().map_err(Failure::Argument)?;
    let args = &match args.convert.fetched() {
        Ok(convert) => ConvertCommand { convert, ..args.clone() },
        Err(code) => return Ok(code),
    };
    let mut made: Vec<Converted> = match checkpoint::cli::made(&args.convert) {
        Ok(made) => made,
        Err(code) => return Ok(code),
    };
    if !args.probe.is_empty() {
        for made in &mut made {
            probe::run(made, args)?;
        }
    }
    match clips {
        Some(clips) => eval::run(&made, clips, args, myself),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// On a terminal a bar, else nothing.
fn progress_bar(total: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left") {
        bar.set_style(style);
    }
    bar.tick();
    bar
}
