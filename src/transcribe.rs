//! `imesli transcribe`: the same pipeline with no server.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::asr::recognizer::Cancel;
use crate::asr::transcriber::{Request, Transcriber, Transcript};
use crate::audio::{Limits, Recording};
use crate::config::{Format, TranscribeArgs};
use crate::load;

/// What became of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All were transcribed.
    Fine,
    /// Some were not; the log says which and why.
    SomeFailed,
    /// Nothing was tried: the checkpoint can't be used.
    UnusableCheckpoint,
}

/// One line of `--format json`.
#[derive(Debug, Serialize)]
struct JsonLine<'a> {
    file: &'a str,
    text: &'a str,
    language: Option<&'a str>,
    /// Seconds of audio in the file.
    duration: f64,
    /// Seconds of it that were decoded.
    decoded: f64,
    segments: Vec<JsonSegment<'a>>,
    /// For each window the tokens that the search found, and their mean log-probability.
    windows: Vec<JsonWindow<'a>>,
    /// Windows in which the model came to no end.
    unended: usize,
    /// Seconds in the encoder and in the token search, summed over the windows.
    encode_seconds: f64,
    decode_seconds: f64,
}

#[derive(Debug, Serialize)]
struct JsonSegment<'a> {
    start: f64,
    end: f64,
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct JsonWindow<'a> {
    tokens: &'a [u32],
    mean_log_prob: f32,
}

/// Transcribes the files one after the other and writes their texts to `out`. A file that fails does not
/// keep the others from being done.
///
/// # Errors
/// When `out` can't be written.
pub fn run(args: &TranscribeArgs, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let transcriber = match load::transcriber(&args.model, 1) {
        Ok(transcriber) => transcriber,
        Err(error) => {
            tracing::error!("{error:#}");
            return Ok(Outcome::UnusableCheckpoint);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("starting the runtime")?;
    let request = args.decode.request();
    let mut outcome = Outcome::Fine;
    for file in &args.files {
        match runtime.block_on(one(&transcriber, &request, file)) {
            Ok(transcript) => {
                write(out, args, file, &transcript).context("writing the result")?;
            }
            Err(error) => {
                tracing::error!("{}: {error:#}", file.display());
                outcome = Outcome::SomeFailed;
            }
        }
    }
    Ok(outcome)
}

async fn one(transcriber: &Transcriber, request: &Request, file: &Path) -> anyhow::Result<Transcript> {
    let recording = Recording::open(file, &Limits::default())?;
    let samples: Arc<[f32]> = recording.samples.into();
    let bar = progress_bar(file);
    let progress = |progress: crate::asr::transcriber::Progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    };
    let permit = transcriber.admit()?;
    let transcript = transcriber.transcribe(samples, request, permit, &Cancel::default(), progress).await;
    bar.finish_and_clear();
    Ok(transcript?)
}

/// On a terminal a bar of windows, else nothing.
fn progress_bar(file: &Path) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1).with_message(file.display().to_string());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} windows, {eta} left") {
        bar.set_style(style);
    }
    bar.tick();
    bar
}

fn write(out: &mut impl Write, args: &TranscribeArgs, file: &Path, found: &Transcript) -> anyhow::Result<()> {
    let name = file.display().to_string();
    match args.format {
        Format::Text if args.files.len() == 1 => writeln!(out, "{}", found.text)?,
        Format::Text => writeln!(out, "{name}: {}", found.text)?,
        Format::Json => {
            let segments = found.segments.iter();
            let windows = found.tokens.iter().zip(&found.mean_log_probs);
            let line = JsonLine {
                file: &name,
                text: &found.text,
                language: found.language.as_deref(),
                duration: found.duration,
                decoded: found.decoded,
                segments: segments
                    .map(|s| JsonSegment { start: s.start, end: s.end, text: &s.text })
                    .collect(),
                windows: windows
                    .map(|(tokens, mean_log_prob)| JsonWindow { tokens, mean_log_prob: *mean_log_prob })
                    .collect(),
                unended: found.unended,
                encode_seconds: found.timings.encode.as_secs_f64(),
                decode_seconds: found.timings.decode.as_secs_f64(),
            };
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(())
}
