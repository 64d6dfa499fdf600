//! One closed error type, by what the caller can do about it.

use std::error::Error as StdError;

/// What went wrong, sorted by what the caller can do. The text of every variant but
/// [`Error::Internal`] is meant for the client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is wrong: broken audio, an unknown language, an argument out of range. Sending the same
    /// again will not help.
    #[error("{0}")]
    InvalidInput(String),
    /// The input is larger than a limit of this server.
    #[error("{0}")]
    TooLarge(String),
    /// The input may be fine, but this build or this model can't do it.
    #[error("{0}")]
    Unsupported(String),
    /// Every place in the queue is taken: try again later.
    #[error("{0}")]
    Overloaded(String),
    /// The service is going away or not ready.
    #[error("{0}")]
    Unavailable(String),
    /// The caller asked for this work to stop, or went away.
    #[error("cancelled")]
    Cancelled,
    /// Our own fault. The source goes to the log; a client is told [`Error::INTERNAL_MESSAGE`].
    #[error("{context}")]
    Internal {
        /// What was being done.
        context: String,
        /// What failed underneath, where there is one.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

/// [`std::result::Result`] with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What a client is told of an [`Error::Internal`].
    pub const INTERNAL_MESSAGE: &'static str = "an internal error occurred; the server's log has the details";

    /// An internal error without a source.
    pub fn internal(context: impl Into<String>) -> Self {
        Self::Internal { context: context.into(), source: None }
    }

    /// An internal error with its source.
    pub fn internal_from(context: impl Into<String>, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Internal { context: context.into(), source: Some(Box::new(source)) }
    }
}
