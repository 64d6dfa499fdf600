//! `imesli transcribe --server` against a server that plays by a script.

mod fake;
mod live;
mod real;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use serde_json::{Value, json};

use self::fake::{Fake, Peer};
use crate::support::root;

/// Runs the program against a server. There is no checkpoint: the client must not want one.
fn transcribe(server: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imesli"))
        .args(["transcribe", "--server", server])
        .args(arguments)
        .current_dir(root(""))
        .env("IMESLI_CHECKPOINT", "/nowhere")
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file of this size, the same for all that ask.
fn file(name: &str, size: usize) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes(size)).unwrap();
    path
}

/// Bytes that no chunk has twice.
fn bytes(size: usize) -> Vec<u8> {
    (0..size as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// The order in which a server answers.
fn answer(peer: &mut Peer, id: &str, fields: Value) {
    peer.state("processing", json!({"audio_id": id}));
    peer.state("loading", Value::Null);
    peer.state("transcribing", Value::Null);
    peer.state("transcribing", json!({"progress": 50.0}));
    let mut message = json!({"type": "transcription", "audio_id": id, "timestamp": "2026-01-01T00:00:00Z"});
    message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    peer.send(&message);
    peer.state("ready", Value::Null);
}

const SMALL: &str = "tests/data/theo-7309.wav";

#[test]
fn a_small_file_is_one_message_and_its_words_come_out() {
    let fake = Fake::plain();
    let url = fake.url.clone();
    let run = thread::spawn(move || {
        transcribe(
            &url,
            &[
                "--language",
                "KAB",
                "--task",
                "translate",
                "--timestamps",
                "segment",
                "--beam-size",
                "2",
                "--vad",
                "off",
                SMALL,
            ],
        )
    });
    let mut peer = fake.accept();
    peer.state("ready", Value::Null);
    let asked = peer.receive();
    assert_eq!(asked["type"], "audio");
    assert_eq!(asked["format"], "base64");
    assert_eq!(asked["file_name"], "theo-7309.wav");
    assert_eq!((&asked["language"], &asked["task"]), (&json!("kab"), &json!("translate")));
    assert_eq!((&asked["timestamps"], &asked["beam_size"]), (&json!("segment"), &json!(2)));
    assert_eq!(asked["vad"], json!(false));
    assert_eq!(fake::decode(&asked["audio_data"]), std::fs::read(root(SMALL)).unwrap());
    peer.send(&json!({"type": "something_new", "answer": 42}));
    answer(&mut peer, asked["audio_id"].as_str().unwrap(), json!({"transcription": "azul fell-awen"}));
    peer.closed();

    let output = run.join().unwrap();
    assert_eq!(text(&output.stdout), "azul fell-awen\n");
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn several_files_share_a_connection_and_json_is_that_of_local_mode() {
    let fake = Fake::plain();
    let url = fake.url.clone();
    let run =
        thread::spawn(move || transcribe(&url, &["--format", "json", SMALL, "/nowhere/a.wav", "Cargo.toml"]));
    let mut peer = fake.accept();
    let first = peer.receive();
    assert_eq!(first["language"], Value::Null, "the server's own default");
    assert_eq!(first["beam_size"], Value::Null);
    let fields = json!({
        "transcription": "one", "language": "en", "duration": 1.5, "decoded": 1.5, "unended": 0,
        "segments": [{"start": 0.0, "end": 1.5, "text": "one", "more": true}],
    });
    answer(&mut peer, first["audio_id"].as_str().unwrap(), fields);
    let second = peer.receive();
    assert_ne!(first["audio_id"], second["audio_id"]);
    peer.error("AUDIO_LOAD_ERROR", "no audio in it", json!({"audio_id": second["audio_id"]}));
    peer.closed();

    let output = run.join().unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let wanted = json!({
        "file": SMALL, "text": "one", "language": "en", "duration": 1.5, "decoded": 1.5, "unended": 0,
        "segments": [{"start": 0.0, "end": 1.5, "text": "one"}],
    });
    assert_eq!(line, wanted);
    let log = text(&output.stderr);
    assert!(log.contains("/nowhere/a.wav"), "{log}");
    assert!(log.contains("Cargo.toml") && log.contains("AUDIO_LOAD_ERROR: no audio in it"), "{log}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_answer_of_the_python_server_will_do() {
    let fake = Fake::plain();
    let url = fake.url.clone();
    let run = thread::spawn(move || transcribe(&url, &["--format", "json", SMALL]));
    let mut peer = fake.accept();
    let asked = peer.receive();
    // Somebody else's error is not ours.
    peer.error("TRANSCRIPTION_ERROR", "not yours", json!({"audio_id": "another"}));
    answer(&mut peer, asked["audio_id"].as_str().unwrap(), json!({"transcription": "one"}));
    peer.closed();
    let line: Value = serde_json::from_slice(&run.join().unwrap().stdout).unwrap();
    assert_eq!(line, json!({"file": SMALL, "text": "one", "language": null, "segments": []}));
}

#[test]
fn a_large_file_goes_in_chunks_and_on_where_the_connection_broke() {
    const SIZE: usize = (9 << 20) + 5;
    let path = file("large.wav", SIZE);
    let fake = Fake::plain();
    let url = fake.url.clone();
    let run = thread::spawn(move || transcribe(&url, &[path.to_str().unwrap()]));

    let mut peer = fake.accept();
    let start = peer.receive();
    assert_eq!(start["type"], "upload_start");
    assert_eq!((&start["file_name"], &start["resume"]), (&json!("large.wav"), &json!(false)));
    assert_eq!((&start["file_size"], &start["total_chunks"]), (&json!(SIZE), &json!(10)));
    let id = start["upload_id"].as_str().unwrap().to_owned();
    let ack = |more: Value| {
        let mut message = json!({"type": "upload_progress", "upload_id": id, "progress": 1.0, "message": ""});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    peer.send(&ack(json!({})));
    let mut got = BTreeMap::new();
    for index in 0..4 {
        let chunk = peer.receive();
        assert_eq!((&chunk["type"], &chunk["chunk_index"]), (&json!("upload_chunk"), &json!(index)));
        got.insert(index, fake::decode(&chunk["chunk_data"]));
        if index < 3 {
            peer.send(&ack(json!({})));
        }
    }
    // The server has the fourth chunk, and the client does not know.
    drop(peer);

    let mut peer = fake.accept();
    let again = peer.receive();
    assert_eq!((&again["upload_id"], &again["resume"]), (&json!(id), &json!(true)));
    peer.send(&ack(json!({"received_chunks": [0, 1, 2, 3]})));
    for index in 4..10 {
        let chunk = peer.receive();
        assert_eq!(chunk["chunk_index"], index);
        assert_eq!(chunk["is_final_chunk"], index == 9);
        got.insert(index, fake::decode(&chunk["chunk_data"]));
        peer.send(&ack(json!({})));
    }
    assert_eq!(peer.receive(), json!({"type": "upload_complete", "upload_id": id, "file_name": "large.wav"}));
    peer.send(&json!({"type": "upload_complete", "upload_id": id, "message": ""}));
    answer(&mut peer, &id, json!({"transcription": "long"}));
    peer.closed();

    assert_eq!(got.into_values().flatten().collect::<Vec<_>>(), bytes(SIZE));
    let output = run.join().unwrap();
    assert_eq!(text(&output.stdout), "long\n");
    assert!(text(&output.stderr).contains("trying again"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_refused_upload_says_why() {
    let path = file("refused.txt", 9 << 20);
    let fake = Fake::plain();
    let url = fake.url.clone();
    let run = thread::spawn(move || transcribe(&url, &[path.to_str().unwrap()]));
    let mut peer = fake.accept();
    let start = peer.receive();
    peer.error("UNSUPPORTED_FILE_TYPE", ".txt is no audio", json!({"upload_id": start["upload_id"]}));
    peer.closed();
    let output = run.join().unwrap();
    assert!(text(&output.stderr).contains("UNSUPPORTED_FILE_TYPE: .txt is no audio"));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
}

#[test]
fn a_server_that_hangs_up_for_good_is_given_up() {
    let fake = Fake::plain();
    let url = fake.url.clone();
    let run = thread::spawn(move || transcribe(&url, &[SMALL]));
    for _ in 0..5 {
        let mut peer = fake.accept();
        peer.receive();
        peer.close(1011, "out of order");
    }
    let output = run.join().unwrap();
    let log = text(&output.stderr);
    assert!(log.contains("1011") || log.contains("out of order"), "{log}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_said_before_hanging_up_is_the_reason() {
    let fake = Fake::plain();
    let url = fake.url.clone();
    let path = file("too-large.wav", 7 << 20);
    let run = thread::spawn(move || transcribe(&url, &[path.to_str().unwrap()]));
    let mut peer = fake.accept();
    peer.error("PAYLOAD_TOO_LARGE", "at most 1 MiB", json!({}));
    // Takes nothing more: the client is still sending.
    thread::sleep(std::time::Duration::from_millis(300));
    drop(peer);
    let output = run.join().unwrap();
    assert!(text(&output.stderr).contains("PAYLOAD_TOO_LARGE: at most 1 MiB"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_self_signed_certificate_needs_insecure() {
    let Some(fake) = Fake::secure() else {
        eprintln!("SKIPPED: this test makes its certificate with `openssl`, which is not here");
        return;
    };
    let url = fake.url.clone();
    let refused = thread::spawn(move || transcribe(&url, &[SMALL]));
    fake.fail_handshake();
    let output = refused.join().unwrap();
    let log = text(&output.stderr);
    assert!(log.contains("certificate") && log.contains("--insecure"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert_eq!(output.status.code(), Some(1));

    let url = fake.url.clone();
    let run = thread::spawn(move || transcribe(&url, &["--insecure", SMALL]));
    let mut peer = fake.accept();
    let asked = peer.receive();
    answer(&mut peer, asked["audio_id"].as_str().unwrap(), json!({"transcription": "sealed"}));
    peer.closed();
    assert_eq!(text(&run.join().unwrap().stdout), "sealed\n");
}

#[test]
fn no_server_is_one_line_and_exit_code_1() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = transcribe(&format!("ws://127.0.0.1:{port}"), &[SMALL]);
    let log = text(&output.stderr);
    assert!(log.contains(&format!("cannot connect to ws://127.0.0.1:{port}")), "{log}");
    assert!(!log.contains('\x1b'), "colours in what is no terminal: {log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_wrong_address_is_exit_code_2() {
    assert_eq!(transcribe("http://127.0.0.1", &[SMALL]).status.code(), Some(2));
}
