//! The program's own sources, as far as they read.

#[path = "../../../src/checkpoint/config.rs"]
pub mod config;
#[path = "../../../src/checkpoint/error.rs"]
pub mod error;
#[path = "../../../src/checkpoint/ggml.rs"]
pub mod ggml;
#[path = "../../../src/checkpoint/hub/error.rs"]
pub mod hub;
#[path = "../../../src/checkpoint/mel.rs"]
pub mod mel;
#[path = "../../../src/checkpoint/names.rs"]
pub mod names;
#[path = "../../../src/checkpoint/openai.rs"]
pub mod openai;
#[path = "../../../src/checkpoint/plan.rs"]
pub mod plan;
#[path = "../../../src/checkpoint/quantize/mod.rs"]
pub mod quantize;
#[path = "../../../src/checkpoint/read/mod.rs"]
pub mod read;
#[path = "../../../src/checkpoint/survey.rs"]
pub mod survey;
#[path = "../../../src/checkpoint/tokenizer.rs"]
pub mod tokenizer;
#[path = "../../../src/checkpoint/verify.rs"]
pub mod verify;
