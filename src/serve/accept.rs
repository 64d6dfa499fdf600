//! The door: accepts connections, encrypts them, and looks after them until they are upgraded or end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::budget::Budget;
use super::decoders::Decoders;
use super::engine::Engine;
use super::intake::Intakes;
use super::limits::Limits;
use super::metrics::Metrics;
use super::queue::Queue;
use super::socket::{Connection, Incoming, Socket, Stream};
use super::streams::Streams;
use super::upload::Uploads;
use super::{Service, Shared, Stage, front, http, tls};

/// Connections beyond the limit that are told so; what comes beyond these is just closed.
const REFUSED_AT_A_TIME: usize = 32;
/// How often old uploads and streams are looked for, at least.
const SWEEP: Duration = Duration::from_secs(30);
/// How long connections may take to say goodbye once their work was given up.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// After an accept that failed, because there are no file descriptors left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a connection's requests are looked at, at least.
const CHECK: Duration = Duration::from_secs(1);
/// Connections to the metrics' own address.
const METRICS_CONNECTIONS: usize = 16;

/// Serves until `shutdown` resolves; then takes no more connections and no more work, finishes what runs
/// (up to [`Limits::shutdown`](super::limits::Limits::shutdown)), closes the connections and returns.
///
/// # Errors
/// [`Error::Internal`](crate::error::Error::Internal) when it can't begin.
pub async fn run(
    listener: TcpListener,
    service: Service,
    shutdown: impl Future<Output = ()>,
) -> crate::error::Result<()> {
    let Service { models, access, defaults, limits, tls, metrics: metrics_listener, hangups } = service;
    let (stage, watched) = watch::channel(Stage::Running);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (disk, memory) = (Budget::new(limits.spool_bytes), Budget::new(limits.memory_bytes));
    let metrics = Arc::new(Metrics::new()?);
    let engine = Engine::new(models, &metrics);
    let shared = Arc::new(Shared {
        queue: Queue::new(engine.places().unwrap_or(limits.requests), f64::from(limits.queue_seconds)),
        engine: Arc::new(engine),
        access: Arc::new(access),
        metrics,
        metrics_elsewhere: metrics_listener.is_some(),
        connected: AtomicUsize::new(0),
        intakes: Intakes::new(limits.intake_bytes),
        defaults,
        uploads: Uploads::new(&limits, Arc::clone(&disk)),
        streams: Streams::new(&limits),
        disk,
        decoders: Decoders::new(cores, Arc::clone(&memory), limits.memory_bytes),
        memory,
        stage: watched,
        limits,
    });
    let tls = tls.map(Arc::new);
    let most = shared.limits.connections.saturating_add(REFUSED_AT_A_TIME).min(u32::MAX as usize);
    let front = Arc::new(Front { app: front::app(&shared), shared: Arc::clone(&shared), tls: tls.clone() });
    let places = Arc::new(Semaphore::new(most));
    let incoming = incoming(&shared);
    tokio::select! {
        () = accept(&listener, &front, &places, &incoming) => {}
        () = aside(metrics_listener, &shared, &incoming) => {}
        () = sweep(&shared) => {}
        () = shared.access.watch() => {}
        () = renew(tls.as_deref()) => {}
        () = hung_up(hangups, &shared, tls.as_deref()) => {}
        () = shutdown => {}
    }
    drop(listener);
    let within = shared.limits.shutdown;
    tracing::info!(seconds = within.as_secs(), "shutting down; running work is finished in so long at most");
    stage.send_replace(Stage::Draining);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    if timeout(within, places.acquire_many(all)).await.is_err() {
        tracing::warn!("running work is given up");
        stage.send_replace(Stage::Stopping);
        let _ = timeout(LAST_WORDS, places.acquire_many(all)).await;
    }
    Ok(())
}

struct Front {
    app: Router,
    shared: Arc<Shared>,
    tls: Option<Arc<tls::Acceptor>>,
}

fn incoming(shared: &Shared) -> Arc<Incoming> {
    let Limits { memory_bytes, message_bytes, .. } = shared.limits;
    Incoming::new(Arc::clone(&shared.memory), memory_bytes, message_bytes)
}

async fn accept(
    listener: &TcpListener,
    front: &Arc<Front>,
    places: &Arc<Semaphore>,
    incoming: &Arc<Incoming>,
) {
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
        let connection = Connection::new(id, peer, refused, Arc::clone(incoming));
        tokio::spawn(connect(Arc::clone(front), stream, connection, place));
    }
}

/// The metrics on an address of their own; for ever, also where they have none.
async fn aside(listener: Option<TcpListener>, shared: &Arc<Shared>, incoming: &Arc<Incoming>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let front = Arc::new(Front { app: http::aside(shared), shared: Arc::clone(shared), tls: None });
    let places = Arc::new(Semaphore::new(METRICS_CONNECTIONS + REFUSED_AT_A_TIME));
    accept(&listener, &front, &places, incoming).await;
}

async fn sweep(shared: &Arc<Shared>) {
    let every = SWEEP.min(shared.limits.stream_resume / 4).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(every).await;
        shared.streams.sweep(Instant::now());
        shared.intakes.sweep(Instant::now());
        let shared = Arc::clone(shared);
        // Locks of uploads are held while their chunks are written to disk.
        let _ = tokio::task::spawn_blocking(move || shared.uploads.sweep(Instant::now())).await;
    }
}

/// Goes on with a certificate that has changed.
async fn renew(tls: Option<&tls::Acceptor>) {
    match tls {
        Some(tls) => tls.watch().await,
        None => std::future::pending().await,
    }
}

/// Looks at everything anew when it is told to. Models elsewhere are the business of those who have them.
async fn hung_up(hangups: Option<mpsc::Receiver<()>>, shared: &Arc<Shared>, tls: Option<&tls::Acceptor>) {
    let Some(mut hangups) = hangups else { return std::future::pending().await };
    while hangups.recv().await.is_some() {
        let is_own = shared.engine.is_own();
        let what = if is_own { ", the certificate and the model" } else { " and the certificate" };
        tracing::info!("looking at the keys{what} again");
        if let Err(error) = shared.access.reload() {
            tracing::error!("the keys stay as they were: {error}");
        }
        if let Some(tls) = tls {
            tls.reload().await;
        }
        if is_own {
            // It logs what became of it.
            let _ = shared.engine.reload().await;
        }
    }
    std::future::pending().await
}

/// Counts a connection for as long as it lives.
struct Connected(Arc<Shared>);

impl Connected {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.connected.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
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
    let held = (place, Connected::new(&front.shared));
    let intake = front.shared.intakes.of(connection.peer.ip());
    let io = TokioIo::new(Socket::new(stream, Arc::clone(&connection), intake, Box::new(held)));
    let app = front.app.clone().layer(Extension(Arc::clone(&connection)));
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.handshake);
    let http = builder.serve_connection_with_upgrades(io, TowerToHyperService::new(app));
    tokio::pin!(http);
    let mut stage = front.shared.stage.clone();
    let result = tokio::select! {
        result = http.as_mut() => result,
        why = given_up(&connection, limits.handshake, limits.write) => {
            tracing::debug!(connection = connection.id, "closed: {why}");
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

/// Resolves when a connection is of no use any more: no request comes (hyper's own deadline begins with the first byte),
/// or an answer is not read.
async fn given_up(connection: &Connection, idle: Duration, write: Duration) -> &'static str {
    let every = CHECK.min(idle / 4).max(Duration::from_millis(5));
    loop {
        tokio::time::sleep(every).await;
        if connection.idle_for() > idle {
            return "no request came";
        }
        if connection.blocked_for() > write {
            return "the answer is not read";
        }
    }
}

/// Waits until the server shuts down.
async fn left(stage: &mut watch::Receiver<Stage>) {
    let _ = stage.wait_for(|stage| *stage != Stage::Running).await;
}
