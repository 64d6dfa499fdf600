//! Whatever a client says, in whatever order: each message is answered as it should be, nothing hangs, and nothing is
//! left behind that another client would lack.

mod careful;

use std::time::{Duration, Instant};

use imesli::asr::pool::PoolOptions;
use imesli::checkpoint::QuantType;
use imesli::serve::limits::Limits;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use self::careful::{Careful, kind};
use super::{Client, SAID, Server, Setup, audio, encoded, root};
use crate::support::{ONE, samples, transcriber};

const CASES: u32 = 20;
/// Pieces of an upload.
const PIECES: usize = 4;
/// Within this time everything that a client left is free again.
const SOON: Duration = Duration::from_secs(20);

/// What a client may do next.
#[derive(Debug, Clone)]
enum Step {
    Ping,
    Status,
    /// Text that is no message, and the code that it gets.
    Nonsense(usize),
    Binary(Vec<u8>),
    Audio(usize),
    /// An audio that gets a code in its turn.
    BadAudio(usize),
    UploadStart {
        slot: usize,
        resume: bool,
        other_size: bool,
    },
    UploadChunk {
        slot: usize,
        index: usize,
        kind: ChunkKind,
    },
    UploadRest {
        slot: usize,
    },
    UploadComplete {
        slot: usize,
    },
    UploadError {
        slot: usize,
    },
    StreamStart,
    StreamAudio {
        second: usize,
        as_text: bool,
    },
    StreamFlush,
    StreamStop,
    Reconnect,
}

#[derive(Debug, Clone, Copy)]
enum ChunkKind {
    Right,
    NoBase64,
    TooLong,
}

const NONSENSE: [(&str, &str); 9] = [
    ("{", "INVALID_JSON"),
    ("[]", "INVALID_JSON"),
    ("", "INVALID_JSON"),
    ("{\"type\":\"audio\"}", "MESSAGE_PROCESSING_ERROR"),
    ("{\"type\":\"fly\"}", "UNKNOWN_MESSAGE_TYPE"),
    ("{\"type\":null}", "UNKNOWN_MESSAGE_TYPE"),
    ("{\"type\":\"upload_start\"}", "MISSING_UPLOAD_PARAMS"),
    ("{\"type\":\"upload_chunk\",\"upload_id\":1}", "MISSING_CHUNK_PARAMS"),
    ("{\"type\":\"stream_start\",\"sample_rate\":\"high\"}", "STREAM_START_ERROR"),
];

/// `audio_data`, `format`, and the code.
const BAD_AUDIO: [(&str, &str, &str); 4] = [
    ("aGVsbG8", "base64", "BASE64_DECODE_ERROR"),
    ("aGVsbG8=", "base64", "AUDIO_LOAD_ERROR"),
    ("", "base64", "AUDIO_LOAD_ERROR"),
    ("aGVsbG8=", "hex", "UNSUPPORTED_FORMAT"),
];

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..2_usize;
    prop_oneof![
        2 => Just(Step::Ping),
        2 => Just(Step::Status),
        2 => (0..NONSENSE.len()).prop_map(Step::Nonsense),
        1 => prop::collection::vec(128_u8.., 0..50).prop_map(Step::Binary),
        3 => (0..2_usize).prop_map(Step::Audio),
        2 => (0..BAD_AUDIO.len()).prop_map(Step::BadAudio),
        3 => (slot.clone(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(slot, resume, other_size)| Step::UploadStart { slot, resume, other_size }),
        5 => (slot.clone(), 0..=PIECES, prop_oneof![
            6 => Just(ChunkKind::Right),
            1 => Just(ChunkKind::NoBase64),
            1 => Just(ChunkKind::TooLong),
        ])
            .prop_map(|(slot, index, kind)| Step::UploadChunk { slot, index, kind }),
        2 => slot.clone().prop_map(|slot| Step::UploadRest { slot }),
        3 => slot.clone().prop_map(|slot| Step::UploadComplete { slot }),
        1 => slot.prop_map(|slot| Step::UploadError { slot }),
        2 => Just(Step::StreamStart),
        4 => (0..3_usize, any::<bool>()).prop_map(|(second, as_text)| Step::StreamAudio { second, as_text }),
        1 => Just(Step::StreamFlush),
        2 => Just(Step::StreamStop),
        1 => Just(Step::Reconnect),
    ]
}

/// Everything that there is, at the same time: all places for audio, for uploads and for streams.
async fn there_is_room_for_all(server: &Server, spool: u64) {
    let mut client = server.client().await;
    let begin = Instant::now();
    let answered = async |client: &mut Client, message: Value, wanted: &str| loop {
        client.send(message.clone()).await;
        let answer = loop {
            let answer = client.next().await;
            if answer["type"] != "state" || answer["state"] == "streaming" {
                break answer;
            }
        };
        if kind(&answer) == wanted {
            return answer;
        }
        // What a client that went away had is given back as soon as that is noticed.
        assert_eq!(kind(&answer), "OVERLOADED", "{answer}");
        assert!(begin.elapsed() < SOON, "{wanted}: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let upload = json!({ "type": "upload_start", "upload_id": "last", "file_name": "a.wav",
                         "file_size": spool, "total_chunks": 1 });
    answered(&mut client, upload, "upload_progress").await;
    answered(&mut client, json!({ "type": "stream_start", "stream_id": "last" }), "state").await;
    let answer = answered(&mut client, audio("last", &encoded(0)), "transcription").await;
    assert_eq!(answer["transcription"], SAID[0].1);
    assert_eq!(client.state().await, "ready");
    // Both places, when the first is given back.
    tokio::time::sleep(Duration::from_millis(50)).await;
    for id in ["one", "two"] {
        client.send(audio(id, &encoded(0))).await;
    }
    for id in ["one", "two"] {
        let answer = client.answer().await;
        assert_eq!((&answer["audio_id"], &answer["transcription"]), (&json!(id), &json!(SAID[0].1)));
    }
    client.send(json!({ "type": "upload_error", "upload_id": "last" })).await;
    client.send(json!({ "type": "stream_stop" })).await;
    assert_eq!(client.answer().await["audio_id"], "last");
}

#[test]
fn no_sequence_of_messages_makes_a_session_answer_wrongly_leak_or_hang() {
    let file = std::fs::read(root(SAID[0].0)).unwrap();
    let speech = samples(SAID[0].0);
    let speech: Vec<u8> = speech.iter().flat_map(|x| ((x * 32_000.0) as i16).to_le_bytes()).collect();
    // One that comes in, and some that wait to be decoded, perhaps for a client that has gone.
    let spool = 6 * (file.len() as u64 + 1);
    let limits = Limits {
        uploads: 1,
        streams: 1,
        // A stream counts as one.
        jobs_per_connection: 3,
        connections: 8,
        // A stream (60 s, and what it needs besides), two messages and their samples.
        memory_bytes: 14 << 20,
        spool_bytes: spool,
        stream_resume: Duration::from_millis(100),
        ..Limits::default()
    };
    let pool = PoolOptions { requests: 2, ..ONE };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime
        .block_on(Server::over(transcriber(QuantType::Q8_0, pool), Setup { limits, ..Setup::default() }));
    // A failed sequence leaves things behind, so that shorter ones would fail for another reason.
    let config = Config { cases: CASES, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let begin = Instant::now();
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..30), |steps| {
            runtime.block_on(async {
                let mut client = Careful::new(&server, &file, &speech).await;
                for step in steps {
                    client.does(step).await;
                }
                client.ends().await;
                there_is_room_for_all(&server, spool).await;
            });
            Ok(())
        })
        .unwrap();
    eprintln!("{CASES} sequences in {:?}", begin.elapsed());
}
