//! `config.json`: the model's dimensions, checked before anything is sized by them.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::{Error, Result};
use super::read::open_file;

/// No `config.json` comes near this.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// `tokenizer.json` of a Whisper is about 4 MB.
pub(crate) const MAX_TOKENIZER_BYTES: u64 = 64 << 20;

/// whisper-large has 1280.
const MAX_WIDTH: usize = 1 << 14;
/// whisper-large has 32; whisper.cpp's graphs have room for 4096 nodes, about 80 layers, and it aborts
/// beyond.
const MAX_LAYERS: usize = 64;
/// Whisper has 1500 and 448. Memory grows with the square.
const MAX_CONTEXT: usize = 1 << 12;
const MAX_VOCABULARY: usize = 1 << 20;

/// The dimensions of a Whisper model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Rows of the token embedding.
    pub n_vocab: usize,
    /// Encoder positions: 1500 for 30 s.
    pub n_audio_ctx: usize,
    /// Width of encoder and decoder.
    pub n_state: usize,
    /// Attention heads of the encoder.
    pub n_audio_head: usize,
    /// Layers of the encoder.
    pub n_audio_layer: usize,
    /// Decoder positions.
    pub n_text_ctx: usize,
    /// Attention heads of the decoder.
    pub n_text_head: usize,
    /// Layers of the decoder.
    pub n_text_layer: usize,
    /// Mel bins: 80 or 128.
    pub n_mels: usize,
}

impl Dims {
    /// Why these dimensions are impossible: the field and the fact.
    pub(crate) fn check(&self) -> std::result::Result<(), (&'static str, String)> {
        let within = |field, value: usize, max| match value {
            v if v == 0 || v > max => Err((field, format!("{v} is not between 1 and {max}"))),
            _ => Ok(()),
        };
        within("vocab_size", self.n_vocab, MAX_VOCABULARY)?;
        within("max_source_positions", self.n_audio_ctx, MAX_CONTEXT)?;
        within("d_model", self.n_state, MAX_WIDTH)?;
        within("encoder_layers", self.n_audio_layer, MAX_LAYERS)?;
        within("max_target_positions", self.n_text_ctx, MAX_CONTEXT)?;
        within("decoder_layers", self.n_text_layer, MAX_LAYERS)?;
        for (field, heads) in
            [("encoder_attention_heads", self.n_audio_head), ("decoder_attention_heads", self.n_text_head)]
        {
            within(field, heads, self.n_state)?;
            if !self.n_state.is_multiple_of(heads) {
                return Err((field, format!("{heads} does not divide the width {}", self.n_state)));
            }
        }
        if ![80, 128].contains(&self.n_mels) {
            return Err(("num_mel_bins", format!("{}; Whisper has 80 or 128", self.n_mels)));
        }
        Ok(())
    }
}

/// Reads a whole JSON file, at most `limit` bytes of it.
pub(crate) fn read_json(path: &Path, limit: u64) -> Result<Map<String, Value>> {
    let file = open_file(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::read(path))?;
    let size = bytes.len() as u64;
    if size > limit {
        return Err(Error::TooLarge { path: path.to_path_buf(), size, limit });
    }
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::Json { path: path.to_path_buf(), fact: format!("not a JSON object: {e}") })
}

/// Reads a JSON file that need not be there.
pub(crate) fn read_json_if_there(path: &Path, limit: u64) -> Result<Option<Map<String, Value>>> {
    if path.symlink_metadata().is_ok() { read_json(path, limit).map(Some) } else { Ok(None) }
}

/// Reads `config.json` or `generation_config.json`.
pub(crate) fn read_config(path: &Path) -> Result<Map<String, Value>> {
    read_json(path, MAX_CONFIG_BYTES)
}

/// Reads `generation_config.json`, where it is there.
pub(crate) fn read_config_if_there(path: &Path) -> Result<Option<Map<String, Value>>> {
    read_json_if_there(path, MAX_CONFIG_BYTES)
}

/// The dimensions that `config.json` tells, its refusals included. `n_text_ctx` is preliminary: the
/// position embedding's shape decides it.
pub(crate) fn dims(path: &Path, config: &Map<String, Value>) -> Result<Dims> {
    let wrong = |field, fact| Error::Config { path: path.to_path_buf(), field, fact };
    let number = |field| match config.get(field) {
        None => Err(wrong(field, "missing".into())),
        Some(v) => v
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| wrong(field, format!("{v} is not a whole number"))),
    };
    let dims = Dims {
        n_vocab: number("vocab_size")?,
        n_audio_ctx: number("max_source_positions")?,
        n_state: number("d_model")?,
        n_audio_head: number("encoder_attention_heads")?,
        n_audio_layer: number("encoder_layers")?,
        n_text_ctx: number("max_target_positions")?,
        n_text_head: number("decoder_attention_heads")?,
        n_text_layer: number("decoder_layers")?,
        n_mels: number("num_mel_bins")?,
    };
    dims.check().map_err(|(field, fact)| wrong(field, fact))?;

    let unsupported = |fact| Error::Unsupported { path: path.to_path_buf(), fact };
    for field in ["encoder_ffn_dim", "decoder_ffn_dim"] {
        let width = number(field)?;
        if width != 4 * dims.n_state {
            return Err(unsupported(format!("`{field}` is {width}, not four times `d_model`")));
        }
    }
    if let Some(kind) = config.get("model_type").and_then(Value::as_str).filter(|k| *k != "whisper") {
        return Err(unsupported(format!("the model is of type `{kind}`, not `whisper`")));
    }
    if let Some(f) = config.get("activation_function").and_then(Value::as_str).filter(|f| *f != "gelu") {
        return Err(unsupported(format!("the activation function is `{f}`, not `gelu`")));
    }
    if config.get("scale_embedding").and_then(Value::as_bool) == Some(true) {
        return Err(unsupported("the token embedding is scaled (`scale_embedding`)".into()));
    }
    Ok(dims)
}
