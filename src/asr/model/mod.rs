//! The model: whisper.cpp's tensors behind a safe face. The only module that names `whisper_rs`.
//!
//! A [`Model`] holds the weights, which all states share. A [`State`] is the memory of one decode in
//! progress and is used by one thread at a time, which `&mut self` says. Neither knows anything of how
//! text is searched for: they give logits.
#![allow(unsafe_code)] // This module and its children are the border to C++.

mod ffi;
mod state;

pub use state::{Encoded, State};

use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use whisper_rs::whisper_rs_sys as sys;

use crate::error::{Error, Result};

/// A token's id in the vocabulary.
pub type Token = u32;

/// Whisper's English name of a language, in lower case, by its code; `None` for codes that it has none for.
pub fn language_name(code: &str) -> Option<&'static str> {
    // whisper.cpp's own search logs an error for what it does not find.
    let id = (0..=whisper_rs::get_lang_max_id()).find(|id| whisper_rs::get_lang_str(*id) == Some(code))?;
    whisper_rs::get_lang_str_full(id)
}

/// How the weights are loaded.
#[derive(Debug, Clone, Copy)]
pub struct ModelOptions {
    /// Compute on the GPU that this build supports, when there is one.
    pub gpu: bool,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self { gpu: true }
    }
}

/// The sizes of a loaded model, as its file states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Rows of the token embedding, so also logits per position.
    pub n_vocab: usize,
    /// Encoder positions for 30 s: 1500.
    pub n_audio_ctx: usize,
    /// Decoder positions: 448.
    pub n_text_ctx: usize,
    /// Mel bins: 80 or 128.
    pub n_mels: usize,
    /// Encoder layers.
    pub n_audio_layer: usize,
    /// Decoder layers.
    pub n_text_layer: usize,
    /// Attention heads in each of them.
    pub n_text_head: usize,
}

/// One cross-attention head of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Head {
    /// Its layer, from 0.
    pub layer: i32,
    /// Its place in the layer, from 0.
    pub head: i32,
}

/// The special tokens that whisper.cpp derives from the vocabulary's size. Right for the checkpoints that
/// OpenAI published; a checkpoint's own profile overrides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockTokens {
    /// `<|endoftext|>`
    pub end_of_text: Token,
    /// `<|startoftranscript|>`
    pub start_of_transcript: Token,
    /// `<|translate|>`
    pub translate: Token,
    /// `<|transcribe|>`
    pub transcribe: Token,
    /// `<|startofprev|>`
    pub start_of_prev: Token,
    /// `<|nospeech|>`
    pub no_speech: Token,
    /// `<|notimestamps|>`
    pub no_timestamps: Token,
    /// `<|0.00|>`
    pub timestamp_begin: Token,
    /// The language tokens follow `<|startoftranscript|>`; none in English-only vocabularies.
    pub n_languages: usize,
}

/// Weights and vocabulary, loaded once and shared by all states.
#[derive(Debug, Clone)]
pub struct Model {
    context: Arc<Context>,
    dims: Dims,
}

#[derive(Debug)]
struct Context(*mut sys::whisper_context);

// SAFETY: after loading, whisper.cpp only reads the context; all that changes lives in a state.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the pointer came from whisper_init_* and is freed once. States hold an Arc of this.
        unsafe { sys::whisper_free(self.0) }
    }
}

impl Model {
    /// Loads a GGML file. whisper.cpp aborts the process on some malformed files, so `path` must have
    /// been verified before (`checkpoint::verify`).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when whisper.cpp refuses the file.
    pub fn load(path: &Path, options: ModelOptions) -> Result<Self> {
        // SAFETY: takes no argument and touches no memory.
        let built = unsafe { ffi::imesli_ext_version() };
        if built != ffi::EXT_VERSION {
            return Err(Error::internal(format!(
                "whisper.cpp was built with version {built} of our extension, this program wants {}: run \
                 `cargo clean -p whisper-rs-sys --release` and build again",
                ffi::EXT_VERSION
            )));
        }
        whisper_rs::install_logging_hooks();
        let refused = || Error::InvalidInput(format!("whisper.cpp can't load {}", path.display()));
        let c_path = path
            .to_str()
            .and_then(|p| CString::new(p).ok())
            .ok_or_else(|| Error::InvalidInput(format!("{} is not a usable path", path.display())))?;
        // SAFETY: returns a plain struct of defaults.
        let mut params = unsafe { sys::whisper_context_default_params() };
        params.use_gpu = options.gpu && whisper_rs::WhisperContextParameters::default().use_gpu;
        params.flash_attn = true;
        // SAFETY: the path is a live NUL-terminated string; the result is checked for null.
        let raw = unsafe { sys::whisper_init_from_file_with_params_no_state(c_path.as_ptr(), params) };
        if raw.is_null() {
            return Err(refused());
        }
        let context = Arc::new(Context(raw));
        // SAFETY: `raw` is a loaded context that nobody else has seen.
        let status = unsafe { ffi::imesli_pack(raw) };
        if status != ffi::STATUS_OK {
            return Err(Error::internal(format!("packing the weights: {}", ffi::status_text(status))));
        }
        // SAFETY: `raw` is a loaded context.
        let (n_vocab, n_audio_ctx, n_text_ctx, n_mels, n_audio_layer, n_text_layer, n_text_head) = unsafe {
            (
                sys::whisper_model_n_vocab(raw),
                sys::whisper_model_n_audio_ctx(raw),
                sys::whisper_model_n_text_ctx(raw),
                sys::whisper_model_n_mels(raw),
                sys::whisper_model_n_audio_layer(raw),
                sys::whisper_model_n_text_layer(raw),
                sys::whisper_model_n_text_head(raw),
            )
        };
        let size = |n: i32| usize::try_from(n).ok().filter(|n| *n > 0).ok_or_else(refused);
        let dims = Dims {
            n_vocab: size(n_vocab)?,
            n_audio_ctx: size(n_audio_ctx)?,
            n_text_ctx: size(n_text_ctx)?,
            n_mels: size(n_mels)?,
            n_audio_layer: size(n_audio_layer)?,
            n_text_layer: size(n_text_layer)?,
            n_text_head: size(n_text_head)?,
        };
        Ok(Self { context, dims })
    }

    /// The model's sizes.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// The special tokens of a stock vocabulary of this size.
    pub fn stock_tokens(&self) -> StockTokens {
        let ctx = self.context.0;
        // SAFETY: `ctx` is a loaded context; these only read its vocabulary.
        let (eot, sot, translate, transcribe, prev, nosp, not, beg, multilingual) = unsafe {
            (
                sys::whisper_token_eot(ctx),
                sys::whisper_token_sot(ctx),
                sys::whisper_token_translate(ctx),
                sys::whisper_token_transcribe(ctx),
                sys::whisper_token_prev(ctx),
                sys::whisper_token_nosp(ctx),
                sys::whisper_token_not(ctx),
                sys::whisper_token_beg(ctx),
                sys::whisper_is_multilingual(ctx) != 0,
            )
        };
        let id = |t: i32| Token::try_from(t).unwrap_or(0);
        StockTokens {
            end_of_text: id(eot),
            start_of_transcript: id(sot),
            translate: id(translate),
            transcribe: id(transcribe),
            start_of_prev: id(prev),
            no_speech: id(nosp),
            no_timestamps: id(not),
            timestamp_begin: id(beg),
            // `<|translate|>` comes right after the last language.
            n_languages: if multilingual { id(translate).saturating_sub(id(sot) + 1) as usize } else { 0 },
        }
    }

    /// The bytes of every token in the vocabulary, by id. One token need not be valid UTF-8: a character
    /// can span two. Ids that the file has no entry for carry whisper.cpp's own placeholder names.
    pub fn token_bytes(&self) -> Vec<Vec<u8>> {
        let one = |id: usize| {
            let mut length = 0;
            let id = i32::try_from(id).unwrap_or(-1);
            // SAFETY: the context is alive; the function gives null or `length` readable bytes that live
            // as long as the context.
            let bytes = unsafe { ffi::imesli_token_bytes(self.context.0, id, &mut length) };
            if bytes.is_null() {
                return Vec::new();
            }
            // SAFETY: as above.
            unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) }.to_vec()
        };
        (0..self.dims.n_vocab).map(one).collect()
    }

    /// A new state that computes on `threads` threads.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is not enough memory for it.
    pub fn new_state(&self, threads: usize) -> Result<State> {
        State::new(self, threads)
    }
}

#[cfg(test)]
mod tests {
    use super::language_name;

    #[test]
    fn languages_have_english_names() {
        for (code, name) in [("en", Some("english")), ("yue", Some("cantonese")), ("kab", None), ("", None)] {
            assert_eq!(language_name(code), name, "{code}");
        }
    }
}
