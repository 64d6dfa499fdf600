//! Each code, and what follows it.

use serde_json::{Value, json};

use super::{SAID, Server, Setup, audio, encoded};

/// The codes of messages that can't be read: no state follows, and the connection goes on.
#[tokio::test]
async fn messages_that_make_no_sense_get_a_code_and_no_state() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    for (text, code, named) in [
        ("not json", "INVALID_JSON", "JSON"),
        ("[1]", "INVALID_JSON", "object"),
        (r#"{"type":"fly"}"#, "UNKNOWN_MESSAGE_TYPE", "fly"),
        ("{}", "UNKNOWN_MESSAGE_TYPE", "type"),
        (r#"{"type":"audio","audio_id":"x"}"#, "MESSAGE_PROCESSING_ERROR", "audio_data"),
        (r#"{"type":"audio","audio_data":"","task":"sing"}"#, "MESSAGE_PROCESSING_ERROR", "task"),
        (
            r#"{"type":"audio","audio_data":"","timestamps":"syllable"}"#,
            "MESSAGE_PROCESSING_ERROR",
            "timestamps",
        ),
        (r#"{"type":"audio","audio_data":"","beam_size":6}"#, "MESSAGE_PROCESSING_ERROR", "beam_size"),
        (
            r#"{"type":"audio","audio_data":"","response_format":"doc"}"#,
            "MESSAGE_PROCESSING_ERROR",
            "response_format",
        ),
        (r#"{"type":"audio","audio_data":"","max_lines":0}"#, "MESSAGE_PROCESSING_ERROR", "max_lines"),
        (r#"{"type":"audio","audio_data":"","temperature":1.5}"#, "MESSAGE_PROCESSING_ERROR", "temperature"),
        (
            r#"{"type":"audio","audio_data":"","options":{"beams":1}}"#,
            "MESSAGE_PROCESSING_ERROR",
            "options.beams",
        ),
        (r#"{"type":"upload_start","file_name":"a.wav"}"#, "MISSING_UPLOAD_PARAMS", "upload_id"),
        (r#"{"type":"upload_chunk","upload_id":"x"}"#, "MISSING_CHUNK_PARAMS", "chunk_index"),
        (r#"{"type":"upload_complete"}"#, "MISSING_UPLOAD_ID", "upload_id"),
        (r#"{"type":"upload_complete","upload_id":"x","file_name":1}"#, "UPLOAD_COMPLETE_ERROR", "file_name"),
        (r#"{"type":"upload_complete","upload_id":"x"}"#, "UPLOAD_SESSION_NOT_FOUND", "x"),
    ] {
        client.text(text).await;
        let error = client.code(code).await;
        assert!(error["message"].as_str().unwrap().contains(named), "{error}");
        client.is_alive().await;
    }
}

/// The codes of an audio's job: `ready` follows, and the next audio works.
#[tokio::test]
async fn audio_that_fails_gets_a_code_and_then_ready() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let mut url = audio("b", "");
    url["format"] = json!("url");
    let mut unknown = audio("d", &encoded(0));
    unknown["language"] = json!("xx");
    let cases: [(Value, &str, &[&str]); 5] = [
        (audio("a", "abcde"), "BASE64_DECODE_ERROR", &["processing"]),
        (url, "UNSUPPORTED_FORMAT", &["processing"]),
        (audio("c", "bm90IGF1ZGlv"), "AUDIO_LOAD_ERROR", &["processing", "loading"]),
        (audio("c2", ""), "AUDIO_LOAD_ERROR", &["processing", "loading"]),
        (unknown, "TRANSCRIPTION_ERROR", &["processing", "loading", "transcribing"]),
    ];
    for (message, code, states) in cases {
        client.send(message.clone()).await;
        for state in states {
            assert_eq!(client.state().await, *state, "{code}");
        }
        assert_eq!(client.code(code).await["audio_id"], message["audio_id"]);
        assert_eq!(client.state().await, "ready");
    }
    client.send(audio("e", &encoded(0))).await;
    assert_eq!(client.answer().await["transcription"], SAID[0].1);
}
