//! The server's own sources, as far as they read what clients send.

/// As there: the rest of it reads no uploads.
mod access {
    pub(super) type Owner = Option<std::sync::Arc<str>>;
}
#[path = "../../../src/serve/base64.rs"]
mod base64;
#[path = "../../../src/serve/budget.rs"]
mod budget;
#[path = "../../../src/serve/failure.rs"]
mod failure;
mod journals;
#[path = "../../../src/serve/json.rs"]
mod json;
#[path = "../../../src/serve/limits.rs"]
mod limits;
#[path = "../../../src/serve/parse.rs"]
mod parse;
#[path = "../../../src/serve/protocol/mod.rs"]
mod protocol;
#[path = "../../../src/serve/spool.rs"]
mod spool;
#[path = "../../../src/serve/upload/mod.rs"]
mod upload;
mod uploads;

use self::protocol::{ClientMessage, MAX_ID_BYTES};

/// A journal of an upload, or steps of clients that upload.
pub fn uploads(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, rest)) => journals::journal(rest),
        Some((_, rest)) => uploads::steps(rest),
        None => {}
    }
}

/// Reads a message, and looks at what it was taken for.
pub fn message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let (Ok(bounded), whole) = (json::read(text), serde_json::from_str::<serde_json::Value>(text)) {
        assert_eq!(Some(bounded), whole.ok(), "serde reads the same");
    }
    match parse::parse(text) {
        Ok(ClientMessage::Audio(audio, _)) => {
            if let Ok(bytes) = base64::decode(&audio.audio_data) {
                assert!(bytes.len() <= audio.audio_data.len());
            }
            assert!(audio.audio_id.is_none_or(|id| id.to_string().len() <= 10 * MAX_ID_BYTES));
        }
        Ok(_) => {}
        Err(failure) => {
            assert!(!failure.message.is_empty());
            let told =
                serde_json::to_string(&protocol::ServerMessage::from(failure)).expect("what is told is JSON");
            assert!(told.len() <= 20 * MAX_ID_BYTES, "an answer is no echo");
        }
    }
}
