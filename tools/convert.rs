//! The `convert` program: a Whisper checkpoint in, GGML files out, and what those are worth.

use std::process::ExitCode;

use clap::Parser;
use imesli::config::ConvertCommand;

#[derive(Parser)]
#[command(version, about = "Turns a Whisper checkpoint into GGML files")]
struct Cli {
    #[command(flatten)]
    command: ConvertCommand,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::new("warn");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    imesli::report::run(&Cli::parse().command, &[])
}
