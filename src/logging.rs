//! Logs: one line an event, on standard error, so that standard output carries results alone. And traces, for who has
//! somewhere to send them.

mod traces;

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

pub use traces::Traces;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object.
    Json,
}

/// Starts logging at `level`. whisper.cpp, which narrates each step of loading, and libraries are held one
/// step lower, until `debug`. `RUST_LOG` overrides all of it.
pub fn start(level: Level, format: LogFormat) {
    begin(level, format, None);
}

/// The same, and spans are sent to an OpenTelemetry collector, until what is given is dropped.
///
/// # Errors
/// When the endpoint is no URL.
pub fn start_with_traces(level: Level, format: LogFormat, endpoint: &str) -> anyhow::Result<Traces> {
    let traces = Traces::new(endpoint)?;
    begin(level, format, Some(&traces));
    Ok(traces)
}

fn begin(level: Level, format: LogFormat, traces: Option<&Traces>) {
    let libraries = if level >= Level::DEBUG { level } else { Level::WARN.min(level) };
    // A decoder reports each file that is none as an error of its own; whoever sent it is told. What the client of NATS meets
    // with, `cluster::connection` says.
    let silent = if level >= Level::DEBUG { "" } else { ",symphonia=off,async_nats=off" };
    let directives = format!("{libraries},imesli={level}{silent}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directives));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        // Colours are for people; a journal or a file would keep their codes.
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colours).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = traces.map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer()));
    // A second start, as in tests, keeps the first.
    let _ = registry().with(filter).with(lines).with(traces).try_init();
}
