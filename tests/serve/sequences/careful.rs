//! A client that knows what it must be told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::super::{Client, SAID, Server, audio, encoded};
use super::{BAD_AUDIO, ChunkKind, NONSENSE, PIECES, SOON, Step};

/// What the server must have of an upload.
#[derive(Debug)]
struct Upload {
    id: String,
    size: usize,
    chunks: BTreeMap<usize, usize>,
}

/// What is waited for of a job: its name, and its text or its code.
type Pending = (String, Result<&'static str, &'static str>);

#[derive(Debug, Default)]
struct Stream {
    committed: String,
    flushes: usize,
}

/// A client that knows what it must be told.
pub(super) struct Careful<'a> {
    server: &'a Server,
    client: Client,
    file: &'a [u8],
    speech: &'a [u8],
    named: usize,
    uploads: [Option<Upload>; 2],
    pending: VecDeque<Pending>,
    /// The stream that takes audio.
    open: Option<String>,
    streams: BTreeMap<String, Stream>,
}

impl<'a> Careful<'a> {
    pub(super) async fn new(server: &'a Server, file: &'a [u8], speech: &'a [u8]) -> Self {
        let client = server.client().await;
        let (named, uploads, pending, open, streams) = Default::default();
        Self { server, client, file, speech, named, uploads, pending, open, streams }
    }

    fn name(&mut self, kind: &str) -> String {
        self.named += 1;
        format!("{kind}-{}", self.named)
    }

    /// Reads until everything that was said so far has been acted on; what is no part of a job or stream comes back.
    async fn settle(&mut self) -> Vec<Value> {
        self.client.send(json!({ "type": "ping" })).await;
        let mut answers = Vec::new();
        loop {
            let message = self.client.next().await;
            if message["state"] == "pong" {
                return answers;
            }
            answers.extend(self.take(message));
        }
    }

    /// Takes what belongs to a job or stream.
    fn take(&mut self, message: Value) -> Option<Value> {
        let id = message["audio_id"].as_str().unwrap_or_default().to_owned();
        let head = self.pending.front().cloned();
        match message["type"].as_str().unwrap() {
            "state" if message["message"] == "Current status" || message["state"] == "streaming" => {
                return Some(message);
            }
            "state" if message["state"] == "processing" => {
                assert_eq!(message["data"]["audio_id"].as_str(), head.as_ref().map(|(id, _)| id.as_str()));
            }
            "state" => {}
            "transcription" if self.streams.contains_key(&id) => {
                let stream = self.streams.remove(&id).unwrap();
                assert_eq!(message["transcription"], json!(stream.committed), "{message}");
                assert_eq!(stream.flushes, 0, "all that was asked for was done");
                // It ends by itself only where no more can come.
                assert_ne!(self.open.as_ref(), Some(&id), "{message}");
            }
            "transcription" => {
                let (expected, text) = head.expect("an answer that nobody asked for");
                assert_eq!((id, Ok(message["transcription"].as_str().unwrap())), (expected, text));
                self.pending.pop_front();
            }
            "error" if self.pending.iter().any(|(pending, _)| *pending == id) => {
                if message["code"] == "OVERLOADED" {
                    self.pending.retain(|(pending, _)| *pending != id);
                } else {
                    let (expected, code) = head.unwrap();
                    assert_eq!((id, Err(message["code"].as_str().unwrap())), (expected, code), "{message}");
                    self.pending.pop_front();
                }
            }
            "partial" => {
                let stream = self.streams.get_mut(message["stream_id"].as_str().unwrap()).unwrap();
                stream.committed += message["committed"].as_str().unwrap();
            }
            "segment" => assert!(self.streams.contains_key(message["stream_id"].as_str().unwrap())),
            "stream_flushed" => {
                self.streams.get_mut(message["stream_id"].as_str().unwrap()).unwrap().flushes -= 1;
            }
            _ => return Some(message),
        }
        None
    }

    /// Says something that gets exactly these answers.
    async fn says(&mut self, message: Value, expected: &[&str]) -> Vec<Value> {
        self.client.send(message.clone()).await;
        let answers = self.settle().await;
        let kinds: Vec<&str> = answers.iter().map(kind).collect();
        assert_eq!(kinds, expected, "{message}: {answers:?}");
        answers
    }

    pub(super) async fn does(&mut self, step: Step) {
        match step {
            Step::Ping => {
                self.client.send(json!({ "type": "ping" })).await;
                while self.client_message().await["state"] != "pong" {}
            }
            Step::Status => {
                self.says(json!({ "type": "status" }), &["state"]).await;
            }
            Step::Nonsense(which) => {
                let (text, code) = NONSENSE[which];
                self.client.text(text).await;
                let answers = self.settle().await;
                assert_eq!(answers.iter().map(kind).collect::<Vec<_>>(), [code], "{text}");
            }
            Step::Binary(bytes) => {
                self.client.0.send(Message::Binary(bytes.into())).await.unwrap();
                let answers = self.settle().await;
                let expected = if self.open.is_some() { vec![] } else { vec!["INVALID_JSON"] };
                assert_eq!(answers.iter().map(kind).collect::<Vec<_>>(), expected);
            }
            Step::Audio(which) => {
                let id = self.name("audio");
                self.pending.push_back((id.clone(), Ok(SAID[which].1)));
                self.says(audio(&id, &encoded(which)), &[]).await;
            }
            Step::BadAudio(which) => {
                let (data, format, code) = BAD_AUDIO[which];
                let id = self.name("audio");
                self.pending.push_back((id.clone(), Err(code)));
                let mut message = audio(&id, data);
                message["format"] = json!(format);
                self.says(message, &[]).await;
            }
            Step::UploadStart { slot, resume, other_size } => {
                self.upload_start(slot, resume, other_size).await;
            }
            Step::UploadChunk { slot, index, kind } => self.upload_chunk(slot, index, kind).await,
            Step::UploadRest { slot } => {
                for index in 0..PIECES {
                    self.upload_chunk(slot, index, ChunkKind::Right).await;
                }
            }
            Step::UploadComplete { slot } => self.upload_complete(slot).await,
            Step::UploadError { slot } => {
                let id = self.uploads[slot].take().map_or_else(|| "nobody's".to_owned(), |upload| upload.id);
                self.says(json!({ "type": "upload_error", "upload_id": id }), &[]).await;
            }
            Step::StreamStart => self.stream_start().await,
            Step::StreamAudio { second, as_text } => {
                let piece = self.speech.chunks(16_000).nth(second).unwrap();
                if as_text {
                    let expected: &[&str] = if self.open.is_some() { &[] } else { &["STREAM_NOT_FOUND"] };
                    let data = STANDARD.encode(piece);
                    self.says(json!({ "type": "stream_audio", "audio_data": data }), expected).await;
                } else if self.open.is_some() {
                    self.client.0.send(Message::Binary(piece.to_vec().into())).await.unwrap();
                    assert!(self.settle().await.is_empty());
                }
            }
            Step::StreamFlush => {
                let message = json!({ "type": "stream_flush", "flush_id": self.named });
                match &self.open {
                    Some(id) => {
                        self.streams.get_mut(id).unwrap().flushes += 1;
                        self.says(message, &[]).await;
                    }
                    None => {
                        self.says(message, &["STREAM_NOT_FOUND"]).await;
                    }
                }
            }
            Step::StreamStop => {
                let expected: &[&str] = if self.open.take().is_some() { &[] } else { &["STREAM_NOT_FOUND"] };
                self.says(json!({ "type": "stream_stop" }), expected).await;
            }
            Step::Reconnect => {
                self.client = self.server.client().await;
                self.pending.clear();
                self.streams.clear();
                self.open = None;
            }
        }
    }

    async fn client_message(&mut self) -> Value {
        let message = self.client.next().await;
        if message["state"] != "pong" {
            assert_eq!(self.take(message.clone()), None);
        }
        message
    }

    async fn upload_start(&mut self, slot: usize, resume: bool, other_size: bool) {
        let size = self.file.len() + usize::from(other_size);
        let id = match &self.uploads[slot] {
            Some(upload) => upload.id.clone(),
            None => self.name("upload"),
        };
        let message = json!({ "type": "upload_start", "upload_id": id, "file_name": "a.wav", "file_size": size,
                              "total_chunks": PIECES, "resume": resume });
        if self.uploads[1 - slot].is_some() {
            // There is room for one.
            self.says(message, &["OVERLOADED"]).await;
            return;
        }
        if let Some(upload) = self.uploads[slot].as_ref().filter(|_| resume) {
            if upload.size != size {
                self.says(message, &["UPLOAD_START_ERROR"]).await;
                return;
            }
            let known: Vec<usize> = upload.chunks.keys().copied().collect();
            let answers = self.says(message, &["upload_progress"]).await;
            assert_eq!(answers[0]["received_chunks"], json!(known));
            return;
        }
        self.says(message, &["upload_progress"]).await;
        self.uploads[slot] = Some(Upload { id, size, chunks: BTreeMap::new() });
    }

    async fn upload_chunk(&mut self, slot: usize, index: usize, kind: ChunkKind) {
        let piece = self.file.chunks(self.file.len().div_ceil(PIECES)).nth(index).unwrap_or_default();
        let data = match kind {
            ChunkKind::Right => STANDARD.encode(piece),
            ChunkKind::NoBase64 => "abcde".to_owned(),
            ChunkKind::TooLong => STANDARD.encode([self.file, &[0, 0]].concat()),
        };
        let id = self.uploads[slot].as_ref().map_or("nobody's", |upload| upload.id.as_str());
        let message =
            json!({ "type": "upload_chunk", "upload_id": id, "chunk_index": index, "chunk_data": data });
        let expected = match (&self.uploads[slot], kind) {
            (None, _) => "UPLOAD_SESSION_NOT_FOUND",
            (_, ChunkKind::NoBase64) => "CHUNK_DECODE_ERROR",
            _ if index >= PIECES => "UPLOAD_CHUNK_ERROR",
            (Some(upload), _) if upload.chunks.contains_key(&index) => "CHUNK_ADD_ERROR",
            (_, ChunkKind::TooLong) => "UPLOAD_CHUNK_ERROR",
            _ => "upload_progress",
        };
        let answers = self.says(message, &[expected]).await;
        if expected == "upload_progress" {
            let upload = self.uploads[slot].as_mut().unwrap();
            upload.chunks.insert(index, piece.len());
            assert_eq!(answers[0]["progress"], 100.0 * upload.chunks.len() as f64 / PIECES as f64);
        }
    }

    async fn upload_complete(&mut self, slot: usize) {
        let id = self.uploads[slot].as_ref().map_or("nobody's", |upload| upload.id.as_str()).to_owned();
        self.client.send(json!({ "type": "upload_complete", "upload_id": id })).await;
        let expected = match &self.uploads[slot] {
            None => "UPLOAD_SESSION_NOT_FOUND",
            Some(upload) if upload.chunks.len() < PIECES => "UPLOAD_INCOMPLETE",
            Some(upload) if upload.size != self.file.len() => "FILE_REASSEMBLE_ERROR",
            Some(_) => "upload_complete",
        };
        if expected == "upload_complete" {
            self.pending.push_back((id.clone(), Ok(SAID[0].1)));
        }
        let answers = self.settle().await;
        let kinds: Vec<&str> = answers.iter().map(kind).collect();
        if expected == "upload_complete" && kinds.is_empty() {
            // Refused for want of a place, which took it off the list; the upload is as it was.
            assert!(self.pending.iter().all(|(pending, _)| *pending != id));
        } else if kinds != ["OVERLOADED"] {
            assert_eq!(kinds, [expected], "{answers:?}");
            if matches!(expected, "upload_complete" | "FILE_REASSEMBLE_ERROR") {
                self.uploads[slot] = None;
            }
        }
    }

    async fn stream_start(&mut self) {
        let id = self.name("stream");
        let message = json!({ "type": "stream_start", "stream_id": id });
        if self.open.is_some() {
            self.says(message, &["STREAM_START_ERROR"]).await;
            return;
        }
        self.client.send(message).await;
        // Its first partial may be on the way already.
        self.streams.insert(id.clone(), Stream::default());
        let answers = self.settle().await;
        match answers.iter().map(kind).collect::<Vec<_>>()[..] {
            ["state"] => self.open = Some(id),
            // The one before, of this or of a former connection, is not quite over.
            ["OVERLOADED"] => drop(self.streams.remove(&id)),
            _ => panic!("{answers:?}"),
        }
    }

    /// Waits for all that is still to come, and gives up what the server keeps for it.
    pub(super) async fn ends(mut self) {
        if self.open.is_some() {
            self.does(Step::StreamStop).await;
        }
        while !self.pending.is_empty() || !self.streams.is_empty() {
            let message = self.client.next().await;
            assert_eq!(self.take(message), None);
        }
        let begin = Instant::now();
        loop {
            let answers = self.says(json!({ "type": "status" }), &["state"]).await;
            if answers[0]["state"] == "ready" {
                break;
            }
            assert!(begin.elapsed() < SOON, "{answers:?}");
        }
        for slot in 0..2 {
            self.does(Step::UploadError { slot }).await;
        }
    }
}

/// A message's code, or its type.
pub(super) fn kind(message: &Value) -> &str {
    message["code"].as_str().or(message["type"].as_str()).unwrap()
}
