//! Files in chunks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imesli::serve::limits::Limits;
use serde_json::{Value, json};

use super::{Client, SAID, Server, Setup, long_wav, root};

fn start(id: &str, size: usize, chunks: usize) -> Value {
    json!({ "type": "upload_start", "upload_id": id, "file_name": "speech.wav", "file_size": size,
            "total_chunks": chunks, "chunk_size": size.div_ceil(chunks) })
}

fn chunk(id: &str, index: usize, bytes: &[u8]) -> Value {
    json!({ "type": "upload_chunk", "upload_id": id, "chunk_index": index,
            "chunk_data": STANDARD.encode(bytes), "is_final_chunk": false })
}

fn complete(id: &str) -> Value {
    json!({ "type": "upload_complete", "upload_id": id, "file_name": "speech.wav" })
}

/// A recording in so many chunks.
fn pieces(file: &[u8], count: usize) -> Vec<Vec<u8>> {
    file.chunks(file.len().div_ceil(count)).map(<[u8]>::to_vec).collect()
}

fn speech() -> Vec<u8> {
    std::fs::read(root(SAID[0].0)).unwrap()
}

async fn progress(client: &mut Client, id: &str) -> Value {
    let message = client.next().await;
    assert_eq!(
        (&message["type"], &message["upload_id"]),
        (&json!("upload_progress"), &json!(id)),
        "{message}"
    );
    assert!(message["message"].is_string() && message["timestamp"].is_string());
    message
}

/// The rest of an upload, from `upload_complete` to the text.
async fn completed(client: &mut Client, id: &str) -> Value {
    client.send(complete(id)).await;
    let message = client.next().await;
    assert_eq!(
        (&message["type"], &message["upload_id"]),
        (&json!("upload_complete"), &json!(id)),
        "{message}"
    );
    for state in ["processing", "loading", "transcribing"] {
        assert_eq!(client.state().await, state);
    }
    let answer = client.answer().await;
    assert_eq!(answer["audio_id"], id, "{answer}");
    assert_eq!(client.state().await, "ready");
    answer
}

#[tokio::test]
async fn a_file_in_chunks_becomes_its_words() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let (file, id) = (speech(), "u1");
    client.send(start(id, file.len(), 4)).await;
    assert_eq!(progress(&mut client, id).await["progress"], 0.0);
    for (index, piece) in pieces(&file, 4).iter().enumerate() {
        client.send(chunk(id, index, piece)).await;
        assert_eq!(progress(&mut client, id).await["progress"], 25.0 * (index + 1) as f64);
    }
    assert_eq!(completed(&mut client, id).await["transcription"], SAID[0].1);
    client.send(complete(id)).await;
    client.code("UPLOAD_SESSION_NOT_FOUND").await;
}

#[tokio::test]
async fn chunks_may_come_in_any_order_also_when_they_lie_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { spool_dir: dir.path().to_owned(), ..Limits::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    let mut client = server.client().await;
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    // 1.9 MB: more than stays in memory.
    for (id, file) in [("small", speech()), ("large", long_wav(60))] {
        let pieces = pieces(&file, 5);
        client.send(start(id, file.len(), 5)).await;
        progress(&mut client, id).await;
        for index in [3, 0, 4, 1, 2] {
            client.send(chunk(id, index, &pieces[index])).await;
            progress(&mut client, id).await;
        }
        assert_eq!(files(), usize::from(id == "large"));
        client.send(complete(id)).await;
        while client.next().await["type"] != "upload_complete" {}
        let answer = client.answer().await;
        assert!(answer["transcription"].as_str().unwrap().split(' ').count() >= 4, "{answer}");
        assert_eq!(client.state().await, "ready");
    }
    assert_eq!(files(), 0, "nothing is left behind");
}

#[tokio::test]
async fn an_upload_goes_on_from_another_connection() {
    let server = Server::start(Setup::default()).await;
    let (file, id) = (speech(), "u1");
    let pieces = pieces(&file, 4);
    let mut first = server.client().await;
    first.send(start(id, file.len(), 4)).await;
    progress(&mut first, id).await;
    for index in [0, 2] {
        first.send(chunk(id, index, &pieces[index])).await;
        progress(&mut first, id).await;
    }
    drop(first);
    let mut second = server.client().await;
    let mut resume = start(id, file.len(), 4);
    resume["resume"] = json!(true);
    second.send(resume.clone()).await;
    let found = progress(&mut second, id).await;
    assert_eq!((&found["received_chunks"], &found["progress"]), (&json!([0, 2]), &json!(50.0)));
    for index in [1, 3] {
        second.send(chunk(id, index, &pieces[index])).await;
        progress(&mut second, id).await;
    }
    assert_eq!(completed(&mut second, id).await["transcription"], SAID[0].1);
    // Nothing there to resume: a new one.
    second.send(resume).await;
    assert_eq!(progress(&mut second, id).await["received_chunks"], json!([]));
}

#[tokio::test]
async fn each_mistake_has_its_code() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let mut text = start("t", 10, 1);
    text["file_name"] = json!("notes.txt");
    client.send(text).await;
    client.code("UNSUPPORTED_FILE_TYPE").await;
    client.send(start("z", 10, 1_000_000_000)).await;
    client.code("UPLOAD_START_ERROR").await;
    client
        .send(json!({ "type": "upload_start", "upload_id": "z", "file_name": "a.wav", "file_size": "big",
                        "total_chunks": 1 }))
        .await;
    let error = client.code("UPLOAD_START_ERROR").await;
    assert!(error["message"].as_str().unwrap().contains("file_size"), "{error}");

    client.send(chunk("nobody", 0, b"abc")).await;
    client.code("UPLOAD_SESSION_NOT_FOUND").await;
    client.send(start("u", 6, 3)).await;
    progress(&mut client, "u").await;
    let mut broken = chunk("u", 0, b"");
    broken["chunk_data"] = json!("abcde");
    client.send(broken).await;
    client.code("CHUNK_DECODE_ERROR").await;
    client.send(chunk("u", 3, b"ab")).await;
    client.code("UPLOAD_CHUNK_ERROR").await;
    client.send(chunk("u", 0, b"abcdefg")).await;
    client.code("UPLOAD_CHUNK_ERROR").await;
    client.send(chunk("u", 1, b"cd")).await;
    progress(&mut client, "u").await;
    client.send(chunk("u", 1, b"cd")).await;
    client.code("CHUNK_ADD_ERROR").await;
    client.send(complete("u")).await;
    let error = client.code("UPLOAD_INCOMPLETE").await;
    assert!(error["message"].as_str().unwrap().contains("0, 2"), "{error}");
    for index in [0, 2] {
        client.send(chunk("u", index, b"x")).await;
        progress(&mut client, "u").await;
    }
    client.send(complete("u")).await;
    let error = client.code("FILE_REASSEMBLE_ERROR").await;
    assert!(error["message"].as_str().unwrap().contains('4'), "{error}");
    client.is_alive().await;

    client.send(start("v", 6, 1)).await;
    progress(&mut client, "v").await;
    client.send(chunk("v", 0, b"abcdef")).await;
    progress(&mut client, "v").await;
    client.send(complete("v")).await;
    assert_eq!(client.next().await["type"], "upload_complete");
    let error = client.answer().await;
    assert_eq!((&error["code"], &error["audio_id"]), (&json!("AUDIO_LOAD_ERROR"), &json!("v")));
    assert_eq!(client.state().await, "ready");
}

/// The disk fails: whose fault that is, is in the log, and not for the client.
#[tokio::test]
async fn an_internal_error_is_told_without_its_details() {
    let dir = tempfile::tempdir().unwrap();
    let spool_dir = dir.path().join("gone");
    let limits = Limits { spool_dir: spool_dir.clone(), ..Limits::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    let mut client = server.client().await;
    let file = long_wav(40);
    client.send(start("u", file.len(), 1)).await;
    progress(&mut client, "u").await;
    client.send(chunk("u", 0, &file)).await;
    let error = client.code("INTERNAL_ERROR").await;
    assert!(!error.to_string().contains("gone"), "{error}");
    client.is_alive().await;
    // The chunk is not taken for received, and can be sent again when the disk is back.
    std::fs::create_dir(&spool_dir).unwrap();
    client.send(chunk("u", 0, &file)).await;
    progress(&mut client, "u").await;
    client.send(complete("u")).await;
    assert_eq!(client.next().await["type"], "upload_complete");
    assert_eq!(client.answer().await["type"], "transcription");
}

#[tokio::test]
async fn an_upload_can_be_given_up_and_replaced() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let file = speech();
    client.send(start("u", 3, 3)).await;
    progress(&mut client, "u").await;
    client
        .send(json!({ "type": "upload_error", "upload_id": "u", "error": "the user changed their mind" }))
        .await;
    client.send(chunk("u", 0, b"a")).await;
    client.code("UPLOAD_SESSION_NOT_FOUND").await;
    client.send(start("u", 3, 3)).await;
    progress(&mut client, "u").await;
    client.send(chunk("u", 0, b"a")).await;
    progress(&mut client, "u").await;
    client.send(start("u", file.len(), 1)).await;
    progress(&mut client, "u").await;
    client.send(chunk("u", 0, &file)).await;
    assert_eq!(progress(&mut client, "u").await["progress"], 100.0);
    assert_eq!(completed(&mut client, "u").await["transcription"], SAID[0].1);
}
