//! The workers of one model, as what hears windows: the other [`Backend`].
//!
//! Windows of files wait here, in turns of clients, and few go out at a time: as many as keep all workers busy. So who
//! comes later with a short file does not wait behind a long one. The broker's count of what waits, for all doors, says
//! whether more is taken.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::broker::Pending;
use super::flight::{Flight, Way};
use super::names::ModelKey;
use super::wire::ResultMessage;
use crate::asr::backend::{Backend, Done, Home, Job, Observer, Permit, Places, Urgency};
use crate::asr::queue::Queue;
use crate::error::{Error, Result};

/// Windows that go out for each state: the one that is heard, and some that are there when it is done.
const OUT_PER_STATE: usize = 4;
/// And some for workers that come.
const OUT_AT_LEAST: usize = 4;
/// After so many of them what is done is deleted, where a broker that was killed has it again.
const TIDY: u64 = 10;
/// Between two questions how much waits.
const EVERY: Duration = Duration::from_secs(1);

/// The bounds of a door, for each model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Requests that are admitted at a time.
    pub(super) requests: usize,
    /// Windows that may wait for each state.
    pub(super) pending: usize,
}

/// The workers of a model.
#[derive(Debug, Clone)]
pub(super) struct Remote(Arc<Inner>);

struct Inner {
    way: Arc<Way>,
    model: ModelKey,
    bounds: Bounds,
    places: Places,
    queue: Mutex<Queue<Waiting>>,
    /// Windows of files that wait here.
    queued: AtomicUsize,
    /// Those that are out.
    out: AtomicUsize,
    /// Windows of live streams that are out.
    live: AtomicUsize,
    /// What the broker has for this model: windows that wait, and that are heard, those of all doors.
    at_broker: watch::Sender<Option<Pending>>,
    /// Where each live stream of this door is.
    homes: Mutex<Vec<Weak<Mutex<Option<String>>>>>,
    observer: OnceLock<Observer>,
    runtime: Handle,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("model", &self.model).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Waiting {
    job: Job,
    since: Instant,
    reply: oneshot::Sender<Result<Done>>,
}

impl Remote {
    /// Begins to look how much waits. Within a tokio runtime.
    pub(super) fn begin(way: &Arc<Way>, model: ModelKey, bounds: Bounds) -> Self {
        let (queue, queued, out, live) = Default::default();
        let inner = Arc::new(Inner {
            way: Arc::clone(way),
            model,
            bounds,
            places: Places::new(bounds.requests),
            queue,
            queued,
            out,
            live,
            at_broker: watch::Sender::new(None),
            homes: Mutex::default(),
            observer: OnceLock::new(),
            runtime: Handle::current(),
        });
        tokio::spawn(look(Arc::downgrade(&inner)));
        Self(inner)
    }

    /// Windows that wait: at the broker and here.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting()
    }
}

/// Asks how much waits as long as anybody has the model.
async fn look(inner: Weak<Inner>) {
    let mut looks = 0_u64;
    loop {
        let Some(strong) = inner.upgrade() else { return };
        // What the broker does not know is not more than before.
        if strong.way.broker.is_connected()
            && let Some(pending) = strong.way.broker.pending(&strong.model).await
        {
            strong.at_broker.send_replace(Some(pending));
        }
        if looks.is_multiple_of(TIDY) {
            strong.way.broker.tidy_jobs(&strong.model).await;
        }
        looks += 1;
        // There may be more workers than before.
        strong.pump();
        drop(strong);
        tokio::time::sleep(EVERY).await;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn states(&self) -> usize {
        self.way.directory.count(&self.model).1
    }

    /// Windows that wait or are heard. The broker's count is a second old, and who was admitted will send one at least.
    fn waiting(&self) -> usize {
        let here = self.queued.load(Ordering::Relaxed) + self.out.load(Ordering::Relaxed);
        self.at_broker.borrow().map_or(0, |pending| pending.all).max(here).max(self.places.taken())
    }

    /// Sends windows out as long as there is room.
    fn pump(self: &Arc<Self>) {
        let most = OUT_AT_LEAST + OUT_PER_STATE * self.states();
        loop {
            let waiting = {
                let mut queue = self.lock();
                if self.out.load(Ordering::Relaxed) >= most {
                    return;
                }
                let Some(waiting) = queue.pop() else { return };
                self.queued.fetch_sub(1, Ordering::Relaxed);
                self.out.fetch_add(1, Ordering::Relaxed);
                waiting
            };
            let inner = Arc::clone(self);
            self.runtime.spawn(async move {
                inner.fly(waiting).await;
                inner.out.fetch_sub(1, Ordering::Relaxed);
                inner.pump();
            });
        }
    }

    /// A window, out and back. A panic costs this window only: who waits for it is told by what is dropped.
    async fn fly(&self, waiting: Waiting) {
        if AssertUnwindSafe(self.there_and_back(waiting)).catch_unwind().await.is_err() {
            tracing::error!("sending a window out panicked");
        }
    }

    async fn there_and_back(&self, waiting: Waiting) {
        let Waiting { job, since, mut reply } = waiting;
        if reply.is_closed() {
            return;
        }
        let mut flight = Flight::new(&self.way);
        let result = {
            let way = async {
                match job.urgency {
                    Urgency::File => flight.file(&self.model, &job, self.at_broker.subscribe()).await,
                    Urgency::Phrase | Urgency::Partial => {
                        self.remember(&job.home);
                        flight.live(&self.model, &job, |worker| self.streams_of(worker)).await
                    }
                }
            };
            tokio::select! {
                biased;
                result = way => Some(result),
                () = reply.closed() => None,
            }
        };
        let heard = matches!(result, Some(Ok(_)));
        if let Some(result) = result {
            let result = result.and_then(|result| done(result, since));
            if let (Ok(done), Some(observer)) = (&result, self.observer.get()) {
                observer(done);
            }
            // The place is free before the answer is seen, so that who asks again at once finds it.
            drop(job);
            let _ = reply.send(result);
        }
        flight.end(heard).await;
    }

    /// Has a stream counted where it is.
    fn remember(&self, home: &Home) {
        if home.get().is_none() {
            let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
            homes.retain(|home| home.strong_count() > 0);
            homes.push(home.weak());
        }
    }

    /// The live streams of this door that a worker has.
    fn streams_of(&self, worker: &str) -> usize {
        let homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = |home: &Arc<Mutex<Option<String>>>| {
            home.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(worker)
        };
        homes.iter().filter_map(Weak::upgrade).filter(is_there).count()
    }
}

/// What a worker said, as what the pool of this process would have said.
fn done(result: ResultMessage, since: Instant) -> Result<Done> {
    let heard = result.outcome.map_err(|fault| fault.error(&result.worker))?;
    let at_work = heard.encode + heard.decode + heard.align;
    Ok(Done { queued: since.elapsed().saturating_sub(at_work), heard })
}

impl Backend for Remote {
    fn submit(&self, job: Job) -> oneshot::Receiver<Result<Done>> {
        let (reply, receiver) = oneshot::channel();
        let waiting = Waiting { job, since: Instant::now(), reply };
        if waiting.job.urgency == Urgency::File {
            let client = waiting.job.permit.as_ref().map(Permit::client).unwrap_or_default();
            {
                let mut queue = self.0.lock();
                queue.push(Urgency::File, client, waiting);
                self.0.queued.fetch_add(1, Ordering::Relaxed);
            }
            self.0.pump();
        } else {
            let inner = Arc::clone(&self.0);
            inner.live.fetch_add(1, Ordering::Relaxed);
            self.0.runtime.spawn(async move {
                inner.fly(waiting).await;
                inner.live.fetch_sub(1, Ordering::Relaxed);
            });
        }
        receiver
    }

    fn states(&self) -> usize {
        self.0.states().max(1)
    }

    fn busy(&self) -> usize {
        let out = self.0.out.load(Ordering::Relaxed) + self.0.live.load(Ordering::Relaxed);
        out.min(self.0.states())
    }

    fn places(&self) -> usize {
        self.0.places.all()
    }

    fn admit(&self, client: &str) -> Result<Permit> {
        self.check()?;
        self.0.places.take(client)
    }

    fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Overloaded(reason));
        if !self.0.way.broker.is_there() {
            return refuse("the broker can't be reached; try again later".into());
        }
        let states = self.0.states();
        if states == 0 {
            return refuse(format!(
                "no worker has the model {} at the moment; try again later",
                self.0.model.id
            ));
        }
        let waiting = self.0.waiting();
        if waiting >= self.0.bounds.pending * states {
            return refuse(format!("{waiting} windows wait already; try again later"));
        }
        Ok(())
    }

    fn observe(&self, observer: Observer) {
        let _ = self.0.observer.set(observer);
    }
}
