//! A pool of states: each on its own named thread, one bounded queue in front of all.
//!
//! Admission comes first: who has a [`Permit`] may queue windows, and the permit lives until the last of
//! them is done. A full house is told so at once ([`Backend::admit`]). The queue is bounded by the permits:
//! each holder keeps at most [`Pool::states`] windows in it. Streams of live audio are admitted elsewhere, and have one or
//! two windows in it each; theirs go first, but not for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

use super::backend::{Backend, Done, Job, Observer, Permit, Places};
use super::model::Model;
use super::queue::Queue;
use super::recognizer::{Cancel, DecodeOptions, Heard, Recognizer};
use super::vocabulary::Vocabulary;
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

#[derive(Debug)]
struct Queued {
    job: Job,
    since: Instant,
    reply: oneshot::Sender<Result<Done>>,
}

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
    places: Places,
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
        let places = Places::new(options.requests);
        let (queue, busy, observer) = Default::default();
        let shared = Shared { queue, arrived: Condvar::new(), busy, observer };
        let mut pool = Self { shared: Arc::new(shared), places, options, workers: Vec::new() };
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
}

impl Backend for Pool {
    fn submit(&self, job: Job) -> oneshot::Receiver<Result<Done>> {
        let (reply, receiver) = oneshot::channel();
        let client = job.permit.as_ref().map(Permit::client).unwrap_or_default();
        self.shared.lock().push(job.urgency, client, Queued { job, since: Instant::now(), reply });
        self.shared.arrived.notify_one();
        receiver
    }

    fn states(&self) -> usize {
        self.options.states
    }

    fn busy(&self) -> usize {
        self.shared.busy.load(Ordering::Relaxed)
    }

    fn places(&self) -> usize {
        self.places.all()
    }

    fn admit(&self, client: &str) -> Result<Permit> {
        self.places.take(client)
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// On the thread of the state.
    fn observe(&self, observer: Observer) {
        let _ = self.shared.observer.set(observer);
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
