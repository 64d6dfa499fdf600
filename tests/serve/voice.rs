//! Recordings, and parts of them, in which nobody speaks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Server, Setup, audio, wav};

/// Seconds of silence as WAV, in base64.
fn silence(seconds: usize) -> String {
    STANDARD.encode(wav((0..seconds * 16_000).map(|_| 0)))
}

#[tokio::test]
async fn silence_is_skipped_unless_a_message_wants_it_decoded() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.silent_client().await;
    client.send(audio("a", &silence(3))).await;
    let found = client.answer().await;
    assert_eq!((&found["type"], &found["transcription"]), (&json!("transcription"), &json!("")));
    assert_eq!(found["skipped"], json!([{ "start": 0.0, "end": 3.0, "reason": "no_speech" }]));
    assert_eq!((&found["duration"], &found["decoded"]), (&json!(3.0), &json!(0.0)));
    assert_eq!((&found["speech_duration"], &found["segments"]), (&json!(0.0), &json!([])));
    for off in [json!(false), json!("off")] {
        let mut message = audio("b", &silence(3));
        message["vad"] = off;
        client.send(message).await;
        let found = client.answer().await;
        assert_eq!((&found["skipped"], &found["decoded"]), (&json!([]), &json!(3.0)), "{found}");
        assert_eq!((&found["speech_duration"], &found["looped"]), (&Value::Null, &json!(0)));
    }
}
