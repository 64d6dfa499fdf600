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
use crate::asr::catalog::Available;
use crate::error::Error;

/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A model as OpenAI's clients know it. What is elsewhere is said to be so: which revision it is, and who has it loaded.
fn served(model: &Available, is_own: bool) -> Value {
    let mut value = json!({
        "id": model.id,
        "object": "model",
        "created": model.since,
        "owned_by": "imesli",
    });
    if let (false, Value::Object(fields)) = (is_own, &mut value) {
        fields.insert("revision".into(), json!(model.revision));
        fields.insert("workers".into(), json!(model.workers));
        fields.insert("states".into(), json!(model.states));
    }
    value
}

/// Whether this is what the model is called: its id, or id@revision.
fn is_called(model: &Available, name: &str) -> bool {
    let with_revision = model.revision.as_ref().map(|revision| format!("{}@{revision}", model.id));
    model.id == name || with_revision.is_some_and(|whole| whole == name)
}

/// `GET /v1/models`: all that there are.
pub(super) async fn models(State(shared): State<Arc<Shared>>) -> Response {
    let is_own = shared.engine.is_own();
    let data: Vec<Value> = shared.engine.models().iter().map(|model| served(model, is_own)).collect();
    answer::json(&json!({ "object": "list", "data": data }))
}

/// `GET /v1/models/{model}`
pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    // What is no UTF-8 is the name of nothing.
    let found = path.ok().and_then(|Path(name)| {
        // Of several revisions the one that requests for the id go to.
        let called = shared.engine.models().into_iter().filter(|model| is_called(model, &name));
        called.max_by_key(|model| (model.states, model.since))
    });
    let found = found.ok_or_else(|| {
        Refusal::no_such_model("this server has no such model; GET /v1/models names those that it has")
    })?;
    Ok(answer::json(&served(&found, shared.engine.is_own())))
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
fn hindrance(shared: &Shared) -> Option<String> {
    if shared.stage() != Stage::Running {
        Some("the server is shutting down".to_owned())
    } else if !shared.queue.has_room() {
        Some("the queue is full".to_owned())
    } else {
        match shared.engine.check() {
            Ok(()) => None,
            // Logs what nobody is told.
            Err(error) => Some(Failure::at(Code::Overloaded, &error).message),
        }
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
    #![allow(clippy::indexing_slicing)] // A test may fail by panicking.
    use super::super::refusal::Shape;
    use super::*;

    #[test]
    fn a_model_elsewhere_says_who_has_it() {
        let (id, revision) = ("we/kab".to_owned(), Some("3f".to_owned()));
        let mut model = Available { id, revision, since: 7, workers: 2, states: 5, busy: 1, waiting: 3 };
        let plain = json!({ "id": "we/kab", "object": "model", "created": 7, "owned_by": "imesli" });
        assert_eq!(served(&model, true), plain);
        let mut whole = plain;
        for (name, value) in [("revision", json!("3f")), ("workers", json!(2)), ("states", json!(5))] {
            whole[name] = value;
        }
        assert_eq!(served(&model, false), whole);
        assert!(is_called(&model, "we/kab") && is_called(&model, "we/kab@3f"));
        assert!(!is_called(&model, "we/kab@3") && !is_called(&model, "kab") && !is_called(&model, "3f"));
        model.revision = None;
        assert!(is_called(&model, "we/kab") && !is_called(&model, "we/kab@"));
    }

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
