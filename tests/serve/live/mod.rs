//! Live audio: text that grows, and streams that outlive their connection.

mod broken;
mod ends;

use std::time::Duration;

use imesli::asr::pool::PoolOptions;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::SinkExt;

use super::{Client, Server, Setup, audio, long_encoded};
use crate::asr::SAID;
use crate::support::{ONE, samples};

/// A recording of `SAID` as 16-bit samples at 16 kHz, and a second of silence.
pub(crate) fn pcm(index: usize) -> Vec<u8> {
    let mut samples = samples(SAID[index].0);
    samples.resize(samples.len() + 16_000, 0.0);
    samples.iter().flat_map(|sample| ((sample * 32_000.0) as i16).to_le_bytes()).collect()
}

/// What a client has been told of a stream.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) committed: String,
    seq: u64,
    received: u64,
    segments: Vec<Value>,
    flushed: Vec<Value>,
    pub(crate) restarts: usize,
}

impl Told {
    /// Takes one message; `false` for one that is none of a stream's own.
    pub(crate) fn take(&mut self, message: &Value) -> bool {
        match message["type"].as_str().unwrap() {
            "partial" => {
                let seq = message["seq"].as_u64().unwrap();
                assert!(seq > self.seq, "{message}");
                self.seq = seq;
                self.received = message["received_samples"].as_u64().unwrap();
                if message["from_start"] == true {
                    self.committed.clear();
                    self.restarts += 1;
                }
                self.committed += message["committed"].as_str().unwrap();
                let times = ["start", "committed_end", "end"].map(|name| message[name].as_f64().unwrap());
                assert!(times.is_sorted(), "{message}");
            }
            "segment" => {
                assert_eq!(message["index"], self.segments.len());
                self.segments.push(message.clone());
            }
            "stream_flushed" => self.flushed.push(message.clone()),
            _ => return false,
        }
        true
    }

    /// Takes messages until one comes that is none of a stream's own.
    pub(crate) async fn until_other(&mut self, client: &mut Client) -> Value {
        loop {
            let message = client.next().await;
            if !self.take(&message) {
                return message;
            }
        }
    }
}

impl Client {
    /// Opens a stream of 16-bit samples at 16 kHz.
    pub(crate) async fn stream(&mut self, id: &str) {
        self.send(json!({ "type": "stream_start", "stream_id": id })).await;
        self.streaming(id, 0).await;
    }

    async fn streaming(&mut self, id: &str, next_sample: u64) {
        let state = self.next().await;
        assert_eq!((&state["type"], &state["state"]), (&json!("state"), &json!("streaming")), "{state}");
        assert_eq!((&state["data"]["stream_id"], &state["data"]["audio_id"]), (&json!(id), &json!(id)));
        assert_eq!(state["data"]["next_sample"], next_sample, "{state}");
    }

    /// Waits until the server has taken what was sent before.
    async fn is_streaming(&mut self) {
        self.send(json!({ "type": "status" })).await;
        loop {
            let message = self.next().await;
            if message["type"] == "state" {
                return assert_eq!(message["state"], "streaming");
            }
        }
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// Sends audio twice as fast as it was spoken, in frames of 100 ms.
    pub(crate) async fn play(&mut self, bytes: &[u8]) {
        for frame in bytes.chunks(3200) {
            self.bytes(frame).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(&mut self) {
        self.send(json!({ "type": "stream_stop" })).await;
    }

    /// Stops, and takes all that is told until `ready`; the second is the transcription.
    pub(crate) async fn finish(&mut self, told: &mut Told) -> Value {
        self.stop().await;
        let message = told.until_other(self).await;
        assert_eq!(message["type"], "transcription", "{message}");
        assert_eq!(self.state().await, "ready");
        assert_eq!(told.committed, message["transcription"].as_str().unwrap());
        message
    }
}

#[tokio::test]
async fn frames_of_any_size_give_the_same_text() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    for (index, (_, said)) in SAID.iter().enumerate() {
        let bytes = pcm(index);
        for size in [333, 3200, bytes.len()] {
            client.stream("s").await;
            for frame in bytes.chunks(size) {
                client.bytes(frame).await;
            }
            let mut told = Told::default();
            let found = client.finish(&mut told).await;
            assert_eq!(found["transcription"], *said, "frames of {size}");
            assert_eq!(found["audio_id"], "s");
            assert_eq!(found["segments"].as_array().unwrap().len(), told.segments.len());
            for (segment, in_the_end) in told.segments.iter().zip(found["segments"].as_array().unwrap()) {
                assert_eq!(
                    (&segment["start"], &segment["text"]),
                    (&in_the_end["start"], &in_the_end["text"])
                );
            }
            let seconds = bytes.len() as f64 / 32_000.0;
            assert!((found["duration"].as_f64().unwrap() - seconds).abs() < 0.001, "{found}");
        }
    }
}

#[tokio::test]
async fn every_encoding_rate_and_channel_count_is_heard() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let samples = samples(SAID[1].0);
    // Every sample three times: 48 kHz, with images that the resampler takes away.
    let floats: Vec<u8> = samples
        .iter()
        .flat_map(|sample| [*sample; 3])
        .flat_map(|sample| [sample.to_le_bytes(), (0.5 * sample).to_le_bytes()].concat())
        .collect();
    let mulaw: Vec<u8> = samples.chunks(2).map(|pair| to_mulaw(pair[0])).collect();
    for (start, bytes) in [
        (json!({ "encoding": "pcm_f32le", "sample_rate": 48_000, "channels": 2 }), floats),
        (json!({ "encoding": "mulaw", "sample_rate": 8_000 }), mulaw),
    ] {
        let mut message = start.clone();
        message["type"] = json!("stream_start");
        message["timestamps"] = json!("word");
        client.send(message).await;
        assert_eq!(client.state().await, "streaming");
        for frame in bytes.chunks(4096) {
            client.bytes(frame).await;
        }
        let found = client.finish(&mut Told::default()).await;
        assert_eq!(found["transcription"], SAID[1].1, "{start}");
        assert_eq!(found["segments"][0]["words"][0]["word"], "five");
        let seconds = samples.len() as f64 / 16_000.0;
        assert!((found["duration"].as_f64().unwrap() - seconds).abs() < 0.001, "{found}");
    }
}

/// G.711 by its definition: the nearest of all 256 codes.
fn to_mulaw(sample: f32) -> u8 {
    let value = |byte: u8| {
        let bits = !byte;
        let magnitude = ((i32::from(bits & 15) * 2 + 33) << (4 + (bits >> 4 & 7))) / 4 - 132;
        (if bits & 128 != 0 { -magnitude } else { magnitude }) as f32 / 32_768.0
    };
    (0..=255).min_by(|a, b| (value(*a) - sample).abs().total_cmp(&(value(*b) - sample).abs())).unwrap()
}

#[tokio::test]
async fn text_comes_while_audio_does_and_other_messages_are_answered_in_between() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.stream("s").await;
    let mut told = Told::default();
    let bytes = pcm(3);
    let half = bytes.len() / 2;
    client.play(&bytes[..half]).await;
    // Nothing is stopped or flushed, and words come.
    while told.committed.is_empty() {
        let message = client.next().await;
        assert!(told.take(&message), "{message}");
    }
    client.send(json!({ "type": "ping" })).await;
    let message = told.until_other(&mut client).await;
    assert_eq!(message["state"], "pong", "{message}");
    client.send(json!({ "type": "status" })).await;
    assert_eq!(told.until_other(&mut client).await["state"], "streaming");
    client.bytes(&bytes[half..]).await;
    let found = client.finish(&mut told).await;
    assert_eq!(found["transcription"], SAID[3].1);
    client.send(json!({ "type": "status" })).await;
    assert_eq!(client.state().await, "ready");
}

#[tokio::test]
async fn base64_is_as_good_as_binary_frames() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.stream("s").await;
    for frame in pcm(0).chunks(3201) {
        client.send(json!({ "type": "stream_audio", "audio_data": STANDARD.encode(frame) })).await;
    }
    assert_eq!(client.finish(&mut Told::default()).await["transcription"], SAID[0].1);
    client.send(json!({ "type": "stream_start" })).await;
    assert_eq!(client.state().await, "streaming");
    client.send(json!({ "type": "stream_audio", "audio_data": "AAA" })).await;
    client.code("BASE64_DECODE_ERROR").await;
    assert_eq!(client.finish(&mut Told::default()).await["transcription"], "");
}

#[tokio::test]
async fn a_flush_is_answered_when_its_text_is_out() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client
        .send(json!({ "type": "stream_start", "stream_id": 7, "silence_ms": 5000, "partials": false }))
        .await;
    assert_eq!(client.next().await["data"]["stream_id"], 7);
    let bytes = pcm(0);
    client.bytes(&bytes).await;
    client.send(json!({ "type": "stream_flush", "flush_id": "f" })).await;
    client.send(json!({ "type": "stream_flush" })).await;
    let mut told = Told::default();
    while told.flushed.len() < 2 {
        let message = client.next().await;
        assert!(told.take(&message), "{message}");
        if told.flushed.is_empty() {
            continue;
        }
        assert_eq!(told.committed, SAID[0].1);
        assert_eq!(told.segments.len(), 1);
    }
    assert_eq!(told.flushed[0]["flush_id"], "f");
    assert_eq!(told.flushed[0]["received_samples"], bytes.len() / 2);
    assert_eq!(told.flushed[1]["flush_id"], Value::Null);
    assert_eq!(client.finish(&mut told).await["transcription"], SAID[0].1);
}

#[tokio::test]
async fn options_are_those_of_files() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let start = json!({
        "type": "stream_start",
        "options": { "response_format": "srt", "language": "en", "orthography": "kabyle", "vad": false },
    });
    client.send(start).await;
    assert_eq!(client.state().await, "streaming");
    client.bytes(&pcm(2)).await;
    let mut told = Told::default();
    let found = client.finish(&mut told).await;
    assert!(found["formatted"].as_str().unwrap().starts_with("1\n00:00:0"), "{found}");
    assert_eq!(found["raw_transcription"], SAID[2].1);
    assert_eq!(told.segments[0]["raw_text"], told.segments[0]["text"]);
    assert_eq!(found["speech_duration"], Value::Null);
}

#[tokio::test]
async fn phrases_are_segments() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.stream("s").await;
    for index in [0, 1, 2] {
        client.bytes(&pcm(index)).await;
    }
    let mut told = Told::default();
    let found = client.finish(&mut told).await;
    let wanted: Vec<&str> = SAID[..3].iter().map(|(_, said)| *said).collect();
    let segments: Vec<&str> = told.segments.iter().map(|segment| segment["text"].as_str().unwrap()).collect();
    assert_eq!(segments, wanted);
    assert_eq!(found["transcription"], wanted.join(" "));
}

#[tokio::test]
async fn a_file_and_a_stream_do_not_wait_for_each_other() {
    let server = Server::start(Setup { pool: PoolOptions { states: 1, ..ONE }, ..Setup::default() }).await;
    let (mut file, mut live) = (server.client().await, server.client().await);
    // Many windows on one state.
    file.send(audio("long", &long_encoded(180))).await;
    while file.state().await != "transcribing" {}
    live.stream("s").await;
    live.bytes(&pcm(0)).await;
    let mut told = Told::default();
    let found = live.finish(&mut told).await;
    assert_eq!(found["transcription"], SAID[0].1);
    // The file is still being worked on, and gets to its end though more live audio comes.
    file.send(json!({ "type": "ping" })).await;
    while file.state().await != "pong" {}
    for turn in 0..3 {
        live.stream(&turn.to_string()).await;
        live.bytes(&pcm(0)).await;
        live.finish(&mut Told::default()).await;
    }
    assert_eq!(file.answer().await["type"], "transcription");
}
