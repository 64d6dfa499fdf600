//! A pool of states: each on its own named thread, one bounded queue in front of all.
//!
//! Admission comes first: who has a [`Permit`] may queue windows, and the permit lives until the last of
//! them is done. A full house is told so at once ([`Pool::admit`]). The queue is bounded by the permits:
//! each holder keeps at most [`Pool::states`] windows in it. Streams of live audio are admitted elsewhere, and have one or
//! two windows in it each; theirs go first, but not for ever.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::model::Model;
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

/// So many windows of live audio may go ahead of a file's that waits; then it has its turn.
const LIVE_IN_A_ROW: usize = 3;

#[derive(Debug)]
struct Queue<T> {
    phrases: VecDeque<T>,
    partials: VecDeque<T>,
    files: VecDeque<T>,
    /// Windows of live audio that went ahead of a file's.
    ahead: usize,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let (phrases, partials, files) = Default::default();
        Self { phrases, partials, files, ahead: 0, closed: false }
    }
}

impl<T> Queue<T> {
    fn push(&mut self, urgency: Urgency, job: T) {
        match urgency {
            Urgency::Phrase => self.phrases.push_back(job),
            Urgency::Partial => self.partials.push_back(job),
            Urgency::File => self.files.push_back(job),
        }
    }

    fn pop(&mut self) -> Option<T> {
        if self.files.is_empty() || self.ahead < LIVE_IN_A_ROW {
            let live = self.phrases.pop_front().or_else(|| self.partials.pop_front());
            if live.is_some() {
                self.ahead = if self.files.is_empty() { 0 } else { self.ahead + 1 };
                return live;
            }
        }
        self.ahead = 0;
        self.files.pop_front()
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue<Queued>>,
    arrived: Condvar,
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
            if queue.closed {
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
        let shared = Shared { queue: Mutex::default(), arrived: Condvar::new() };
        let mut pool = Self { shared: Arc::new(shared), admission, options, workers: Vec::new() };
        for index in 0..options.states {
            let mut worker = Worker {
                recognizer: Some(Recognizer::new(model.new_state(options.threads)?, Arc::clone(vocabulary))),
                model: model.clone(),
                vocabulary: Arc::clone(vocabulary),
                threads: options.threads,
            };
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("state-{index}")).spawn(move || {
                while let Some(queued) = shared.next() {
                    worker.serve(queued);
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

    /// A place for one request.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once when all are taken.
    pub fn admit(&self) -> Result<Permit> {
        let place = Arc::clone(&self.admission).try_acquire_owned().map_err(|_| {
            Error::Overloaded(format!("all {} places are taken; try again later", self.options.requests))
        })?;
        Ok(Permit { _place: Arc::new(place) })
    }

    /// Queues a window. Dropping the receiver means that nobody wants the result: a job that has not
    /// begun by then never does.
    pub fn submit(&self, job: Job) -> oneshot::Receiver<Result<Done>> {
        let (reply, receiver) = oneshot::channel();
        self.shared.lock().push(job.urgency, Queued { job, since: Instant::now(), reply });
        self.shared.arrived.notify_one();
        receiver
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its work; there is nothing to be done about another.
            let _ = worker.join();
        }
    }
}

struct Worker {
    /// Taken away when its state may be broken, and made anew for the next job.
    recognizer: Option<Recognizer>,
    model: Model,
    vocabulary: Arc<Vocabulary>,
    threads: usize,
}

impl Worker {
    fn serve(&mut self, queued: Queued) {
        let Queued { job, since, reply } = queued;
        if reply.is_closed() {
            return;
        }
        let wait = since.elapsed();
        let result = self.work(&job).map(|heard| Done { heard, queued: wait });
        // The place is free before the answer is seen, so that who asks again at once finds it.
        drop(job);
        // A closed channel is a client that went away in the meantime.
        let _ = reply.send(result);
    }

    fn work(&mut self, job: &Job) -> Result<Heard> {
        let samples = job.excerpt.read(job.range.clone())?;
        let mut recognizer = match self.recognizer.take() {
            Some(recognizer) => recognizer,
            None => Recognizer::new(self.model.new_state(self.threads)?, Arc::clone(&self.vocabulary)),
        };
        let work = AssertUnwindSafe(|| recognizer.recognize(&samples, &job.options, &job.cancel));
        let result = catch_unwind(work)
            .unwrap_or_else(|_| Err(Error::internal("the recognition of a window panicked")));
        if !matches!(result, Err(Error::Internal { .. })) {
            self.recognizer = Some(recognizer);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_audio_goes_first_and_files_have_their_turn() {
        let mut queue = Queue::default();
        for file in ["f1", "f2", "f3"] {
            queue.push(Urgency::File, file);
        }
        for live in ["p1", "p2"] {
            queue.push(Urgency::Partial, live);
        }
        for phrase in ["s1", "s2", "s3"] {
            queue.push(Urgency::Phrase, phrase);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["s1", "s2", "s3", "f1", "p1", "p2", "f2", "f3"]);
    }

    #[test]
    fn a_file_waits_for_no_more_than_a_few_however_many_come() {
        let mut queue = Queue::default();
        queue.push(Urgency::File, 0);
        let mut before = 0;
        loop {
            queue.push(Urgency::Phrase, 1);
            queue.push(Urgency::Partial, 2);
            match queue.pop() {
                Some(0) => break,
                _ => before += 1,
            }
        }
        assert_eq!(before, LIVE_IN_A_ROW);
        // Without a file that waits, nothing counts.
        for _ in 0..10 {
            queue.pop();
        }
        queue.push(Urgency::File, 0);
        queue.push(Urgency::Phrase, 1);
        assert_eq!(queue.pop(), Some(1));
    }
}
