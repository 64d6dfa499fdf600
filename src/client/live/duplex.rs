//! Both directions of a connection at the same time: text comes while audio goes.

use std::time::Duration;

use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use crate::client::Error;
use crate::client::connection::{Connection, LAST_WORDS, QUESTIONS, Socket, read};
use crate::client::message::Incoming;

/// After so much silence the server is asked for a sign of life. A stream that lost its connection is kept for a
/// minute, so that a dead one must be found out well before.
const QUIET: Duration = Duration::from_secs(5);

/// Messages on their way out. There is room for one beside the one that is being sent: what waits should wait where it
/// can still be counted.
pub(super) type Outbox = mpsc::Sender<Message>;

/// Messages coming in.
pub(super) struct Inbox {
    stream: SplitStream<Socket>,
    pings: mpsc::WeakSender<Message>,
    /// When anything came last.
    heard: Instant,
    /// What was asked since.
    questions: u32,
    writer: JoinHandle<()>,
}

/// Takes a connection apart. The outbox closes when sending fails; the reason comes by the inbox.
pub(super) fn split(connection: Connection) -> (Outbox, Inbox) {
    let (mut sink, stream) = connection.into_socket().split();
    let (outbox, mut waiting) = mpsc::channel(1);
    let writer = tokio::spawn(async move {
        while let Some(message) = waiting.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    let pings = outbox.downgrade();
    (outbox, Inbox { stream, pings, heard: Instant::now(), questions: 0, writer })
}

impl Inbox {
    /// The next message. Waits as long as the server is alive. Nothing is lost when it is dropped and called again.
    pub(super) async fn receive(&mut self) -> Result<Incoming, Error> {
        loop {
            let patience = self.heard + QUIET * (self.questions + 1);
            let Ok(next) = timeout_at(patience, self.stream.next()).await else {
                if self.questions == QUESTIONS {
                    return Err(Error::Broken("the server has fallen silent".to_owned()));
                }
                self.questions += 1;
                if let Some(outbox) = self.pings.upgrade() {
                    // Where there is no room for it, something is on its way already.
                    let _ = outbox.try_send(Message::Ping(Default::default()));
                }
                continue;
            };
            (self.heard, self.questions) = (Instant::now(), 0);
            if let Some(message) = read(next)? {
                return Ok(message);
            }
        }
    }

    /// Closes the connection in the protocol's way, without waiting for long.
    pub(super) async fn close(mut self, outbox: Outbox) {
        drop(outbox);
        let goodbye = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let _ = timeout(LAST_WORDS, goodbye).await;
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // It may be in the middle of sending to nobody.
        self.writer.abort();
    }
}
