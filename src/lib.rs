//! imesli: a speech-to-text server for fine-tuned Whisper models.
//!
//! The modules, in the order in which audio flows through them:
//!
//! - [`audio`]: bytes in, 16 kHz mono samples out, cut into windows of at most 30 s.
//! - [`asr`]: windows in, text out: the model (whisper.cpp), our token search over its logits, a pool of
//!   states, and the stitching of the windows' texts.
//! - [`cluster`]: the same windows heard by workers elsewhere, over a broker.
//! - [`serve`]: the WebSocket server around them: connections, the protocol, uploads, TLS, limits.
//! - [`checkpoint`]: a Hugging Face checkpoint in, a quantized GGML file out.
//! - [`subtitle`]: text with times as subtitle files.
//! - [`text`]: the spelling of the user's language brought to its standard.
//! - [`error`]: the one error type of `audio` and `asr`.
//!
//! And what the program puts around them: [`config`] (arguments), [`logging`], [`memory`], [`load`] (from a
//! checkpoint to a transcriber), [`transcribe`] (the command that needs no server), [`client`] (its way to a
//! server) and [`report`] (the command that converts, and tries what it made).
//!
//! Dependencies point one way: `main → serve → asr → audio`, `main → cluster → asr`, and `main → checkpoint`.

pub mod asr;
pub mod audio;
pub mod checkpoint;
pub mod client;
pub mod cluster;
pub mod config;
pub mod error;
pub mod load;
pub mod logging;
pub mod memory;
pub mod report;
pub mod serve;
pub mod subtitle;
pub mod text;
pub mod transcribe;
