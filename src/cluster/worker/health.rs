//! What a worker counts, and who may ask for it: `/health`, `/ready` and `/metrics`, without encryption or keys.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};
use tokio::net::TcpListener;

use super::Shared;
use crate::asr::backend::Backend;
use crate::asr::recognizer::Heard;
use crate::error::{Error, Result};

/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a worker has done.
#[derive(Debug)]
pub(super) struct Counters {
    registry: Registry,
    windows: IntCounterVec,
    audio: Counter,
    work: CounterVec,
    failures: IntCounter,
    redelivered: IntCounter,
    states: Gauge,
    busy: Gauge,
}

impl Counters {
    /// All at nothing.
    ///
    /// # Errors
    /// [`Error::Internal`] when two have one name, which a test would see.
    pub(super) fn new() -> Result<Self> {
        Self::made().map_err(|error| Error::internal_from("making the metrics", error))
    }

    fn made() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let windows =
            Opts::new("imesli_worker_windows_total", "Windows that were heard: of files, of live streams.");
        let work = Opts::new("imesli_worker_seconds_total", "Seconds that were spent on windows, by step.");
        let made = Self {
            windows: IntCounterVec::new(windows, &["kind"])?,
            audio: Counter::new("imesli_worker_audio_seconds_total", "Seconds of audio that were heard.")?,
            work: CounterVec::new(work, &["step"])?,
            failures: IntCounter::new("imesli_worker_failures_total", "Windows that were not heard.")?,
            redelivered: IntCounter::new(
                "imesli_worker_redelivered_total",
                "Jobs that somebody had begun before.",
            )?,
            states: Gauge::new("imesli_worker_states", "States of the model.")?,
            busy: Gauge::new("imesli_worker_busy_states", "Those of them that are at work.")?,
            registry,
        };
        let Self { registry, windows, audio, work, failures, redelivered, states, busy } = &made;
        registry.register(Box::new(windows.clone()))?;
        registry.register(Box::new(audio.clone()))?;
        registry.register(Box::new(work.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        registry.register(Box::new(redelivered.clone()))?;
        registry.register(Box::new(states.clone()))?;
        registry.register(Box::new(busy.clone()))?;
        for kind in ["file", "live"] {
            windows.with_label_values(&[kind]);
        }
        Ok(made)
    }

    /// A window was heard.
    pub(super) fn heard(&self, kind: &str, seconds: f64, heard: &Heard) {
        self.windows.with_label_values(&[kind]).inc();
        self.audio.inc_by(seconds);
        for (step, time) in [("encode", heard.encode), ("decode", heard.decode), ("align", heard.align)] {
            self.work.with_label_values(&[step]).inc_by(time.as_secs_f64());
        }
    }

    /// A window was not heard.
    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    /// A job came that somebody had begun before.
    pub(super) fn redelivered(&self) {
        self.redelivered.inc();
    }

    /// Tells what was done in all.
    pub(super) fn tell(&self, worker: &str) {
        let windows = |kind| self.windows.with_label_values(&[kind]).get();
        tracing::info!(
            worker,
            windows = windows("file") + windows("live"),
            live = windows("live"),
            seconds = (self.audio.get() * 10.0).round() / 10.0,
            failed = self.failures.get(),
            redelivered = self.redelivered.get(),
            "the worker leaves"
        );
    }

    fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!("the metrics can't be written: {error}");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

/// Answers for as long as the worker works.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("health and metrics are not told any more: {error}");
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if *shared.leaving.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "the worker leaves\n").into_response()
    } else if !shared.broker.is_connected() {
        (StatusCode::SERVICE_UNAVAILABLE, "the broker can't be reached\n").into_response()
    } else {
        "ready\n".into_response()
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let Counters { states, busy, .. } = &shared.counters;
    states.set(shared.pool.states() as f64);
    busy.set(shared.pool.busy() as f64);
    ([(header::CONTENT_TYPE, METRICS)], shared.counters.render()).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn what_is_done_is_counted() {
        let counters = Counters::new().unwrap();
        counters.heard("file", 2.5, &Heard::default());
        counters.failed();
        let text = counters.render();
        for line in [
            "imesli_worker_windows_total{kind=\"file\"} 1",
            "imesli_worker_windows_total{kind=\"live\"} 0",
            "imesli_worker_audio_seconds_total 2.5",
            "imesli_worker_failures_total 1",
            "imesli_worker_redelivered_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
