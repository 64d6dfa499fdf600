//! A checkpoint in, a GGML file out.
//!
//! In the order in which a conversion goes through them:
//!
//! - [`resolve`](mod@resolve): from `--checkpoint` to a file that can be loaded.
//! - [`convert`](mod@convert): the conductor of one conversion.
//! - `config`, `read`: the checkpoint's configuration and weights (safetensors, pickle).
//! - `names`, `plan`: which tensors there must be, and whether they are.
//! - `tokenizer`, `languages`, `generation`, [`profile`]: vocabulary, special tokens, decoding defaults.
//! - [`mel`], `quantize`, `encode`, `ggml`: the file's parts.
//! - [`verify`](mod@verify): reads a GGML file back, as carefully as whisper.cpp reads it carelessly.
//!
//! Nothing here knows of audio or of the engine.

pub mod cli;
mod config;
pub mod convert;
mod encode;
pub mod error;
mod generation;
mod ggml;
mod languages;
pub mod mel;
mod names;
mod plan;
pub mod profile;
mod quantize;
mod read;
pub mod resolve;
mod tokenizer;
pub mod verify;

pub use config::Dims;
pub use convert::{Converted, Options, convert};
pub use error::{Error, Result};
pub use profile::Profile;
pub use quantize::{QuantType, QuantTypeParser};
pub use resolve::{Resolved, resolve};
pub use verify::{GgmlInfo, verify};
