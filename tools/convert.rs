//! The `convert` program: a Hugging Face checkpoint in, a GGML file out.

use std::process::ExitCode;

use clap::Parser;
use imesli::checkpoint::cli::{ConvertArgs, run};

#[derive(Parser)]
#[command(version, about = "Turns a Hugging Face Whisper checkpoint into a GGML file")]
struct Cli {
    #[command(flatten)]
    args: ConvertArgs,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::new("warn");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    run(Cli::parse().args)
}
