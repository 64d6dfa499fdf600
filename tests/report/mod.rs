//! Trials of a converted model: what `--probe` sees and the server then does, and the report of `--eval`.

mod eval;
mod probe;

use std::path::Path;
use std::process::{Command, Output};

use crate::support::root;

/// The demo checkpoint in a folder of its own.
fn demo_copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "generation_config.json", "model.safetensors"] {
        std::fs::copy(root("checkpoint").join(name), dir.path().join(name)).unwrap();
    }
    dir
}

/// The `convert` program on a checkpoint folder.
fn convert(checkpoint: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_convert"))
        .arg("--checkpoint")
        .arg(checkpoint)
        .args(arguments)
        .current_dir(root(""))
        .env("IMESLI_THREADS", "1")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
