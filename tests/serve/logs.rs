//! What the program says of itself: JSON lines, spans for a collector, metrics on an address of their own.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use imesli::checkpoint::QuantType;
use serde_json::Value;

use super::{Client, SAID, audio, encoded};
use crate::support::demo;

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_imesli"))
        .args(["--port", "0", "--cpu", "--threads", "1"])
        .args(arguments)
        .env("IMESLI_CHECKPOINT", demo(QuantType::Q8_0))
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn stop(mut child: Child) {
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(child.wait().unwrap().success());
}

async fn transcribe(url: &str) {
    let mut client = Client::connect(url).await;
    assert_eq!(client.state().await, "ready");
    client.send(audio("a-name", &encoded(0))).await;
    assert_eq!(client.answer().await["transcription"], SAID[0].1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_a_json_log_is_an_object_and_none_has_the_text() {
    let mut child = start(&["--log-format", "json"]);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut lines = Vec::new();
    let mut read = |until: &str| {
        loop {
            let mut line = String::new();
            if log.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(value["timestamp"].is_string() && value["level"].is_string(), "{line}");
            lines.push(line);
            if value["message"].as_str().is_some_and(|message| message.contains(until)) {
                return Some(value);
            }
        }
    };
    let listening = read("listening on ").unwrap();
    let url = listening["message"].as_str().unwrap().trim_start_matches("listening on ").to_owned();
    transcribe(&url).await;
    let job = read("transcribed").unwrap();
    assert_eq!(job["spans"][0]["audio"], "a-name", "{job}");
    assert_eq!(job["span"]["front"], "websocket", "{job}");
    assert!(job["encode"].as_f64().unwrap() > 0.0, "{job}");
    stop(child);
    assert!(read("never said").is_none());
    assert!(!lines.concat().contains(SAID[0].1), "a log has no text");
}

/// An HTTP request, from its head to the end of its body; answered by 200.
fn taken(mut stream: TcpStream) -> (String, Vec<u8>) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    loop {
        let read = stream.read(&mut block).unwrap();
        assert_ne!(read, 0, "the request ends too early");
        bytes.extend_from_slice(&block[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if bytes.len() - end - 4 >= length.trim().parse::<usize>().unwrap() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            return (head, bytes.split_off(end + 4));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_a_job_are_sent_to_a_collector() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in collector.incoming().map_while(Result::ok) {
            let _ = sender.send(taken(stream));
        }
    });
    let mut child = start(&["--otlp-endpoint", &endpoint]);
    let log = BufReader::new(child.stderr.take().unwrap());
    let mut lines = log.lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("listening on ")).unwrap();
    transcribe(line.split_once("listening on ").unwrap().1).await;
    let rest = std::thread::spawn(move || lines.for_each(drop));
    // What has not been sent is sent at the end.
    stop(child);
    rest.join().unwrap();
    let mut bodies = Vec::new();
    while let Ok((head, body)) = requests.recv_timeout(Duration::from_secs(5)) {
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(head.contains("application/x-protobuf"), "{head}");
        bodies.extend(body);
        let has = |name: &str| bodies.windows(name.len()).any(|part| part == name.as_bytes());
        if ["imesli", "audio", "job", "load", "transcribe", "a-name"].into_iter().all(has) {
            return;
        }
    }
    panic!("the collector got {} bytes, without all spans", bodies.len());
}

/// What is answered to a GET.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_may_have_an_address_of_their_own() {
    let address = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let mut child =
        start(&["--metrics-listen", &address, "--tls-self-signed", "--certs-dir", "target/tmp/certs"]);
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = log.find(|line| line.contains("listening on ")).unwrap();
    transcribe(line.split_once("listening on ").unwrap().1).await;
    let (metrics, health, ready, other) = tokio::task::spawn_blocking(move || {
        let get = |path| get(&address, path);
        (get("/metrics"), get("/health"), get("/ready"), get("/v1/models"))
    })
    .await
    .unwrap();
    assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
    assert!(metrics.contains("\nimesli_requests_total{front=\"websocket\",outcome=\"ok\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\nimesli_window_encode_seconds_count 1\n"), "{metrics}");
    assert!(health.starts_with("HTTP/1.1 200 ") && ready.starts_with("HTTP/1.1 200 "), "{health}{ready}");
    assert!(other.starts_with("HTTP/1.1 404 "), "nothing else is there: {other}");
    stop(child);
}
