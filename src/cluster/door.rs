//! The models that workers have, as a server's [`Catalog`].

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::card::Card;
use super::connection::NatsOptions;
use super::directory::{Directory, Worker};
use super::flight::Way;
use super::names::ModelKey;
use super::remote::{Bounds, Remote};
use super::results::{self, Results};
use crate::asr::backend::Backend;
use crate::asr::catalog::{Available, Catalog, SharedObserver};
use crate::asr::transcriber::Transcriber;
use crate::audio::voice::VoiceDetector;
use crate::error::{Error, Result};

/// A model that nobody has had for so long is forgotten: ten minutes.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Workers that are there have answered by then, when a door begins; and how often it looks.
const ANSWERS: Duration = Duration::from_millis(1500);
const LOOK: Duration = Duration::from_millis(10);
/// How often results are looked through that a broker should not have any more.
const TIDY: Duration = Duration::from_secs(10);
/// Between two tries to read what a model is.
const PAUSE: Duration = Duration::from_secs(1);

/// How a door uses its workers.
#[derive(Debug, Clone)]
pub struct DoorOptions {
    /// Requests that are admitted at a time, for each model.
    pub requests: usize,
    /// Windows that may wait for each state of the workers.
    pub max_pending: usize,
    /// How long a window may take, its time in the queue included.
    pub window_timeout: Duration,
    /// Samples go out as the 32-bit floats that they are, not in 16 bits.
    pub exact_audio: bool,
    /// The model of requests that name none; otherwise the first by name that is alive.
    pub model: Option<String>,
    /// What listens for speech; the built-in one without.
    pub vad_model: Option<PathBuf>,
}

/// The models that workers have.
pub(super) struct Door {
    way: Arc<Way>,
    options: DoorOptions,
    models: Mutex<HashMap<ModelKey, Model>>,
    observer: OnceLock<SharedObserver>,
}

struct Model {
    remote: Remote,
    transcriber: Arc<Transcriber>,
    seen: Instant,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("door", &self.way.door).finish_non_exhaustive()
    }
}

impl Door {
    /// Connects to the broker, and begins to look for workers.
    pub(super) async fn begin(nats: &NatsOptions, options: DoorOptions) -> anyhow::Result<Arc<Self>> {
        // First, because it is soon done and can be wrong.
        detector(&options)?;
        let door = uuid::Uuid::new_v4().simple().to_string();
        let broker = Broker::connect(nats, "door").await?;
        // Before anybody can store a result for it.
        broker.results(&door).await?;
        let directory = Directory::begin(&broker).await?;
        let results = Arc::<Results>::default();
        tokio::spawn(results::take_in(broker.clone(), door.clone(), Arc::clone(&results)));
        let (exact, patience) = (options.exact_audio, options.window_timeout);
        let way = Arc::new(Way { broker, directory, results, door, exact, patience });
        let door = Arc::new(Self { way, options, models: Mutex::default(), observer: OnceLock::new() });
        tokio::spawn(learn(Arc::clone(&door)));
        // Who comes as soon as it listens is not refused because of workers that were there all the time.
        let first = async {
            while door.lock().is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(ANSWERS, first).await;
        Ok(door)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ModelKey, Model>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The models that somebody has and that are not known yet. The known ones have been seen now.
    fn unknown(&self) -> Vec<ModelKey> {
        let alive = alive(self.way.directory.workers().values());
        let mut models = self.lock();
        models.retain(|key, model| {
            if alive.contains_key(key) {
                model.seen = Instant::now();
            }
            model.seen.elapsed() < FORGOTTEN
        });
        alive.into_keys().filter(|key| !models.contains_key(key)).collect()
    }

    /// Reads what a model is, and takes requests for it from then on.
    async fn take_up(&self, key: &ModelKey) -> Result<()> {
        let card = self.way.broker.models().get(&key.revision).await?;
        let bounds = Bounds { requests: self.options.requests, pending: self.options.max_pending };
        let remote = Remote::begin(&self.way, key.clone(), bounds);
        let (vocabulary, defaults) = Card::decode(&card)?.parts();
        let transcriber = Transcriber::new(remote.clone(), vocabulary, defaults, detector(&self.options)?);
        let model = Model { remote, transcriber: Arc::new(transcriber), seen: Instant::now() };
        let mut models = self.lock();
        self.have_told(&model.remote);
        models.insert(key.clone(), model);
        drop(models);
        tracing::info!(model = %key, "a model is served");
        Ok(())
    }

    /// Has what a model hears told to who observes all, where there is somebody.
    fn have_told(&self, remote: &Remote) {
        if let Some(observer) = self.observer.get() {
            let observer = Arc::clone(observer);
            remote.observe(Box::new(move |done| observer(done)));
        }
    }

    /// Which model is meant.
    fn choose(&self, wanted: Option<&str>) -> Result<ModelKey> {
        choose(&alive(self.way.directory.workers().values()), wanted, self.options.model.as_deref())
    }
}

fn detector(options: &DoorOptions) -> Result<VoiceDetector> {
    options.vad_model.as_deref().map_or_else(VoiceDetector::built_in, VoiceDetector::open)
}

/// Reads what new models are, and keeps the results tidy, for ever.
async fn learn(door: Arc<Door>) {
    let mut directory = door.way.directory.clone();
    let mut tidied = Instant::now();
    loop {
        // For all models at once: a door has one consumer of results.
        if tidied.elapsed() > TIDY {
            door.way.broker.tidy_results(&door.way.door).await;
            tidied = Instant::now();
        }
        for key in door.unknown() {
            if let Err(error) = door.take_up(&key).await {
                tracing::warn!(model = %key, "what the broker has about a model can't be used: {error}");
            }
        }
        let _ = tokio::time::timeout(PAUSE, directory.changed()).await;
    }
}

/// The models that workers have: how many workers and states each has, and since when.
fn alive<'a>(workers: impl Iterator<Item = &'a Worker>) -> BTreeMap<ModelKey, (usize, usize, u64)> {
    let mut models = BTreeMap::new();
    for worker in workers {
        let model: &mut (usize, usize, u64) = models.entry(worker.model.clone()).or_insert((0, 0, u64::MAX));
        *model = (model.0 + 1, model.1 + worker.states, model.2.min(worker.since));
    }
    models
}

/// The model that is meant by `wanted`, or the default one. Of several revisions the one with the most states: while
/// workers are replaced one by one, that is the one that can bear it.
fn choose(
    alive: &BTreeMap<ModelKey, (usize, usize, u64)>,
    wanted: Option<&str>,
    default: Option<&str>,
) -> Result<ModelKey> {
    let none = || Error::Overloaded("no worker is there at the moment; try again later".into());
    let name = match wanted.or(default) {
        Some(name) => name,
        None => alive.keys().next().ok_or_else(none)?.id.as_str(),
    };
    let is_meant = |key: &&ModelKey| key.id == name || key.to_string() == name;
    let found =
        alive.iter().filter(|(key, _)| is_meant(key)).max_by_key(|(_, (_, states, since))| (*states, *since));
    match found {
        Some((key, _)) => Ok(key.clone()),
        None if alive.is_empty() => Err(none()),
        None if wanted.is_none_or(|wanted| Some(wanted) == default) => {
            Err(Error::Overloaded(format!("no worker has the model {name} at the moment; try again later")))
        }
        None => {
            let name: String = name.chars().take(100).collect();
            Err(Error::InvalidInput(format!(
                "no worker has a model '{name}'; GET /v1/models names those that there are"
            )))
        }
    }
}

impl Catalog for Door {
    fn find(&self, model: Option<&str>) -> Result<Arc<Transcriber>> {
        let key = self.choose(model)?;
        let models = self.lock();
        let known = models.get(&key).ok_or_else(|| {
            Error::Overloaded(format!("the model {} is not ready yet; try again later", key.id))
        })?;
        Ok(Arc::clone(&known.transcriber))
    }

    fn models(&self) -> Vec<Available> {
        let alive = alive(self.way.directory.workers().values());
        let known = self.lock();
        alive
            .into_iter()
            .filter_map(|(key, (workers, states, since))| {
                // One that is not ready yet would be refused.
                let remote = &known.get(&key)?.remote;
                let ModelKey { id, revision } = key;
                let (busy, waiting) = (remote.busy(), remote.waiting());
                Some(Available { id, revision: Some(revision), since, workers, states, busy, waiting })
            })
            .collect()
    }

    fn check(&self) -> Result<()> {
        if !self.way.broker.is_there() {
            return Err(Error::Overloaded("the broker can't be reached; try again later".into()));
        }
        self.find(None)?.check()
    }

    fn observe(&self, observer: SharedObserver) {
        let models = self.lock();
        let _ = self.observer.set(observer);
        models.values().for_each(|model| self.have_told(&model.remote));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn key(id: &str, revision: &str) -> ModelKey {
        ModelKey { id: id.into(), revision: revision.into() }
    }

    fn workers() -> Vec<Worker> {
        let worker = |model, states, since| Worker { name: "w".into(), model, states, since };
        vec![
            worker(key("kab", "1"), 1, 10),
            worker(key("kab", "1"), 1, 20),
            worker(key("kab", "2"), 1, 30),
            worker(key("tzm", "7"), 8, 5),
        ]
    }

    #[test]
    fn a_model_is_found_by_its_name() {
        let alive = alive(workers().iter());
        assert_eq!(alive.get(&key("kab", "1")), Some(&(2, 2, 10)));
        let find = |wanted, default| choose(&alive, wanted, default).unwrap();
        assert_eq!(find(Some("tzm"), None), key("tzm", "7"));
        assert_eq!(find(Some("kab"), None), key("kab", "1"), "most states");
        assert_eq!(find(Some("kab@2"), None), key("kab", "2"));
        assert_eq!(find(None, None), key("kab", "1"), "the first one");
        assert_eq!(find(None, Some("tzm")), key("tzm", "7"));
    }

    #[test]
    fn a_model_that_is_not_there_is_wrong_or_only_away() {
        let alive = alive(workers().iter());
        let refused = |wanted, default| choose(&alive, wanted, default).unwrap_err();
        assert!(matches!(refused(Some("other"), None), Error::InvalidInput(_)));
        assert!(matches!(refused(Some("kab@9"), None), Error::InvalidInput(_)));
        assert!(matches!(refused(None, Some("away")), Error::Overloaded(_)));
        assert!(matches!(refused(Some("away"), Some("away")), Error::Overloaded(_)));
        let nobody = BTreeMap::new();
        assert!(matches!(choose(&nobody, Some("kab"), None), Err(Error::Overloaded(_))));
        assert!(matches!(choose(&nobody, None, None), Err(Error::Overloaded(_))));
    }
}
