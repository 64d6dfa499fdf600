//! What is refused, and how a client of HTTP is told so: the one place where errors get their status.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::protocol::Code;

/// What a client is told to wait, in seconds, where nobody knows better.
const RETRY_AFTER: u64 = 5;

/// An answer that says no. `envelope` writes it down, in the shape of the API that was asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    status: StatusCode,
    /// For programs.
    code: Cow<'static, str>,
    /// For people.
    message: String,
    /// The field that is wrong, where it is one.
    param: Option<&'static str>,
    /// Seconds after which it may be otherwise.
    retry_after: Option<u64>,
}

/// How errors look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{"error": {"message", "type", "param", "code"}}`
    OpenAi,
    /// `{"error": "message"}`
    Inference,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let (code, message) = (Cow::Borrowed(code), message.into());
        Self { status, code, message, param: None, retry_after: None }
    }

    /// Something is wrong with the request.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// Something is wrong with this field of it.
    pub(super) fn of_field(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::bad_request(message) }
    }

    /// The same, which is due to this field.
    pub(super) fn about(self, param: Option<&'static str>) -> Self {
        Self { param, ..self }
    }

    /// There is no model of the name that was asked for.
    pub(super) fn no_such_model(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "model_not_found", message).about(Some("model"))
    }

    /// What it says to people.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The body in this shape.
    pub(super) fn body(&self, shape: Shape) -> Value {
        match shape {
            Shape::OpenAi => json!({ "error": {
                "message": self.message,
                "type": kind(self.status),
                "param": self.param,
                "code": self.code,
            } }),
            Shape::Inference => json!({ "error": self.message }),
        }
    }

    /// The whole answer in this shape.
    pub(super) fn written(&self, shape: Shape) -> Response {
        let mut response = (self.status, super::answer::json(&self.body(shape))).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, self.retry_after.unwrap_or(RETRY_AFTER).into());
        }
        response
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, retry_after, .. } = failure;
        let param = matches!(code, Code::AudioLoadError | Code::PayloadTooLarge).then_some("file");
        Self { status: status(code), code: lower(code).into(), message, param, retry_after }
    }
}

/// Not written down yet.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A code as the WebSocket has it, in lower case.
fn lower(code: Code) -> String {
    match serde_json::to_value(code) {
        Ok(Value::String(name)) => name.to_lowercase(),
        _ => "error".to_owned(),
    }
}

/// The status of each code.
fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidJson
        | Code::UnknownMessageType
        | Code::MessageProcessingError
        | Code::Base64DecodeError
        | Code::UnsupportedFormat
        | Code::UnsupportedFileType
        // Audio that is none; a language that the model has no token for.
        | Code::AudioLoadError
        | Code::TranscriptionError
        | Code::MissingUploadParams
        | Code::UploadStartError
        | Code::MissingChunkParams
        | Code::ChunkDecodeError
        | Code::ChunkAddError
        | Code::UploadChunkError
        | Code::MissingUploadId
        | Code::UploadIncomplete
        | Code::FileReassembleError
        | Code::UploadCompleteError
        | Code::StreamStartError => StatusCode::BAD_REQUEST,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::ForbiddenOrigin => StatusCode::FORBIDDEN,
        Code::UploadSessionNotFound | Code::StreamNotFound => StatusCode::NOT_FOUND,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Overloaded | Code::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        Code::ShuttingDown | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// OpenAI's `type` of an error.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may fail by panicking.
    use super::*;

    fn refusal(code: Code) -> Refusal {
        Failure::new(code, "no").into()
    }

    #[test]
    fn each_code_has_its_status_and_type() {
        for (code, status, kind) in [
            (Code::AudioLoadError, 400, "invalid_request_error"),
            (Code::TranscriptionError, 400, "invalid_request_error"),
            (Code::MessageProcessingError, 400, "invalid_request_error"),
            (Code::UnsupportedFileType, 400, "invalid_request_error"),
            (Code::Unauthorized, 401, "authentication_error"),
            (Code::ForbiddenOrigin, 403, "permission_error"),
            (Code::StreamNotFound, 404, "invalid_request_error"),
            (Code::UploadSessionNotFound, 404, "invalid_request_error"),
            (Code::PayloadTooLarge, 413, "invalid_request_error"),
            (Code::QuotaExceeded, 429, "rate_limit_error"),
            (Code::InternalError, 500, "server_error"),
            (Code::Overloaded, 429, "rate_limit_error"),
            (Code::ShuttingDown, 503, "server_error"),
            (Code::Cancelled, 503, "server_error"),
        ] {
            let refusal = refusal(code);
            assert_eq!(refusal.status.as_u16(), status, "{code:?}");
            assert_eq!(refusal.body(Shape::OpenAi)["error"]["type"], kind, "{code:?}");
        }
    }

    #[test]
    fn errors_have_the_shape_of_the_api_that_was_asked() {
        let refusal = refusal(Code::PayloadTooLarge);
        let error = json!({
            "message": "no", "type": "invalid_request_error", "param": "file", "code": "payload_too_large",
        });
        assert_eq!(refusal.body(Shape::OpenAi), json!({ "error": error }));
        assert_eq!(refusal.body(Shape::Inference), json!({ "error": "no" }));
        assert_eq!(Refusal::bad_request("x").body(Shape::OpenAi)["error"]["param"], Value::Null);
    }

    #[test]
    fn headers_say_what_to_do_about_it() {
        let header = |refusal: Refusal, name| {
            refusal.written(Shape::OpenAi).headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header(refusal(Code::Unauthorized), header::WWW_AUTHENTICATE).as_deref(), Some("Bearer"));
        let waits = Refusal { retry_after: Some(17), ..refusal(Code::QuotaExceeded) };
        assert_eq!(header(waits, header::RETRY_AFTER).as_deref(), Some("17"));
        assert_eq!(header(refusal(Code::Overloaded), header::RETRY_AFTER).as_deref(), Some("5"));
        assert_eq!(header(refusal(Code::AudioLoadError), header::RETRY_AFTER), None);
    }
}
