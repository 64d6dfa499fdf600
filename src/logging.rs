//! Logs: one line an event, on standard error, so that standard output carries results alone.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Starts logging at `level`. whisper.cpp, which narrates each step of loading, and libraries are held one
/// step lower, until `debug`. `RUST_LOG` overrides all of it.
pub fn start(level: Level) {
    let libraries = if level >= Level::DEBUG { level } else { Level::WARN.min(level) };
    let directives = format!("{libraries},imesli={level}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directives));
    // Colours are for people; a journal or a file would keep their codes.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A second start, as in tests, keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .try_init();
}
