//! The conductor: a recording in, its transcript out. Every front drives this one.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assembly::{assemble, settled};
use super::audio_context::AudioContext;
use super::backend::{Backend, Done, Home, Job, Permit, Urgency};
use super::model::{Head, Token};
use super::plan::plan;
use super::recognizer::{Cancel, DecodeOptions, Language, Task};
use super::search::SearchOptions;
use super::segment::{Segment, Timestamps};
use super::switch::Switch;
use super::timing::TimeSource;
use super::tokenize::Tokenizer;
use super::vocabulary::Vocabulary;
use crate::audio::samples::Samples;
use crate::audio::voice::VoiceDetector;
use crate::audio::window::Window;
use crate::error::{Error, Result};
use crate::text::Orthography;

/// What the checkpoint's profile says about decoding, where a request is silent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Defaults {
    /// The code of the language; `None` lets the model judge.
    pub language: Option<String>,
    /// The task.
    pub task: Task,
    /// Tokens that never come.
    pub suppress: Vec<Token>,
    /// Tokens that don't come first.
    pub begin_suppress: Vec<Token>,
    /// The latest first timestamp in steps of 20 ms.
    pub max_initial_timestamp: Option<u32>,
    /// Whether the model was seen to write no timestamps that are of use. Requests for them are then
    /// answered without.
    pub no_timestamps: bool,
    /// How much of the encoder's 30 s is enough for shorter audio, where that was measured.
    pub audio_context: AudioContext,
    /// The cross-attention heads that follow the audio; none where the checkpoint names none.
    pub alignment_heads: Vec<Head>,
}

/// What a caller wants.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// A language's code, `auto` to let the model judge, `None` for the checkpoint's default.
    pub language: Option<String>,
    /// The task; `None` for the checkpoint's default.
    pub task: Option<Task>,
    /// Text that the model takes for what was said before each window: names, spellings. None when empty.
    pub prompt: String,
    /// Which times the transcript gets.
    pub timestamps: Timestamps,
    /// The spelling that the text is brought to.
    pub orthography: Orthography,
    /// The search.
    pub search: SearchOptions,
    /// Whether stretches without speech are left out.
    pub vad: Switch,
    /// Whether a text that loops is searched for once more.
    pub loop_guard: Switch,
    /// How much of the encoder's 30 s is computed for shorter audio; `None` for what the checkpoint was seen to bear.
    pub audio_context: Option<AudioContext>,
}

/// The text of a recording, and what it covers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    /// The whole text, in the spelling that was asked for.
    pub text: String,
    /// The same as the model wrote it; `None` where no spelling was asked for.
    pub raw: Option<RawText>,
    /// The code of the language that was spoken or assumed; `None` for English-only models.
    pub language: Option<String>,
    /// How likely the model finds each language, by code, the likeliest first; empty unless it was to judge.
    pub languages: Vec<(String, f32)>,
    /// Where times were asked for, those that there are: no segments' with [`Defaults::no_timestamps`].
    pub timestamps: Option<Timestamps>,
    /// Where the times of words come from, the worst of all windows; `None` where there are none.
    pub word_times: Option<TimeSource>,
    /// Seconds of audio that came in.
    pub duration: f64,
    /// Seconds of audio that were decoded.
    pub decoded: f64,
    /// Where somebody speaks, in seconds of the recording; `None` without voice activity detection.
    pub speech: Option<Vec<Range<f64>>>,
    /// What was not decoded, in order.
    pub skipped: Vec<Skipped>,
    /// Stretches of the text, with times in seconds of the recording: as the model wrote them when those of segments
    /// were asked for, between pauses when those of words were, else one for each window.
    pub segments: Vec<Segment>,
    /// The text tokens of each window, as the search found them.
    pub tokens: Vec<Vec<Token>>,
    /// When the text tokens of each window were said, before pauses were looked at; empty unless the times of words were
    /// asked for.
    pub token_times: Vec<Vec<Range<f64>>>,
    /// Mean log-probability of each window's tokens.
    pub mean_log_probs: Vec<f32>,
    /// Windows in which the model did not come to an end: their text may lack something.
    pub unended: usize,
    /// Windows whose text loops, also where it was searched for once more.
    pub looped: usize,
    /// Windows that were heard again with all of the encoder's 30 s, because the text did not look right with less.
    pub heard_twice: usize,
    /// Where the time went.
    pub timings: Timings,
}

/// A stretch of a recording that was not decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Skipped {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// Why.
    pub reason: SkipReason,
}

/// Why a stretch was not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Nobody speaks in it.
    NoSpeech,
}

/// The text before its spelling was changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawText {
    /// The whole text.
    pub text: String,
    /// The text of each segment.
    pub segments: Vec<String>,
}

impl Transcript {
    /// Seconds in which somebody speaks, where that was looked for.
    pub fn speech_duration(&self) -> Option<f64> {
        // From +0: the sum of nothing is −0.
        Some(self.speech.as_ref()?.iter().fold(0.0, |sum, span| sum + (span.end - span.start)))
    }

    /// Brings the text to a spelling, and keeps it as it was beside.
    fn respell(&mut self, orthography: Orthography) {
        if orthography == Orthography::None {
            return;
        }
        let respell = |text: &mut String| {
            let standard = orthography.normalize(text);
            std::mem::replace(text, standard)
        };
        for word in self.segments.iter_mut().flat_map(|segment| &mut segment.words) {
            respell(&mut word.text);
        }
        self.raw = Some(RawText {
            text: respell(&mut self.text),
            segments: self.segments.iter_mut().map(|segment| respell(&mut segment.text)).collect(),
        });
    }
}

/// Where the time of a request went, summed over its windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Listening for speech.
    pub listening: Duration,
    /// Waiting for a state.
    pub queued: Duration,
    /// Spectrogram and encoder.
    pub encode: Duration,
    /// Token search.
    pub decode: Duration,
    /// Finding out when each token was said.
    pub align: Duration,
}

/// How far a recording is.
pub struct Progress<'a> {
    /// Windows that are done.
    pub done: usize,
    /// All windows.
    pub total: usize,
    settled: &'a dyn Fn() -> String,
}

impl Progress<'_> {
    /// The text so far, in the spelling that was asked for, as far as nothing that follows can change it: the final text
    /// begins with it.
    pub fn text(&self) -> String {
        (self.settled)()
    }
}

/// What hears windows, and what the checkpoint says about using it.
#[derive(Debug)]
pub struct Transcriber {
    pub(super) backend: Box<dyn Backend>,
    pub(super) vocabulary: Arc<Vocabulary>,
    /// Made for the first prompt.
    tokenizer: OnceLock<Tokenizer>,
    pub(super) defaults: Defaults,
    pub(super) detector: Arc<VoiceDetector>,
}

/// Sets the flag when the request's future is dropped, so that work nobody waits for stops.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Transcriber {
    /// A transcriber over a started pool, or over workers elsewhere.
    pub fn new(
        backend: impl Backend + 'static,
        vocabulary: Arc<Vocabulary>,
        defaults: Defaults,
        detector: VoiceDetector,
    ) -> Self {
        let (backend, detector) = (Box::new(backend), Arc::new(detector));
        Self { backend, vocabulary, tokenizer: OnceLock::new(), defaults, detector }
    }

    /// A place for one request.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once when all are taken.
    pub fn admit(&self) -> Result<Permit> {
        self.admit_of("")
    }

    /// The same for a request of this client: those of different ones take turns.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once when all are taken.
    pub fn admit_of(&self, client: &str) -> Result<Permit> {
        self.backend.admit(client)
    }

    /// Has `observer` told of every window that is done, also of live audio. The first one stays.
    pub fn observe(&self, observer: impl Fn(&Done) + Send + Sync + 'static) {
        self.backend.observe(Box::new(observer));
    }

    /// Whether there is somebody who hears windows.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when there is nobody at the moment, or too much waits for them.
    pub fn check(&self) -> Result<()> {
        self.backend.check()
    }

    /// Requests that are admitted at a time.
    pub fn places(&self) -> usize {
        self.backend.places()
    }

    /// States, and those of them that are at work.
    pub fn states(&self) -> (usize, usize) {
        (self.backend.states(), self.backend.busy())
    }

    /// Transcribes a recording of any length, within a tokio runtime. Its windows are spread over the free states.
    /// `progress` is told of every window that is done. Dropping the future cancels the work.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an unknown language and the like, [`Error::Cancelled`],
    /// [`Error::Internal`].
    pub async fn transcribe(
        &self,
        samples: Arc<Samples>,
        request: &Request,
        permit: Permit,
        cancel: &Cancel,
        mut progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<Transcript> {
        let _cancel_on_drop = CancelOnDrop(cancel.clone());
        let mut options = Arc::new(self.decode_options(request)?);
        let detector = request.vad.is_on().then_some(&self.detector);
        let plan = plan(&samples, detector, cancel).await?;
        let total = plan.windows.len();
        let job = |window: &Window, options: &Arc<DecodeOptions>| Job {
            excerpt: Arc::clone(&plan.excerpt),
            range: window.range.clone(),
            options: Arc::clone(options),
            cancel: cancel.clone(),
            permit: Some(permit.clone()),
            urgency: Urgency::File,
            home: Home::default(),
        };
        let mut done: Vec<Done> = Vec::with_capacity(total);
        let mut queued = VecDeque::new();
        let mut waiting = plan.windows.iter();
        while done.len() < total {
            // The first window alone tells the language, if it must be detected; then all go side by side.
            let at_a_time = if options.language == Language::Detect { 1 } else { self.backend.states() };
            while queued.len() < at_a_time
                && let Some(window) = waiting.next()
            {
                queued.push_back(self.backend.submit(job(window, &options)));
            }
            let Some(receiver) = queued.pop_front() else { break };
            let one =
                receiver.await.map_err(|_| Error::Unavailable("the server is shutting down".into()))??;
            if let (Language::Detect, Some(token)) = (options.language, one.heard.language) {
                options = Arc::new(DecodeOptions { language: Language::Token(token), ..(*options).clone() });
            }
            done.push(one);
            let settled = || request.orthography.normalize(&settled(&self.vocabulary, &plan.windows, &done));
            progress(Progress { done: done.len(), total, settled: &settled });
        }
        let mut transcript =
            assemble(&self.vocabulary, plan.excerpt.seconds(), &plan.windows, &done, &options);
        plan.place(&mut transcript);
        transcript.timestamps = match request.timestamps {
            Timestamps::None => None,
            Timestamps::Segment if options.timestamps.is_none() => Some(Timestamps::None),
            wanted => Some(wanted),
        };
        transcript.respell(request.orthography);
        Ok(transcript)
    }

    /// The tokens of a prompt: with a space in front, as transformers' `get_prompt_ids` has it.
    fn prompt(&self, text: &str) -> Result<Vec<Token>> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let tokenizer = match self.tokenizer.get() {
            Some(tokenizer) => tokenizer,
            None => {
                let made = Tokenizer::new(self.vocabulary.text_bytes())?;
                self.tokenizer.get_or_init(|| made)
            }
        };
        tokenizer.encode(&format!(" {text}"))
    }

    /// What a request means for this checkpoint.
    pub(super) fn decode_options(&self, request: &Request) -> Result<DecodeOptions> {
        let languages = &self.vocabulary.special().languages;
        let wanted = request.language.as_ref().or(self.defaults.language.as_ref());
        let language = match wanted.map(String::as_str) {
            _ if languages.is_empty() => Language::None,
            None | Some("auto") => Language::Detect,
            Some(code) => Language::Token(*languages.get(code).ok_or_else(|| {
                Error::InvalidInput(format!("this model has no token for the language '{code}'"))
            })?),
        };
        Ok(DecodeOptions {
            language,
            task: request.task.unwrap_or(self.defaults.task),
            timestamps: (request.timestamps == Timestamps::Segment && !self.defaults.no_timestamps)
                .then_some(self.defaults.max_initial_timestamp),
            alignment: (request.timestamps == Timestamps::Word)
                .then(|| self.defaults.alignment_heads.as_slice().into()),
            prompt: self.prompt(&request.prompt)?,
            prefix: Vec::new(),
            suppress: self.defaults.suppress.clone(),
            begin_suppress: self.defaults.begin_suppress.clone(),
            search: request.search,
            loop_guard: request.loop_guard.is_on(),
            audio_context: request.audio_context.unwrap_or(self.defaults.audio_context),
        })
    }
}
