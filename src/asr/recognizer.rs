//! One window in, its tokens out: the search over one state of the model.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::audio_context::AudioContext;
use super::guard::{Guarded, guarded_search};
use super::model::{Head, State, Token};
use super::repetition;
use super::rules::{Rules, TimestampRules};
use super::search::{Decoder, Hypothesis, LogNorm, SearchOptions};
pub use super::token_times::TokenTimes;
use super::token_times::token_times;
use super::vocabulary::Vocabulary;
use crate::audio::pause::pauses;
use crate::error::{Error, Result};

/// Set by whoever no longer wants the result; looked at before each step of the work.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// [`Error::Cancelled`] when somebody asked.
    ///
    /// # Errors
    /// That one.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// What to do with the speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Task {
    /// Write it down in its own language.
    #[default]
    Transcribe,
    /// Translate it to English.
    Translate,
}

/// Which language token the prompt carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// The most likely one by the model's own judgement, which costs one decoder step.
    Detect,
    /// This one.
    Token(Token),
    /// None: an English-only model.
    None,
}

/// How one window is decoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecodeOptions {
    /// The language token.
    pub language: Language,
    /// The task token.
    pub task: Task,
    /// Whether the model writes timestamps, and the latest first one in steps of 20 ms.
    #[serde(with = "nested")]
    pub timestamps: Option<Option<u32>>,
    /// Tokens of earlier text that the model sees as its context.
    pub prompt: Vec<Token>,
    /// Text that the window begins with: it is settled, and the search goes on behind it.
    pub prefix: Vec<Token>,
    /// Tokens that never come.
    pub suppress: Vec<Token>,
    /// Tokens that don't come first.
    pub begin_suppress: Vec<Token>,
    /// The search.
    pub search: SearchOptions,
    /// Whether to find out when each token was said, and by which heads; by a choice of our own where there are none.
    pub alignment: Option<Arc<[Head]>>,
    /// Whether a text that loops is searched for once more, see [`repetition`].
    pub loop_guard: bool,
    /// How much of the model's 30 s is computed for a shorter window.
    pub audio_context: AudioContext,
}

/// An option within an option: most formats have one word for two kinds of nothing.
mod nested {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Nested = Option<Option<u32>>;

    pub(super) fn serialize<S: Serializer>(value: &Nested, serializer: S) -> Result<S::Ok, S::Error> {
        (value.is_some(), value.flatten()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nested, D::Error> {
        let (is_some, value) = Deserialize::deserialize(deserializer)?;
        Ok(if is_some { Some(value) } else { None })
    }
}

/// What was heard in one window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Heard {
    /// The window's pieces in order; one, unless the text did not fit.
    pub pieces: Vec<Piece>,
    /// The language token that was used.
    pub language: Option<Token>,
    /// How likely each language is, where the model was to judge: probabilities among the language tokens,
    /// the likeliest first.
    pub languages: Vec<(Token, f32)>,
    /// Time spent on the spectrogram and in the encoder.
    pub encode: Duration,
    /// Where nothing is said, in samples of the window, if the times of tokens were asked for.
    pub pauses: Vec<Range<usize>>,
    /// Time spent in the search.
    pub decode: Duration,
    /// Time spent on the times of tokens.
    pub align: Duration,
    /// Pieces that were first heard with less than the model's 30 s, and then with all of it, because the text did not look
    /// right.
    pub heard_twice: usize,
}

/// A stretch of a window that was decoded by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Its samples within the window.
    pub range: Range<usize>,
    /// The tokens that the search found, behind the prefix. Not [`ended`](Hypothesis::ended): there may be more text in it.
    pub hypothesis: Hypothesis,
    /// Whether it loops, and did so when it was searched for once more.
    pub looped: bool,
    /// When its text tokens were said, those of the prefix first, if that was asked for.
    pub times: Option<TokenTimes>,
}

/// A window whose text does not fit is split down to pieces of this many samples: 4 s, in which nobody
/// says the 444 tokens that fit. What still does not end is a loop.
const MIN_SPLIT: usize = 8 * crate::audio::SAMPLE_RATE as usize;

/// One state and what turns its logits into tokens.
#[derive(Debug)]
pub struct Recognizer {
    state: State,
    vocabulary: Arc<Vocabulary>,
}

impl Recognizer {
    /// A recognizer over `state`.
    pub fn new(state: State, vocabulary: Arc<Vocabulary>) -> Self {
        Self { state, vocabulary }
    }

    /// Recognizes one window of at most 30 s of 16 kHz mono samples. A text that reaches the model's limit
    /// without an end token did not fit: the window is then split at its quietest point and both parts are
    /// decoded again, so that nothing is cut in silence. A text that loops is not split: the search is made once more,
    /// with rules that forbid it, and the first text stands where that comes to no end either.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the model lacks a token that the options ask for,
    /// [`Error::Cancelled`], [`Error::TooLarge`] for a longer window, [`Error::Internal`].
    pub fn recognize(&mut self, samples: &[f32], options: &DecodeOptions, cancel: &Cancel) -> Result<Heard> {
        let mut heard = Heard::default();
        let mut options = options.clone();
        if options.alignment.is_some() {
            heard.pauses = pauses(samples);
        }
        let whole = 0..samples.len();
        let mut waiting = vec![whole];
        while let Some(range) = waiting.pop() {
            let part = samples.get(range.clone()).unwrap_or_default();
            let (Guarded { hypothesis, looped }, times) =
                self.decode_part(part, &options, cancel, &mut heard)?;
            if let Some(token) = heard.language {
                options.language = Language::Token(token);
            }
            let limited = options.search.max_new_tokens < usize::MAX || !options.prefix.is_empty();
            let fits = hypothesis.ended || looped || limited;
            if fits || part.len() < MIN_SPLIT {
                heard.pieces.push(Piece { range, hypothesis, looped, times });
            } else {
                let middle = range.start + quietest_point(part, part.len() / 4..part.len() * 3 / 4);
                waiting.push(middle..range.end);
                waiting.push(range.start..middle);
            }
        }
        Ok(heard)
    }

    fn decode_part(
        &mut self,
        samples: &[f32],
        options: &DecodeOptions,
        cancel: &Cancel,
        heard: &mut Heard,
    ) -> Result<(Guarded, Option<TokenTimes>)> {
        let short = options.audio_context.positions(samples.len(), self.state.dims().n_audio_ctx);
        if short.is_some() {
            let part = self.decode_in(short, samples, options, cancel, heard)?;
            if !options.audio_context.is_doubtful(&part.0.hypothesis, part.0.looped, options.search) {
                return Ok(part);
            }
            heard.heard_twice += 1;
        }
        self.decode_in(None, samples, options, cancel, heard)
    }

    /// The same with so many positions of the encoder.
    fn decode_in(
        &mut self,
        positions: Option<usize>,
        samples: &[f32],
        options: &DecodeOptions,
        cancel: &Cancel,
        heard: &mut Heard,
    ) -> Result<(Guarded, Option<TokenTimes>)> {
        cancel.check()?;
        let begin = Instant::now();
        self.state.set_audio(samples, positions)?;
        let mut encoded = self.state.encode()?;
        let encode = begin.elapsed();
        heard.encode += encode;
        cancel.check()?;
        heard.language = match options.language {
            Language::Detect => {
                heard.languages = detect_language(&mut encoded, &self.vocabulary)?;
                let likeliest = heard.languages.first().map(|(token, _)| *token);
                Some(
                    likeliest
                        .ok_or_else(|| Error::Unsupported("this model has no language tokens".into()))?,
                )
            }
            Language::Token(token) => Some(token),
            Language::None => None,
        };
        let whole = prompt(&self.vocabulary, options, heard.language, encoded.max_positions())?;
        let rules = rules(&self.vocabulary, options)?;
        let (search, cancelled) = (options.search, || cancel.is_cancelled());
        let loops = |found: &Hypothesis| {
            options.loop_guard && is_loop(&self.vocabulary, found, samples.len(), search)
        };
        let found = guarded_search(&mut encoded, &whole, &rules, search, &cancelled, loops)?;
        heard.decode += begin.elapsed().saturating_sub(encode);
        cancel.check()?;
        let begin = Instant::now();
        let times = match &options.alignment {
            Some(known) => {
                let bare = prompt(&self.vocabulary, &options.bare(), heard.language, usize::MAX)?;
                let tokens = found.hypothesis.tokens.iter().copied();
                let text = options.prefix.iter().copied().chain(tokens);
                let text: Vec<Token> = text.filter(|token| self.vocabulary.is_text(*token)).collect();
                Some(token_times(&mut encoded, &self.vocabulary, known, &bare, &text, samples)?)
            }
            None => None,
        };
        heard.align += begin.elapsed();
        Ok((found, times))
    }
}

impl DecodeOptions {
    /// The same without any text and without timestamps.
    fn bare(&self) -> Self {
        Self { timestamps: None, prompt: Vec::new(), prefix: Vec::new(), ..self.clone() }
    }
}

/// How likely each language token is after `<|startoftranscript|>`, the others left out, as transformers'
/// `detect_language` judges; the likeliest first.
fn detect_language(decoder: &mut impl Decoder, vocabulary: &Vocabulary) -> Result<Vec<(Token, f32)>> {
    let special = vocabulary.special();
    let mut logits = Vec::new();
    decoder.start(&[special.start_of_transcript], &mut logits)?;
    let of_languages = special.languages.values().map(|token| (*token, logits.get(*token as usize)));
    let (tokens, logits): (Vec<_>, Vec<_>) =
        of_languages.filter_map(|(token, logit)| Some((token, *logit?))).unzip();
    let norm = LogNorm::of(&logits);
    let mut found: Vec<_> =
        tokens.into_iter().zip(logits).map(|(token, logit)| (token, norm.log_prob(logit).exp())).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(found)
}

/// `[<|startofprev|> earlier text] <|startoftranscript|> [language] [task] [<|notimestamps|>] [prefix]`. Of the
/// earlier text the last half of the positions less one is kept, as transformers does; less, where there is a prefix.
fn prompt(
    vocabulary: &Vocabulary,
    options: &DecodeOptions,
    language: Option<Token>,
    max_positions: usize,
) -> Result<Vec<Token>> {
    let special = vocabulary.special();
    let missing = |name: &str| Error::InvalidInput(format!("this model has no {name} token"));
    let mut prompt = Vec::new();
    if !options.prompt.is_empty() {
        prompt.push(special.start_of_prev.ok_or_else(|| missing("<|startofprev|>"))?);
        let keep = (max_positions / 2).saturating_sub(1 + options.prefix.len());
        prompt.extend(options.prompt.iter().skip(options.prompt.len().saturating_sub(keep)));
    }
    prompt.push(special.start_of_transcript);
    if let Some(language) = language {
        prompt.push(language);
        prompt.push(match options.task {
            Task::Transcribe => special.transcribe.ok_or_else(|| missing("<|transcribe|>"))?,
            Task::Translate => special.translate.ok_or_else(|| missing("<|translate|>"))?,
        });
    } else if options.task == Task::Translate {
        return Err(Error::InvalidInput("an English-only model can't translate".into()));
    }
    if options.timestamps.is_none() {
        prompt.extend(special.no_timestamps);
    }
    prompt.extend(&options.prefix);
    Ok(prompt)
}

fn rules(vocabulary: &Vocabulary, options: &DecodeOptions) -> Result<Rules> {
    let special = vocabulary.special();
    let timestamps = match (options.timestamps, special.no_timestamps, special.timestamp_begin) {
        (None, _, _) => None,
        (Some(max_initial), Some(no_timestamps), Some(begin)) => {
            Some(TimestampRules { no_timestamps, begin, max_initial })
        }
        (Some(_), _, _) => return Err(Error::InvalidInput("this model has no timestamp tokens".into())),
    };
    Ok(Rules {
        end_of_text: special.end_of_text,
        suppress: options.suppress.clone(),
        begin_suppress: if options.prefix.is_empty() { options.begin_suppress.clone() } else { Vec::new() },
        timestamps,
        no_loops: false,
    })
}

/// Whether a text loops that was found in so many samples.
fn is_loop(vocabulary: &Vocabulary, found: &Hypothesis, samples: usize, options: SearchOptions) -> bool {
    let text: Vec<Token> = found.tokens.iter().copied().filter(|token| vocabulary.is_text(*token)).collect();
    let seconds = samples as f64 / f64::from(crate::audio::SAMPLE_RATE);
    // A limit that somebody set says nothing.
    let endless = !found.ended && options.max_new_tokens == usize::MAX;
    repetition::is_loop(&text, |tokens| vocabulary.text(tokens), seconds, endless)
}

/// The middle of the quietest 100 ms of `samples` within `range`.
fn quietest_point(samples: &[f32], range: Range<usize>) -> usize {
    const SPAN: usize = crate::audio::SAMPLE_RATE as usize / 10;
    let energy = |at: usize| -> f64 {
        let span = samples.get(at..at + SPAN).unwrap_or_default();
        span.iter().map(|s| f64::from(s * s)).sum()
    };
    let starts = (range.start..range.end.saturating_sub(SPAN)).step_by(SPAN / 4);
    let quietest = starts.min_by(|a, b| energy(*a).total_cmp(&energy(*b)));
    quietest.map_or((range.start + range.end) / 2, |start| start + SPAN / 2)
}
