//! Which workers there are: asked of NATS' own services API (ADR-32), every second. Who does not answer is gone: a process
//! that was killed, one that was stopped, one that the network does not reach.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::service::Info;
use futures_util::StreamExt;
use tokio::sync::watch;

use super::broker::Broker;
use super::names::{ModelKey, Names, WHO_IS_THERE};
use crate::asr::backend::Home;
use crate::error::{Error, Result};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// Three questions without an answer, and the time for one.
const SILENT: Duration = Duration::from_millis(3500);

/// A worker that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Worker {
    /// What people call it.
    pub(super) name: String,
    pub(super) model: ModelKey,
    /// Windows that it decodes at the same time.
    pub(super) states: usize,
    /// When it was seen first, in seconds since 1970.
    pub(super) since: u64,
}

/// Workers by id.
pub(super) type Workers = BTreeMap<String, Worker>;

/// What a worker says of itself, see [`metadata`].
mod key {
    pub(super) const PREFIX: &str = "prefix";
    pub(super) const ID: &str = "worker";
    pub(super) const NAME: &str = "name";
    pub(super) const MODEL: &str = "model";
    pub(super) const REVISION: &str = "revision";
    pub(super) const STATES: &str = "states";
}

/// What a worker says of itself to who asks.
pub(super) fn metadata(
    names: &Names,
    id: &str,
    name: &str,
    model: &ModelKey,
    states: usize,
) -> HashMap<String, String> {
    [
        (key::PREFIX, names.prefix()),
        (key::ID, id),
        (key::NAME, name),
        (key::MODEL, &model.id),
        (key::REVISION, &model.revision),
        (key::STATES, &states.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The worker that says this of itself, and its id; `None` for one of another installation, or what is none.
fn worker(names: &Names, said: &HashMap<String, String>, now: u64) -> Option<(String, Worker)> {
    let say = |key| said.get(key).cloned();
    if say(key::PREFIX)? != names.prefix() {
        return None;
    }
    let model = ModelKey { id: say(key::MODEL)?, revision: say(key::REVISION)? };
    let states = say(key::STATES)?.parse().ok().filter(|states| (1..=1024).contains(states))?;
    Some((say(key::ID)?, Worker { name: say(key::NAME)?, model, states, since: now }))
}

/// The workers that answer now.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    workers: watch::Receiver<Arc<Workers>>,
    /// Told of workers that others found to be gone.
    gone: tokio::sync::mpsc::UnboundedSender<String>,
    order: RandomState,
}

impl Directory {
    /// Begins to ask, and goes on for as long as anybody has this.
    ///
    /// # Errors
    /// [`Error::Internal`] when nothing can be heard at the broker.
    pub(super) async fn begin(broker: &Broker) -> Result<Self> {
        let inbox = broker.client.new_inbox();
        let answers = broker
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| Error::internal_from("listening for workers", error))?;
        let (tell, workers) = watch::channel(Arc::default());
        let (gone, losses) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(ask(broker.clone(), inbox, answers, tell, losses));
        Ok(Self { workers, gone, order: RandomState::new() })
    }

    /// Who is there.
    pub(super) fn workers(&self) -> Arc<Workers> {
        Arc::clone(&self.workers.borrow())
    }

    /// Who has this model, and how many states they have together.
    pub(super) fn count(&self, model: &ModelKey) -> (usize, usize) {
        let workers = self.workers.borrow();
        let of = workers.values().filter(|worker| worker.model == *model);
        of.fold((0, 0), |(count, states), worker| (count + 1, states + worker.states))
    }

    /// Resolves when somebody has come or gone, or when nobody asks any more.
    pub(super) async fn changed(&mut self) {
        if self.workers.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when a worker is gone.
    pub(super) async fn until_gone(&self, id: &str) {
        let mut workers = self.workers.clone();
        let _ = workers.wait_for(|workers| !workers.contains_key(id)).await;
    }

    /// Somebody has found that a worker is not there.
    pub(super) fn is_gone(&self, id: &str) {
        let _ = self.gone.send(id.to_owned());
    }

    /// The worker of a stream: the one that it has as long as that is there, else the one for which `load` is least.
    pub(super) fn home(&self, home: &Home, model: &ModelKey, load: impl Fn(&str) -> usize) -> Option<String> {
        let workers = self.workers.borrow();
        if let Some(id) = home.get().filter(|id| workers.contains_key(id)) {
            return Some(id);
        }
        let of = workers.iter().filter(|(_, worker)| worker.model == *model);
        // Streams for each state; the comparison of fractions needs no division.
        let least = of.min_by(|(a, one), (b, other)| {
            let by_load = ((load(a) + 1) * other.states).cmp(&((load(b) + 1) * one.states));
            by_load.then_with(|| self.order(a).cmp(&self.order(b)))
        });
        least.map(|(id, _)| id.clone())
    }

    /// In which order this door takes workers that are the same to it: another one at each door.
    fn order(&self, worker: &str) -> u64 {
        self.order.hash_one(worker)
    }

    /// What people call a worker.
    pub(super) fn name(&self, id: &str) -> String {
        self.workers.borrow().get(id).map_or_else(|| id.to_owned(), |worker| worker.name.clone())
    }
}

async fn ask(
    broker: Broker,
    inbox: String,
    mut answers: async_nats::Subscriber,
    tell: watch::Sender<Arc<Workers>>,
    mut losses: tokio::sync::mpsc::UnboundedReceiver<String>,
) {
    let mut seen: HashMap<String, Instant> = HashMap::new();
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !tell.is_closed() {
        tokio::select! {
            _ = timer.tick() => {
                // While there is no connection this waits in a buffer, with all that follows.
                if broker.is_connected()
                    && let Err(error) = broker.client.publish_with_reply(WHO_IS_THERE, inbox.clone(), "".into()).await
                {
                    tracing::debug!("asking for workers: {error}");
                }
                if !broker.is_connected() && broker.is_there() {
                    // Nobody could answer.
                    seen.values_mut().for_each(|last| *last = Instant::now());
                }
                seen.retain(|_, last| last.elapsed() < SILENT);
                tell.send_if_modified(|workers| keep(workers, |id| seen.contains_key(id)));
            }
            answer = answers.next() => {
                let Some(answer) = answer else { return };
                let Ok(info) = serde_json::from_slice::<Info>(&answer.payload) else { continue };
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
                let Some((id, worker)) = worker(&broker.names, &info.metadata, now) else { continue };
                seen.insert(id.clone(), Instant::now());
                tell.send_if_modified(|workers| welcome(workers, id, worker));
            }
            id = losses.recv() => {
                let Some(id) = id else { return };
                seen.remove(&id);
                tell.send_if_modified(|workers| keep(workers, |other| other != id));
            }
        }
    }
}

/// Forgets those who are not there any more; whether there were any.
fn keep(workers: &mut Arc<Workers>, is_there: impl Fn(&str) -> bool) -> bool {
    if workers.keys().all(|id| is_there(id)) {
        return false;
    }
    let mut left = (**workers).clone();
    left.retain(|id, worker| {
        let stays = is_there(id);
        if !stays {
            tracing::info!(worker = worker.name, model = %worker.model, "a worker is gone");
        }
        stays
    });
    *workers = Arc::new(left);
    true
}

/// Takes up one who was not there; whether that is so.
fn welcome(workers: &mut Arc<Workers>, id: String, worker: Worker) -> bool {
    if workers.contains_key(&id) {
        return false;
    }
    tracing::info!(worker = worker.name, model = %worker.model, states = worker.states, "a worker is there");
    let mut more = (**workers).clone();
    more.insert(id, worker);
    *workers = Arc::new(more);
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn model() -> ModelKey {
        ModelKey { id: "kab".into(), revision: "0f".into() }
    }

    fn directory(states: &[(&str, usize)]) -> Directory {
        let worker = |states| Worker { name: "w".into(), model: model(), states, since: 0 };
        let workers: Workers =
            states.iter().map(|(id, states)| ((*id).to_owned(), worker(*states))).collect();
        let (_, workers) = watch::channel(Arc::new(workers));
        let (gone, _) = tokio::sync::mpsc::unbounded_channel();
        Directory { workers, gone, order: RandomState::new() }
    }

    #[test]
    fn a_worker_is_who_it_says_it_is() {
        let names = Names::new("imesli");
        let mut said = metadata(&names, "id", "name", &model(), 2);
        let (id, found) = worker(&names, &said, 7).unwrap();
        assert_eq!(
            (id.as_str(), found),
            ("id", Worker { name: "name".into(), model: model(), states: 2, since: 7 })
        );
        assert!(worker(&Names::new("other"), &said, 7).is_none());
        said.insert(key::STATES.into(), "0".into());
        assert!(worker(&names, &said, 7).is_none());
        assert!(worker(&names, &HashMap::new(), 7).is_none());
    }

    #[test]
    fn a_stream_stays_where_it_is_as_long_as_that_is_there() {
        let directory = directory(&[("a", 1), ("b", 1)]);
        let home = Home::default();
        home.set(Some("b".into()));
        assert_eq!(directory.home(&home, &model(), |_| 0).as_deref(), Some("b"));
        home.set(Some("gone".into()));
        assert!(directory.home(&home, &model(), |_| 0).is_some_and(|id| id == "a" || id == "b"));
        let other = ModelKey { id: "other".into(), ..model() };
        assert_eq!(directory.home(&home, &other, |_| 0), None);
    }

    #[test]
    fn a_new_stream_goes_where_there_is_most_room() {
        let directory = directory(&[("a", 1), ("b", 4)]);
        let pick = |a: usize, b: usize| {
            directory.home(&Home::default(), &model(), |id| if id == "a" { a } else { b }).unwrap()
        };
        assert_eq!(pick(0, 0), "b");
        assert_eq!(pick(0, 4), "a");
        assert_eq!(pick(1, 4), "b");
    }

    #[test]
    fn who_comes_and_goes_is_told_once() {
        let mut workers = Arc::<Workers>::default();
        let worker = Worker { name: "w".into(), model: model(), states: 1, since: 0 };
        assert!(welcome(&mut workers, "a".into(), worker.clone()));
        assert!(!welcome(&mut workers, "a".into(), worker));
        assert!(!keep(&mut workers, |_| true));
        assert!(keep(&mut workers, |_| false));
        assert!(workers.is_empty());
    }
}
