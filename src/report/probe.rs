//! `--probe`: what the converted model does with speech, for its profile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::runtime::Runtime;

use super::context::{Found, learn};
use super::progress_bar;
use super::score::{Tally, comparable};
use crate::asr::audio_context::AudioContext;
use crate::asr::model::Token;
use crate::asr::recognizer::Cancel;
use crate::asr::segment::Timestamps;
use crate::asr::transcriber::{Request, Transcriber, Transcript};
use crate::audio::samples::Samples;
use crate::audio::{Limits, Recording};
use crate::checkpoint::Converted;
use crate::checkpoint::profile::{LanguageSeen, Probe, SpecialTokens};
use crate::config::{ConvertCommand, EvalText};
use crate::text::Orthography;

/// A model writes timestamps that are of use when they are well formed in this share of the files.
const ENOUGH: f64 = 0.75;
/// A language is preferred when its mean probability is this high: no other one can be likelier.
const PREFERRED: f64 = 0.5;
/// With timestamps the text may differ from that without by this share of its words: beyond that, the
/// timestamps spoil it.
const SPOILED: f64 = 0.5;
/// A last time may be this much past the end of the audio: the model sees 30 s, padded with silence.
const PAST_END: f64 = 1.0;
/// Languages that the profile lists, of those with a hundredth or more.
const LISTED: usize = 3;
/// Seconds in a window.
const WINDOW: f64 = 30.0;

/// Looks whether all files can be decoded.
pub(super) fn check(files: &[PathBuf]) -> anyhow::Result<()> {
    files.iter().try_for_each(|file| open(file).map(|_| ()))
}

fn open(file: &Path) -> anyhow::Result<Arc<Samples>> {
    let recording = Recording::open(file, &Limits::default());
    Ok(Arc::new(recording.with_context(|| file.display().to_string())?.samples))
}

/// Tries a converted model, writes what was seen into its profile, and says it on stderr.
pub(super) fn run(made: &mut Converted, args: &ConvertCommand) -> anyhow::Result<()> {
    let name = made.ggml.display();
    let trial = Trial::new(made, args)?;
    let (probe, context) = trial.probe(&args.probe).with_context(|| format!("{name}: the probe"))?;
    let language = made.profile.generation.language.as_deref();
    for line in lines(&probe, language, !made.profile.tokens.languages.is_empty()) {
        eprintln!("{name}: {line}");
    }
    eprintln!("{name}: {}", context.line());
    made.profile.probe = Some(probe);
    Ok(made.profile.save_for(&made.ggml)?)
}

/// What was seen, for people.
fn lines(probe: &Probe, named: Option<&str>, multilingual: bool) -> Vec<String> {
    let good = (probe.timestamps_well_formed * 100.0).round();
    let answered = if probe.timestamps { "" } else { "; requests for them will be answered without" };
    let mut lines =
        vec![format!("timestamps are well formed in {good} % of {} files{answered}", probe.files)];
    if multilingual {
        let seen = probe.languages.iter().map(|seen| format!("{} {:.2}", seen.code, seen.probability));
        let seen = seen.collect::<Vec<_>>().join(", ");
        lines.push(match (&probe.language, named) {
            (Some(code), Some(named)) if code != named => {
                format!(
                    "it prefers the language {code} ({seen}); the checkpoint names {named}, which is used"
                )
            }
            (Some(code), _) => format!("it prefers the language {code} ({seen})"),
            (None, _) => format!("it is undecided about the language ({seen})"),
        });
    }
    lines
}

/// A loaded model and how it is asked.
struct Trial {
    transcriber: Transcriber,
    tokens: SpecialTokens,
    /// The language that the command line or the checkpoint names.
    named: Option<String>,
    request: Request,
    runtime: Runtime,
}

/// A file without timestamps.
struct Plain {
    samples: Arc<Samples>,
    found: Transcript,
}

impl Trial {
    fn new(made: &Converted, args: &ConvertCommand) -> anyhow::Result<Self> {
        let request = Request {
            timestamps: Timestamps::None,
            orthography: Orthography::None,
            audio_context: Some(AudioContext::Full),
            ..args.decode.request()
        };
        Ok(Self {
            transcriber: crate::load::from_ggml(&made.ggml, args.pool(), args.cpu)?,
            tokens: made.profile.tokens.clone(),
            named: request.language.clone().or_else(|| made.profile.generation.language.clone()),
            request,
            runtime: tokio::runtime::Builder::new_current_thread().build().context("starting the runtime")?,
        })
    }

    fn transcribe(&self, samples: &Arc<Samples>, request: &Request) -> anyhow::Result<Transcript> {
        let (permit, cancel) = (self.transcriber.admit()?, Cancel::default());
        let work = self.transcriber.transcribe(Arc::clone(samples), request, permit, &cancel, |_| {});
        Ok(self.runtime.block_on(work)?)
    }

    fn probe(&self, files: &[PathBuf]) -> anyhow::Result<(Probe, Found)> {
        let bar = progress_bar(3 * files.len()).with_message("probing");
        let judged = Request { language: Some("auto".into()), ..self.request.clone() };
        let mut plain = Vec::with_capacity(files.len());
        for file in files {
            let samples = open(file)?;
            let found = self.transcribe(&samples, &judged)?;
            plain.push(Plain { samples, found });
            bar.inc(1);
        }
        let languages = mean(plain.iter().map(|plain| plain.found.languages.as_slice()));
        let preferred = languages.first().filter(|seen| seen.probability >= PREFERRED);
        let language = preferred.map(|seen| seen.code.clone());
        let request =
            Request { language: self.named.clone().or_else(|| language.clone()), ..self.request.clone() };
        let seconds = plain.iter().map(|plain| plain.found.duration).sum();
        let mut verdicts = Vec::with_capacity(files.len());
        let mut heard = Vec::with_capacity(files.len());
        for plain in plain {
            let plain = self.asked(plain, &request)?;
            verdicts.extend(self.writes_timestamps(&plain, &request)?);
            heard.push((plain.samples, plain.found));
            bar.inc(1);
        }
        if verdicts.is_empty() {
            bail!("the model hears no words in these files: there is nothing to go by");
        }
        let context = learn(&heard, &request, |samples, request| self.transcribe(samples, request))?;
        bar.finish_and_clear();
        let good = verdicts.iter().filter(|good| **good).count();
        let share = good as f64 / verdicts.len() as f64;
        let probe = Probe {
            files: files.len(),
            seconds,
            timestamps: share >= ENOUGH,
            timestamps_well_formed: share,
            language,
            languages: languages
                .into_iter()
                .take_while(|seen| seen.probability >= 0.01)
                .take(LISTED)
                .collect(),
            audio_context: context.rule(),
        };
        Ok((probe, context))
    }

    /// A file as it is heard in the language of the request.
    fn asked(&self, plain: Plain, request: &Request) -> anyhow::Result<Plain> {
        match &request.language {
            Some(code) if plain.found.language.as_ref() != Some(code) => {
                Ok(Plain { found: self.transcribe(&plain.samples, request)?, ..plain })
            }
            _ => Ok(plain),
        }
    }

    /// Whether the timestamps of a file are well formed; `None` where there is nothing to judge by.
    fn writes_timestamps(&self, plain: &Plain, request: &Request) -> anyhow::Result<Option<bool>> {
        let (Some(begin), Some(_)) = (self.tokens.timestamp_begin, self.tokens.no_timestamps) else {
            return Ok(Some(false));
        };
        let with =
            self.transcribe(&plain.samples, &Request { timestamps: Timestamps::Segment, ..request.clone() })?;
        let text = |found: &Transcript| comparable(&found.text, EvalText::Normalized, Orthography::None);
        let (said, found) = (text(&plain.found), text(&with));
        if said.is_empty() && found.is_empty() {
            return Ok(None);
        }
        let mut tally = Tally::default();
        tally.add(&said, &found);
        let same = tally.word_error_rate().is_some_and(|rate| rate <= SPOILED);
        let latest = with.duration.min(WINDOW) + PAST_END;
        let formed = with.tokens.iter().all(|tokens| is_well_formed(tokens, begin, self.tokens.eot, latest));
        Ok(Some(same && formed && with.unended == 0))
    }
}

/// Whether each stretch of text stands between two times, the second of them later, and none is later than
/// `latest` seconds. The first time is forced on every model: it is the closing ones that tell.
fn is_well_formed(tokens: &[Token], begin: Token, end_of_text: Token, latest: f64) -> bool {
    let mut opened: Option<Token> = None;
    let mut text = false;
    for &token in tokens {
        if token < end_of_text {
            text = true;
        } else if let Some(steps) = token.checked_sub(begin) {
            if f64::from(steps) * 0.02 > latest || (text && opened.is_none_or(|opened| opened >= token)) {
                return false;
            }
            opened = Some(token);
            text = false;
        }
    }
    !text
}

/// The mean probability of each language over all files, the likeliest first.
fn mean<'a>(files: impl ExactSizeIterator<Item = &'a [(String, f32)]>) -> Vec<LanguageSeen> {
    let count = files.len().max(1) as f64;
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (code, probability) in files.flatten() {
        *sums.entry(code).or_default() += f64::from(*probability);
    }
    let seen = |(code, sum): (&str, f64)| LanguageSeen { code: code.to_owned(), probability: sum / count };
    let mut all: Vec<_> = sums.into_iter().map(seen).collect();
    all.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    for seen in &mut all {
        seen.probability = (seen.probability * 1e4).round() / 1e4;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text is below 10, times begin at 100.
    fn formed(tokens: &[Token]) -> bool {
        is_well_formed(tokens, 100, 10, 4.0)
    }

    #[test]
    fn closed_pairs_that_go_on_are_well_formed() {
        assert!(formed(&[100, 1, 2, 150]));
        assert!(formed(&[100, 1, 150, 150, 2, 200]));
        assert!(formed(&[110, 1, 150, 190, 2, 300]));
        assert!(formed(&[100, 1, 150, 150]), "a segment that goes on in the next window");
        assert!(formed(&[100]), "silence");
        assert!(formed(&[]));
    }

    #[test]
    fn what_a_model_without_timestamps_writes_is_not() {
        assert!(!formed(&[100, 1, 2]), "the forced first time alone");
        assert!(!formed(&[1, 2, 150]), "text before any time");
        assert!(!formed(&[100, 1, 150, 2]), "text behind the last time");
        assert!(!formed(&[100, 1, 100]), "no time passes");
        assert!(!formed(&[150, 1, 120]), "time runs back");
        assert!(!formed(&[100, 1, 301]), "past the end");
    }

    #[test]
    fn languages_are_ranked_by_their_mean() {
        let files = [
            vec![("kab".to_owned(), 0.9), ("fr".to_owned(), 0.1)],
            vec![("fr".to_owned(), 0.6), ("ar".to_owned(), 0.4)],
        ];
        let seen = mean(files.iter().map(Vec::as_slice));
        let seen: Vec<_> = seen.iter().map(|seen| (seen.code.as_str(), seen.probability)).collect();
        assert_eq!(seen, [("kab", 0.45), ("fr", 0.35), ("ar", 0.2)]);
    }
}
