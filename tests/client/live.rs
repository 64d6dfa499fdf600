//! `imesli transcribe --live` against a server that plays by a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::thread;

use imesli::checkpoint::QuantType;
use serde_json::{Value, json};

use super::fake::{Fake, Peer};
use super::{SMALL, bytes, file, text};
use crate::asr::SAID;
use crate::support::{demo, root};

/// The program, and what is spoken into it.
struct Speaker {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Speaker {
    fn start(server: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_imesli"))
            .args(["transcribe", "--server", server, "--live"])
            .args(arguments)
            .current_dir(root(""))
            .env("IMESLI_CHECKPOINT", "/nowhere")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    fn say(&mut self, audio: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(audio).unwrap();
        stdin.flush().unwrap();
    }

    fn fall_silent(&mut self) {
        self.stdin = None;
    }

    /// Waits until so much text stands there.
    fn reads(&mut self, wanted: &str) {
        let mut got = vec![0; wanted.len()];
        self.stdout.read_exact(&mut got).unwrap();
        assert_eq!(text(&got), wanted);
    }

    #[cfg(unix)]
    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    fn end(mut self) -> Output {
        self.stdin = None;
        let mut stdout = Vec::new();
        self.stdout.read_to_end(&mut stdout).unwrap();
        Output { stdout, ..self.child.wait_with_output().unwrap() }
    }
}

/// Opens the stream that the client asks for, and says what it asked.
fn open(peer: &mut Peer) -> (String, Value) {
    let asked = peer.receive();
    assert_eq!(asked["type"], "stream_start", "{asked}");
    let id = asked["stream_id"].as_str().unwrap().to_owned();
    streaming(peer, &id, 0);
    (id, asked)
}

fn streaming(peer: &mut Peer, id: &str, next: usize) {
    let data = json!({"audio_id": id, "stream_id": id, "next_sample": next, "resumed": next > 0});
    peer.state("streaming", data);
}

fn partial(peer: &mut Peer, id: &str, texts: [&str; 2], samples: usize, more: Value) {
    let end = samples as f64 / 16_000.0;
    let mut message = json!({
        "type": "partial", "stream_id": id, "seq": 1, "committed": texts[0], "volatile": texts[1],
        "start": 0.0, "committed_end": end, "end": end, "received_samples": samples,
    });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    peer.send(&message);
}

fn segment(peer: &mut Peer, id: &str, index: usize, words: &str) {
    let (start, end) = (index as f64, index as f64 + 0.8);
    peer.send(&json!({
        "type": "segment", "stream_id": id, "index": index, "start": start, "end": end, "text": words,
    }));
}

fn transcription(peer: &mut Peer, id: &str, words: &str) {
    peer.send(&json!({"type": "transcription", "audio_id": id, "transcription": words, "timestamp": ""}));
    peer.state("ready", Value::Null);
}

#[test]
fn text_comes_as_it_grows_and_a_line_for_each_phrase() {
    let fake = Fake::plain();
    let arguments = ["-", "--rate", "8000", "--channels", "2", "--silence-ms", "400", "--language", "KAB"];
    let mut speaker = Speaker::start(&fake.url, &arguments);
    // What it is may take a few bytes to see.
    speaker.say(&[0; 16]);
    let mut peer = fake.accept();
    let (id, asked) = open(&mut peer);
    assert_eq!((&asked["encoding"], &asked["sample_rate"]), (&json!("pcm_s16le"), &json!(8000)));
    assert_eq!((&asked["channels"], &asked["silence_ms"]), (&json!(2), &json!(400)));
    assert_eq!((&asked["language"], &asked["partials"]), (&json!("kab"), &json!(true)));
    assert_eq!(peer.audio(16), [0; 16]);
    partial(&mut peer, &id, ["azul", " fell"], 4, json!({}));
    speaker.reads("azul");
    partial(&mut peer, &id, [" fellawen", ""], 4, json!({}));
    segment(&mut peer, &id, 0, "azul fellawen");
    speaker.reads(" fellawen\n");
    partial(&mut peer, &id, [" tanemmirt", ""], 4, json!({}));
    // Somebody else's text, and a message of the future.
    partial(&mut peer, "another", [" no", ""], 4, json!({}));
    peer.send(&json!({"type": "stream_mood", "stream_id": id}));
    speaker.fall_silent();
    assert_eq!(peer.receive(), json!({"type": "stream_stop"}));
    segment(&mut peer, &id, 1, "tanemmirt");
    transcription(&mut peer, &id, "azul fellawen tanemmirt");
    peer.closed();
    let output = speaker.end();
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("tanemmirt\n".to_owned(), String::new()));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_stream_goes_on_over_another_connection_with_the_very_bytes_that_are_missing() {
    const SAMPLES: usize = 40_000;
    let audio = bytes(2 * SAMPLES);
    let fake = Fake::plain();
    let mut speaker = Speaker::start(&fake.url, &["-"]);
    speaker.say(&audio[..40_000]);
    let mut peer = fake.accept();
    let (id, _) = open(&mut peer);
    assert_eq!(peer.audio(40_000), audio[..40_000]);
    partial(&mut peer, &id, ["one two", ""], 12_000, json!({}));
    segment(&mut peer, &id, 0, "one two");
    speaker.reads("one two\n");
    drop(peer);

    // What is said meanwhile is kept.
    speaker.say(&audio[40_000..70_001]);
    let mut peer = fake.accept();
    let resume = json!({"stream_id": id, "received_samples": 12_000, "received_segments": 1});
    assert_eq!(peer.receive(), json!({"type": "stream_start", "resume": resume}));
    // The server has more than the client knew of.
    streaming(&mut peer, &id, 15_000);
    partial(&mut peer, &id, ["one two three", " for"], 15_000, json!({"from_start": true}));
    speaker.reads("three");
    assert_eq!(peer.audio(40_000), audio[30_000..70_000], "half a sample has to wait");
    partial(&mut peer, &id, ["", " four"], 35_000, json!({}));
    speaker.say(&audio[70_001..]);
    speaker.fall_silent();
    assert_eq!(peer.audio(10_000), audio[70_000..]);
    assert_eq!(peer.receive()["type"], "stream_stop");
    // The end gets lost, too.
    drop(peer);

    let mut peer = fake.accept();
    assert_eq!(peer.receive()["resume"]["received_samples"], 35_000);
    streaming(&mut peer, &id, SAMPLES);
    partial(&mut peer, &id, ["one two three four", ""], SAMPLES, json!({"from_start": true}));
    assert_eq!(peer.receive()["type"], "stream_stop");
    transcription(&mut peer, &id, "one two three four");
    peer.closed();
    let output = speaker.end();
    assert_eq!(text(&output.stdout), " four\n");
    assert_eq!(text(&output.stderr).matches("trying again").count(), 2, "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_stream_that_can_t_go_on_keeps_its_text() {
    let fake = Fake::plain();
    let mut speaker = Speaker::start(&fake.url, &["-", "--format", "srt"]);
    speaker.say(&[0; 3200]);
    let mut peer = fake.accept();
    let (id, asked) = open(&mut peer);
    assert_eq!((&asked["timestamps"], &asked["partials"]), (&json!("word"), &json!(false)));
    peer.audio(3200);
    segment(&mut peer, &id, 0, "kept");
    drop(peer);
    let mut peer = fake.accept();
    peer.receive();
    peer.error("STREAM_NOT_FOUND", "it is too late", json!({"audio_id": id}));
    peer.dropped();
    let output = speaker.end();
    assert_eq!(text(&output.stdout), "1\n00:00:00,000 --> 00:00:00,800\nkept\n\n");
    assert!(text(&output.stderr).contains("STREAM_NOT_FOUND: it is too late"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_that_breaks_off_again_and_again_is_given_up() {
    let fake = Fake::plain();
    let mut speaker = Speaker::start(&fake.url, &["-"]);
    speaker.say(&[0; 3200]);
    for attempt in 0..5 {
        let mut peer = fake.accept();
        let asked = peer.receive();
        assert_eq!(asked["resume"], Value::Null, "{attempt}: it was never open");
        peer.close(1011, "out of order");
    }
    let output = speaker.end();
    assert!(text(&output.stderr).contains("out of order"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_that_can_t_keep_up_ends_it_and_what_was_committed_stays() {
    let fake = Fake::plain();
    let mut speaker = Speaker::start(&fake.url, &["-"]);
    speaker.say(&[0; 3200]);
    let mut peer = fake.accept();
    let (id, _) = open(&mut peer);
    partial(&mut peer, &id, ["one", " two"], 1600, json!({}));
    peer.error("OVERLOADED", "up to 0.1 s", json!({"audio_id": id}));
    peer.dropped();
    let output = speaker.end();
    assert_eq!(text(&output.stdout), "one\n");
    assert!(text(&output.stderr).contains("OVERLOADED: up to 0.1 s"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_stream_that_is_too_long_has_its_text_and_a_reason() {
    let fake = Fake::plain();
    let mut speaker = Speaker::start(&fake.url, &["-", "--format", "json"]);
    speaker.say(&[0; 3200]);
    let mut peer = fake.accept();
    let (id, _) = open(&mut peer);
    peer.error("PAYLOAD_TOO_LARGE", "it ends here", json!({"audio_id": id}));
    segment(&mut peer, &id, 0, "one");
    transcription(&mut peer, &id, "one");
    peer.dropped();
    let output = speaker.end();
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let wanted = json!({"type": "segment", "index": 0, "start": 0.0, "end": 0.8, "text": "one"});
    assert_eq!(lines[0], wanted);
    assert_eq!(
        (&lines[1]["type"], &lines[1]["committed"]),
        (&json!("partial"), &json!("one")),
        "what was missing"
    );
    assert_eq!((&lines[2]["type"], &lines[2]["text"]), (&json!("transcription"), &json!("one")));
    assert!(text(&output.stderr).contains("PAYLOAD_TOO_LARGE"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_fast_source_waits_for_the_server() {
    const SECOND: usize = 32_000;
    let path = file("fast.raw", 100 * SECOND);
    let all = bytes(100 * SECOND);
    let fake = Fake::plain();
    let speaker = Speaker::start(&fake.url, &[path.to_str().unwrap()]);
    let mut peer = fake.accept();
    let (id, _) = open(&mut peer);
    assert_eq!(peer.audio(30 * SECOND), all[..30 * SECOND]);
    peer.nothing();
    // The server has it, but the phrase goes on.
    partial(&mut peer, &id, ["", ""], 30 * 16_000, json!({"start": 0.0}));
    assert_eq!(peer.audio(10 * SECOND), all[30 * SECOND..40 * SECOND]);
    peer.nothing();
    for seconds in [40, 80] {
        partial(&mut peer, &id, ["", ""], seconds * 16_000, json!({"start": seconds}));
        let next = (seconds + 30).min(100);
        let from = if seconds == 40 { 40 } else { 70 };
        assert_eq!(peer.audio((next - from) * SECOND), all[from * SECOND..next * SECOND]);
    }
    assert_eq!(peer.receive()["type"], "stream_stop");
    transcription(&mut peer, &id, "");
    peer.closed();
    let output = speaker.end();
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_wav_file_says_itself_what_it_is() {
    let fake = Fake::plain();
    let speaker = Speaker::start(&fake.url, &[SMALL, "--rate", "44100"]);
    let mut peer = fake.accept();
    let (id, asked) = open(&mut peer);
    assert_eq!((&asked["sample_rate"], &asked["encoding"]), (&json!(8000), &json!("pcm_s16le")));
    let file = std::fs::read(root(SMALL)).unwrap();
    assert_eq!(peer.audio(file.len() - 44), file[44..]);
    assert_eq!(peer.receive()["type"], "stream_stop");
    transcription(&mut peer, &id, "");
    peer.closed();
    assert_eq!(speaker.end().status.code(), Some(0));

    let refused = Speaker::start(&fake.url, &["tests/data/theo-7309-alaw.wav"]).end();
    assert!(text(&refused.stderr).contains("can't be sent live"), "{}", text(&refused.stderr));
    assert_eq!(refused.status.code(), Some(1));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_audio_and_a_second_one_the_program() {
    let fake = Fake::plain();
    let mut speaker = Speaker::start(&fake.url, &["-"]);
    speaker.say(&bytes(3200));
    let mut peer = fake.accept();
    let (id, _) = open(&mut peer);
    assert_eq!(peer.audio(3200), bytes(3200));
    speaker.interrupt();
    assert_eq!(peer.receive()["type"], "stream_stop");
    transcription(&mut peer, &id, "the rest");
    peer.closed();
    let output = speaker.end();
    assert_eq!((text(&output.stdout), output.status.code()), ("the rest\n".to_owned(), Some(0)));

    let mut speaker = Speaker::start(&fake.url, &["-"]);
    speaker.say(&[0; 3200]);
    let mut peer = fake.accept();
    open(&mut peer);
    peer.audio(3200);
    speaker.interrupt();
    assert_eq!(peer.receive()["type"], "stream_stop");
    // One that comes at once is the same wish.
    speaker.interrupt();
    thread::sleep(std::time::Duration::from_millis(700));
    speaker.interrupt();
    peer.dropped();
    assert_eq!(speaker.end().status.code(), Some(130));
}

#[test]
fn without_a_server_the_model_is_in_the_same_process() {
    let local = |checkpoint: &Path, file: &Path| {
        Command::new(env!("CARGO_BIN_EXE_imesli"))
            .args(["transcribe", "--log-level", "error", "--checkpoint"])
            .arg(checkpoint)
            .arg("--live")
            .arg(file)
            .env_remove("IMESLI_SERVER")
            .env("IMESLI_THREADS", "1")
            .output()
            .unwrap()
    };
    let (file, said) = SAID[1];
    let output = local(&demo(QuantType::Q8_0), &root(file));
    assert_eq!(text(&output.stdout).trim(), said, "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
    let output = local(Path::new("/nowhere"), &root(file));
    assert!(text(&output.stderr).contains("/nowhere"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_server_has_to_be_there() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = Speaker::start(&format!("ws://127.0.0.1:{port}"), &["-"]).end();
    let log = text(&output.stderr);
    assert!(log.contains("cannot connect to") && log.lines().count() == 1, "{log}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_missing_file_is_named() {
    assert!(!Path::new("/nowhere/a.raw").exists());
    let output = Speaker::start("ws://127.0.0.1:9", &["/nowhere/a.raw"]).end();
    let log: Vec<String> = BufReader::new(&output.stderr[..]).lines().map(Result::unwrap).collect();
    assert!(log.len() == 1 && log[0].contains("/nowhere/a.raw: "), "{log:?}");
    assert_eq!(output.status.code(), Some(1));
}
