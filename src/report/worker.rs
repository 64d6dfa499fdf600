//! Clips through one model in a process of its own, whose memory is then that of this model alone.
//!
//! The process is this program once more. It reads an [`Order`] from standard input and writes one line of
//! JSON for each clip, and one at the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::asr::pool::PoolOptions;
use crate::asr::recognizer::{Cancel, Task};
use crate::asr::search::SearchOptions;
use crate::asr::segment::Timestamps;
use crate::asr::transcriber::{Request, Transcriber};
use crate::audio::{Limits, Recording};

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) ggml: PathBuf,
    pub(super) threads: usize,
    pub(super) cpu: bool,
    pub(super) language: Option<String>,
    pub(super) translate: Option<bool>,
    pub(super) timestamps: Timestamps,
    pub(super) beams: usize,
    pub(super) max_new_tokens: usize,
    pub(super) clips: Vec<PathBuf>,
}

impl Order {
    pub(super) fn new(
        ggml: &Path,
        clips: Vec<PathBuf>,
        pool: PoolOptions,
        cpu: bool,
        request: &Request,
    ) -> Self {
        Self {
            ggml: ggml.to_path_buf(),
            threads: pool.threads,
            cpu,
            language: request.language.clone(),
            translate: request.task.map(|task| task == Task::Translate),
            timestamps: request.timestamps,
            beams: request.search.beams,
            max_new_tokens: request.search.max_new_tokens,
            clips,
        }
    }

    fn request(&self) -> Request {
        Request {
            language: self.language.clone(),
            task: self.translate.map(|translate| if translate { Task::Translate } else { Task::Transcribe }),
            timestamps: self.timestamps,
            search: SearchOptions {
                beams: self.beams,
                max_new_tokens: self.max_new_tokens,
                ..SearchOptions::default()
            },
            ..Request::default()
        }
    }
}

/// What became of a clip, and at the end of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Heard(Heard),
    Failed(String),
    End { peak_bytes: Option<u64> },
}

/// A clip's text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) text: String,
    /// Seconds of audio.
    pub(super) seconds: f64,
    /// Seconds of work: reading the file, and transcribing it.
    pub(super) took: f64,
}

/// What a process has done.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Done {
    /// For each clip its text, or why there is none.
    pub(super) clips: Vec<Result<Heard, String>>,
    /// The most memory that the process had at a time; `None` where the system does not tell.
    pub(super) peak_bytes: Option<u64>,
}

/// Starts a process and waits for it. `myself` are the arguments by which this program is told to convert.
pub(super) fn run(order: &Order, myself: &[&str], mut heard: impl FnMut()) -> anyhow::Result<Done> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut child = Command::new(program)
        .args(myself)
        .args(["--eval-worker", "--checkpoint", "."])
        .env("IMESLI_LOG_LEVEL", "warn")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting a process for the clips")?;
    let order = serde_json::to_vec(order)?;
    // A child that fails at once does not read this; its exit status tells more than the broken pipe.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(&order));
    let mut done = Done::default();
    let mut ended = false;
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        match serde_json::from_str(&line.context("reading from the process")?)? {
            Line::Heard(clip) => done.clips.push(Ok(clip)),
            Line::Failed(reason) => done.clips.push(Err(reason)),
            Line::End { peak_bytes } => (done.peak_bytes, ended) = (peak_bytes, true),
        }
        heard();
    }
    let status = child.wait().context("waiting for the process")?;
    if !status.success() || !ended {
        bail!("the process that transcribes with it ended early: {status}");
    }
    if let Some(Err(error)) = written {
        return Err(error).context("writing to the process");
    }
    Ok(done)
}

/// The process itself.
pub(super) fn work() -> anyhow::Result<ExitCode> {
    let mut order = Vec::new();
    std::io::stdin().read_to_end(&mut order).context("reading what to do")?;
    let order: Order = serde_json::from_slice(&order).context("reading what to do")?;
    let pool = PoolOptions { states: 1, threads: order.threads, requests: 1 };
    let transcriber = crate::load::from_ggml(&order.ggml, pool, order.cpu)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("starting the runtime")?;
    let request = order.request();
    let mut out = std::io::stdout().lock();
    let mut say = |line: &Line| -> anyhow::Result<()> {
        serde_json::to_writer(&mut out, line)?;
        writeln!(out)?;
        Ok(out.flush()?)
    };
    for clip in &order.clips {
        let line = match runtime.block_on(one(&transcriber, &request, clip)) {
            Ok(heard) => Line::Heard(heard),
            Err(error) => Line::Failed(format!("{error:#}")),
        };
        say(&line)?;
    }
    say(&Line::End { peak_bytes: peak_bytes() })?;
    Ok(ExitCode::SUCCESS)
}

async fn one(transcriber: &Transcriber, request: &Request, clip: &Path) -> anyhow::Result<Heard> {
    let begin = Instant::now();
    let samples = Arc::new(Recording::open(clip, &Limits::default())?.samples);
    let permit = transcriber.admit()?;
    let found = transcriber.transcribe(samples, request, permit, &Cancel::default(), |_| {}).await?;
    Ok(Heard { text: found.text, seconds: found.duration, took: begin.elapsed().as_secs_f64() })
}

/// The most memory that this process has had in RAM at a time. Linux says so; `getrusage` would not do, because
/// there its figure begins with that of the process that started this one.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn an_order_keeps_the_request() {
        let request = Request {
            language: Some("kab".into()),
            task: Some(Task::Translate),
            timestamps: Timestamps::Segment,
            search: SearchOptions { beams: 3, max_new_tokens: usize::MAX, ..SearchOptions::default() },
            ..Request::default()
        };
        let pool = PoolOptions { states: 1, threads: 7, requests: 1 };
        let order = Order::new(Path::new("a.bin"), vec!["b.wav".into()], pool, true, &request);
        let read: Order = serde_json::from_slice(&serde_json::to_vec(&order).unwrap()).unwrap();
        assert_eq!(read, order);
        assert_eq!(read.request(), request);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_follows_what_was_used() {
        let before = peak_bytes().unwrap();
        let used = vec![1_u8; 64 << 20];
        assert!(std::hint::black_box(&used).iter().all(|byte| *byte == 1));
        let with = peak_bytes().unwrap();
        assert!(before > 1 << 20 && with >= 64 << 20, "{before}, {with}");
    }
}
