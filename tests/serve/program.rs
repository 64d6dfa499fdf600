//! The program as a server: exit codes and signals.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use imesli::checkpoint::QuantType;

use super::{Client, SAID, audio, encoded, root};
use crate::support::demo;

fn imesli(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imesli"));
    command
        .args(arguments)
        .current_dir(root(""))
        .env("IMESLI_CHECKPOINT", demo(QuantType::Q8_0))
        .env("IMESLI_THREADS", "1")
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped());
    command
}

/// The log up to a line that has this in it.
fn log_until(child: &mut Child, wanted: &str) -> String {
    let mut log = String::new();
    for line in BufReader::new(child.stderr.as_mut().unwrap()).lines() {
        let line = line.unwrap();
        log.push_str(&line);
        log.push('\n');
        if line.contains(wanted) {
            return line;
        }
    }
    panic!("no {wanted:?} in the log:\n{log}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_program_serves_until_a_signal_ends_it() {
    for signal in ["-TERM", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().to_str().unwrap();
        let mut child = imesli(&["--port", "0", "--tls-self-signed", "--certs-dir", certs]).spawn().unwrap();
        let line = log_until(&mut child, "listening on");
        let url = line.split("listening on ").nth(1).unwrap();
        assert!(url.starts_with("wss://127.0.0.1:"), "{line}");
        let mut client = Client::connect(url).await;
        assert_eq!(client.state().await, "ready");
        client.send(audio("a", &encoded(0))).await;
        assert_eq!(client.answer().await["transcription"], SAID[0].1);
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert_eq!(client.state().await, "ready");
        assert_eq!(client.close_code().await, 1001);
        drop(client);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn what_keeps_it_from_serving_is_one_clear_line_and_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, named) in [
        (&["--port", &port][..], port.as_str()),
        (&["--port", "0", "--tls-cert", "README", "--tls-key", "Cargo.toml"], "README"),
        (&["--port", "0", "--ssl-cert", "Cargo.toml", "--ssl-key", "Cargo.toml"], "Cargo.toml"),
        (&["--port", "0", "--checkpoint", "/nowhere"], "/nowhere"),
        (&["--port", "0", "--host", "256.1.1.1"], "256.1.1.1"),
    ] {
        let output = imesli(arguments).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains(named), "{log}");
    }
    for wrong in [&["--port", "x"][..], &["--tls-cert", "a.pem"], &["--port", "1", "transcribe", "a.wav"]] {
        assert_eq!(imesli(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}
