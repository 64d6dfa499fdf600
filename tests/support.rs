//! What several tests need: the demo checkpoint, converted once for each type.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};

use imesli::asr::pool::PoolOptions;
use imesli::asr::transcriber::{Request, Transcriber, Transcript};
use imesli::audio::samples::Samples;
use imesli::audio::{Limits, Recording};
use imesli::checkpoint::{Options, QuantType, convert};

/// A path below the repository's root.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The demo checkpoint as a GGML file of this type, made once in a folder of the tests' own.
pub(crate) fn demo(quantize: QuantType) -> PathBuf {
    static MADE: Mutex<Option<HashMap<&'static str, PathBuf>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap();
    let made = made.get_or_insert_default();
    made.entry(quantize.name())
        .or_insert_with(|| {
            let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{}.bin", quantize.name()));
            convert(&Options {
                checkpoint: root("checkpoint"),
                base: None,
                quantize,
                out: Some(out.clone()),
            })
            .unwrap();
            out
        })
        .clone()
}

/// A transcriber over the demo model.
pub(crate) fn transcriber(quantize: QuantType, pool: PoolOptions) -> Transcriber {
    imesli::load::from_ggml(&demo(quantize), pool, true).unwrap()
}

/// One state on one thread.
pub(crate) const ONE: PoolOptions = PoolOptions { states: 1, threads: 1, requests: 64 };

/// The samples of a recording.
pub(crate) fn samples(path: &str) -> Vec<f32> {
    Recording::open(root(path), &Limits::default()).unwrap().samples.into_vec().unwrap()
}

/// A recording of these samples.
pub(crate) fn recording(samples: Vec<f32>) -> Arc<Samples> {
    Arc::new(Samples::from(samples))
}

/// Waits for a future without a server around it.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// A recording's transcript.
pub(crate) fn transcribe(transcriber: &Transcriber, samples: Vec<f32>, request: &Request) -> Transcript {
    let permit = transcriber.admit().unwrap();
    wait(transcriber.transcribe(recording(samples), request, permit, &Default::default(), |_| {})).unwrap()
}

/// The program as a server, ended with the test.
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
    /// Where its log goes: nobody reads on, but it must stay open.
    _log: BufReader<ChildStderr>,
}

impl Running {
    /// Starts `imesli` with a checkpoint on a port of its own, and waits until it listens.
    pub(crate) fn start(checkpoint: &Path, arguments: &[&str]) -> Self {
        Self::with_environment(checkpoint, arguments, &[])
    }

    /// The same with these variables.
    pub(crate) fn with_environment(
        checkpoint: &Path,
        arguments: &[&str],
        environment: &[(&str, &OsStr)],
    ) -> Self {
        Self::on_port(0, checkpoint, arguments, environment)
    }

    /// The same on this port.
    pub(crate) fn on_port(
        port: u16,
        checkpoint: &Path,
        arguments: &[&str],
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imesli"));
        command.args(["--port", &port.to_string(), "--checkpoint"]).arg(checkpoint).args(arguments);
        command.envs(environment.iter().copied());
        command.env("IMESLI_THREADS", "1").env_remove("RUST_LOG").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on ") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server does not listen");
        }
        let url = line.trim().split_once("listening on ").unwrap().1.to_owned();
        Self { child, url, _log: log }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
