//! One WebSocket connection: how it is made, and one message at a time.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::message::{Incoming, Outgoing};
use super::{Address, ApiKey, Error};

/// For each of name and TCP, TLS, and the WebSocket handshake.
const CONNECT: Duration = Duration::from_secs(15);
/// For one message to leave; that is over 10 kB/s for the largest.
const SEND: Duration = Duration::from_secs(900);
/// After so much silence the server is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(20);
/// So many questions without any answer, and the connection is dead.
pub(super) const QUESTIONS: u32 = 3;
/// For what the server still has to say when sending has failed, and for goodbyes.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
/// What the server's log calls us.
const AGENT: &str = concat!("imesli/", env!("CARGO_PKG_VERSION"));
/// The largest message that is taken: hours of transcript.
const MAX_MESSAGE: usize = 64 << 20;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What a connection is made on.
pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// An open connection.
pub(super) struct Connection {
    socket: Socket,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Connects to a server.
    pub(super) async fn open(address: &Address, insecure: bool, key: Option<&ApiKey>) -> Result<Self, Error> {
        let unreachable = |fact: String| Error::Unreachable { address: address.to_string(), fact };
        let late = |_| unreachable(format!("no answer within {} s", CONNECT.as_secs()));
        let tcp = timeout(CONNECT, TcpStream::connect((address.host(), address.port()))).await;
        let tcp = tcp.map_err(late)?.map_err(|error| unreachable(error.to_string()))?;
        // Chunks wait for their answers; without this the last bytes of each would wait, too.
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Stream> = if address.is_tls() {
            let secured = timeout(CONNECT, secure(tcp, address.host(), insecure)).await.map_err(late)?;
            Box::new(secured.map_err(unreachable)?)
        } else {
            Box::new(tcp)
        };
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let mut request = address.uri().into_client_request().map_err(|e| unreachable(e.to_string()))?;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(key) = key {
            request.headers_mut().insert(AUTHORIZATION, key.header().map_err(unreachable)?);
        }
        let handshake = client_async_with_config(request, stream, Some(config));
        let socket = timeout(CONNECT, handshake).await.map_err(late)?;
        let (socket, _) = socket.map_err(|error| unreachable(handshake_fact(&error)))?;
        Ok(Self { socket })
    }

    /// Sends a message. When that fails, the server may have said why before it hung up.
    pub(super) async fn send(&mut self, message: &Outgoing<'_>) -> Result<(), Error> {
        let text = serde_json::to_string(message).map_err(|error| Error::Protocol(error.to_string()))?;
        let sent = timeout(SEND, self.socket.send(Message::text(text))).await;
        let fact = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("a message did not leave within {} s", SEND.as_secs()),
        };
        let last_words = async {
            loop {
                match self.receive().await {
                    Ok(Incoming::Error { code, message, .. }) => return Error::Refused { code, message },
                    Ok(_) => {}
                    Err(error) => return error,
                }
            }
        };
        match timeout(LAST_WORDS, last_words).await {
            Ok(refused @ Error::Refused { .. }) => Err(refused),
            _ => Err(Error::Broken(fact)),
        }
    }

    /// The next message. Waits as long as the server is alive.
    pub(super) async fn receive(&mut self) -> Result<Incoming, Error> {
        let mut questions = 0;
        loop {
            let Ok(next) = timeout(QUIET, self.socket.next()).await else {
                if questions == QUESTIONS {
                    return Err(Error::Broken("the server has fallen silent".to_owned()));
                }
                questions += 1;
                let asked = timeout(QUIET, self.socket.send(Message::Ping(Default::default()))).await;
                if let Ok(Err(error)) = asked {
                    return Err(Error::Broken(error.to_string()));
                }
                continue;
            };
            questions = 0;
            if let Some(message) = read(next)? {
                return Ok(message);
            }
        }
    }

    /// The same for who sends and receives at the same time.
    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Closes it in the protocol's way, without waiting for long.
    pub(super) async fn close(mut self) {
        let goodbye = async {
            self.socket.close(None).await?;
            // The server's own close frame, or what was on its way.
            while let Some(message) = self.socket.next().await {
                message?;
            }
            Ok::<(), tungstenite::Error>(())
        };
        let _ = timeout(LAST_WORDS, goodbye).await;
    }
}

/// What came, where it is a message to us.
pub(super) fn read(next: Option<Result<Message, tungstenite::Error>>) -> Result<Option<Incoming>, Error> {
    match next {
        Some(Ok(Message::Text(text))) => {
            serde_json::from_str(&text).map(Some).map_err(|error| Error::Protocol(error.to_string()))
        }
        Some(Ok(Message::Close(frame))) => {
            let why = frame.map_or_else(|| "no reason given".to_owned(), |frame| frame.to_string());
            Err(Error::Broken(format!("the server closed it ({why})")))
        }
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(Error::Broken(error.to_string())),
        None => Err(Error::Broken("the server hung up".to_owned())),
    }
}

async fn secure(
    tcp: TcpStream,
    host: &str,
    insecure: bool,
) -> Result<tokio_native_tls::TlsStream<TcpStream>, String> {
    let mut builder = native_tls::TlsConnector::builder();
    if insecure {
        builder.danger_accept_invalid_certs(true).danger_accept_invalid_hostnames(true);
    }
    let connector = builder.build().map_err(|error| format!("TLS can't be started: {error}"))?;
    tokio_native_tls::TlsConnector::from(connector).connect(host, tcp).await.map_err(|error| {
        let hint = if insecure || !error.to_string().contains("certificate") {
            "is it wss, or plain ws?"
        } else {
            "to accept a self-signed certificate, add --insecure"
        };
        format!("TLS: {error} ({hint})")
    })
}

fn handshake_fact(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body: String = String::from_utf8_lossy(body).lines().take(1).collect();
            let body: String = body.chars().take(200).collect();
            format!("HTTP {} instead of a WebSocket {body}", response.status()).trim_end().to_owned()
        }
        // What a TLS server's answer to a plain request looks like.
        tungstenite::Error::Protocol(_) | tungstenite::Error::HttpFormat(_) => {
            format!("{error} (is it ws, or wss?)")
        }
        _ => error.to_string(),
    }
}
