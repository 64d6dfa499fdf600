//! What several tests need: the demo checkpoint, converted once for each type.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use imesli::asr::pool::PoolOptions;
use imesli::asr::transcriber::{Request, Transcriber, Transcript};
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
pub(crate) fn samples(path: &str) -> Arc<[f32]> {
    Recording::open(root(path), &Limits::default()).unwrap().samples.into()
}

/// Waits for a future without a server around it.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// A recording's transcript.
pub(crate) fn transcribe(transcriber: &Transcriber, samples: Arc<[f32]>, request: &Request) -> Transcript {
    let permit = transcriber.admit().unwrap();
    wait(transcriber.transcribe(samples, request, permit, &Default::default(), |_| {})).unwrap()
}
