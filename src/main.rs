//! The `imesli` program: arguments in, exit code out.
//!
//! Exit codes: 0 fine, 1 failed while running, 2 wrong arguments or an unusable checkpoint.

use std::process::ExitCode;

use clap::Parser;
use imesli::config::{Cli, Command};
use imesli::transcribe::{self, Outcome};

fn main() -> ExitCode {
    let cli = Cli::parse();
    imesli::logging::start(cli.log_level);
    match cli.command {
        Command::Convert(args) => imesli::checkpoint::cli::run(args),
        Command::Transcribe(args) => match transcribe::run(&args, &mut std::io::stdout().lock()) {
            Ok(Outcome::Fine) => ExitCode::SUCCESS,
            Ok(Outcome::SomeFailed) => ExitCode::from(1),
            Ok(Outcome::UnusableCheckpoint) => ExitCode::from(2),
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::from(1)
            }
        },
    }
}
