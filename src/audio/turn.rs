//! A word in between: what decodes a file asks now and then whether it may go on.

use std::fmt;
use std::sync::Arc;

use super::SAMPLE_RATE;
use crate::error::Result;

/// How many samples are made before it is asked again: ten seconds of them, so some milliseconds of work.
pub(super) const TURN: usize = 10 * SAMPLE_RATE as usize;

/// Is told how many samples there are, and may wait, or end the work by an error.
type Ask = dyn Fn(usize) -> Result<()> + Send + Sync;

/// Whom to ask; nobody, by default.
#[derive(Clone, Default)]
pub struct Turn(Option<Arc<Ask>>);

impl Turn {
    /// Asks `ask`, with the number of samples that there are, after each ten seconds of audio.
    pub fn new(ask: impl Fn(usize) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    /// Whether the work may go on, with so many samples.
    pub(super) fn ask(&self, samples: usize) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |ask| ask(samples))
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Turn(…)" } else { "Turn" })
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl Eq for Turn {}
