//! Why connections end, and what is said then.

use std::io;

use axum::extract::ws::close_code;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite;

use super::Stage;
use super::failure::Failure;
use super::outbox::Outbox;
use super::protocol::Code;

/// Why a connection ended, for the log.
pub(super) type End = &'static str;

/// The end that the writer tells.
pub(super) const DEAF: End = "the client does not read";

/// The stream failed: says why, where the client can still hear it. `limit` is what a message may have in bytes.
pub(super) async fn broken(outbox: &Outbox, limit: usize, error: axum::Error) -> End {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => {
            let message = format!("Messages are limited to {limit} bytes; send longer files as an upload");
            outbox.fail(Failure::new(Code::PayloadTooLarge, message)).await;
            outbox.close(close_code::SIZE, "message too large").await;
            "message too large"
        }
        Some(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
            outbox.fail(no_memory()).await;
            outbox.close(close_code::AGAIN, "too much audio is coming in").await;
            "no memory for a message"
        }
        Some(tungstenite::Error::Utf8(_)) => {
            outbox.close(close_code::INVALID, "text that is not UTF-8").await;
            "text that is not UTF-8"
        }
        Some(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ))
        | Some(tungstenite::Error::Io(_)) => "connection lost",
        _ => {
            outbox.close(close_code::PROTOCOL, "protocol error").await;
            "protocol error"
        }
    }
}

/// Says that a client may not be here, and closes.
pub(super) async fn unauthorized(outbox: &Outbox, failure: Failure) -> End {
    outbox.fail(failure).await;
    outbox.close(close_code::POLICY, "a valid key is wanted").await;
    "unauthorized"
}

pub(super) fn no_memory() -> Failure {
    Failure::new(Code::Overloaded, "too much audio is waiting; try again later")
}

/// Waits until the server shuts down.
pub(super) async fn draining(stage: &mut watch::Receiver<Stage>) {
    let _ = stage.wait_for(|stage| *stage != Stage::Running).await;
}

/// Waits until the server shuts down and all that was asked for has been answered.
pub(super) async fn drained(stage: &mut watch::Receiver<Stage>, pending: &mut watch::Receiver<usize>) {
    if stage.wait_for(|stage| *stage != Stage::Running).await.is_ok() {
        let _ = pending.wait_for(|jobs| *jobs == 0).await;
    }
}
