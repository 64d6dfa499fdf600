//! What the fuzz targets share: a file for the input, and a reader that uses all that a weight file offers; audio files;
//! and, in [`serve`], what clients send.
#![allow(dead_code, unused_imports, reason = "only what reads is used")]

mod asr;
#[path = "../../src/audio/mod.rs"]
mod audio;
mod checkpoint;
#[path = "../../src/error.rs"]
mod error;
pub mod serve;
#[path = "../../src/text/mod.rs"]
mod text;

use std::io::Read;
use std::path::PathBuf;
use std::sync::OnceLock;

use checkpoint::config::Dims;
use checkpoint::read::Weights;
use checkpoint::{openai, plan, verify};

/// The dimensions of the seeds' model.
const DIMS: Dims = Dims {
    n_vocab: 40,
    n_audio_ctx: 24,
    n_state: 32,
    n_audio_head: 2,
    n_audio_layer: 1,
    n_text_ctx: 16,
    n_text_head: 2,
    n_text_layer: 1,
    n_mels: 80,
};
/// Reading more of one input teaches nothing.
const MAX_READ: usize = 1 << 20;
const MAX_TENSORS: usize = 100;

/// Writes the input where it does not reach a disk.
fn file(ending: &str, parts: &[&[u8]]) -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let memory = PathBuf::from("/dev/shm");
    let folder = || if memory.is_dir() { memory } else { std::env::temp_dir() };
    let path = PATH.get_or_init(|| folder().join(format!("imesli-fuzz-{}", std::process::id())));
    let path = path.with_extension(ending);
    std::fs::write(&path, parts.concat()).expect("the input can be written");
    path
}

/// Opens a weight file, holds it against a configuration, and reads its tensors.
pub fn weights(ending: &str, bytes: &[u8]) {
    let path = file(ending, &[bytes]);
    let Ok(mut weights) = Weights::open(&path) else { return };
    if let Some(dims) = &weights.dims {
        let _ = openai::config(&path, dims);
    }
    let _ = plan::plan(&mut weights, DIMS, true);
    let tensors: Vec<_> = weights.tensors.values().take(MAX_TENSORS).cloned().collect();
    for tensor in tensors {
        let Some(size) = tensor.size().filter(|_| !tensor.is_spread()) else { continue };
        let Ok(data) = weights.bytes(&tensor) else { continue };
        let wanted = size.min(MAX_READ);
        let mut bytes = Vec::new();
        if data.take(wanted as u64).read_to_end(&mut bytes).is_ok() && ending == "safetensors" {
            assert_eq!(bytes.len(), wanted, "the table was checked against the file");
        }
    }
}

/// Verifies a GGML file. The mel filters, which would be most of the input, are put in here.
pub fn ggml(bytes: &[u8]) {
    const FILTERS: usize = 14 * 4;
    let (head, tail) = bytes.split_at(bytes.len().min(FILTERS));
    let _ = verify::verify(&file("bin", &[head, &[0; 80 * 201 * 4], tail]));
}

/// Reads an audio file, and looks at its samples.
pub fn recording(bytes: &[u8]) {
    const SECONDS: u32 = 20;
    let limits = audio::Limits { max_seconds: SECONDS, ..audio::Limits::default() };
    let Ok(recording) = audio::Recording::from_bytes(bytes, &limits) else { return };
    let samples = recording.samples.into_vec().expect("short recordings are in memory");
    assert!(!samples.is_empty() && samples.len() <= (SECONDS as usize + 1) * audio::SAMPLE_RATE as usize);
    assert!(samples.iter().all(|sample| sample.is_finite() && sample.abs() <= 1.0));
}
