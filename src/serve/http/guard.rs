//! Who gets in: keys, and web pages of other origins.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::super::Shared;
use super::super::access::{Client, WRONG_KEY_PAUSE};
use super::super::protocol::Code;
use super::super::socket::Connection;
use super::envelope::REQUEST_ID;
use super::refusal::Refusal;

/// How long a browser may remember what a page is allowed.
const REMEMBER: Duration = Duration::from_secs(600);

/// Lets in who has a key, where one is wanted, and no page of a foreign origin. The handler finds the [`Client`] among
/// the request's extensions. Nothing of the body has been read by then.
pub(super) async fn keyed(
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Arc<Connection>>,
    mut request: Request,
    next: Next,
) -> Response {
    match client(&shared, &connection, request.headers()).await {
        Ok(client) => {
            request.extensions_mut().insert(client);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Who asks.
pub(super) async fn client(
    shared: &Shared,
    connection: &Connection,
    headers: &HeaderMap,
) -> Result<Client, Refusal> {
    let client = match shared.access.client(headers, connection.peer.ip()) {
        Ok(client) => client,
        Err(failure) => {
            if failure.code == Code::Unauthorized {
                tokio::time::sleep(WRONG_KEY_PAUSE).await;
            }
            return Err(failure.into());
        }
    };
    if client.key.is_none() && shared.access.wants_key() {
        let message = "this server wants a key, as `Authorization: Bearer KEY`";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
    }
    Ok(client)
}

/// Lets pages of the origins that the operator named read the answers, and no others: to these, there is no CORS.
pub(super) async fn cors(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN);
    if !origin.is_some_and(|origin| shared.access.allows_cors(origin)) {
        return next.run(request).await;
    }
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID])
        .expose_headers([REQUEST_ID, header::RETRY_AFTER])
        .max_age(REMEMBER);
    match layer.layer(next).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Whether this client may change what the server does: only who has a key for that.
pub(super) fn may_manage(client: &Client) -> Result<(), Refusal> {
    if client.key.as_ref().is_some_and(|key| key.is_admin()) {
        return Ok(());
    }
    let message = "this takes a key of an administrator";
    Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", message))
}
