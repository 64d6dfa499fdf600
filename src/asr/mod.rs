//! Windows in, text out.
//!
//! - [`model`]: whisper.cpp's tensors; names `whisper_rs`.
//! - [`search`] and [`rules`]: which tokens follow. Pure.
//! - [`guard`] and [`repetition`]: what a model says that nobody can have said. Pure.
//! - [`vocabulary`] and [`segment`]: tokens to text and times; [`tokenize`]: text to tokens. Pure.
//! - [`alignment`], [`timing`] and [`word`]: when each word was said. Pure.
//! - [`audio_context`]: how much of the model's 30 s a shorter window is heard with. Pure.
//! - `token_times`: when the tokens of a window were said, by the model's attention.
//! - [`recognizer`]: one window through one state.
//! - [`backend`]: what hears windows, wherever it is. [`pool`]: states on threads of their own, one bounded queue in front.
//!   `queue`: which window is next. Pure.
//! - `plan`: what of a recording goes to the model, and in which windows.
//! - [`stitch`]: the windows' texts joined. Pure.
//! - `assembly`: what was heard in the windows, put together. Pure.
//! - [`transcriber`]: the conductor; a recording in, its transcript out.
//! - [`catalog`]: several models at once.
//! - [`live`]: the same while the audio is still coming.

pub mod alignment;
mod assembly;
pub mod audio_context;
pub mod backend;
pub mod catalog;
pub mod guard;
pub mod live;
pub mod model;
mod plan;
pub mod pool;
pub(crate) mod queue;
pub mod recognizer;
pub mod repetition;
pub mod rules;
pub mod search;
pub mod segment;
pub mod stitch;
pub mod switch;
pub mod timing;
mod token_times;
pub mod tokenize;
pub mod transcriber;
pub mod vocabulary;
pub mod word;
