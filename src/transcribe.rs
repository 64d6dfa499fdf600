//! `imesli transcribe`: the same pipeline with no server, or the words that a running server finds.

use std::collections::HashSet;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::asr::recognizer::Cancel;
use crate::asr::search::SearchOptions;
use crate::asr::segment::Timestamps;
use crate::asr::switch::Switch;
use crate::asr::transcriber::{Request, Transcriber, Transcript};
use crate::audio::{Limits, Recording};
use crate::client::{self, Client, Stage};
use crate::config::{Format, TaskArg, TranscribeArgs};
use crate::load;
use crate::text::Orthography;

mod live;
mod output;

use self::output::{Line, file_name};

/// What became of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All were transcribed.
    Fine,
    /// Some or all were not; the log says which and why.
    SomeFailed,
    /// Nothing was tried: the checkpoint can't be used.
    UnusableCheckpoint,
    /// Nothing was tried: the results could not be kept apart, or have nowhere to go.
    WrongArguments,
    /// The user did not want to wait.
    Interrupted,
}

/// Transcribes the files one after the other and writes their texts to `out`. A file that fails does not
/// keep the others from being done.
///
/// # Errors
/// When `out` can't be written.
pub fn run(args: &TranscribeArgs, out: &mut impl Write) -> anyhow::Result<Outcome> {
    if let Some(path) = &args.live.live {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.context("starting the runtime")?.block_on(live::run(path, args, out));
    }
    if let Err(error) = check_output(args) {
        tracing::error!("{error:#}");
        return Ok(Outcome::WrongArguments);
    }
    if let Some(server) = &args.server {
        let client = Client::new(server.clone(), args.insecure, args.key.clone(), remote_options(args));
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
    let request = Request { timestamps: args.timestamps(), ..args.decode.request() };
    let mut outcome = Outcome::Fine;
    for file in &args.files {
        match runtime.block_on(one(&transcriber, &request, file)) {
            Ok(transcript) => {
                let name = file.display().to_string();
                Line::local(&name, &transcript).write(out, args)?;
            }
            Err(error) => {
                tracing::error!("{}: {error:#}", file.display());
                outcome = Outcome::SomeFailed;
            }
        }
    }
    Ok(outcome)
}

/// Whether each result has a place of its own.
fn check_output(args: &TranscribeArgs) -> anyhow::Result<()> {
    let format = args.output.format;
    let Some(dir) = &args.output.output_dir else {
        let together = matches!(format, Format::Text | Format::Json) || args.files.len() == 1;
        anyhow::ensure!(together, "subtitles of several files don't go into one: use --output-dir");
        return Ok(());
    };
    let mut names = HashSet::new();
    for file in &args.files {
        let name = file_name(file, format);
        anyhow::ensure!(names.insert(name.clone()), "two results would be called {name} in --output-dir");
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))
}

async fn one(transcriber: &Transcriber, request: &Request, file: &Path) -> anyhow::Result<Transcript> {
    let recording = Recording::open(file, &Limits::default())?;
    let samples = Arc::new(recording.samples);
    let bar = progress_bar(file, "{msg} {wide_bar} {pos}/{len} windows, {eta} left");
    let progress = |progress: crate::asr::transcriber::Progress<'_>| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    };
    let permit = transcriber.admit()?;
    let transcript = transcriber.transcribe(samples, request, permit, &Cancel::default(), progress).await;
    bar.finish_and_clear();
    Ok(transcript?)
}

/// What a server is asked for: nothing where its own defaults will do.
fn remote_options(args: &TranscribeArgs) -> client::Options {
    let decode = &args.decode;
    if decode.max_tokens.is_some() {
        tracing::warn!("--max-tokens can't be asked of a server");
    }
    if decode.loop_guard != Switch::default() {
        tracing::warn!("--loop-guard can't be asked of a server");
    }
    if decode.audio_context.0.is_some() {
        tracing::warn!("--audio-context can't be asked of a server");
    }
    let default = SearchOptions::default().beams;
    client::Options {
        model: args.server_model.clone(),
        language: decode.language.as_ref().map(|code| code.to_lowercase()),
        task: decode.task.map(|task| match task {
            TaskArg::Transcribe => "transcribe",
            TaskArg::Translate => "translate",
        }),
        timestamps: Some(args.timestamps()).filter(|wanted| *wanted != Timestamps::None),
        orthography: Some(decode.orthography).filter(|standard| *standard != Orthography::None),
        prompt: Some(decode.prompt.clone()).filter(|prompt| !prompt.is_empty()),
        temperature: Some(decode.temperature).filter(|temperature| *temperature > 0.0),
        beam_size: Some(decode.beam_size).filter(|beams| usize::from(*beams) != default),
        vad: Some(decode.vad).filter(|vad| *vad != Switch::default()),
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
                Line::remote(&name, &answer).write(out, args)?;
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
