//! The programs with `--checkpoint hf:…`.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::server::{COMMIT, Hub, Repository};
use super::{NAME, files};
use crate::asr::SAID;
use crate::support::{Running, root};

/// The demo checkpoint at a hub.
fn demo() -> Hub {
    let mut files = files(&root("checkpoint"));
    files.retain(|name, _| !name.starts_with("ggml-"));
    Hub::start(vec![Repository {
        name: NAME,
        files,
        stored: vec!["model.safetensors"],
        ..Repository::default()
    }])
}

fn run(program: &str, endpoint: &str, home: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(root(""))
        .env("HF_ENDPOINT", endpoint)
        .env("HF_HOME", home)
        .env("IMESLI_THREADS", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("RUST_LOG")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_file_is_transcribed_by_a_checkpoint_that_was_nowhere_here() {
    let hub = demo();
    hub.change(|repository| repository.faults.cuts = 1);
    let home = TempDir::new().unwrap();
    let imesli = |endpoint: &str| {
        let arguments = ["transcribe", "--checkpoint", "hf:me/kab", SAID[0].0];
        run(env!("CARGO_BIN_EXE_imesli"), endpoint, home.path(), &arguments)
    };
    let output = imesli(&hub.endpoint);
    assert_eq!(text(&output.stdout), format!("{}\n", SAID[0].1), "{}", text(&output.stderr));
    let snapshot = home.path().join("hub/models--me--kab/snapshots").join(COMMIT);
    assert!(snapshot.join("ggml-q8_0.bin").is_file() && snapshot.join("ggml-q8_0.json").is_file());
    // With the hub gone, what is there will do.
    let output = imesli("http://127.0.0.1:1");
    assert_eq!(text(&output.stdout), format!("{}\n", SAID[0].1));
    assert!(text(&output.stderr).contains("can't be reached"), "{}", text(&output.stderr));
}

#[test]
fn a_server_starts_with_it() {
    let (hub, home) = (demo(), TempDir::new().unwrap());
    let server = Running::with_environment(
        Path::new("hf:me/kab@main"),
        &[],
        &[("HF_ENDPOINT", hub.endpoint.as_ref()), ("HF_HUB_CACHE", home.path().as_os_str())],
    );
    assert!(server.url.starts_with("ws://"));
    assert!(home.path().join("models--me--kab/refs/main").is_file());
}

#[test]
fn it_is_converted_and_inspected() {
    let (hub, home) = (demo(), TempDir::new().unwrap());
    let convert =
        |arguments: &[&str]| run(env!("CARGO_BIN_EXE_convert"), &hub.endpoint, home.path(), arguments);
    let out = home.path().join("made.bin");
    let output = convert(&["--checkpoint", "hf:me/kab", "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(out.is_file());
    let output = convert(&["--inspect", "hf:me/kab", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["kind"], &report["dims"]["n_vocab"]), (&"checkpoint".into(), &51865.into()));
}

#[test]
fn a_failure_is_one_line_and_exit_code_2() {
    let (hub, home) = (demo(), TempDir::new().unwrap());
    for (endpoint, checkpoint, expected) in [
        (hub.endpoint.as_str(), "hf:me/other", "no such repository"),
        (hub.endpoint.as_str(), "hf:me/kab@v9", "no such revision"),
        (hub.endpoint.as_str(), "hf:kab", "hf:OWNER/NAME"),
        ("http://127.0.0.1:1", "hf:me/kab", "can't be reached"),
        ("127.0.0.1", "hf:me/kab", "HF_ENDPOINT"),
    ] {
        for (program, arguments) in [
            (env!("CARGO_BIN_EXE_convert"), vec!["--checkpoint", checkpoint]),
            (env!("CARGO_BIN_EXE_imesli"), vec!["transcribe", "--checkpoint", checkpoint, SAID[0].0]),
            (env!("CARGO_BIN_EXE_imesli"), vec!["--port", "0", "--checkpoint", checkpoint]),
        ] {
            let output = run(program, endpoint, home.path(), &arguments);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
            assert!(error.contains(expected) && error.lines().count() == 1, "{arguments:?}: {error}");
        }
    }
}
