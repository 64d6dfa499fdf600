//! The same against the real server: the program on both sides.

use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use imesli::checkpoint::QuantType;
use serde_json::Value;

use super::{text, transcribe};
use crate::asr::SAID;
use crate::support::{demo, root};

/// The program as a server on a port of its own.
struct Server {
    url: String,
    child: Child,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_imesli"))
            .args(["--port", "0"])
            .args(arguments)
            .env("IMESLI_CHECKPOINT", demo(QuantType::Q8_0))
            .env("IMESLI_THREADS", "1")
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server has ended");
        }
        // Somebody has to read on, or the server would wait for it.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        let url = line.split("listening on ").nth(1).unwrap().trim().to_owned();
        Self { url, child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(output: &[u8]) -> Value {
    serde_json::from_slice(output).unwrap()
}

#[test]
fn a_server_finds_the_words_that_local_mode_finds() {
    let server = Server::start(&[]);
    for timestamps in ["segment", "word"] {
        same_as_local(&server, timestamps);
    }
}

fn same_as_local(server: &Server, timestamps: &str) {
    let arguments = ["--format", "json", "--timestamps", timestamps, SAID[2].0];
    let remote = transcribe(&server.url, &arguments);
    assert_eq!(text(&remote.stderr), "");
    let local = Command::new(env!("CARGO_BIN_EXE_imesli"))
        .arg("transcribe")
        .args(arguments)
        .current_dir(root(""))
        .env("IMESLI_CHECKPOINT", demo(QuantType::Q8_0))
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let (remote, local) = (json(&remote.stdout), json(&local.stdout));
    assert_eq!(remote["text"], SAID[2].1);
    for field in ["file", "text", "language", "unended", "timestamps", "word_times"] {
        assert_eq!(remote[field], local[field], "{field}");
    }
    let times = |line: &Value| (line["duration"].as_f64().unwrap(), line["decoded"].as_f64().unwrap());
    let close = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 0.01 && (b - d).abs() < 0.01;
    assert!(close(times(&remote), times(&local)), "{remote}\n{local}");
    let segments = |line: &Value| line["segments"].as_array().unwrap().clone();
    assert_eq!(segments(&remote).len(), segments(&local).len());
    let words =
        |line: &Value| segments(line).iter().map(|segment| segment["words"].clone()).collect::<Vec<_>>();
    let (remote, local) = (words(&remote), words(&local));
    assert_eq!(remote.iter().any(Value::is_array), timestamps == "word");
    for (remote, local) in
        remote.iter().filter_map(Value::as_array).zip(local.iter().filter_map(Value::as_array))
    {
        assert_eq!(remote.len(), local.len());
        for (remote, local) in remote.iter().zip(local) {
            assert_eq!(remote["word"], local["word"]);
            for field in ["start", "end", "probability"] {
                let difference = remote[field].as_f64().unwrap() - local[field].as_f64().unwrap();
                assert!(difference.abs() < 0.001, "{field}: {remote} {local}");
            }
        }
    }
}

#[test]
fn wss_and_an_upload() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().to_str().unwrap();
    let server = Server::start(&["--tls-self-signed", "--certs-dir", certs]);
    // A second of silence in front, in many channels, makes it too large for one message.
    let spec = hound::WavSpec {
        channels: 32,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let path = folder.path().join("large.wav");
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    let speech = crate::support::samples(SAID[3].0);
    for sample in std::iter::repeat_n(&0.0, 16_000).chain(speech.iter()) {
        for _ in 0..3 * 32 {
            writer.write_sample((sample * 32_000.0) as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
    assert!(path.metadata().unwrap().len() > 8 << 20);
    let output = transcribe(&server.url, &["--insecure", path.to_str().unwrap()]);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(text(&output.stdout), format!("{}\n", SAID[3].1));

    let refused = transcribe(&server.url, &[SAID[3].0]);
    assert!(text(&refused.stderr).contains("--insecure"), "{}", text(&refused.stderr));
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn what_the_server_refuses_has_its_code() {
    let server = Server::start(&["--max-audio-seconds", "2"]);
    let output = transcribe(&server.url, &["Cargo.toml", "--language", "xx", SAID[0].0]);
    let log = text(&output.stderr);
    assert!(log.contains("Cargo.toml: the server says AUDIO_LOAD_ERROR"), "{log}");
    assert!(log.contains("the server says PAYLOAD_TOO_LARGE"), "{log}");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
}

/// The program on a file as if it were being recorded.
fn live(server: &str, path: &str, arguments: &[&str]) -> Output {
    transcribe(server, &[arguments, &["--live"], &[path]].concat())
}

#[test]
fn live_audio_has_the_words_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["--tls-self-signed", "--certs-dir", folder.path().to_str().unwrap()]);
    let (path, said) = SAID[2];
    let output = live(&server.url, path, &["--insecure", "--format", "json"]);
    assert_eq!((text(&output.stderr), output.status.code()), (String::new(), Some(0)));
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| json(line.as_bytes())).collect();
    let committed = |line: &Value| line["committed"].as_str().map(str::to_owned);
    assert_eq!(lines.iter().filter_map(committed).collect::<String>(), said);
    let last = lines.last().unwrap();
    assert_eq!((&last["type"], &last["text"]), (&Value::from("transcription"), &Value::from(said)));
    let segments: Vec<&Value> = lines.iter().filter(|line| line["type"] == "segment").collect();
    assert_eq!(segments.len(), last["segments"].as_array().unwrap().len());

    let refused = live(&server.url, path, &["--insecure", "--language", "xx"]);
    assert!(text(&refused.stderr).contains("STREAM_START_ERROR"), "{}", text(&refused.stderr));
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn live_audio_goes_on_after_a_cut() {
    let server = Server::start(&[]);
    let (path, said) = SAID[2];
    let size = std::fs::metadata(root(path)).unwrap().len();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let address = server.url.trim_start_matches("ws://").to_owned();
    // Lets half of the audio through, then hangs up; the next connection is let through.
    std::thread::spawn(move || {
        for most in [size / 2, u64::MAX] {
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(&address).unwrap();
            let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let back = std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
            let _ = std::io::copy(&mut (&client).take(most), &mut &server);
            if most == u64::MAX {
                let _ = server.shutdown(Shutdown::Write);
            } else {
                let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
            }
            let _ = back.join();
        }
    });
    let output = live(&url, path, &[]);
    assert_eq!(text(&output.stderr).matches("trying again").count(), 1, "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" "), said);
    assert_eq!(output.status.code(), Some(0));
}
