//! What a server says of itself, and what its administrator may ask of it.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::access::Client;
use super::super::failure::Failure;
use super::super::protocol::Code;
use super::super::socket::Connection;
use super::super::{Shared, Stage};
use super::answer;
use super::guard;
use super::refusal::Refusal;
use crate::error::Error;

/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

fn served(shared: &Shared) -> Value {
    json!({
        "id": shared.engine.model_id(),
        "object": "model",
        "created": shared.engine.created(),
        "owned_by": "imesli",
    })
}

/// `GET /v1/models`: the one that is served.
pub(super) async fn models(State(shared): State<Arc<Shared>>) -> Response {
    answer::json(&json!({ "object": "list", "data": [served(&shared)] }))
}

/// `GET /v1/models/{model}`
pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    // What is no UTF-8 is the name of nothing.
    if path.is_ok_and(|Path(id)| id == shared.engine.model_id()) {
        return Ok(answer::json(&served(&shared)));
    }
    let message = "this server has no such model; GET /v1/models names the one that it has";
    Err(Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message).about(Some("model")))
}

/// `GET /health`: the program is alive.
pub(super) async fn health() -> Response {
    answer::json(&json!({ "status": "ok" }))
}

/// `GET /ready`: a request would be taken now.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match hindrance(&shared) {
        None => answer::json(&json!({ "status": "ready" })),
        Some(reason) => {
            let body = json!({ "status": "not ready", "reason": reason });
            (StatusCode::SERVICE_UNAVAILABLE, answer::json(&body)).into_response()
        }
    }
}

/// Why no request would be taken.
fn hindrance(shared: &Shared) -> Option<&'static str> {
    if shared.stage() != Stage::Running {
        Some("the server is shutting down")
    } else if !shared.queue.has_room() {
        Some("the queue is full")
    } else {
        None
    }
}

/// `GET /metrics`, unless they have an address of their own. A key is wanted where there are any, also of who seems to be
/// on this machine: behind a tunnel everybody does.
pub(super) async fn metrics(
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if shared.metrics_elsewhere {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "the metrics have an address of their own",
        ));
    }
    if shared.access.wants_key() {
        guard::client(&shared, &connection, &headers).await?;
    }
    Ok(all_metrics(State(shared)).await)
}

/// The same for whoever asks, on an address of their own.
pub(super) async fn all_metrics(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS)], shared.metrics.render(&shared)).into_response()
}

/// `POST /admin/reload`: the model, anew from where it lies. The old one serves until then.
pub(super) async fn reload(
    State(shared): State<Arc<Shared>>,
    Extension(client): Extension<Client>,
) -> Result<Response, Refusal> {
    guard::may_manage(&client)?;
    match shared.engine.reload().await {
        Ok(model) => Ok(answer::json(&json!({ "model": model }))),
        Err(error) => Err(unloaded(&error)),
    }
}

/// Why the model was not loaded anew.
fn unloaded(error: &Error) -> Refusal {
    match error {
        // Logs what nobody is told.
        Error::Internal { .. } => Failure::at(Code::InternalError, error).into(),
        other => Refusal::new(StatusCode::CONFLICT, "model_not_loaded", other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::refusal::Shape;
    use super::*;

    #[test]
    fn a_model_that_was_not_loaded_says_why_but_for_our_own_faults() {
        let told = |error| {
            let refusal = unloaded(&error);
            (refusal.written(Shape::OpenAi).status().as_u16(), refusal.message().to_owned())
        };
        assert_eq!(told(Error::Overloaded("at it".into())), (409, "at it".to_owned()));
        assert_eq!(told(Error::InvalidInput("no weights".into())), (409, "no weights".to_owned()));
        assert_eq!(told(Error::internal("/secret")), (500, Error::INTERNAL_MESSAGE.to_owned()));
    }
}
