//! `imesli transcribe`: the same pipeline with no server, or the words that a running server finds.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::asr::recognizer::Cancel;
use crate::asr::search::SearchOptions;
use crate::asr::transcriber::{Request, Transcriber, Transcript};
use crate::audio::{Limits, Recording};
use crate::client::{self, Answer, Client, Stage};
use crate::config::{DecodeArgs, Format, TaskArg, Timestamps, TranscribeArgs};
use crate::load;
use crate::text::Orthography;

/// What became of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All were transcribed.
    Fine,
    /// Some or all were not; the log says which and why.
    SomeFailed,
    /// Nothing was tried: the checkpoint can't be used.
    UnusableCheckpoint,
}

/// One line of `--format json`. What a server does not tell is left out.
#[derive(Debug, Serialize)]
struct JsonLine<'a> {
    file: &'a str,
    text: &'a str,
    /// The text as the model wrote it, where its spelling was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_text: Option<&'a str>,
    language: Option<&'a str>,
    /// Where timestamps were asked for, `segment`, or `none` where the model writes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamps: Option<&'a str>,
    /// Seconds of audio in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    /// Seconds of it that were decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    decoded: Option<f64>,
    segments: Vec<JsonSegment<'a>>,
    /// Windows in which the model came to no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    unended: Option<usize>,
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
    /// For each window the tokens that the search found, and their mean log-probability.
    windows: Vec<JsonWindow<'a>>,
    /// Seconds in the encoder and in the token search, summed over the windows.
    encode_seconds: f64,
    decode_seconds: f64,
}

#[derive(Debug, Serialize)]
struct JsonSegment<'a> {
    start: f64,
    end: f64,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_text: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct JsonWindow<'a> {
    tokens: &'a [u32],
    mean_log_prob: f32,
}

impl<'a> JsonLine<'a> {
    fn local(file: &'a str, found: &'a Transcript) -> Self {
        let raw = found.raw.as_ref();
        let mut raw_segments = raw.into_iter().flat_map(|raw| &raw.segments);
        let segments = found.segments.iter().map(|s| JsonSegment {
            start: s.start,
            end: s.end,
            text: &s.text,
            raw_text: raw_segments.next().map(String::as_str),
        });
        let windows = found.tokens.iter().zip(&found.mean_log_probs);
        Self {
            file,
            text: &found.text,
            raw_text: raw.map(|raw| raw.text.as_str()),
            language: found.language.as_deref(),
            timestamps: found.timestamps.map(|there| if there { "segment" } else { "none" }),
            duration: Some(found.duration),
            decoded: Some(found.decoded),
            segments: segments.collect(),
            unended: Some(found.unended),
            queue_seconds: None,
            processing_seconds: None,
            local: Some(JsonLocal {
                windows: windows
                    .map(|(tokens, mean_log_prob)| JsonWindow { tokens, mean_log_prob: *mean_log_prob })
                    .collect(),
                encode_seconds: found.timings.encode.as_secs_f64(),
                decode_seconds: found.timings.decode.as_secs_f64(),
            }),
        }
    }

    fn remote(file: &'a str, answer: &'a Answer) -> Self {
        let segments = answer.segments.iter().map(|s| JsonSegment {
            start: s.start,
            end: s.end,
            text: &s.text,
            raw_text: s.raw_text.as_deref(),
        });
        Self {
            file,
            text: &answer.text,
            raw_text: answer.raw_transcription.as_deref(),
            language: answer.language.as_deref(),
            timestamps: answer.timestamps.as_deref(),
            duration: answer.duration,
            decoded: answer.decoded,
            segments: segments.collect(),
            unended: answer.unended,
            queue_seconds: answer.queue_seconds,
            processing_seconds: answer.processing_seconds,
            local: None,
        }
    }
}

/// Transcribes the files one after the other and writes their texts to `out`. A file that fails does not
/// keep the others from being done.
///
/// # Errors
/// When `out` can't be written.
pub fn run(args: &TranscribeArgs, out: &mut impl Write) -> anyhow::Result<Outcome> {
    if let Some(server) = &args.server {
        let client = Client::new(server.clone(), args.insecure, remote_options(&args.decode));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.context("starting the runtime")?.block_on(run_remote(client, args, out));
    }
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
                let name = file.display().to_string();
                write(out, args, &JsonLine::local(&name, &transcript)).context("writing the result")?;
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
    let samples = Arc::new(recording.samples);
    let bar = progress_bar(file, "{msg} {wide_bar} {pos}/{len} windows, {eta} left");
    let progress = |progress: crate::asr::transcriber::Progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    };
    let permit = transcriber.admit()?;
    let transcript = transcriber.transcribe(samples, request, permit, &Cancel::default(), progress).await;
    bar.finish_and_clear();
    Ok(transcript?)
}

/// What a server is asked for: nothing where its own defaults will do.
fn remote_options(decode: &DecodeArgs) -> client::Options {
    if decode.max_tokens.is_some() {
        tracing::warn!("--max-tokens can't be asked of a server");
    }
    let default = SearchOptions::default().beams;
    client::Options {
        language: decode.language.as_ref().map(|code| code.to_lowercase()),
        task: decode.task.map(|task| match task {
            TaskArg::Transcribe => "transcribe",
            TaskArg::Translate => "translate",
        }),
        timestamps: (decode.timestamps == Timestamps::Segment).then_some("segment"),
        orthography: Some(decode.orthography).filter(|standard| *standard != Orthography::None),
        prompt: Some(decode.prompt.clone()).filter(|prompt| !prompt.is_empty()),
        temperature: Some(decode.temperature).filter(|temperature| *temperature > 0.0),
        beam_size: Some(decode.beam_size).filter(|beams| usize::from(*beams) != default),
    }
}

/// The same by a server, over one connection.
async fn run_remote(
    mut client: Client,
    args: &TranscribeArgs,
    out: &mut impl Write,
) -> anyhow::Result<Outcome> {
    if let Err(error) = client.connect().await {
        tracing::error!("{error}");
        return Ok(Outcome::SomeFailed);
    }
    let mut outcome = Outcome::Fine;
    for file in &args.files {
        let bar = progress_bar(file, "{msg} {wide_bar} {pos}% {prefix}");
        bar.set_length(100);
        let result = client.transcribe(file, |stage| show(&bar, stage)).await;
        bar.finish_and_clear();
        match result {
            Ok(answer) => {
                let name = file.display().to_string();
                write(out, args, &JsonLine::remote(&name, &answer)).context("writing the result")?;
            }
            // It names the file itself.
            Err(error @ client::Error::File { .. }) => {
                tracing::error!("{error}");
                outcome = Outcome::SomeFailed;
            }
            Err(error) => {
                tracing::error!("{}: {error}", file.display());
                outcome = Outcome::SomeFailed;
            }
        }
    }
    client.close().await;
    Ok(outcome)
}

/// Sending and decoding each fill the bar once.
fn show(bar: &ProgressBar, stage: Stage) {
    match stage {
        Stage::Sent(sent, total) => {
            bar.set_prefix("sending");
            bar.set_position(100 * sent / total.max(1));
        }
        Stage::State(state, percent) => {
            bar.set_prefix(state);
            bar.set_position(percent.unwrap_or(0.0).clamp(0.0, 100.0) as u64);
        }
    }
}

/// On a terminal a bar, else nothing.
fn progress_bar(file: &Path, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1).with_message(file.display().to_string());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.tick();
    bar
}

fn write(out: &mut impl Write, args: &TranscribeArgs, line: &JsonLine) -> anyhow::Result<()> {
    match args.format {
        Format::Text if args.files.len() == 1 => writeln!(out, "{}", line.text)?,
        Format::Text => writeln!(out, "{}: {}", line.file, line.text)?,
        Format::Json => {
            serde_json::to_writer(&mut *out, line)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(())
}
