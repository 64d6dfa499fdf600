//! The models that serve now: one of our own, or those of workers elsewhere.
//!
//! An own model can be replaced: another one is loaded beside it and tried; then new requests get the new one. Those that
//! were admitted before end on the old one, which goes when the last of them is done.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::metrics::Metrics;
use crate::asr::backend::Done;
use crate::asr::catalog::{Available, Catalog};
use crate::asr::recognizer::Cancel;
use crate::asr::search::SearchOptions;
use crate::asr::transcriber::{Request, Transcriber};
use crate::audio::SAMPLE_RATE;
use crate::audio::samples::Samples;
use crate::error::{Error, Result};

/// Finds and loads the model once more. Takes its time, and memory for another one.
pub type Load = Box<dyn Fn() -> Result<Transcriber> + Send + Sync>;

/// What OpenAI calls its models for audio: programs that were written for them name one, whatever there is, and mean the
/// default one.
const ANY_MODEL: &[&str] =
    &["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"];

/// Where a server's models are.
pub enum Models {
    /// In this process. There is this one, whatever a client calls it.
    Own {
        /// The model.
        transcriber: Box<Transcriber>,
        /// What it is called.
        id: String,
        /// How it is loaded anew.
        load: Option<Load>,
    },
    /// Elsewhere, and they come and go.
    Elsewhere(Arc<dyn Catalog>),
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own { id, .. } => f.debug_struct("Own").field("id", id).finish_non_exhaustive(),
            Self::Elsewhere(catalog) => f.debug_tuple("Elsewhere").field(catalog).finish(),
        }
    }
}

/// The models of a server.
#[derive(Debug)]
pub struct Engine {
    source: Source,
    metrics: Arc<Metrics>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum Source {
    Own(Own),
    Elsewhere(Arc<dyn Catalog>),
}

/// A model in this process.
struct Own {
    current: RwLock<Arc<Transcriber>>,
    id: String,
    created: u64,
    load: Option<Load>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Own {
    fn current(&self) -> Arc<Transcriber> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// One that begins with these models.
    pub(super) fn new(models: Models, metrics: &Arc<Metrics>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let source = match models {
            Models::Own { transcriber, id, load } => {
                watch(&transcriber, metrics);
                let current = RwLock::new(Arc::new(*transcriber));
                Source::Own(Own { current, id, created: now, load })
            }
            Models::Elsewhere(catalog) => {
                let metrics = Arc::clone(metrics);
                catalog.observe(Arc::new(move |done: &Done| count(&metrics, done)));
                Source::Elsewhere(catalog)
            }
        };
        Self { source, metrics: Arc::clone(metrics), reloading: tokio::sync::Mutex::new(()) }
    }

    /// Whether the model is in this process.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.source, Source::Own(_))
    }

    /// The model for a new request that asks for this one, by its id or as id@revision. An own one has any name.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a model that there is not, [`Error::Overloaded`] when there is none at all.
    pub(super) fn find(&self, model: Option<&str>) -> Result<Arc<Transcriber>> {
        match &self.source {
            Source::Own(own) => Ok(own.current()),
            Source::Elsewhere(catalog) => {
                let model = model.map(str::trim);
                catalog.find(model.filter(|name| !name.is_empty() && !ANY_MODEL.contains(name)))
            }
        }
    }

    /// What there is now, sorted by id.
    pub(super) fn models(&self) -> Vec<Available> {
        match &self.source {
            Source::Own(own) => {
                let (states, busy) = own.current().states();
                vec![Available {
                    id: own.id.clone(),
                    revision: None,
                    since: own.created,
                    workers: 0,
                    states,
                    busy,
                    waiting: 0,
                }]
            }
            Source::Elsewhere(catalog) => catalog.models(),
        }
    }

    /// Requests that an own model admits at a time.
    pub(super) fn places(&self) -> Option<usize> {
        match &self.source {
            Source::Own(own) => Some(own.current().places()),
            Source::Elsewhere(_) => None,
        }
    }

    /// Whether a request that names no model would be taken now.
    ///
    /// # Errors
    /// [`Error::Overloaded`] says why not.
    pub(super) fn check(&self) -> Result<()> {
        match &self.source {
            Source::Own(own) => own.current().check(),
            Source::Elsewhere(catalog) => catalog.check(),
        }
    }

    /// Whether a request for whichever model may be taken now.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when there is none.
    pub(super) fn check_any(&self) -> Result<()> {
        match &self.source {
            Source::Elsewhere(catalog) if !catalog.models().is_empty() => Ok(()),
            _ => self.check(),
        }
    }

    /// Loads the model anew, tries it, and goes on with it. Returns its id.
    ///
    /// # Errors
    /// What is wrong with it; the old one serves on. [`Error::Overloaded`] while another reload is at it,
    /// [`Error::Unsupported`] where the models are elsewhere.
    pub(super) async fn reload(self: &Arc<Self>) -> Result<String> {
        let Source::Own(own) = &self.source else {
            let message = "the models are loaded by workers; to load one anew, restart its workers";
            return Err(Error::Unsupported(message.into()));
        };
        let Ok(_alone) = self.reloading.try_lock() else {
            return Err(Error::Overloaded("the model is being loaded already".into()));
        };
        let begun = Instant::now();
        let engine = Arc::clone(self);
        let loaded = tokio::task::spawn_blocking(move || match &engine.source {
            Source::Own(Own { load: Some(load), .. }) => load(),
            _ => Err(Error::Unsupported("this server can't load its model anew".into())),
        });
        let loaded = loaded.await.map_err(|error| Error::internal_from("loading the model", error))?;
        let transcriber = match loaded {
            Ok(transcriber) => transcriber,
            Err(error) => {
                tracing::error!("the model was not loaded anew, the old one serves on: {error}");
                return Err(error);
            }
        };
        if let Err(error) = try_out(&transcriber).await {
            tracing::error!("the new model does not work, the old one serves on: {error}");
            return Err(error);
        }
        watch(&transcriber, &self.metrics);
        let old = std::mem::replace(
            &mut *own.current.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(transcriber),
        );
        // Its threads are waited for, if nobody else has it any more.
        tokio::task::spawn_blocking(move || drop(old));
        self.metrics.reloaded();
        tracing::info!(seconds = begun.elapsed().as_secs_f64(), "the model was loaded anew, and serves");
        Ok(own.id.clone())
    }
}

/// Counts the windows of a model.
fn watch(transcriber: &Transcriber, metrics: &Arc<Metrics>) {
    let metrics = Arc::clone(metrics);
    transcriber.observe(move |done| count(&metrics, done));
}

fn count(metrics: &Metrics, done: &Done) {
    metrics.window(done.heard.encode, done.heard.decode + done.heard.align);
}

/// Whether a model makes a text, whichever, of a second of silence.
async fn try_out(transcriber: &Transcriber) -> Result<()> {
    let samples = Arc::new(Samples::from(vec![0.0; SAMPLE_RATE as usize]));
    let search = SearchOptions { beams: 1, max_new_tokens: 4, ..SearchOptions::default() };
    let request = Request { search, vad: crate::asr::switch::Switch::Off, ..Request::default() };
    let permit = transcriber.admit()?;
    transcriber.transcribe(samples, &request, permit, &Cancel::default(), |_| {}).await?;
    Ok(())
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
