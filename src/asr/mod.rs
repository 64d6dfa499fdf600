//! Windows in, text out.
//!
//! - [`model`]: whisper.cpp's tensors; names `whisper_rs`.
//! - [`search`] and [`rules`]: which tokens follow. Pure.
//! - [`vocabulary`] and [`segment`]: tokens to text and times. Pure.
//! - [`recognizer`]: one window through one state.

pub mod model;
pub mod recognizer;
pub mod rules;
pub mod search;
pub mod segment;
pub mod stitch;
pub mod vocabulary;
