//! The functions of `src/asr/ext/whisper_ext.cpp`, declared by hand, and their status codes.

use std::ffi::c_char;

use whisper_rs::whisper_rs_sys::{whisper_context, whisper_state};

use super::Head;

/// What [`imesli_ext_version`] must return. A stale build of whisper.cpp is found out by it.
pub(super) const EXT_VERSION: i32 = 8;

pub(super) const STATUS_OK: i32 = 0;
pub(super) const STATUS_NO_MEMORY: i32 = 2;
pub(super) const STATUS_CACHE_FULL: i32 = 3;
pub(super) const STATUS_ARGUMENT: i32 = 4;
pub(super) const STATUS_EXCEPTION: i32 = 5;

unsafe extern "C" {
    pub(super) fn imesli_ext_version() -> i32;
    pub(super) fn imesli_new_state(ctx: *mut whisper_context) -> *mut whisper_state;
    pub(super) fn imesli_pack(ctx: *mut whisper_context) -> i32;
    pub(super) fn imesli_token_bytes(ctx: *mut whisper_context, id: i32, length: *mut usize)
    -> *const c_char;
    pub(super) fn imesli_set_audio(
        ctx: *mut whisper_context,
        state: *mut whisper_state,
        pcm: *const f32,
        n_samples: i32,
        audio_ctx: i32,
        n_threads: i32,
    ) -> i32;
    pub(super) fn imesli_encode(
        ctx: *mut whisper_context,
        state: *mut whisper_state,
        offset: i32,
        n_threads: i32,
    ) -> i32;
    pub(super) fn imesli_clear(ctx: *mut whisper_context, state: *mut whisper_state) -> i32;
    pub(super) fn imesli_decode(
        ctx: *mut whisper_context,
        state: *mut whisper_state,
        tokens: *const i32,
        positions: *const i32,
        sequences: *const i32,
        want_logits: *const i8,
        n_tokens: i32,
        n_threads: i32,
    ) -> i32;
    pub(super) fn imesli_align(
        ctx: *mut whisper_context,
        state: *mut whisper_state,
        tokens: *const i32,
        n_tokens: i32,
        heads: *const Head,
        n_heads: i32,
        n_frames: i32,
        n_threads: i32,
    ) -> i32;
    pub(super) fn imesli_weights(head: i32, weights: *mut f32, length: usize) -> i32;
    pub(super) fn imesli_logits(state: *mut whisper_state, length: *mut usize) -> *const f32;
    pub(super) fn imesli_sequence_copy(state: *mut whisper_state, from: i32, to: i32) -> i32;
    pub(super) fn imesli_sequence_remove(state: *mut whisper_state, sequence: i32, begin: i32) -> i32;
}

/// The words for a status of the extension.
pub(super) fn status_text(status: i32) -> &'static str {
    match status {
        STATUS_NO_MEMORY => "out of memory",
        STATUS_CACHE_FULL => "the KV cache is full",
        STATUS_ARGUMENT => "an argument out of range",
        STATUS_EXCEPTION => "a C++ exception",
        _ => "the computation failed",
    }
}
