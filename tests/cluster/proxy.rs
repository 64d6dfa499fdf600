//! What stands between a door and its broker, so that the one can be cut off from the other.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It gets there.
    Whole,
    /// It is held back, and nobody is told: a cable that was pulled.
    Silent,
    /// Connections are closed, old ones and new ones.
    Cut,
}

/// A TCP proxy, gone with the test.
pub(super) struct Proxy {
    pub(super) port: u16,
    line: watch::Sender<Line>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to a port of this machine.
    pub(super) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (line, seen) = watch::channel(Line::Whole);
        let serving = tokio::spawn(serve(listener, target, seen));
        Self { port, line, serving }
    }

    /// What becomes of everything from now on.
    pub(super) fn set(&self, line: Line) {
        self.line.send(line).unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, target: u16, line: watch::Receiver<Line>) {
    loop {
        let (near, _) = listener.accept().await.unwrap();
        if *line.borrow() != Line::Cut {
            tokio::spawn(carry(near, target, line.clone()));
        }
    }
}

/// One connection, to its end or until it is cut.
async fn carry(near: TcpStream, target: u16, line: watch::Receiver<Line>) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        _ = reaches(line.clone(), |line| *line == Line::Cut) => {}
        () = pump(near_read, far_write, line.clone()) => {}
        () = pump(far_read, near_write, line) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: watch::Receiver<Line>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if !reaches(line.clone(), |line| *line != Line::Silent).await {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Waits until this holds of the line; `false` when the proxy is gone.
async fn reaches(mut line: watch::Receiver<Line>, holds: fn(&Line) -> bool) -> bool {
    let found = line.wait_for(holds).await;
    found.is_ok()
}
