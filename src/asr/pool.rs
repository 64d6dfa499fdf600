//! A pool of states: each on its own named thread, one bounded queue in front of all.
//!
//! Admission comes first: who has a [`Permit`] may queue windows, and the permit lives until the last of
//! them is done. A full house is told so at once ([`Pool::admit`]). The queue is bounded by the permits:
//! each holder keeps at most [`Pool::states`] windows in it. Streams of live audio are admitted elsewhere, and have one or
//! two windows in it each; theirs go first, but not for ever.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::model::Model;
use super::queue::Queue;
use super::recognizer::{Cancel, DecodeOptions, Heard, Recognizer};
use super::vocabulary::Vocabulary;
use crate::audio::excerpt::Excerpt;
use crate::error::{Error, Result};

/// The size of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// States, so windows that are decoded at the same time.
    pub states: usize,
    /// Threads that each state computes on. States × threads should not exceed the cores.
    pub threads: usize,
    /// Requests that are admitted at a time, those being decoded included.
    pub requests: usize,
}

/// The right to queue windows. Dropped when the request is over.
#[derive(Debug, Clone)]
pub struct Permit {
    _place: Arc<OwnedSemaphorePermit>,
    /// Whose windows these are.
    client: Arc<str>,
}

/// How long a window can wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// The result of a job.
#[derive(Debug)]
pub struct Done {
    /// What was heard.
    pub heard: Heard,
    /// Time between [`Pool::submit`] and the start of the work.
    pub queued: Duration,
}

#[derive(Debug)]
struct Queued {
    job: Job,
    since: Instant,
    reply: oneshot::Sender<Result<Done>>,
}

/// Is told of every window that is done.
type Observer = Box<dyn Fn(&Done) + Send + Sync>;

struct Shared {
    queue: Mutex<Queue<Queued>>,
    arrived: Condvar,
    /// States at work.
    busy: AtomicUsize,
    observer: OnceLock<Observer>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("queue", &self.queue).field("busy", &self.busy).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue<Queued>> {
        // Nothing panics while it holds this lock, and the queue is whole at every point.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` when the pool closes.
    fn next(&self) -> Option<Queued> {
        let mut queue = self.lock();
        loop {
            if let Some(queued) = queue.pop() {
                return Some(queued);
            }
            if queue.is_closed() {
                return None;
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// States on threads of their own. Dropping it finishes what is queued and ends the threads.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    admission: Arc<Semaphore>,
    options: PoolOptions,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Makes the states and starts their threads.
    ///
    /// # Errors
    /// [`Error::Internal`] when a state does not fit into memory or a thread can't be started.
    pub fn start(model: &Model, vocabulary: &Arc<Vocabulary>, options: PoolOptions) -> Result<Self> {
        let options = PoolOptions { states: options.states.max(1), ..options };
        let admission = Arc::new(Semaphore::new(options.requests.clamp(1, Semaphore::MAX_PERMITS)));
        let (queue, busy, observer) = Default::default();
        let shared = Shared { queue, arrived: Condvar::new(), busy, observer };
        let mut pool = Self { shared: Arc::new(shared), admission, options, workers: Vec::new() };
        for index in 0..options.states {
            let (model, vocabulary) = (model.clone(), Arc::clone(vocabulary));
            let make = move || -> Result<Recognizer> {
                Ok(Recognizer::new(model.new_state(options.threads)?, Arc::clone(&vocabulary)))
            };
            let mut worker = Worker { recognizer: Some(make()?), make };
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("state-{index}")).spawn(move || {
                while let Some(queued) = shared.next() {
                    shared.busy.fetch_add(1, Ordering::Relaxed);
                    worker.serve(queued, &shared);
                }
            });
            pool.workers.push(thread.map_err(|e| Error::internal_from("starting a thread for a state", e))?);
        }
        Ok(pool)
    }

    /// How many windows are decoded at the same time.
    pub fn states(&self) -> usize {
        self.options.states
    }

    /// Requests that are admitted at a time.
    pub fn places(&self) -> usize {
        self.options.requests
    }

    /// How many are being decoded.
    pub fn busy(&self) -> usize {
        self.shared.busy.load(Ordering::Relaxed)
    }

    /// Has every window that is done told to an observer, on the thread of its state. The first one stays.
    pub fn observe(&self, observer: Observer) {
        let _ = self.shared.observer.set(observer);
    }

    /// A place for one request. The windows of different clients take turns.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once when all are taken.
    pub fn admit(&self, client: &str) -> Result<Permit> {
        let place = Arc::clone(&self.admission).try_acquire_owned().map_err(|_| {
            Error::Overloaded(format!("all {} places are taken; try again later", self.options.requests))
        })?;
        Ok(Permit { _place: Arc::new(place), client: client.into() })
    }

    /// Queues a window. Dropping the receiver means that nobody wants the result: a job that has not
    /// begun by then never does.
    pub fn submit(&self, job: Job) -> oneshot::Receiver<Result<Done>> {
        let (reply, receiver) = oneshot::channel();
        let client = job.permit.as_ref().map(|permit| Arc::clone(&permit.client)).unwrap_or_default();
        self.shared.lock().push(job.urgency, client, Queued { job, since: Instant::now(), reply });
        self.shared.arrived.notify_one();
        receiver
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().close();
        self.shared.arrived.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its work; there is nothing to be done about another.
            let _ = worker.join();
        }
    }
}

/// What hears what is said in a window.
trait Hear {
    fn hear(&mut self, samples: &[f32], options: &DecodeOptions, cancel: &Cancel) -> Result<Heard>;
}

impl Hear for Recognizer {
    fn hear(&mut self, samples: &[f32], options: &DecodeOptions, cancel: &Cancel) -> Result<Heard> {
        self.recognize(samples, options, cancel)
    }
}

struct Worker<R, F> {
    /// Taken away when its state may be broken, and made anew for the next job.
    recognizer: Option<R>,
    make: F,
}

impl<R: Hear, F: FnMut() -> Result<R>> Worker<R, F> {
    fn serve(&mut self, queued: Queued, shared: &Shared) {
        let Queued { job, since, reply } = queued;
        let wait = since.elapsed();
        let result = (!reply.is_closed()).then(|| self.work(&job).map(|heard| Done { heard, queued: wait }));
        shared.busy.fetch_sub(1, Ordering::Relaxed);
        let Some(result) = result else { return };
        if let (Ok(done), Some(observer)) = (&result, shared.observer.get()) {
            observer(done);
        }
        // The place is free before the answer is seen, so that who asks again at once finds it.
        drop(job);
        // A closed channel is a client that went away in the meantime.
        let _ = reply.send(result);
    }

    fn work(&mut self, job: &Job) -> Result<Heard> {
        let samples = caught(|| job.excerpt.read(job.range.clone()))?;
        let mut kept = self.recognizer.take();
        let result = caught(|| {
            let recognizer = match &mut kept {
                Some(recognizer) => recognizer,
                None => kept.insert((self.make)()?),
            };
            recognizer.hear(&samples, &job.options, &job.cancel)
        });
        if !matches!(result, Err(Error::Internal { .. })) {
            self.recognizer = kept;
        }
        result
    }
}

/// A panic costs a job and not the thread.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::internal("the recognition of a window panicked")))
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
