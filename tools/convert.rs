//! The `convert` program: a Whisper checkpoint in, GGML files out.

use std::process::ExitCode;

use clap::Parser;
use imesli::checkpoint::cli::{ConvertArgs, run};

#[derive(Parser)]
#[command(version, about = "Turns a Whisper checkpoint into GGML files")]
struct Cli {
    #[command(flatten)]
    args: ConvertArgs,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::new("warn");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    run(Cli::parse().args)
}
