//! Several models at once, wherever they are: which of them a request means.

use std::sync::Arc;

use super::backend::Done;
use super::transcriber::Transcriber;
use crate::error::Result;

/// The models of a server that has none of its own.
pub trait Catalog: Send + Sync + std::fmt::Debug {
    /// The transcriber of a model: by its id, or id@revision; the default one for `None`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::error::Error::InvalidInput) for a model that there is not,
    /// [`Error::Overloaded`](crate::error::Error::Overloaded) when none is alive.
    fn find(&self, model: Option<&str>) -> Result<Arc<Transcriber>>;

    /// What is alive now, sorted by id.
    fn models(&self) -> Vec<Available>;

    /// Whether a request for the default model would be taken.
    ///
    /// # Errors
    /// [`Error::Overloaded`](crate::error::Error::Overloaded) with the reason, when it would not.
    fn check(&self) -> Result<()>;

    /// Has an observer told of every window that is done, on every model. The first one stays.
    fn observe(&self, observer: SharedObserver);
}

/// Is told of every window that is done, by several.
pub type SharedObserver = Arc<dyn Fn(&Done) + Send + Sync>;

/// A model that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// What it is called.
    pub id: String,
    /// Which weights and settings exactly; the same ones have the same name.
    pub revision: Option<String>,
    /// Since when it has been there, in seconds since 1970.
    pub since: u64,
    /// Who has it, apart from this process.
    pub workers: usize,
    /// Windows that are decoded at the same time.
    pub states: usize,
    /// Windows that are being decoded.
    pub busy: usize,
    /// Windows that wait.
    pub waiting: usize,
}
