//! The converter, on a small Whisper that the tests make themselves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails may panic"
)]

mod adapters;
mod convert;
mod generations;
mod hostile;
mod hub;
mod inputs;
mod inspect;
mod loops;
mod model;
#[cfg(unix)]
mod mutations;
mod parsed;
mod profile;
mod refusals;
mod requantize;
mod resolve;
mod types;
mod verify;
