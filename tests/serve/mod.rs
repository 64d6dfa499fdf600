//! The server over real sockets: a server on a port of its own for each test, the demo model behind it.

mod access;
mod codes;
mod durable;
mod fair;
mod faults;
pub(crate) mod http;
mod limits;
pub(crate) mod live;
mod logs;
mod order;
mod page;
mod program;
mod recorded;
mod reload;
mod sequences;
mod shutdown;
mod startup;
mod tls;
mod uploads;
mod voice;

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use imesli::asr::pool::PoolOptions;
use imesli::asr::transcriber::{Request, Transcriber};
use imesli::checkpoint::QuantType;
use imesli::serve::access::{Access, AccessOptions};
use imesli::serve::engine::Models;
use imesli::serve::limits::Limits;
use imesli::serve::{Service, tls::Acceptor};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};

use crate::asr::SAID;
use crate::support::{ONE, root, samples, transcriber};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How a test wants its server.
struct Setup {
    limits: Limits,
    pool: PoolOptions,
    tls: Option<Acceptor>,
    access: AccessOptions,
}

impl Default for Setup {
    fn default() -> Self {
        let access = AccessOptions { loopback: true, ..AccessOptions::default() };
        Self { limits: Limits::default(), pool: ONE, tls: None, access }
    }
}

/// A running server.
struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<()>,
}

impl Server {
    async fn start(setup: Setup) -> Self {
        let pool = setup.pool;
        let made = tokio::task::spawn_blocking(move || transcriber(QuantType::Q8_0, pool)).await;
        Self::over(made.unwrap(), setup).await
    }

    /// The same over a transcriber of the test's own.
    async fn over(transcriber: Transcriber, setup: Setup) -> Self {
        let pool = setup.pool;
        let load = move || Ok(crate::support::transcriber(QuantType::Q8_0, pool));
        let models = Models::Own {
            transcriber: Box::new(transcriber),
            id: "demo".to_owned(),
            load: Some(Box::new(load)),
        };
        Self::with(models, setup).await
    }

    /// The same with these models.
    async fn with(models: Models, setup: Setup) -> Self {
        let Setup { limits, pool: _, tls, access } = setup;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let service = Service {
            models,
            access: Access::new(access).unwrap(),
            defaults: Request::default(),
            limits,
            tls,
            metrics: None,
            hangups: None,
        };
        let done = tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.await;
            };
            imesli::serve::run(listener, service, stopped).await.unwrap();
        });
        Self { address, stop: Some(stop), done }
    }

    /// Asks for a shutdown, as a signal does.
    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// A client that has seen `ready`.
    async fn client(&self) -> Client {
        let mut client = self.silent_client().await;
        assert_eq!(client.state().await, "ready");
        client
    }

    async fn silent_client(&self) -> Client {
        Client::connect(&format!("ws://{}/", self.address)).await
    }
}

/// A client that knows nothing of the server's types.
pub(crate) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        let tls = native_tls::TlsConnector::builder().danger_accept_invalid_certs(true).build().unwrap();
        let connecting = tokio_tungstenite::connect_async_tls_with_config(
            url,
            None,
            false,
            Some(Connector::NativeTls(tls)),
        );
        Self(tokio::time::timeout(PATIENCE, connecting).await.unwrap().unwrap().0)
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.text(&message.to_string()).await;
    }

    async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next frame that is neither ping nor pong.
    async fn frame(&mut self) -> Option<Message> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("the server says nothing") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        match self.frame().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The next message's state.
    pub(crate) async fn state(&mut self) -> String {
        let message = self.next().await;
        assert_eq!(message["type"], "state", "{message}");
        message["state"].as_str().unwrap().to_owned()
    }

    /// The next message, which is an error with this code.
    async fn code(&mut self, code: &str) -> Value {
        let message = self.next().await;
        assert_eq!((&message["type"], &message["code"]), (&json!("error"), &json!(code)), "{message}");
        assert!(message["timestamp"].is_string(), "{message}");
        assert!(!message["message"].as_str().unwrap().is_empty(), "{message}");
        message
    }

    /// Skips states until something else comes.
    pub(crate) async fn answer(&mut self) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] != "state" {
                return message;
            }
        }
    }

    /// The code of the close frame, after any messages.
    async fn close_code(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Some(Message::Close(Some(frame))) => return frame.code.into(),
                Some(Message::Text(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }

    /// Whether the server still answers this client.
    pub(crate) async fn is_alive(&mut self) {
        self.send(json!({ "type": "ping" })).await;
        loop {
            match self.state().await.as_str() {
                "transcribing" => {} // a long file goes on beside
                other => return assert_eq!(other, "pong"),
            }
        }
    }
}

/// A recording of `SAID` in base64.
pub(crate) fn encoded(index: usize) -> String {
    STANDARD.encode(std::fs::read(root(SAID[index].0)).unwrap())
}

/// An `audio` message.
pub(crate) fn audio(audio_id: &str, audio_data: &str) -> Value {
    json!({ "type": "audio", "audio_id": audio_id, "audio_data": audio_data, "format": "base64" })
}

/// A WAV file that takes a while to transcribe: so many seconds of speech, again and again.
pub(crate) fn long_wav(seconds: usize) -> Vec<u8> {
    let speech = samples(SAID[3].0);
    wav(speech.iter().cycle().take(seconds * 16_000).map(|sample| (sample * 32_000.0) as i16))
}

/// A WAV file of these samples, 16 kHz mono.
fn wav(samples: impl Iterator<Item = i16>) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    samples.for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
    file.into_inner()
}

/// The same in base64.
fn long_encoded(seconds: usize) -> String {
    STANDARD.encode(long_wav(seconds))
}
