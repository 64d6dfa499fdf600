//! What a client is told when something fails: the one place where errors get their codes.

use super::protocol::{Code, Id, ServerMessage};
use crate::error::Error;

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) audio_id: Option<Id>,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), audio_id: None }
    }

    /// The same about this audio.
    pub(super) fn about(self, audio_id: &Id) -> Self {
        Self { audio_id: Some(audio_id.clone()), ..self }
    }

    /// An error under the code of the step in which it came up, unless the error itself says more. The
    /// source of an internal error is logged here, and goes no further.
    pub(super) fn at(step: Code, error: &Error) -> Self {
        let code = match error {
            Error::InvalidInput(_) | Error::Unsupported(_) => step,
            Error::TooLarge(_) => Code::PayloadTooLarge,
            Error::Overloaded(_) => Code::Overloaded,
            Error::Unavailable(_) => Code::ShuttingDown,
            Error::Cancelled => Code::Cancelled,
            Error::Internal { source, .. } => {
                let source = source.as_deref().map(|s| s as &(dyn std::error::Error + 'static));
                tracing::error!(source, "{error}");
                return Self::internal();
            }
        };
        Self::new(code, error.to_string())
    }

    /// Our own fault; the details are in the log.
    pub(super) fn internal() -> Self {
        Self::new(Code::InternalError, Error::INTERNAL_MESSAGE)
    }

    pub(super) fn shutting_down() -> Self {
        Self::new(Code::ShuttingDown, "the server is shutting down")
    }
}

impl From<Failure> for ServerMessage {
    fn from(failure: Failure) -> Self {
        Self::Error { message: failure.message, code: failure.code, audio_id: failure.audio_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_code() {
        let step = Code::AudioLoadError;
        for (error, code) in [
            (Error::InvalidInput("no".into()), step),
            (Error::Unsupported("no".into()), step),
            (Error::TooLarge("no".into()), Code::PayloadTooLarge),
            (Error::Overloaded("no".into()), Code::Overloaded),
            (Error::Unavailable("no".into()), Code::ShuttingDown),
            (Error::Cancelled, Code::Cancelled),
            (Error::internal("no"), Code::InternalError),
        ] {
            assert_eq!(Failure::at(step, &error).code, code, "{error:?}");
        }
    }

    #[test]
    fn an_internal_error_keeps_its_details_to_itself() {
        let secret = std::io::Error::other("/home/someone/secret");
        let failure = Failure::at(Code::TranscriptionError, &Error::internal_from("reading /secret", secret));
        assert_eq!(failure, Failure::new(Code::InternalError, Error::INTERNAL_MESSAGE));
    }
}
