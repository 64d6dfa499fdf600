//! One accepted connection's bytes: TCP, perhaps under TLS, with an eye on whether the peer is alive.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::budget::{Budget, Reservation};
use super::intake::Intake;

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
    /// Requests that are being answered.
    requests: AtomicUsize,
    /// Milliseconds from `begun` to the end of the last of them.
    last_request: AtomicU64,
    /// Milliseconds from `begun` to the first write that could not be done, and nothing was written since; 0 for none.
    blocked: AtomicU64,
    upgraded: AtomicBool,
    linger: AtomicBool,
    incoming: Arc<Incoming>,
    partial: Mutex<Partial>,
    /// Bytes of a message that may come before it is whole, from somebody unknown. `0`: as many as there is memory for.
    most: AtomicU64,
}

/// The bounds of messages that come in.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Bytes of everything in memory.
    memory: Arc<Budget>,
    /// A part of it. Without that, a few clients that never come to the end of their messages would keep all others from
    /// being heard.
    unfinished: Arc<Budget>,
    /// Bytes on the wire that one message may have.
    most: u64,
}

impl Incoming {
    /// `bytes` is the size of `memory`, `message_bytes` that of the largest message.
    pub(super) fn new(memory: Arc<Budget>, bytes: u64, message_bytes: usize) -> Arc<Self> {
        let message_bytes = message_bytes as u64;
        Arc::new(Self {
            memory,
            unfinished: Budget::new(bytes - bytes / 4),
            // The last frame may be what makes it too large; then the heads of frames, and pings between them. What is more
            // is no message, but empty frames without end.
            most: message_bytes
                .saturating_mul(2)
                .saturating_add(message_bytes / 8)
                .saturating_add(SMALL_MESSAGE),
        })
    }

    fn reserve(&self, bytes: u64) -> Option<Share> {
        Some(Share { unfinished: self.unfinished.reserve(bytes)?, memory: self.memory.reserve(bytes)? })
    }
}

/// The memory of an unfinished message, in both budgets.
#[derive(Debug)]
struct Share {
    unfinished: Reservation,
    memory: Reservation,
}

/// The message that is coming in.
#[derive(Debug, Default)]
struct Partial {
    /// What has come of it.
    bytes: u64,
    /// Its share of memory, once it is no small one.
    held: Option<Share>,
}

impl Connection {
    pub(super) fn new(id: u64, peer: SocketAddr, refused: bool, incoming: Arc<Incoming>) -> Arc<Self> {
        let (last_read, requests, last_request, blocked) = Default::default();
        let (upgraded, linger, partial, most) = Default::default();
        Arc::new(Self {
            id,
            peer,
            refused,
            begun: Instant::now(),
            last_read,
            requests,
            last_request,
            blocked,
            upgraded,
            linger,
            incoming,
            partial,
            most,
        })
    }

    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How long no byte has come. A message of which parts still arrive is a sign of life.
    pub(super) fn silent_for(&self) -> Duration {
        self.since(self.last_read.load(Ordering::Relaxed))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, milliseconds: u64) -> Duration {
        self.age().saturating_sub(Duration::from_millis(milliseconds))
    }

    /// How long it has had no request to answer.
    pub(super) fn idle_for(&self) -> Duration {
        if self.requests.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.since(self.last_request.load(Ordering::Relaxed))
    }

    /// How long the peer has read nothing of what is there for it.
    pub(super) fn blocked_for(&self) -> Duration {
        match self.blocked.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.since(since),
        }
    }

    /// Notes whether something could be written.
    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        if polled.is_ready() {
            self.blocked.store(0, Ordering::Relaxed);
        } else {
            let now = self.now().max(1);
            let _ = self.blocked.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Notes that what comes from here on are messages.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Notes that so many bytes more have come. `false` when there is no memory left for them. What comes before the
    /// upgrade is counted by whoever reads it.
    fn take_in(&self, bytes: usize) -> bool {
        if !self.upgraded.load(Ordering::Relaxed) {
            return true;
        }
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.bytes = partial.bytes.saturating_add(bytes as u64);
        let most = self.most.load(Ordering::Relaxed);
        if most > 0 && partial.bytes > most {
            return false;
        }
        if partial.bytes <= SMALL_MESSAGE {
            return true;
        }
        if partial.bytes > self.incoming.most {
            return false;
        }
        let wanted = partial.bytes.next_multiple_of(STEP);
        match &mut partial.held {
            Some(held) => held.unfinished.grow_to(wanted) && held.memory.grow_to(wanted),
            None => {
                partial.held = self.incoming.reserve(wanted);
                partial.held.is_some()
            }
        }
    }

    /// Notes that a message is whole. Its share of memory is the caller's from here on.
    pub(super) fn message_is_whole(&self) -> Option<Reservation> {
        let partial = std::mem::take(&mut *self.partial.lock().unwrap_or_else(PoisonError::into_inner));
        partial.held.map(|share| share.memory)
    }

    /// From here on so many bytes may come before it is known who sends them.
    pub(super) fn restrict(&self, bytes: u64) {
        drop(self.message_is_whole());
        self.most.store(bytes, Ordering::Relaxed);
    }

    /// It is known now.
    pub(super) fn trust(&self) {
        drop(self.message_is_whole());
        self.most.store(0, Ordering::Relaxed);
    }

    /// Notes that a request has come, until what is given is dropped.
    pub(super) fn ask(self: &Arc<Self>) -> Asked {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Asked(Arc::clone(self))
    }

    /// Makes the socket read on for a while after it is dropped. To close it while the peer still sends
    /// would reset the connection, and the peer would lose what it was told last.
    pub(super) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Asked(Arc<Connection>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.last_request.store(self.0.now(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
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
    intake: Arc<Intake>,
    /// Until then nothing is read: too much came from this address.
    rest: Option<Pin<Box<Sleep>>>,
    /// Given back when the stream is closed.
    place: Option<Box<dyn Any + Send>>,
}

impl Socket {
    pub(super) fn new(
        stream: Box<dyn Stream>,
        connection: Arc<Connection>,
        intake: Arc<Intake>,
        place: Box<dyn Any + Send>,
    ) -> Self {
        connection.last_request.store(connection.now(), Ordering::Relaxed);
        Self { stream: Some(stream), connection, intake, rest: None, place: Some(place) }
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
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        let before = buf.filled().len();
        let polled = self.stream()?.poll_read(cx, buf);
        if polled.is_ready() {
            let bytes = buf.filled().len() - before;
            let wait = self.intake.take(bytes, Instant::now());
            if !wait.is_zero() {
                self.rest = Some(Box::pin(sleep(wait)));
            }
            if !self.connection.take_in(bytes) {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
            self.connection.last_read.store(self.connection.now(), Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.stream()?.poll_write(cx, buf);
        self.connection.wrote(&polled);
        polled
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
