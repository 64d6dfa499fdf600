//! The model that serves now, and how another one takes its place.
//!
//! A new model is loaded beside the old one and tried; then new requests get the new one. Those that were admitted before
//! end on the old one, which goes when the last of them is done.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::metrics::Metrics;
use crate::asr::recognizer::Cancel;
use crate::asr::search::SearchOptions;
use crate::asr::transcriber::{Request, Transcriber};
use crate::audio::SAMPLE_RATE;
use crate::audio::samples::Samples;
use crate::error::{Error, Result};

/// Finds and loads the model once more. Takes its time, and memory for another one.
pub type Load = Box<dyn Fn() -> Result<Transcriber> + Send + Sync>;

/// The model of a server.
pub struct Engine {
    current: RwLock<Arc<Transcriber>>,
    id: String,
    created: u64,
    load: Option<Load>,
    metrics: Arc<Metrics>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Engine {
    /// One that begins with this model.
    pub(super) fn new(
        transcriber: Transcriber,
        id: String,
        load: Option<Load>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let engine = Self {
            current: RwLock::new(Arc::new(transcriber)),
            id,
            created: now,
            load,
            metrics: Arc::clone(metrics),
            reloading: tokio::sync::Mutex::new(()),
        };
        engine.watch(&engine.current());
        engine
    }

    fn watch(&self, transcriber: &Transcriber) {
        let metrics = Arc::clone(&self.metrics);
        transcriber
            .observe(move |done| metrics.window(done.heard.encode, done.heard.decode + done.heard.align));
    }

    /// The model for a new request.
    pub(super) fn current(&self) -> Arc<Transcriber> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it is called.
    pub(super) fn model_id(&self) -> String {
        self.id.clone()
    }

    /// When the server began with it, in seconds since 1970.
    pub(super) fn created(&self) -> u64 {
        self.created
    }

    /// Loads the model anew, tries it, and goes on with it.
    ///
    /// # Errors
    /// What is wrong with it; the old one serves on. [`Error::Overloaded`] while another reload is at it.
    pub(super) async fn reload(self: &Arc<Self>) -> Result<String> {
        let Ok(_alone) = self.reloading.try_lock() else {
            return Err(Error::Overloaded("the model is being loaded already".into()));
        };
        let begun = Instant::now();
        let engine = Arc::clone(self);
        let loaded = tokio::task::spawn_blocking(move || match &engine.load {
            Some(load) => load(),
            None => Err(Error::Unsupported("this server can't load its model anew".into())),
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
        self.watch(&transcriber);
        let old = std::mem::replace(
            &mut *self.current.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(transcriber),
        );
        // Its threads are waited for, if nobody else has it any more.
        tokio::task::spawn_blocking(move || drop(old));
        self.metrics.reloaded();
        tracing::info!(seconds = begun.elapsed().as_secs_f64(), "the model was loaded anew, and serves");
        Ok(self.id.clone())
    }
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
