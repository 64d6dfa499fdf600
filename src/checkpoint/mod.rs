//! A checkpoint in, a GGML file out.
//!
//! In the order in which a conversion goes through them:
//!
//! - [`resolve`](mod@resolve): from `--checkpoint` to a file that can be loaded.
//! - [`hub`](mod@hub): checkpoints that are on no disk yet.
//! - [`convert`](mod@convert): the conductor of one conversion.
//! - `material`: what is converted, from a checkpoint or from another GGML file.
//! - `input`: which files belong to a checkpoint, opened and read as one.
//! - `config`, `read`: its configuration and weights (safetensors, pickle, shards).
//! - `openai`, `lora`: OpenAI's own files; adapters, merged into their base.
//! - `names`, `plan`: which tensors there must be, and whether they are.
//! - `tokenizer`, `languages`, `generation`, [`profile`]: vocabulary, special tokens, decoding defaults.
//! - [`mel`], `quantize`, `encode`, `ggml`: the file's parts.
//! - `survey`, [`verify`](mod@verify): read a GGML file back, as carefully as whisper.cpp reads it carelessly.
//! - [`inspect`](mod@inspect): says what a file or folder holds, and what is wrong with it.
//! - [`cli`]: the arguments of `convert`.
//!
//! Nothing here knows of audio or of the engine.

pub mod cli;
mod config;
pub mod convert;
mod encode;
pub mod error;
mod generation;
mod ggml;
pub mod hub;
mod input;
pub mod inspect;
mod languages;
mod lora;
mod material;
pub mod mel;
mod names;
mod openai;
mod plan;
pub mod profile;
mod quantize;
mod read;
pub mod resolve;
mod survey;
mod tokenizer;
pub mod verify;

pub use config::Dims;
pub use convert::{Converted, Options, convert, convert_all};
pub use error::{Error, Result};
pub use inspect::inspect;
pub use profile::Profile;
pub use quantize::{QuantType, QuantTypeParser};
pub use resolve::{Resolved, resolve};
pub use verify::{GgmlInfo, verify};
