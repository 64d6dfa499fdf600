//! The same by the program: what it refuses to start with, and keys that it makes.

use std::process::{Command, Output};

use imesli::checkpoint::QuantType;
use imesli::serve::access::Rules;

use super::super::{SAID, root};
use super::one;
use crate::support::{Running, demo};

/// The program, with nothing of this machine's settings.
fn imesli(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imesli"))
        .args(arguments)
        .current_dir(root(""))
        .env("IMESLI_CHECKPOINT", "/nowhere")
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

/// Whether it ended with this exit code and one line that has this in it.
fn one_line(output: &Output, code: i32, named: &str) {
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(named), "{log}");
}

#[test]
fn other_machines_are_not_let_in_by_accident() {
    let open = ["--port", "0", "--host", "0.0.0.0"];
    let output = imesli(&open);
    for way in ["--key-file", "--allow-anonymous", "--host 127.0.0.1"] {
        one_line(&output, 2, way);
    }
    // Each way leads on to the checkpoint, which is not there.
    one_line(&imesli(&[&open[..], &["--allow-anonymous"]].concat()), 2, "/nowhere");
    one_line(&imesli(&["--port", "0", "--host", "localhost"]), 2, "/nowhere");
    let keys = one(Rules::default());
    let file = keys.file.to_str().unwrap();
    one_line(&imesli(&[&open[..], &["--key-file", file]].concat()), 2, "/nowhere");
    one_line(&imesli(&[&open[..], &["--key-file", "/no/keys"]].concat()), 2, "/no/keys");
    std::fs::write(&keys.file, "[keys.a]\nhash = 1\n").unwrap();
    one_line(&imesli(&[&open[..], &["--key-file", file]].concat()), 2, "line 2");
}

#[tokio::test]
async fn a_key_that_the_program_makes_opens_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.toml");
    let file = file.to_str().unwrap();
    let new = |name: &str| imesli(&["key", "new", name, "--key-file", file, "--concurrent", "2"]);
    let made = new("laptop");
    one_line(&made, 0, "shown again");
    let key = String::from_utf8(made.stdout).unwrap();
    assert_eq!(key.lines().count(), 1);
    let key = key.trim();
    assert!(!String::from_utf8_lossy(&made.stderr).contains(key));
    one_line(&new("laptop"), 2, "already");
    one_line(&new("lap top"), 2, "name");
    assert_eq!(imesli(&["key", "new", "x", "--key-file", file, "--concurrent", "0"]).status.code(), Some(2));
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("concurrent = 2") && !text.contains(key), "{text}");

    let checkpoint = demo(QuantType::Q8_0);
    let server = Running::start(&checkpoint, &["--key-file", file]);
    let transcribe = |key: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imesli"));
        command.args(["transcribe", "--server", &server.url, SAID[0].0]).current_dir(root(""));
        command.env_remove("RUST_LOG").env_remove("IMESLI_KEY");
        command.envs(key.map(|key| ("IMESLI_KEY", key))).output().unwrap()
    };
    let output = transcribe(Some(key));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), SAID[0].1, "{output:?}");
    one_line(&transcribe(Some("imesli_wrong")), 1, "401");
    one_line(&transcribe(None), 1, "UNAUTHORIZED");
}
