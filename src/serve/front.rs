//! The requests of a connection: the upgrade to WebSocket on every path, the page for a browser, and the HTTP API.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

use super::access::{Client, WRONG_KEY_PAUSE};
use super::failure::Failure;
use super::limits::Limits;
use super::protocol::Code;
use super::socket::{Asked, Connection};
use super::{Shared, http, page, session};

/// What a connection reads at a time, and keeps as a buffer for as long as it lives.
const READ_BUFFER: usize = 16 << 10;
/// No part of a body may be longer on its way.
const BODY_STALL: Duration = Duration::from_secs(30);

/// All that can be asked for.
pub(super) fn app(shared: &Arc<Shared>) -> Router {
    let sockets = Router::new().fallback(any_path).with_state(Arc::clone(shared));
    let upgrades = move |request: Request, next: Next| {
        let sockets = sockets.clone();
        async move {
            if request.headers().contains_key(header::UPGRADE) {
                return sockets.oneshot(request).await.into_response();
            }
            next.run(request).await
        }
    };
    let app = http::router(shared).fallback(any_path);
    // From the inside out: an upgrade is taken on every path, also on those of the API.
    let app = app.layer(from_fn(upgrades)).layer(from_fn_with_state(Arc::clone(shared), watched));
    app.with_state(Arc::clone(shared))
}

/// Around every request: it is seen, its body has a deadline, and what a connection too many is told.
pub(super) async fn watched(
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = connection.ask();
    if connection.refused {
        let text = "OVERLOADED: too many connections; try again later\n";
        return closing((StatusCode::SERVICE_UNAVAILABLE, text).into_response());
    }
    let within = shared.limits.body;
    let response = next.run(request.map(|body| timely(body, within))).await;
    response.map(|inner| Body::new(Answer { inner, _asked: asked }))
}

/// A body that fails when it takes too long to come in.
fn timely(body: Body, within: Duration) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let end = Instant::now() + within;
    let late = || axum::Error::new(std::io::Error::from(std::io::ErrorKind::TimedOut));
    let parts = stream::unfold(Some(body.into_data_stream()), move |parts| async move {
        let mut parts = parts?;
        match timeout_at(end.min(Instant::now() + BODY_STALL), parts.next()).await {
            Ok(Some(Ok(part))) => Some((Ok::<Bytes, _>(part), Some(parts))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(late()), None)),
        }
    });
    Body::from_stream(parts.fuse())
}

/// The body of an answer. As long as it is there, its request is not over.
struct Answer {
    inner: Body,
    _asked: Asked,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer after which the connection is closed.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
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
    match upgrade {
        Ok(upgrade) => match client(&shared, &connection, &headers).await {
            Ok(client) => upgraded(upgrade, shared, connection, client, &headers),
            Err(failure) => closing(refusal(&failure)),
        },
        Err(_) if headers.contains_key(header::UPGRADE) => closing(
            (StatusCode::BAD_REQUEST, "this is no WebSocket handshake of version 13\n").into_response(),
        ),
        // An open connection would take a place, and a browser keeps some.
        Err(_) if matches!(method, Method::GET | Method::HEAD) => closing(
            page::answer(uri.path(), &headers)
                .unwrap_or_else(|| (StatusCode::NOT_FOUND, ABOUT).into_response()),
        ),
        Err(_) => {
            let allow = [(header::ALLOW, HeaderValue::from_static("GET, HEAD"))];
            closing((StatusCode::METHOD_NOT_ALLOWED, allow, "only GET is known here\n").into_response())
        }
    }
}

/// The WebSocket subprotocol that is chosen where a client names any.
const PROTOCOL: &str = "imesli";

const ABOUT: &str = concat!(
    "imesli ",
    env!("CARGO_PKG_VERSION"),
    ": a speech-to-text server.\n\
     There is a page for people at /, and nothing at this path; /openapi.json says what there is for programs.\n\
     They may also connect by WebSocket (ws:// or wss://) to this address and send JSON messages, e.g.\n\
     {\"type\": \"audio\", \"audio_data\": \"<a whole audio file in base64>\"}\n"
);

/// Who asks for an upgrade. With a wrong key that takes a while.
async fn client(shared: &Shared, connection: &Connection, headers: &HeaderMap) -> Result<Client, Failure> {
    let client = shared.access.client(headers, connection.peer.ip());
    if client.as_ref().is_err_and(|failure| failure.code == Code::Unauthorized) {
        tokio::time::sleep(WRONG_KEY_PAUSE).await;
    }
    client.inspect_err(|failure| {
        tracing::info!(connection = connection.id, peer = %connection.peer, code = ?failure.code, "refused");
    })
}

/// What somebody is told who may not come in.
fn refusal(failure: &Failure) -> Response {
    let message = &failure.message;
    match failure.code {
        Code::Unauthorized => {
            let text = format!("UNAUTHORIZED: {message}\n");
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], text).into_response()
        }
        _ => (StatusCode::FORBIDDEN, format!("FORBIDDEN_ORIGIN: {message}\n")).into_response(),
    }
}

fn upgraded(
    upgrade: WebSocketUpgrade,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    client: Client,
    headers: &HeaderMap,
) -> Response {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent: String = agent.unwrap_or("unknown").chars().take(100).collect();
    let group = client.group();
    tracing::info!(connection = connection.id, peer = %connection.peer, group, agent, "connected");
    let Limits { message_bytes, .. } = shared.limits;
    connection.upgrade();
    upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .max_message_size(message_bytes)
        .max_frame_size(message_bytes)
        .on_upgrade(move |socket| session::run(socket, shared, connection, client))
}
