//! What every request gets: an id that goes through the log and the answer, one line in the log, and its errors in the
//! shape of the API that was asked.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Extension, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

use super::super::job::rounded;
use super::super::socket::Connection;
use super::refusal::{Refusal, Shape};

/// The header with the id, in both directions.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a client.
const MAX_ID: usize = 64;
/// Characters of a path in the log.
const SHOWN: usize = 100;

/// The layer.
pub(super) async fn around(
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    // Its head is whole.
    drop(connection.message_is_whole());
    let id = request_id(request.headers());
    let method = request.method().clone();
    // The query stays out of the log: some clients put their keys there.
    let path: String = request.uri().path().chars().take(SHOWN).collect();
    let span = tracing::info_span!("request", %id, %method, %path, connection = connection.id);
    let answer = async {
        let mut response = next.run(request).await;
        if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
            // What is refused may still be on its way here: to close in the middle of it would lose the answer.
            if method == Method::POST {
                connection.linger();
            }
            tracing::debug!("refused: {}", refusal.message());
            response = written(&refusal, shape(&path), &response);
        }
        log(&path, response.status(), begun);
        response
    };
    let mut response = answer.instrument(span).await;
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The refusal in place of an answer without a body, whose headers stay.
fn written(refusal: &Refusal, shape: Shape, bare: &Response) -> Response {
    let mut response = refusal.written(shape);
    for (name, value) in bare.headers() {
        if name != header::CONTENT_LENGTH {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

fn log(path: &str, status: StatusCode, begun: Instant) {
    let (status, took) = (status.as_u16(), rounded(begun.elapsed().as_secs_f64()));
    // Somebody asks for these every few seconds.
    if matches!(path, "/health" | "/ready" | "/metrics") {
        tracing::debug!(status, took, "answered");
    } else {
        tracing::info!(status, took, "answered");
    }
}

/// How errors look at this path.
fn shape(path: &str) -> Shape {
    if path == "/inference" { Shape::Inference } else { Shape::OpenAi }
}

/// The client's own id, where it is one that can stand in a log; else a fresh one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_sane(id));
    given.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

fn is_sane(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn a_sane_id_is_taken_over_and_no_other() {
        let id = |given: &str| {
            let value = HeaderValue::try_from(given).unwrap();
            request_id(&HeaderMap::from_iter([(REQUEST_ID, value)]))
        };
        let long = "a".repeat(MAX_ID);
        for sane in ["a", "req_1.2-3", "9f1c2d52-5a3e-4f5b-8a43-0a1b2c3d4e5f", &long] {
            assert_eq!(id(sane), sane);
        }
        let longer = "a".repeat(MAX_ID + 1);
        for other in ["", "a b", "a\tb", "a=b", "\"a\"", "{}", &longer] {
            assert!(Uuid::parse_str(&id(other)).is_ok(), "{other:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
