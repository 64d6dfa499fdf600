//! The one test binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails may panic"
)]

mod architecture;
mod asr;
mod audio;
mod checkpoint;
mod cli;
mod client;
#[cfg(unix)]
mod cluster;
mod report;
mod serve;
mod support;
mod text;
