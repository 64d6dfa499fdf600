//! The beginning of a connection that has to say first who it is: until then it may take next to nothing.

use axum::extract::ws::{Message, WebSocket, close_code};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::time::timeout;

use super::Shared;
use super::access::{Client, WRONG_KEY_PAUSE, no_key, wrong_key};
use super::ending::{End, draining, unauthorized};
use super::outbox::Outbox;
use super::parse::parse;
use super::protocol::ClientMessage;
use super::socket::Connection;

/// The longest first message of somebody unknown, in bytes.
const FIRST_MESSAGE: usize = 4 << 10;
/// What may come in bytes before it is known who sends it: the message, and what is read together with it of the ones
/// that follow.
const FIRST_BYTES: u64 = 32 << 10;

/// Lets a client in that has a key or needs none; waits for the key of another one. What is wrong has been said, and the
/// connection closed, when this fails.
pub(super) async fn welcome(
    stream: &mut SplitStream<WebSocket>,
    shared: &Shared,
    connection: &Connection,
    outbox: &Outbox,
    client: Client,
) -> Result<Client, End> {
    if client.key.is_some() || !shared.access.wants_key() {
        return Ok(client);
    }
    connection.restrict(FIRST_BYTES);
    let mut stage = shared.stage.clone();
    let key = tokio::select! {
        token = timeout(shared.limits.handshake, first_key(stream)) => match token {
            Ok(Ok(Some(token))) => shared.access.authenticate(&token).ok_or_else(wrong_key),
            Ok(Ok(None)) | Err(_) => Err(no_key()),
            Ok(Err(end)) => return Err(end),
        },
        () = draining(&mut stage) => {
            outbox.close(close_code::AWAY, "the server is shutting down").await;
            return Err("shutdown");
        }
    };
    match key {
        Ok(key) => {
            connection.trust();
            tracing::info!(connection = connection.id, key = key.name(), "authenticated");
            Ok(Client { key: Some(key), ..client })
        }
        Err(failure) => {
            if failure == wrong_key() {
                tokio::time::sleep(WRONG_KEY_PAUSE).await;
            }
            // Its message may still be on the way, and what it is told would get lost.
            connection.linger();
            Err(unauthorized(outbox, failure).await)
        }
    }
}

/// The key of the first message; `None` when that is anything else.
async fn first_key(stream: &mut SplitStream<WebSocket>) -> Result<Option<String>, End> {
    loop {
        let text = match stream.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Binary(bytes))) => match std::str::from_utf8(&bytes) {
                Ok(text) => text.into(),
                Err(_) => return Ok(None),
            },
            // Among them what has too many bytes.
            Some(Err(_)) => return Ok(None),
            Some(Ok(Message::Close(_))) | None => return Err("closed by the client"),
        };
        if text.len() > FIRST_MESSAGE {
            return Ok(None);
        }
        return Ok(match parse(&text) {
            Ok(ClientMessage::Auth(auth)) => Some(auth.key),
            _ => None,
        });
    }
}
