//! Uploads and the death of the process: what was acknowledged is there when it is started again.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imesli::checkpoint::QuantType;
use serde_json::{Value, json};

use super::{Client, SAID, long_wav, root};
use crate::support::{Running, demo};

/// A name that no file should have.
const ID: &str = "../../strange\n\"name\" \u{1f600}\0%s";

/// A server that is killed and started again on the same port, with the same folder.
struct Mortal {
    port: u16,
    spool: tempfile::TempDir,
    running: Option<Running>,
}

impl Mortal {
    async fn start() -> Self {
        // Free now, and hardly taken a moment later.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut mortal = Self { port, spool: tempfile::tempdir().unwrap(), running: None };
        mortal.restart().await;
        mortal
    }

    /// Kills it, by SIGKILL, where it runs.
    fn kill(&mut self) {
        self.running = None;
    }

    async fn restart(&mut self) {
        self.kill();
        let (port, spool) = (self.port, self.spool.path().to_str().unwrap().to_owned());
        let start = move || Running::on_port(port, &demo(QuantType::Q8_0), &["--spool-dir", &spool], &[]);
        self.running = Some(tokio::task::spawn_blocking(start).await.unwrap());
    }

    async fn client(&self) -> Client {
        let mut client = Client::connect(&self.running.as_ref().unwrap().url).await;
        assert_eq!(client.state().await, "ready");
        client
    }

    fn folder(&self) -> PathBuf {
        self.spool.path().join(format!("imesli-uploads-{}", self.port))
    }

    /// The files with this ending.
    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let all = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
    }

    async fn only_its_lock_is_left(&self) {
        let begin = Instant::now();
        while self.files("").len() > 1 {
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", self.files(""));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn pieces(file: &[u8], count: usize) -> Vec<&[u8]> {
    file.chunks(file.len().div_ceil(count)).collect()
}

fn start(id: &str, file: &[u8], chunks: usize) -> Value {
    json!({ "type": "upload_start", "upload_id": id, "file_name": "../speech.wav", "file_size": file.len(),
            "total_chunks": chunks, "timestamps": "word" })
}

fn chunk(id: &str, index: usize, bytes: &[u8]) -> Value {
    json!({ "type": "upload_chunk", "upload_id": id, "chunk_index": index, "chunk_data": STANDARD.encode(bytes) })
}

/// Sends these chunks, one after the other, and sees each acknowledged.
async fn send(client: &mut Client, id: &str, pieces: &[&[u8]], which: &[usize]) {
    for index in which {
        client.send(chunk(id, *index, pieces[*index])).await;
        let answer = client.next().await;
        assert_eq!((&answer["type"], &answer["upload_id"]), (&json!("upload_progress"), &json!(id)));
    }
}

/// The chunks that the server has, in order.
async fn resume(client: &mut Client, id: &str, file: &[u8], chunks: usize) -> Vec<usize> {
    let mut message = start(id, file, chunks);
    message["resume"] = json!(true);
    client.send(message).await;
    let answer = client.next().await;
    serde_json::from_value(answer["received_chunks"].clone()).unwrap_or_else(|_| panic!("{answer}"))
}

/// Asks for the text of an upload that is whole.
async fn complete(client: &mut Client, id: &str) -> Value {
    client.send(json!({ "type": "upload_complete", "upload_id": id })).await;
    assert_eq!(client.next().await["type"], "upload_complete");
    let answer = client.answer().await;
    assert_eq!(client.state().await, "ready");
    answer
}

fn append(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn no_chunk_that_was_acknowledged_is_lost_by_a_kill() {
    let mut server = Mortal::start().await;
    let file = fs::read(root(SAID[0].0)).unwrap();
    let pieces = pieces(&file, 6);
    let mut client = server.client().await;
    client.send(start(ID, &file, 6)).await;
    assert_eq!(client.next().await["progress"], 0.0);
    send(&mut client, ID, &pieces, &[3, 0, 5]).await;
    // One more that may get there or not.
    client.send(chunk(ID, 4, pieces[4])).await;
    server.restart().await;

    let mut client = server.client().await;
    let found: BTreeSet<usize> = resume(&mut client, ID, &file, 6).await.into_iter().collect();
    assert!(found.is_superset(&[0, 3, 5].into()) && found.is_subset(&[0, 3, 4, 5].into()), "{found:?}");
    // Twice: what was taken over is journalled as what is new.
    send(&mut client, ID, &pieces, &[1]).await;
    server.restart().await;
    let mut client = server.client().await;
    let found = resume(&mut client, ID, &file, 6).await;
    assert!(found.contains(&1) && found.len() >= 4, "{found:?}");
    let left: Vec<usize> = (0..6).filter(|index| !found.contains(index)).collect();
    send(&mut client, ID, &pieces, &left).await;
    let answer = complete(&mut client, ID).await;
    assert_eq!(answer["transcription"], SAID[0].1);
    assert_eq!(
        (&answer["audio_id"], &answer["timestamps"]),
        (&json!(ID), &json!("word")),
        "its options, too"
    );
    server.only_its_lock_is_left().await;
}

#[tokio::test]
async fn a_journal_that_was_torn_is_gone_on_with_and_what_is_broken_is_removed() {
    let mut server = Mortal::start().await;
    let file = fs::read(root(SAID[1].0)).unwrap();
    let pieces = pieces(&file, 5);
    let mut client = server.client().await;
    client.send(start("torn", &file, 5)).await;
    client.next().await;
    send(&mut client, "torn", &pieces, &[4, 1]).await;
    server.kill();
    append(&server.files(".json")[0], b"{\"index\":2,\"start\":99999");
    append(&server.files(".data")[0], b"bytes of a piece whose line did not get there");
    for (name, text) in [("u-broken.json", "{\"id\""), ("u-lost.data", "bytes"), ("u-lie.json", "{}\n")] {
        fs::write(server.folder().join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", server.folder().join("u-link.json")).unwrap();
    server.restart().await;
    let mut client = server.client().await;
    assert_eq!(server.files("").len(), 3, "{:?}", server.files(""));
    assert_eq!(resume(&mut client, "torn", &file, 5).await, [1, 4]);
    send(&mut client, "torn", &pieces, &[2]).await;
    server.kill();
    // A piece of which only a part got to the file, as if the machine had stopped there.
    let data = &server.files(".data")[0];
    let len = fs::metadata(data).unwrap().len();
    fs::OpenOptions::new().write(true).open(data).unwrap().set_len(len - 1).unwrap();
    server.restart().await;
    let mut client = server.client().await;
    assert_eq!(resume(&mut client, "torn", &file, 5).await, [1, 4]);
    send(&mut client, "torn", &pieces, &[0, 2, 3]).await;
    assert_eq!(complete(&mut client, "torn").await["transcription"], SAID[1].1);
}

#[tokio::test]
async fn an_upload_that_is_whole_is_there_until_it_is_answered() {
    let mut server = Mortal::start().await;
    let file = long_wav(240);
    let pieces = pieces(&file, 3);
    let mut client = server.client().await;
    client.send(start("long", &file, 3)).await;
    client.next().await;
    send(&mut client, "long", &pieces, &[2, 0, 1]).await;
    client.send(json!({ "type": "upload_complete", "upload_id": "long" })).await;
    assert_eq!(client.next().await["type"], "upload_complete");
    while client.state().await != "transcribing" {}
    server.restart().await;
    let mut client = server.client().await;
    assert_eq!(resume(&mut client, "long", &file, 3).await, [0, 1, 2]);
    // Given up, it is gone for good.
    client.send(json!({ "type": "upload_error", "upload_id": "long" })).await;
    server.only_its_lock_is_left().await;
    server.restart().await;
    let mut client = server.client().await;
    assert_eq!(resume(&mut client, "long", &file, 3).await, [0_usize; 0]);
}
