//! One accepted connection's bytes: TCP, perhaps under TLS, with an eye on whether the peer is alive.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::budget::{Budget, Reservation};

/// How long, and for how many bytes, a closed connection is still read from.
const LINGER: (Duration, u64) = (Duration::from_secs(10), 1 << 30);

/// Bytes of a message that every connection may have in memory, whatever else is there.
const SMALL_MESSAGE: u64 = 256 << 10;
/// Further ones are asked for in steps of this size.
const STEP: u64 = 1 << 20;

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Its number in the log.
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    /// There are too many: it is told so, and nothing else.
    pub(super) refused: bool,
    begun: Instant,
    /// Milliseconds from `begun` to the last byte that was read.
    last_read: AtomicU64,
    asked: AtomicBool,
    linger: AtomicBool,
    memory: Arc<Budget>,
    partial: Mutex<Partial>,
}

/// The message that is coming in.
#[derive(Debug, Default)]
struct Partial {
    /// What has come of it.
    bytes: u64,
    /// Its share of memory, once it is no small one.
    held: Option<Reservation>,
}

impl Connection {
    /// `memory` is what all messages together may take before they are whole.
    pub(super) fn new(id: u64, peer: SocketAddr, refused: bool, memory: Arc<Budget>) -> Arc<Self> {
        let (last_read, asked, linger, partial) = Default::default();
        Arc::new(Self { id, peer, refused, begun: Instant::now(), last_read, asked, linger, memory, partial })
    }

    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How long no byte has come. A message of which parts still arrive is a sign of life.
    pub(super) fn silent_for(&self) -> Duration {
        self.age().saturating_sub(Duration::from_millis(self.last_read.load(Ordering::Relaxed)))
    }

    /// Notes that so many bytes more have come. `false` when there is no memory left for them.
    fn take_in(&self, bytes: usize) -> bool {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.bytes = partial.bytes.saturating_add(bytes as u64);
        if partial.bytes <= SMALL_MESSAGE {
            return true;
        }
        let wanted = partial.bytes.next_multiple_of(STEP);
        match &mut partial.held {
            Some(held) => held.grow_to(wanted),
            None => {
                partial.held = self.memory.reserve(wanted);
                partial.held.is_some()
            }
        }
    }

    /// Notes that a message is whole. Its share of memory is the caller's from here on.
    pub(super) fn message_is_whole(&self) -> Option<Reservation> {
        std::mem::take(&mut *self.partial.lock().unwrap_or_else(PoisonError::into_inner)).held
    }

    /// Notes that a request has come.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Makes the socket read on for a while after it is dropped. To close it while the peer still sends
    /// would reset the connection, and the peer would lose what it was told last.
    pub(super) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }
}

/// TCP or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The stream of a connection, with its place among all connections.
pub(super) struct Socket {
    /// Taken away when dropped.
    stream: Option<Box<dyn Stream>>,
    connection: Arc<Connection>,
    /// Given back when the stream is closed.
    place: Option<OwnedSemaphorePermit>,
}

impl Socket {
    pub(super) fn new(
        stream: Box<dyn Stream>,
        connection: Arc<Connection>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { stream: Some(stream), connection, place: Some(place) }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut (dyn Stream + 'static)>> {
        match &mut self.stream {
            Some(stream) => Ok(Pin::new(stream.as_mut())),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = self.stream()?.poll_read(cx, buf);
        if polled.is_ready() {
            if !self.connection.take_in(buf.filled().len() - before) {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
            let age = u64::try_from(self.connection.age().as_millis()).unwrap_or(u64::MAX);
            self.connection.last_read.store(age, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let (Some(stream), place) = (self.stream.take(), self.place.take()) else { return };
        if !self.connection.linger.load(Ordering::Relaxed) {
            return;
        }
        // Without a runtime the program is at its end, and nothing is left to be polite about.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(LINGER.0, read_on(stream)).await;
                drop(place);
            });
        }
    }
}

/// Says that no more is to come, and throws away what the peer still sends.
async fn read_on(mut stream: Box<dyn Stream>) {
    // The peer may be gone already, which is as good.
    let _ = stream.shutdown().await;
    let _ = tokio::io::copy(&mut stream.take(LINGER.1), &mut tokio::io::sink()).await;
}
