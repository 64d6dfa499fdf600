//! What a server counts, in Prometheus' text format.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    Opts, Registry, TextEncoder,
};

use super::Shared;
use super::job::Front;
use super::protocol::Code;
use crate::asr::catalog::Available;
use crate::error::{Error, Result};

/// Upper bounds in seconds, from a busy machine's shortest window to the longest file's wait.
const SECONDS: &[f64] = &[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];
/// Upper bounds of seconds of work for a second of audio.
const FACTORS: &[f64] = &[0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 5.0];

/// The counters of a server.
pub(super) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    audio: CounterVec,
    waited: HistogramVec,
    took: HistogramVec,
    factor: HistogramVec,
    encode: Histogram,
    decode: Histogram,
    reloads: IntCounter,
    uptime: Gauge,
    queued_requests: Gauge,
    queued_seconds: Gauge,
    states: GaugeVec,
    workers: GaugeVec,
    pending: GaugeVec,
    held: GaugeVec,
    connections: Gauge,
    streams: Gauge,
    uploads: Gauge,
    begun: Instant,
    /// One reader at a time: what is known of models is put together anew for each.
    rendering: Mutex<()>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Registers metrics as they are made.
struct Maker(Registry);

impl Maker {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> prometheus::Result<C> {
        let made = made?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, labels))
    }
}

impl Metrics {
    /// All at nothing.
    ///
    /// # Errors
    /// [`Error::Internal`] when two have one name, which a test would see.
    pub(super) fn new() -> Result<Self> {
        Self::made().map_err(|error| Error::internal_from("making the metrics", error))
    }

    fn made() -> prometheus::Result<Self> {
        let make = Maker(Registry::new());
        let options = Opts::new;
        let front = &["front"];
        let model = &["model", "revision"];
        Ok(Self {
            requests: make.add(IntCounterVec::new(
                options(
                    "imesli_requests_total",
                    "Requests for a text that have ended, by where they came in and how.",
                ),
                &["front", "outcome"],
            ))?,
            audio: make.add(CounterVec::new(
                options("imesli_audio_seconds_total", "Seconds of audio that were transcribed."),
                front,
            ))?,
            waited: make.histogram(
                "imesli_wait_seconds",
                "Time that a request waited: for earlier audio of its connection, and for a state.",
                SECONDS,
                front,
            )?,
            took: make.histogram(
                "imesli_request_seconds",
                "Time from the beginning of a request to its text.",
                SECONDS,
                front,
            )?,
            factor: make.histogram(
                "imesli_real_time_factor",
                "Seconds from the beginning of a request to its text, for each second of its audio.",
                FACTORS,
                front,
            )?,
            encode: make.add(Histogram::with_opts(
                HistogramOpts::new("imesli_window_encode_seconds", "Spectrogram and encoder of a window.")
                    .buckets(SECONDS.to_vec()),
            ))?,
            decode: make.add(Histogram::with_opts(
                HistogramOpts::new(
                    "imesli_window_decode_seconds",
                    "Token search and word times of a window.",
                )
                .buckets(SECONDS.to_vec()),
            ))?,
            reloads: make.add(IntCounter::new(
                "imesli_model_reloads_total",
                "Times that the model was loaded anew.",
            ))?,
            uptime: make.add(Gauge::new("imesli_uptime_seconds", "Time since the server began."))?,
            queued_requests: make
                .add(Gauge::new("imesli_queue_requests", "Requests that wait or are worked on."))?,
            queued_seconds: make.add(Gauge::new(
                "imesli_queue_audio_seconds",
                "Seconds of their audio that are not done, as far as they are known.",
            ))?,
            states: make.add(GaugeVec::new(
                options("imesli_states", "States of all models, by what they do."),
                &["activity"],
            ))?,
            workers: make.add(GaugeVec::new(
                options("imesli_workers", "Workers elsewhere that have a model loaded."),
                model,
            ))?,
            pending: make.add(GaugeVec::new(
                options("imesli_pending_windows", "Windows that wait for a worker elsewhere."),
                model,
            ))?,
            held: make.add(GaugeVec::new(
                options("imesli_held_bytes", "Bytes of messages, audio and uploads, by where they are."),
                &["place"],
            ))?,
            connections: make.add(Gauge::new("imesli_connections", "Connections that are open."))?,
            streams: make.add(Gauge::new("imesli_streams", "Streams of live audio that are known."))?,
            uploads: make.add(Gauge::new("imesli_uploads", "Uploads that are coming in."))?,
            registry: make.0,
            begun: Instant::now(),
            rendering: Mutex::new(()),
        })
    }

    /// A request that has ended; the code is that of its error.
    pub(super) fn request(&self, front: Front, code: Option<Code>) {
        self.requests.with_label_values(&[front.name(), &outcome(code)]).inc();
    }

    /// A recording that was transcribed.
    pub(super) fn recording(&self, front: Front, seconds: f64, waited: Duration, took: Duration) {
        let front_name = &[front.name()];
        self.audio(front, seconds);
        self.waited.with_label_values(front_name).observe(waited.as_secs_f64());
        self.took.with_label_values(front_name).observe(took.as_secs_f64());
        if seconds > 0.0 {
            self.factor.with_label_values(front_name).observe(took.as_secs_f64() / seconds);
        }
    }

    /// Audio that was transcribed.
    pub(super) fn audio(&self, front: Front, seconds: f64) {
        self.audio.with_label_values(&[front.name()]).inc_by(seconds.max(0.0));
    }

    /// A window that was heard.
    pub(super) fn window(&self, encode: Duration, decode: Duration) {
        self.encode.observe(encode.as_secs_f64());
        self.decode.observe(decode.as_secs_f64());
    }

    /// How many those were.
    #[cfg(test)]
    pub(super) fn windows(&self) -> u64 {
        self.encode.get_sample_count()
    }

    /// The model was loaded anew.
    pub(super) fn reloaded(&self) {
        self.reloads.inc();
    }

    /// What there is of models elsewhere; those that are gone are not told of any more.
    fn elsewhere(&self, models: &[Available]) {
        self.workers.reset();
        self.pending.reset();
        for model in models {
            let labels = [model.id.as_str(), model.revision.as_deref().unwrap_or_default()];
            self.workers.with_label_values(&labels).set(model.workers as f64);
            self.pending.with_label_values(&labels).set(model.waiting as f64);
        }
    }

    /// All of it, as Prometheus reads it.
    pub(super) fn render(&self, shared: &Shared) -> String {
        let (requests, seconds) = shared.queue.load();
        let models = shared.engine.models();
        let states: usize = models.iter().map(|model| model.states).sum();
        let busy: usize = models.iter().map(|model| model.busy).sum();
        let _alone = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        self.uptime.set(self.begun.elapsed().as_secs_f64());
        self.queued_requests.set(requests as f64);
        self.queued_seconds.set(seconds);
        self.states.with_label_values(&["busy"]).set(busy as f64);
        self.states.with_label_values(&["idle"]).set(states.saturating_sub(busy) as f64);
        if !shared.engine.is_own() {
            self.elsewhere(&models);
        }
        self.held.with_label_values(&["memory"]).set(shared.memory.used() as f64);
        self.held.with_label_values(&["disk"]).set(shared.disk.used() as f64);
        self.connections.set(shared.connections() as f64);
        self.streams.set(shared.streams.count() as f64);
        self.uploads.set(shared.uploads.count() as f64);
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!("the metrics can't be written: {error}");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

/// How a request ended: `ok`, or its error's code in lower case.
fn outcome(code: Option<Code>) -> String {
    let code = code.and_then(|code| serde_json::to_value(code).ok());
    let code = code.as_ref().and_then(serde_json::Value::as_str);
    code.map_or_else(|| "ok".to_owned(), str::to_lowercase)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn outcomes_are_codes_in_lower_case() {
        assert_eq!(outcome(None), "ok");
        assert_eq!(outcome(Some(Code::AudioLoadError)), "audio_load_error");
    }

    #[test]
    fn models_that_are_gone_are_not_told_of() {
        let metrics = Metrics::new().unwrap();
        let model = |id: &str, workers, waiting| {
            let (id, revision) = (id.to_owned(), Some("3f".to_owned()));
            Available { id, revision, since: 0, workers, states: 1, busy: 0, waiting }
        };
        let text = || TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
        assert!(!text().contains("imesli_workers"));
        metrics.elsewhere(&[model("a", 2, 5), model("b", 1, 0)]);
        let both = text();
        assert!(both.contains("\nimesli_workers{model=\"a\",revision=\"3f\"} 2\n"), "{both}");
        assert!(both.contains("\nimesli_pending_windows{model=\"a\",revision=\"3f\"} 5\n"), "{both}");
        metrics.elsewhere(&[model("b", 1, 0)]);
        let one = text();
        assert!(one.contains("model=\"b\"") && !one.contains("model=\"a\""), "{one}");
    }

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        assert!(Metrics::new().is_ok());
    }
}
