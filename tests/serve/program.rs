//! The program as a server: exit codes and signals.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use imesli::checkpoint::QuantType;

use super::{Client, SAID, audio, encoded, root};
use crate::support::demo;

pub(super) fn imesli(arguments: &[&str]) -> Command {
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
pub(super) fn log_until(child: &mut Child, wanted: &str) -> String {
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

#[cfg(unix)]
#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for signal in ["-TERM", "-INT"] {
        let mut child = imesli(&["--port", "0", "--shutdown-timeout", "600"]).spawn().unwrap();
        let line = log_until(&mut child, "listening on");
        let mut client = Client::connect(line.split("listening on ").nth(1).unwrap()).await;
        client.send(audio("endless", &super::long_encoded(1200))).await;
        while client.state().await != "transcribing" {}
        let kill = || Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        kill();
        tokio::time::sleep(Duration::from_millis(700)).await;
        client.is_alive().await;
        let begin = Instant::now();
        kill();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{signal}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
}

/// What a crowd of clients needed goes back to the system when they are gone.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_goes_back_after_a_crowd() {
    const MIB: usize = 1 << 20;
    let mut child = imesli(&["--port", "0", "--states", "1"]).spawn().unwrap();
    let line = log_until(&mut child, "listening on");
    let url = line.split("listening on ").nth(1).unwrap();
    let held = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        own.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    };
    // The state's buffers grow with the first audio, and stay.
    let mut first = Client::connect(url).await;
    assert_eq!(first.state().await, "ready");
    first.send(audio("a", &encoded(0))).await;
    assert_eq!(first.answer().await["transcription"], SAID[0].1);
    let before = held();
    let mut crowd = Vec::new();
    for i in 0..30 {
        let mut client = Client::connect(url).await;
        assert_eq!(client.state().await, "ready");
        // Large and small, one among the other; none is audio, which saves the time to decode it.
        client.send(audio("b", &"A".repeat(MIB + i * 40_000))).await;
        assert_eq!(client.answer().await["code"], "AUDIO_LOAD_ERROR");
        crowd.push(client);
    }
    drop(crowd);
    let begin = Instant::now();
    while held() > before + 8 * MIB {
        assert!(begin.elapsed() < Duration::from_secs(30), "{} MiB more", (held() - before) / MIB);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
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
