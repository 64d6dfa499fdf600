//! The front door: accepts connections, encrypts them, and upgrades them to WebSocket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::budget::Budget;
use super::limits::Limits;
use super::page;
use super::session;
use super::socket::{Connection, Socket, Stream};
use super::streams::Streams;
use super::upload::Uploads;
use super::{Service, Shared, Stage, tls};

/// Connections beyond the limit that are told so; what comes beyond these is just closed.
const REFUSED_AT_A_TIME: usize = 32;
/// How often old uploads and streams are looked for, at least.
const SWEEP: Duration = Duration::from_secs(30);
/// How long connections may take to say goodbye once their work was given up.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What a connection reads at a time, and keeps as a buffer for as long as it lives.
const READ_BUFFER: usize = 16 << 10;
/// After an accept that failed, because there are no file descriptors left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` resolves; then takes no more connections and no more work, finishes what runs
/// (up to [`Limits::shutdown`]), closes the connections and returns.
pub async fn run(listener: TcpListener, service: Service, shutdown: impl Future<Output = ()>) {
    let Service { transcriber, defaults, limits, tls } = service;
    let (stage, watched) = watch::channel(Stage::Running);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let disk = Budget::new(limits.spool_bytes);
    let shared = Arc::new(Shared {
        transcriber,
        defaults,
        uploads: Uploads::new(&limits, Arc::clone(&disk)),
        streams: Streams::new(&limits),
        disk,
        memory: Budget::new(limits.memory_bytes),
        decoders: Semaphore::new(cores),
        stage: watched,
        limits,
    });
    let most = shared.limits.connections.saturating_add(REFUSED_AT_A_TIME).min(u32::MAX as usize);
    let front = Arc::new(Front { app: app(&shared), shared, tls });
    let places = Arc::new(Semaphore::new(most));
    tokio::select! {
        () = accept(&listener, &front, &places) => {}
        () = sweep(&front.shared) => {}
        () = shutdown => {}
    }
    drop(listener);
    let within = front.shared.limits.shutdown;
    tracing::info!(seconds = within.as_secs(), "shutting down; running work is finished in so long at most");
    stage.send_replace(Stage::Draining);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    if timeout(within, places.acquire_many(all)).await.is_err() {
        tracing::warn!("running work is given up");
        stage.send_replace(Stage::Stopping);
        let _ = timeout(LAST_WORDS, places.acquire_many(all)).await;
    }
}

struct Front {
    app: Router,
    shared: Arc<Shared>,
    tls: Option<tls::Acceptor>,
}

async fn accept(listener: &TcpListener, front: &Arc<Front>, places: &Arc<Semaphore>) {
    for id in 1.. {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection can't be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let refused = places.available_permits() <= REFUSED_AT_A_TIME;
        let Ok(place) = Arc::clone(places).try_acquire_owned() else { continue };
        let connection = Connection::new(id, peer, refused, Arc::clone(&front.shared.memory));
        tokio::spawn(connect(Arc::clone(front), stream, connection, place));
    }
}

async fn sweep(shared: &Arc<Shared>) {
    let every = SWEEP.min(shared.limits.stream_resume / 4).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(every).await;
        shared.streams.sweep(Instant::now());
        let shared = Arc::clone(shared);
        // Locks of uploads are held while their chunks are written to disk.
        let _ = tokio::task::spawn_blocking(move || shared.uploads.sweep(Instant::now())).await;
    }
}

/// The handshake and the HTTP requests of one connection, in a task of its own.
async fn connect(
    front: Arc<Front>,
    stream: TcpStream,
    connection: Arc<Connection>,
    place: OwnedSemaphorePermit,
) {
    let limits = &front.shared.limits;
    // Messages are small and waited for.
    let _ = stream.set_nodelay(true);
    let stream: Box<dyn Stream> = match &front.tls {
        None => Box::new(stream),
        Some(tls) => match tls.accept(stream, limits.handshake).await {
            Ok(stream) => Box::new(stream),
            Err(error) => {
                tracing::info!(connection = connection.id, peer = %connection.peer, "no TLS: {error}");
                return;
            }
        },
    };
    let io = TokioIo::new(Socket::new(stream, Arc::clone(&connection), place));
    let app = front.app.clone().layer(Extension(Arc::clone(&connection)));
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.handshake);
    let http = builder.serve_connection_with_upgrades(io, TowerToHyperService::new(app));
    tokio::pin!(http);
    let mut stage = front.shared.stage.clone();
    let result = tokio::select! {
        result = http.as_mut() => result,
        () = silence(&connection, limits.handshake) => {
            tracing::debug!(connection = connection.id, "no request came");
            return;
        }
        () = left(&mut stage) => {
            http.as_mut().graceful_shutdown();
            http.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection failed before it was upgraded: {error}");
    }
}

/// Resolves when no request has come in this time. hyper's own deadline begins with the first byte.
async fn silence(connection: &Connection, within: Duration) {
    tokio::time::sleep(within).await;
    if connection.has_asked() {
        std::future::pending().await
    }
}

/// Waits until the server shuts down.
async fn left(stage: &mut watch::Receiver<Stage>) {
    let _ = stage.wait_for(|stage| *stage != Stage::Running).await;
}

fn app(shared: &Arc<Shared>) -> Router {
    Router::new().fallback(any_path).with_state(Arc::clone(shared))
}

/// The upgrade on every path, as the Python server had it; to a browser, the page.
async fn any_path(
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Arc<Connection>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    connection.ask();
    let mut response = match upgrade {
        _ if connection.refused => {
            let text = "OVERLOADED: too many connections; try again later\n";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        Ok(upgrade) => return upgraded(upgrade, shared, connection, &headers),
        Err(_) if headers.contains_key(header::UPGRADE) => {
            (StatusCode::BAD_REQUEST, "this is no WebSocket handshake of version 13\n").into_response()
        }
        Err(_) if matches!(method, Method::GET | Method::HEAD) => page::answer(uri.path(), &headers)
            .unwrap_or_else(|| (StatusCode::NOT_FOUND, ABOUT).into_response()),
        Err(_) => (StatusCode::METHOD_NOT_ALLOWED, "only GET is known here\n").into_response(),
    };
    // An open connection would take a place, and wait for a request that may never come.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

const ABOUT: &str = concat!(
    "imesli ",
    env!("CARGO_PKG_VERSION"),
    ": a speech-to-text server.\n\
     There is a page for people at /, and nothing at this path.\n\
     Programs connect by WebSocket (ws:// or wss://) to this address and send JSON messages, e.g.\n\
     {\"type\": \"audio\", \"audio_data\": \"<a whole audio file in base64>\"}\n"
);

fn upgraded(
    upgrade: WebSocketUpgrade,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    headers: &HeaderMap,
) -> Response {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent: String = agent.unwrap_or("unknown").chars().take(100).collect();
    tracing::info!(connection = connection.id, peer = %connection.peer, agent, "connected");
    let Limits { message_bytes, .. } = shared.limits;
    upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(message_bytes)
        .max_frame_size(message_bytes)
        .on_upgrade(move |socket| session::run(socket, shared, connection))
}
