//! How results are written: text, JSON lines, subtitles; to standard output or into a folder.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::asr::segment::Timestamps;
use crate::asr::timing::{TimeSource, TimedWord};
use crate::asr::transcriber::{SkipReason, Skipped, Transcript};
use crate::client::{Answer, AnswerSkipped};
use crate::config::{Format, OutputArgs, TranscribeArgs};
use crate::subtitle::{self, Passage, Word};

/// One result, and one line of `--format json`. What a server does not tell is left out.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    file: &'a str,
    text: &'a str,
    /// The text as the model wrote it, where its spelling was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_text: Option<&'a str>,
    language: Option<&'a str>,
    /// Where times were asked for, those that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamps: Option<Timestamps>,
    /// Where the times of words come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    word_times: Option<TimeSource>,
    /// Seconds of audio in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    /// Seconds of it that were decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    decoded: Option<f64>,
    /// Seconds in which somebody speaks, where that was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    speech_duration: Option<f64>,
    /// What was not decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Vec<AnswerSkipped>>,
    segments: Vec<JsonSegment<'a>>,
    /// Windows in which the model came to no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    unended: Option<usize>,
    /// Windows whose text loops.
    #[serde(skip_serializing_if = "Option::is_none")]
    looped: Option<usize>,
    /// Seconds of waiting and of work at the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_seconds: Option<f64>,
    #[serde(flatten)]
    local: Option<JsonLocal<'a>>,
}

/// What only the process knows that did the work.
#[derive(Debug, Serialize)]
struct JsonLocal<'a> {
    /// Where somebody speaks, where that was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    speech: Option<&'a [Range<f64>]>,
    /// For each window the tokens that the search found, and their mean log-probability.
    windows: Vec<JsonWindow<'a>>,
    /// Seconds of listening for speech; in the encoder, in the token search and for the times of words, summed over the
    /// windows.
    listening_seconds: f64,
    encode_seconds: f64,
    decode_seconds: f64,
    align_seconds: f64,
}

#[derive(Debug, Serialize)]
struct JsonSegment<'a> {
    start: f64,
    end: f64,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_text: Option<&'a str>,
    #[serde(skip_serializing_if = "<[TimedWord]>::is_empty")]
    words: &'a [TimedWord],
}

#[derive(Debug, Serialize)]
struct JsonWindow<'a> {
    tokens: &'a [u32],
    mean_log_prob: f32,
    /// When each text token was said, before pauses were looked at: start and end.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_times: Option<Vec<(f64, f64)>>,
}

impl<'a> Line<'a> {
    pub(super) fn local(file: &'a str, found: &'a Transcript) -> Self {
        let raw = found.raw.as_ref();
        let mut raw_segments = raw.into_iter().flat_map(|raw| &raw.segments);
        let segments = found.segments.iter().map(|s| JsonSegment {
            start: s.start,
            end: s.end,
            text: &s.text,
            raw_text: raw_segments.next().map(String::as_str),
            words: &s.words,
        });
        let windows = found.tokens.iter().zip(&found.mean_log_probs);
        let mut times = found.token_times.iter();
        Self {
            file,
            text: &found.text,
            raw_text: raw.map(|raw| raw.text.as_str()),
            language: found.language.as_deref(),
            timestamps: found.timestamps,
            word_times: found.word_times,
            duration: Some(found.duration),
            decoded: Some(found.decoded),
            speech_duration: found.speech_duration(),
            skipped: Some(found.skipped.iter().map(skipped).collect()),
            segments: segments.collect(),
            unended: Some(found.unended),
            looped: Some(found.looped),
            queue_seconds: None,
            processing_seconds: None,
            local: Some(JsonLocal {
                speech: found.speech.as_deref(),
                listening_seconds: found.timings.listening.as_secs_f64(),
                windows: windows
                    .map(|(tokens, mean_log_prob)| JsonWindow {
                        tokens,
                        mean_log_prob: *mean_log_prob,
                        token_times: times
                            .next()
                            .map(|times| times.iter().map(|t| (t.start, t.end)).collect()),
                    })
                    .collect(),
                encode_seconds: found.timings.encode.as_secs_f64(),
                decode_seconds: found.timings.decode.as_secs_f64(),
                align_seconds: found.timings.align.as_secs_f64(),
            }),
        }
    }

    pub(super) fn remote(file: &'a str, answer: &'a Answer) -> Self {
        let segments = answer.segments.iter().map(|s| JsonSegment {
            start: s.start,
            end: s.end,
            text: &s.text,
            raw_text: s.raw_text.as_deref(),
            words: &s.words,
        });
        Self {
            file,
            text: &answer.text,
            raw_text: answer.raw_transcription.as_deref(),
            language: answer.language.as_deref(),
            timestamps: answer.timestamps,
            word_times: answer.word_times,
            duration: answer.duration,
            decoded: answer.decoded,
            speech_duration: answer.speech_duration,
            skipped: answer.skipped.clone(),
            segments: segments.collect(),
            unended: answer.unended,
            looped: answer.looped,
            queue_seconds: answer.queue_seconds,
            processing_seconds: answer.processing_seconds,
            local: None,
        }
    }
}

impl Line<'_> {
    /// The segments as passages of a subtitle file.
    fn passages(&self) -> Vec<Passage> {
        let word = |w: &TimedWord| Word { start: w.start, end: w.end, text: w.text.clone() };
        let passage = |s: &JsonSegment| Passage {
            start: s.start,
            end: s.end,
            text: s.text.to_owned(),
            words: s.words.iter().map(word).collect(),
        };
        self.segments.iter().map(passage).collect()
    }

    /// Writes it to where the arguments want it.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn write(&self, out: &mut impl Write, args: &TranscribeArgs) -> anyhow::Result<()> {
        let Some(dir) = &args.output.output_dir else {
            return self.render(out, &args.output, args.files.len() == 1).context("writing the result");
        };
        let path = dir.join(file_name(Path::new(self.file), args.output.format));
        let written = File::create(&path)
            .map_err(anyhow::Error::from)
            .and_then(|file| self.render(&mut BufWriter::new(file), &args.output, true));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    /// `alone`: no other file's result goes to the same place.
    pub(super) fn render(&self, out: &mut impl Write, args: &OutputArgs, alone: bool) -> anyhow::Result<()> {
        let subtitles = match args.format {
            Format::Text if alone => return line(out, self.text),
            Format::Text => return line(out, &format!("{}: {}", self.file, self.text)),
            Format::Json => return line(out, &serde_json::to_string(self)?),
            Format::Srt => subtitle::Format::Srt,
            Format::Vtt => subtitle::Format::Vtt,
            Format::Tsv => subtitle::Format::Tsv,
        };
        out.write_all(subtitles.write(&self.passages(), args.layout()).as_bytes())?;
        Ok(out.flush()?)
    }
}

fn skipped(part: &Skipped) -> AnswerSkipped {
    let reason = match part.reason {
        SkipReason::NoSpeech => "no_speech",
    };
    AnswerSkipped { start: part.start, end: part.end, reason: reason.to_owned() }
}

fn line(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// What the result of a file is called in a folder of results.
pub(super) fn file_name(file: &Path, format: Format) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}.{}", format.extension())
}
