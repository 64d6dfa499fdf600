//! What hears windows, wherever it is: the one thing that everything above it knows of it.
//!
//! There are two: the [`Pool`](super::pool::Pool) of this process, and workers elsewhere that a broker leads to (`cluster`).

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::recognizer::{Cancel, DecodeOptions, Heard};
use crate::audio::excerpt::Excerpt;
use crate::error::{Error, Result};

/// What windows are given to.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// Queues a window. Dropping the receiver means that nobody wants the result: a job that has not
    /// begun by then never does. Called within a tokio runtime.
    fn submit(&self, job: Job) -> oneshot::Receiver<Result<Done>>;

    /// How many windows are decoded at the same time, at least 1.
    fn states(&self) -> usize;

    /// How many are being decoded.
    fn busy(&self) -> usize;

    /// Requests that are admitted at a time.
    fn places(&self) -> usize;

    /// A place for one request. The windows of different clients take turns.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once when all are taken, or when [`check`](Self::check) says so.
    fn admit(&self, client: &str) -> Result<Permit>;

    /// Whether there is somebody who hears windows.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when there is nobody at the moment, or too much waits for them.
    fn check(&self) -> Result<()>;

    /// Has every window that is done told to an observer. The first one stays.
    fn observe(&self, observer: Observer);
}

/// Is told of every window that is done.
pub type Observer = Box<dyn Fn(&Done) + Send + Sync>;

/// How long a window can wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Somebody has stopped speaking and waits for the text.
    Phrase,
    /// Somebody speaks, and sees what was heard so far.
    Partial,
    /// A file.
    File,
}

/// One window to be recognized.
#[derive(Debug)]
pub struct Job {
    /// What is transcribed of the recording.
    pub excerpt: Arc<Excerpt>,
    /// The window within it.
    pub range: Range<usize>,
    /// How to decode it.
    pub options: Arc<DecodeOptions>,
    /// Set when the result is no longer wanted.
    pub cancel: Cancel,
    /// Admission, held until the job is done; streams have theirs elsewhere.
    pub permit: Option<Permit>,
    /// How long it can wait.
    pub urgency: Urgency,
    /// Where the windows of a live stream are heard; of no meaning to files.
    pub home: Home,
}

/// The result of a job.
#[derive(Debug)]
pub struct Done {
    /// What was heard.
    pub heard: Heard,
    /// Time between [`Backend::submit`] and the start of the work.
    pub queued: Duration,
}

/// Where a live stream is heard, as long as that is there: a backend with workers elsewhere keeps the name of one here.
#[derive(Debug, Clone, Default)]
pub struct Home(Arc<Mutex<Option<String>>>);

impl Home {
    /// The worker, once there is one.
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something that tells whether the stream is still there, and where.
    pub(crate) fn weak(&self) -> Weak<Mutex<Option<String>>> {
        Arc::downgrade(&self.0)
    }

    /// From now on that one, or none.
    pub fn set(&self, worker: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = worker;
    }
}

/// The right to queue windows. Dropped when the request is over.
#[derive(Debug, Clone)]
pub struct Permit {
    _place: Arc<OwnedSemaphorePermit>,
    /// Whose windows these are.
    client: Arc<str>,
}

impl Permit {
    /// Whose windows these are.
    pub(crate) fn client(&self) -> Arc<str> {
        Arc::clone(&self.client)
    }
}

/// So many requests are admitted at a time.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

impl Places {
    /// All of them free.
    pub fn new(all: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all.clamp(1, Semaphore::MAX_PERMITS))), all }
    }

    /// How many there are.
    pub fn all(&self) -> usize {
        self.all
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.all.max(1).saturating_sub(self.free.available_permits())
    }

    /// One of them for a client.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when all are taken.
    pub fn take(&self, client: &str) -> Result<Permit> {
        let place = Arc::clone(&self.free)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded(format!("all {} places are taken; try again later", self.all)))?;
        Ok(Permit { _place: Arc::new(place), client: client.into() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_last_window_is_done() {
        let places = Places::new(1);
        let permit = places.take("a").unwrap();
        let window = permit.clone();
        drop(permit);
        assert!(matches!(places.take("b"), Err(Error::Overloaded(_))));
        assert_eq!(places.taken(), 1);
        drop(window);
        assert_eq!(places.taken(), 0);
        assert_eq!(&*places.take("b").unwrap().client(), "b");
    }

    #[test]
    fn all_of_a_stream_have_one_home() {
        let home = Home::default();
        let same = home.clone();
        same.set(Some("w".into()));
        assert_eq!(home.get().as_deref(), Some("w"));
    }
}
