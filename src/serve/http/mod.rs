//! The HTTP API: OpenAI's for audio, whisper.cpp's, and what those who run a server ask of it.
//!
//! - [`router`]: all paths, and what is around them. From the outside in: `envelope` (request ids, the log, how errors are
//!   written down), `guard` (web pages of other origins, keys).
//! - `audio`: a form in, a transcript out. `form` reads the form, `params` says what it asks for, `answer`, `detail`,
//!   `inference` and `events` write down what came of it.
//! - `manage`: models, health, metrics, reload. `openapi`: the description of all this.
//! - `refusal`: errors, with their status.

mod answer;
mod audio;
mod detail;
mod envelope;
mod events;
mod form;
mod guard;
mod inference;
mod manage;
mod openapi;
mod params;
mod refusal;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, any, get, post};
use axum::{Extension, Router};

use self::params::Api;
use self::refusal::Refusal;
use super::Shared;
use super::front::watched;

/// A path and what answers there.
type Row = (&'static str, MethodRouter<Arc<Shared>>);

/// What needs a key wherever the server has any.
fn keyed() -> Vec<Row> {
    vec![
        ("/v1/audio/transcriptions", post(audio::transcript).route_layer(Extension(Api::Transcriptions))),
        ("/v1/audio/translations", post(audio::transcript).route_layer(Extension(Api::Translations))),
        ("/v1/models", get(manage::models)),
        // An id may have a slash in it.
        ("/v1/models/{*model}", get(manage::model)),
        ("/inference", post(audio::transcript).route_layer(Extension(Api::Inference))),
        ("/admin/reload", post(manage::reload)),
    ]
}

/// What never needs one. The metrics judge for themselves.
fn open() -> Vec<Row> {
    vec![
        ("/health", get(manage::health)),
        ("/ready", get(manage::ready)),
        ("/metrics", get(manage::metrics)),
        ("/openapi.json", get(openapi::description)),
    ]
}

/// All paths of the API. What comes in must carry its `Arc<Connection>` as an extension.
pub(super) fn router(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let routes =
        |rows: Vec<Row>| rows.into_iter().fold(Router::new(), |all, (path, row)| all.route(path, row));
    // Other paths below /v1 are those of a newer API than this one.
    let keyed = routes(keyed()).route("/v1/", any(nothing_here)).route("/v1/{*rest}", any(nothing_here));
    keyed
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(Arc::clone(shared), guard::keyed))
        .merge(routes(open()).method_not_allowed_fallback(other_method))
        .layer(from_fn_with_state(Arc::clone(shared), guard::cors))
        .layer(from_fn(envelope::around))
}

/// What is answered on the metrics' own address.
pub(super) fn aside(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/health", get(manage::health))
        .route("/ready", get(manage::ready))
        .route("/metrics", get(manage::all_metrics))
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn(envelope::around))
        .layer(from_fn_with_state(Arc::clone(shared), watched))
        .with_state(Arc::clone(shared))
}

async fn nothing_here() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path; /openapi.json has those that there are",
    )
}

/// axum adds the `Allow`.
async fn other_method() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path is not for this method; `Allow` has those that it is for",
    )
}
