//! The Whisper of `tools/make_fixtures.py`, made here in any form that a test needs.

use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use imesli::checkpoint::{Converted, Error, Options, QuantType, convert};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What whisper.cpp's `convert-h5-to-ggml.py` writes for this model: `tools/compare_with_whisper_cpp.py`.
pub(crate) const REFERENCE_SHA256: &str = "2944648485e73b997284d889f136cdc7a910a51199243658511c7e9eb7cbc001";

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoint").join(name)
}

pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// A checkpoint folder in the making.
pub(crate) struct Checkpoint {
    pub(crate) dir: TempDir,
    pub(crate) config: Map<String, Value>,
    /// In the order of transformers' `state_dict`, without the `model.` prefix and `proj_out.weight`.
    pub(crate) tensors: Vec<Tensor>,
}

impl Checkpoint {
    /// The fixture's model, with its vocabulary, and no weights written yet.
    pub(crate) fn new() -> Self {
        let made = Self::without_tokenizer(40, 80);
        for name in ["vocab.json", "added_tokens.json"] {
            fs::copy(fixture(name), made.path(name)).unwrap();
        }
        made
    }

    /// A model with as many tokens and mel bins, and no vocabulary.
    pub(crate) fn without_tokenizer(n_vocab: usize, n_mels: usize) -> Self {
        Self::of_layers(n_vocab, n_mels, [1, 1])
    }

    /// The same with as many layers of encoder and decoder.
    pub(crate) fn of_layers(n_vocab: usize, n_mels: usize, layers: [usize; 2]) -> Self {
        let mut config: Map<String, Value> =
            serde_json::from_slice(&fs::read(fixture("config.json")).unwrap()).unwrap();
        config.insert("vocab_size".into(), json!(n_vocab));
        config.insert("num_mel_bins".into(), json!(n_mels));
        config.insert("encoder_layers".into(), json!(layers[0]));
        config.insert("decoder_layers".into(), json!(layers[1]));
        let dir = TempDir::new().unwrap();
        Self { dir, config, tensors: tensors(n_vocab, n_mels, 32, layers) }
    }

    /// A model whose rows have 256 weights, as the k-quants want them, and whose weights look like those of
    /// a model that was just initialised: its layers neither drown nor blow up what goes through them.
    pub(crate) fn wide() -> Self {
        let mut made = Self::new();
        for (field, value) in [("d_model", 256), ("encoder_ffn_dim", 1024), ("decoder_ffn_dim", 1024)] {
            made.config.insert(field.into(), json!(value));
        }
        made.tensors = tensors(40, 80, 256, [1, 1]);
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        for tensor in &mut made.tensors {
            let norm = tensor.name.contains("layer_norm");
            let fan_in = tensor.shape.iter().skip(1).product::<usize>().max(1) as f32;
            for value in &mut tensor.values {
                // The sum of four is near enough to a normal distribution.
                let normal = (random() + random() + random() + random()) * 0.75_f32.sqrt();
                *value = match (norm, tensor.name.ends_with("weight")) {
                    (true, true) => 1.0 + 0.1 * normal,
                    (_, true) => normal / fan_in.sqrt(),
                    _ => 0.02 * normal,
                };
            }
        }
        made
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|t| t.name == name).unwrap()
    }

    pub(crate) fn write_config(&self) {
        self.write_json("config.json", &Value::Object(self.config.clone()));
    }

    pub(crate) fn write_json(&self, name: &str, value: &Value) {
        fs::write(self.path(name), value.to_string()).unwrap();
    }

    /// Writes the configuration and `model.safetensors`.
    pub(crate) fn write(&self, dtype: &str, prefix: &str) {
        self.write_config();
        let parts: Vec<_> = self
            .tensors
            .iter()
            .map(|t| (format!("{prefix}{}", t.name), t.shape.clone(), encode(&t.values, dtype)))
            .collect();
        fs::write(self.path("model.safetensors"), safetensors(&parts, dtype)).unwrap();
    }

    /// The same with a fixture of `torch.save`.
    pub(crate) fn write_bin(&self, name: &str) {
        self.write_config();
        fs::copy(fixture(name), self.path("pytorch_model.bin")).unwrap();
    }

    pub(crate) fn convert(&self, quantize: QuantType) -> Result<Converted, Error> {
        convert(&Options { checkpoint: self.dir.path().into(), base: None, quantize, out: None })
    }

    /// Converts, and returns the file's bytes.
    pub(crate) fn converted(&self, quantize: QuantType) -> Vec<u8> {
        fs::read(self.convert(quantize).unwrap().ggml).unwrap()
    }

    /// The error of a conversion, after a look that it left nothing behind and exits with 2.
    pub(crate) fn refusal(&self, quantize: QuantType) -> Error {
        let names = || {
            let mut names: Vec<_> =
                self.dir.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        let error = self.convert(quantize).unwrap_err();
        assert_eq!(names(), before, "{error} left a file");
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.to_string().contains(self.dir.path().to_str().unwrap()), "{error} names no file");
        error
    }
}

/// Elements as little-endian bytes.
pub(crate) fn encode(values: &[f32], dtype: &str) -> Vec<u8> {
    match dtype {
        "F32" => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        "F16" => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        "BF16" => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        "F64" => values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(),
        other => panic!("{other}"),
    }
}

/// A safetensors file.
pub(crate) fn safetensors(parts: &[(String, Vec<usize>, Vec<u8>)], dtype: &str) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape, bytes) in parts {
        let start = data.len();
        data.extend_from_slice(bytes);
        header.insert(
            name.clone(),
            json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] }),
        );
    }
    with_header(&Value::Object(header).to_string(), &data)
}

pub(crate) fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn tensors(n_vocab: usize, n_mels: usize, d: usize, layers: [usize; 2]) -> Vec<Tensor> {
    let mut list: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| list.push((name, shape.to_vec()));
    for (conv, input) in [("conv1", n_mels), ("conv2", d)] {
        add(format!("encoder.{conv}.weight"), &[d, input, 3]);
        add(format!("encoder.{conv}.bias"), &[d]);
    }
    for side in ["encoder", "decoder"] {
        if side == "decoder" {
            add("decoder.embed_tokens.weight".into(), &[n_vocab, d]);
        }
        add(format!("{side}.embed_positions.weight"), &[if side == "encoder" { 24 } else { 16 }, d]);
        let attentions: &[&str] =
            if side == "encoder" { &["self_attn"] } else { &["self_attn", "encoder_attn"] };
        for layer in 0..layers[usize::from(side == "decoder")] {
            let layer = format!("{side}.layers.{layer}");
            for attention in attentions {
                add(format!("{layer}.{attention}.k_proj.weight"), &[d, d]);
                for part in ["v_proj", "q_proj", "out_proj"] {
                    add(format!("{layer}.{attention}.{part}.weight"), &[d, d]);
                    add(format!("{layer}.{attention}.{part}.bias"), &[d]);
                }
                add(format!("{layer}.{attention}_layer_norm.weight"), &[d]);
                add(format!("{layer}.{attention}_layer_norm.bias"), &[d]);
            }
            for (part, rows, columns) in [("fc1", 4 * d, d), ("fc2", d, 4 * d)] {
                add(format!("{layer}.{part}.weight"), &[rows, columns]);
                add(format!("{layer}.{part}.bias"), &[rows]);
            }
            add(format!("{layer}.final_layer_norm.weight"), &[d]);
            add(format!("{layer}.final_layer_norm.bias"), &[d]);
        }
        add(format!("{side}.layer_norm.weight"), &[d]);
        add(format!("{side}.layer_norm.bias"), &[d]);
    }
    let weight = |index: usize, i: usize| ((7 * i + 13 * index) % 31) as f32 / 64.0 - 15.0 / 64.0;
    list.into_iter()
        .enumerate()
        .map(|(index, (name, shape))| {
            let values = (0..shape.iter().product()).map(|i| weight(index, i)).collect();
            Tensor { name, shape, values }
        })
        .collect()
}
