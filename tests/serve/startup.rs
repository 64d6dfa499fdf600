//! What keeps the program from serving is one clear line and exit code 2; a disk that fills up later costs an upload.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imesli::checkpoint::QuantType;
use imesli::serve::certificate::self_signed;
use serde_json::{Value, json};

use super::program::{imesli, log_until};
use super::{Client, SAID, long_wav, root};
use crate::support::demo;

/// The program with a file system of its own, with these options, mounted at `at`; full, if that is wanted. `None` where
/// this user may not have such a thing.
fn with_mount(options: &str, full: bool, at: &Path, arguments: &[&str]) -> Option<Command> {
    let may = Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs none /mnt"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no file systems of its own for this user (unshare -rm)");
        return None;
    }
    let script = "mount -t tmpfs -o \"$0\" none \"$1\" || exit 99
        [ \"$2\" = false ] || head -c 10M /dev/zero >\"$1/full\" 2>/dev/null
        shift 2; exec \"$@\"";
    let program = imesli(arguments);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, options]).arg(at).arg(full.to_string());
    command.arg(program.get_program()).args(program.get_args()).current_dir(root(""));
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stderr(Stdio::piped());
    Some(command)
}

/// Runs what has to fail at its start, with a line that has all of these in it.
fn fails(mut command: Command, named: &[&str]) {
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{named:?}: {log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(named.iter().all(|name| log.contains(name)), "{named:?}: {log}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (cert, _) = self_signed(&dir.path().join("one")).unwrap();
    let (_, key) = self_signed(&dir.path().join("other")).unwrap();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    fails(imesli(&["--port", "0", "--tls-cert", cert, "--tls-key", key]), &[cert, key]);
    fails(imesli(&["--port", "0", "--tls-cert", &path("no.pem"), "--tls-key", key]), &["no.pem", "No such"]);
    fails(imesli(&["--port", "0", "--tls-cert", cert, "--tls-key", &path("no.pem")]), &["no.pem", "No such"]);
    fails(imesli(&["--port", "0", "--spool-dir", &path("gone")]), &["gone", "--spool-dir", "No such"]);
    fails(imesli(&["--port", "0", "--spool-dir", cert]), &[cert, "--spool-dir"]);
    // Where nobody can make a file, whoever they are.
    fails(imesli(&["--port", "0", "--spool-dir", "/proc"]), &["/proc", "--spool-dir"]);
    fails(imesli(&["--port", "0", "--tls-self-signed", "--certs-dir", "/proc/certs"]), &["/proc/certs"]);

    let model = fs::read(demo(QuantType::Q8_0)).unwrap();
    for (name, bytes) in
        [("short.bin", &model[..model.len() / 2]), ("empty.bin", &b""[..]), ("text.bin", &b"text"[..])]
    {
        fs::write(path(name), bytes).unwrap();
        fails(imesli(&["--port", "0", "--checkpoint", &path(name)]), &[name]);
    }
}

#[test]
fn a_disk_that_is_full_or_read_only_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    for (options, full, arguments, said) in [
        ("size=64k", true, &["--port", "0", "--spool-dir", at][..], "No space left"),
        ("ro", false, &["--port", "0", "--spool-dir", at], "Read-only"),
        ("size=64k", true, &["--port", "0", "--tls-self-signed", "--certs-dir", at], "No space left"),
        ("ro", false, &["--port", "0", "--tls-self-signed", "--certs-dir", at], "Read-only"),
    ] {
        let Some(command) = with_mount(options, full, dir.path(), arguments) else { return };
        fails(command, &[at, said]);
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_costs_the_upload() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap().to_owned();
    // A port of its own, so that its uploads lie in its folder.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let arguments = ["--port", &port, "--spool-dir", &at];
    let Some(mut command) = with_mount("size=2m", false, dir.path(), &arguments) else { return };
    let mut child = command.spawn().unwrap();
    let line = log_until(&mut child, "listening on");
    let mut client = Client::connect(line.split("listening on ").nth(1).unwrap()).await;
    assert_eq!(client.state().await, "ready");
    let start = |id: &str, file: &[u8]| {
        json!({ "type": "upload_start", "upload_id": id, "file_name": "a.wav", "file_size": file.len(),
                "total_chunks": 1 })
    };
    let chunk = |id: &str, file: &[u8]| -> Value {
        json!({ "type": "upload_chunk", "upload_id": id, "chunk_index": 0, "chunk_data": STANDARD.encode(file) })
    };
    let (large, small) = (long_wav(120), fs::read(root(SAID[0].0)).unwrap());
    client.send(start("large", &large)).await;
    assert_eq!(client.next().await["type"], "upload_progress");
    for _ in 0..2 {
        client.send(chunk("large", &large)).await;
        client.code("INTERNAL_ERROR").await;
    }
    client.is_alive().await;
    // What it had written is not in the way of others when it is given up.
    client.send(json!({ "type": "upload_error", "upload_id": "large" })).await;
    client.send(start("small", &small)).await;
    assert_eq!(client.next().await["type"], "upload_progress");
    client.send(chunk("small", &small)).await;
    assert_eq!(client.next().await["progress"], 100.0);
    client.send(json!({ "type": "upload_complete", "upload_id": "small" })).await;
    assert_eq!(client.next().await["type"], "upload_complete");
    assert_eq!(client.answer().await["transcription"], SAID[0].1);
    child.kill().unwrap();
    child.wait().unwrap();
}
