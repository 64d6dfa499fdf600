//! GGML files that whisper.cpp would abort on, or read out of bounds.

use std::fs;
use std::path::PathBuf;

use imesli::checkpoint::{Error, QuantType, verify};
use tempfile::TempDir;

use super::model::Checkpoint;

struct File {
    dir: TempDir,
    bytes: Vec<u8>,
}

impl File {
    fn new(quantize: QuantType) -> Self {
        let checkpoint = Checkpoint::new();
        checkpoint.write("F16", "");
        Self { dir: TempDir::new().unwrap(), bytes: checkpoint.converted(quantize) }
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("m.bin");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The fact of the refusal after one 32-bit number was replaced.
    fn with(&self, at: usize, number: u32) -> String {
        let mut bytes = self.bytes.clone();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        self.fact(&bytes)
    }

    fn fact(&self, bytes: &[u8]) -> String {
        match verify(&self.write(bytes)).unwrap_err() {
            Error::Ggml { fact, .. } => fact,
            other => panic!("{other}"),
        }
    }

    fn find(&self, text: &str) -> usize {
        self.bytes.windows(text.len()).position(|w| w == text.as_bytes()).unwrap()
    }
}

/// Where the mel filters' two sizes end and the vocabulary begins.
const FILTERS: usize = 48;
const VOCABULARY: usize = FILTERS + 8 + 80 * 201 * 4;

#[test]
fn headers_that_lie() {
    let file = File::new(QuantType::Q8_0);
    assert!(file.with(0, 7).contains("magic"));
    for (field, value, named) in [
        (1, 0, "vocab_size"),
        (1, u32::MAX, "vocab_size"),
        (2, u32::MAX, "max_source_positions"),
        (3, 1 << 20, "d_model"),
        (4, 3, "encoder_attention_heads"),
        (5, 1 << 30, "encoder_layers"),
        (6, 0, "max_target_positions"),
        (7, 64, "width"),
        (8, 0, "decoder_attention_heads"),
        (9, 257, "decoder_layers"),
        (10, 81, "num_mel_bins"),
        (11, 4, "unknown type"),
        (11, 99, "unknown type"),
        (11, 7, "version 0"),
        (11, 1007, "version 1"),
    ] {
        let fact = file.with(4 * field, value);
        assert!(fact.contains(named), "{named}: {fact}");
    }
}

#[test]
fn filters_and_vocabularies_that_lie() {
    let file = File::new(QuantType::Q8_0);
    assert!(file.with(FILTERS, 128).contains("mel filters"));
    assert!(file.with(FILTERS + 4, u32::MAX).contains("mel filters"));
    assert!(file.with(FILTERS + 8, f32::NAN.to_bits()).contains("mel filter"));
    assert!(file.with(VOCABULARY, u32::MAX).contains("tokens"));
    assert!(file.with(VOCABULARY + 4, u32::MAX).contains("token 0"));
    assert!(file.with(VOCABULARY + 4, 4000).len() > 5);
}

#[test]
fn large_vocabularies_without_names() {
    let file = File::new(QuantType::F16);
    let fact = file.with(4, 51867);
    assert!(fact.contains("no names"), "{fact}");
}

#[test]
fn tensors_that_lie() {
    let file = File::new(QuantType::Q8_0);
    let name = file.find("encoder.blocks.0.attn.key.weight");
    // Before the name: dimensions, length of the name, type, two sizes.
    assert!(file.with(name - 20, 0).contains("0 dimensions"));
    assert!(file.with(name - 20, u32::MAX).contains("dimensions"));
    assert!(file.with(name - 16, 1 << 30).contains("a name of"));
    assert!(file.with(name - 12, 1).contains("type f16, not q8_0"));
    assert!(file.with(name - 12, u32::MAX).contains("type"));
    assert!(file.with(name - 8, 33).contains("shape"));
    assert!(file.with(name, u32::from_le_bytes(*b"xxxx")).contains("unknown"));
    // The query's name replaced by the key's.
    let mut bytes = file.bytes.clone();
    let at = file.find("attn.value.bias");
    bytes[at..at + 15].copy_from_slice(b"attn.query.bias");
    assert!(file.fact(&bytes).contains("twice"));
}

#[test]
fn cut_short_or_too_long() {
    let file = File::new(QuantType::Q8_0);
    for length in (0..file.bytes.len()).step_by(331).chain(file.bytes.len() - 200..file.bytes.len()) {
        file.fact(&file.bytes[..length]);
    }
    file.fact(&[file.bytes.as_slice(), &[0]].concat());
    file.fact(&[file.bytes.as_slice(), &[0; 64]].concat());
    // A last tensor that is not there at all.
    let last = file.find("decoder.ln.bias");
    assert!(file.fact(&file.bytes[..last - 16]).contains("decoder.ln.bias"));
}

#[test]
fn flipped_bits_never_panic() {
    let file = File::new(QuantType::Q4_1);
    let dense = (0..FILTERS + 8).chain(VOCABULARY..VOCABULARY + 200);
    for at in dense.chain((VOCABULARY + 200..file.bytes.len()).step_by(211)) {
        for bit in [0, 3, 7] {
            let mut bytes = file.bytes.clone();
            bytes[at] ^= 1 << bit;
            let _ = verify(&file.write(&bytes));
        }
    }
}
