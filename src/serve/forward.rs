//! What a client has of a stream, and what it gets next.

use std::sync::Arc;

use super::job::rounded;
use super::lane::Pending;
use super::outbox::Outbox;
use super::protocol::{Partial, ServerMessage, State};
use super::streams::Stream;

/// What a client has.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Bytes of the committed text. `None`: what it has is to be replaced.
    pub(super) committed: Option<usize>,
    pub(super) segments: usize,
    pub(super) flushed: usize,
    /// The changes of the text that it knows of.
    changes: u64,
}

impl Cursor {
    /// A client that has seen the stream from its beginning.
    pub(super) fn fresh() -> Self {
        Self { committed: Some(0), segments: 0, flushed: 0, changes: 0 }
    }

    /// One that comes back, and has so many segments.
    pub(super) fn back(stream: &Stream, segments: Option<usize>) -> Self {
        let feed = stream.feed();
        let segments = segments.unwrap_or(usize::MAX).min(feed.segments.len());
        Self { committed: None, segments, flushed: feed.flushed, changes: 0 }
    }

    /// What is new to the client, in order; the second says whether that was the end.
    fn next(&mut self, stream: &Stream) -> (Vec<ServerMessage>, bool) {
        let mut feed = stream.feed();
        let mut messages = Vec::new();
        let received_samples = stream.received();
        if feed.changes > self.changes || self.committed.is_none() {
            self.changes = feed.changes;
            feed.seq += 1;
            let committed = feed.committed.get(self.committed.unwrap_or(0)..).unwrap_or_default().to_owned();
            messages.push(ServerMessage::Partial(Box::new(Partial {
                stream_id: stream.id.clone(),
                seq: feed.seq,
                committed,
                volatile: feed.volatile.clone(),
                start: rounded(feed.start),
                committed_end: rounded(feed.committed_end),
                end: rounded(feed.end),
                received_samples,
                from_start: self.committed.is_none(),
            })));
            self.committed = Some(feed.committed.len());
        }
        for (index, segment) in feed.segments.iter().enumerate().skip(self.segments) {
            let (stream_id, segment) = (stream.id.clone(), segment.clone());
            messages.push(ServerMessage::Segment { stream_id, index, segment });
        }
        self.segments = self.segments.max(feed.segments.len());
        let done = feed.flushed;
        for flush_id in feed.flushes.iter_mut().take(done).skip(self.flushed) {
            let (stream_id, flush_id) = (stream.id.clone(), flush_id.take());
            messages.push(ServerMessage::StreamFlushed { stream_id, flush_id, received_samples });
        }
        self.flushed = self.flushed.max(feed.flushed);
        feed.told = feed.told.max(feed.flushed);
        let is_over = feed.outcome.is_some();
        if is_over && let Some(warning) = feed.warning.clone() {
            messages.push(warning.about(&stream.id).into());
        }
        messages.extend(feed.outcome.clone().map(|outcome| match outcome {
            Ok(transcription) => ServerMessage::Transcription(transcription),
            Err(failure) => failure.into(),
        }));
        (messages, is_over)
    }
}

/// Sends what is new of a stream until its end, or until another connection has taken it over.
pub(super) async fn forward(
    stream: Arc<Stream>,
    owner: u64,
    mut cursor: Cursor,
    outbox: Outbox,
    pending: Pending,
) {
    let mut changed = stream.changed();
    loop {
        // Before it is looked at: what comes while messages are sent is seen in the next round.
        changed.borrow_and_update();
        if !stream.is_of(owner) {
            return;
        }
        let (messages, is_over) = cursor.next(&stream);
        for message in messages {
            outbox.send(message).await;
        }
        if is_over {
            outbox.enter(State::Ready, "Ready for next audio", None).await;
            drop(pending);
            return;
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}
