//! What a client is told when something fails: the one place where errors get their codes.

use super::protocol::{Code, Id, ServerMessage};
use crate::error::Error;

/// The longest message.
const MAX_MESSAGE_BYTES: usize = 1000;

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) audio_id: Option<Id>,
    /// Seconds after which it may be otherwise.
    pub(super) retry_after: Option<u64>,
}

impl Failure {
    /// What a message quotes of the client's own words may be long; the client is told the beginning.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            let end = (0..=MAX_MESSAGE_BYTES).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or(0));
            message.push('…');
            message.shrink_to_fit();
        }
        Self { code, message, audio_id: None, retry_after: None }
    }

    /// The same about this audio.
    pub(super) fn about(self, audio_id: &Id) -> Self {
        Self { audio_id: Some(audio_id.clone()), ..self }
    }

    /// The same, with a time after which it may be otherwise.
    pub(super) fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
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
        let Failure { message, code, audio_id, retry_after } = failure;
        Self::Error { message, code, audio_id, retry_after }
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
    fn a_long_message_is_cut() {
        let failure = Failure::new(Code::InvalidJson, "é".repeat(1 << 20));
        assert_eq!(failure.message, "é".repeat(500) + "…");
    }

    #[test]
    fn an_internal_error_keeps_its_details_to_itself() {
        let secret = std::io::Error::other("/home/someone/secret");
        let failure = Failure::at(Code::TranscriptionError, &Error::internal_from("reading /secret", secret));
        assert_eq!(failure, Failure::new(Code::InternalError, Error::INTERNAL_MESSAGE));
    }
}
