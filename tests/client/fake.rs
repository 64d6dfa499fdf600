//! A WebSocket server that does what the test says, one step at a time.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// No step of a test takes longer, unless something is wrong.
const LONG: Duration = Duration::from_secs(60);
/// Who does nothing for so long is waiting.
const SHORT: Duration = Duration::from_millis(500);

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A listener.
pub(super) struct Fake {
    pub(super) url: String,
    listener: TcpListener,
    runtime: Runtime,
    tls: Option<tokio_native_tls::TlsAcceptor>,
}

/// A client that is connected.
pub(super) struct Peer<'a> {
    socket: WebSocketStream<Box<dyn Stream>>,
    runtime: &'a Runtime,
}

impl Fake {
    pub(super) fn plain() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        Self { url, listener, runtime, tls: None }
    }

    /// The same over TLS with a certificate of its own, or `None` where there is no `openssl`.
    pub(super) fn secure() -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (key, certificate) = (folder.join("fake-key.pem"), folder.join("fake-cert.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=fake"])
            .args([Path::new("-keyout"), &key, Path::new("-out"), &certificate])
            .output()
            .ok()?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let read = |path| std::fs::read(path).unwrap();
        let identity = native_tls::Identity::from_pkcs8(&read(&certificate), &read(&key)).unwrap();
        let acceptor = native_tls::TlsAcceptor::new(identity).unwrap();
        let plain = Self::plain();
        Some(Self { url: plain.url.replace("ws://", "wss://"), tls: Some(acceptor.into()), ..plain })
    }

    pub(super) fn accept(&self) -> Peer<'_> {
        let accepted = async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            let stream: Box<dyn Stream> = match &self.tls {
                Some(tls) => Box::new(tls.accept(tcp).await.unwrap()),
                None => Box::new(tcp),
            };
            tokio_tungstenite::accept_async(stream).await.unwrap()
        };
        Peer { socket: self.wait(accepted), runtime: &self.runtime }
    }

    /// A client that does not like the certificate.
    pub(super) fn fail_handshake(&self) {
        self.wait(async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            assert!(self.tls.as_ref().unwrap().accept(tcp).await.is_err());
        });
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        wait(&self.runtime, future)
    }
}

impl Peer<'_> {
    pub(super) fn receive(&mut self) -> Value {
        let message = wait(self.runtime, self.socket.next()).expect("a message").unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    pub(super) fn send(&mut self, message: &Value) {
        wait(self.runtime, self.socket.send(Message::text(message.to_string()))).unwrap();
    }

    pub(super) fn state(&mut self, state: &str, data: Value) {
        let mut message = json!({"type": "state", "state": state, "message": "", "timestamp": ""});
        if !data.is_null() {
            message["data"] = data;
        }
        self.send(&message);
    }

    pub(super) fn error(&mut self, code: &str, message: &str, more: Value) {
        let mut error = json!({"type": "error", "code": code, "message": message, "timestamp": ""});
        error.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send(&error);
    }

    /// So many bytes of audio, in frames of any size.
    pub(super) fn audio(&mut self, size: usize) -> Vec<u8> {
        let mut audio = Vec::new();
        while audio.len() < size {
            match wait(self.runtime, self.socket.next()).expect("audio").unwrap() {
                Message::Binary(bytes) => audio.extend_from_slice(&bytes),
                other => assert!(!other.is_text(), "{} of {size} bytes, then {other}", audio.len()),
            }
        }
        assert_eq!(audio.len(), size);
        audio
    }

    /// Sees that the client waits.
    pub(super) fn nothing(&mut self) {
        let socket = &mut self.socket;
        let next = self.runtime.block_on(async { tokio::time::timeout(SHORT, socket.next()).await });
        assert!(next.is_err(), "the client does not wait: {next:?}");
    }

    /// Waits until the client has gone, with a goodbye or without.
    pub(super) fn dropped(mut self) {
        while let Some(Ok(_)) = wait(self.runtime, self.socket.next()) {}
    }

    /// Waits for the client's goodbye.
    pub(super) fn closed(mut self) {
        let next = wait(self.runtime, self.socket.next());
        assert!(matches!(next, Some(Ok(Message::Close(_)))), "{next:?}");
        let _ = wait(self.runtime, self.socket.close(None));
    }

    /// Says goodbye first.
    pub(super) fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        wait(self.runtime, self.socket.close(Some(frame))).unwrap();
    }
}

fn wait<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    runtime.block_on(async { tokio::time::timeout(LONG, future).await.expect("the client is stuck") })
}

/// The bytes in a field.
pub(super) fn decode(field: &Value) -> Vec<u8> {
    STANDARD.decode(field.as_str().unwrap()).unwrap()
}
