//! What of a recording is decoded, and in which windows.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::recognizer::Cancel;
use super::transcriber::{SkipReason, Skipped, Transcript};
use crate::audio::SAMPLE_RATE;
use crate::audio::excerpt::Excerpt;
use crate::audio::samples::Samples;
use crate::audio::voice::VoiceDetector;
use crate::audio::window::{Window, windows};
use crate::error::{Error, Result};

/// What is to be decoded.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is left of the recording without long stretches in which nobody speaks.
    pub(super) excerpt: Arc<Excerpt>,
    /// Its windows.
    pub(super) windows: Vec<Window>,
    /// Where in the recording somebody speaks; `None` where nobody listened for it.
    pub(super) speech: Option<Vec<Range<usize>>>,
    /// The time that listening took.
    pub(super) listening: Duration,
}

impl Plan {
    /// Brings the times of a transcript of the excerpt to those of the recording, and says what it covers.
    pub(super) fn place(&self, transcript: &mut Transcript) {
        let start = |time: &mut f64| *time = moved(*time, |at| self.excerpt.start_in_recording(at));
        let end = |time: &mut f64| *time = moved(*time, |at| self.excerpt.end_in_recording(at));
        for segment in &mut transcript.segments {
            start(&mut segment.start);
            end(&mut segment.end);
            segment.end = segment.end.max(segment.start);
            for word in &mut segment.words {
                start(&mut word.start);
                end(&mut word.end);
                word.end = word.end.max(word.start);
            }
        }
        for time in transcript.token_times.iter_mut().flatten() {
            start(&mut time.start);
            end(&mut time.end);
        }
        transcript.duration = self.excerpt.recording_seconds();
        transcript.decoded = self.excerpt.seconds();
        let span = |span: &Range<usize>| seconds(span.start)..seconds(span.end);
        transcript.speech = self.speech.as_ref().map(|spans| spans.iter().map(span).collect());
        let skipped = |gap: Range<usize>| Skipped {
            start: seconds(gap.start),
            end: seconds(gap.end),
            reason: SkipReason::NoSpeech,
        };
        transcript.skipped = self.excerpt.gaps().into_iter().map(skipped).collect();
        transcript.timings.listening = self.listening;
    }
}

/// Plans the work on a recording. It is read from end to end for it, where that holds up nobody. Without a detector
/// all of it is to be decoded.
pub(super) async fn plan(
    samples: &Arc<Samples>,
    detector: Option<&Arc<VoiceDetector>>,
    cancel: &Cancel,
) -> Result<Plan> {
    let (samples, detector, cancel) = (Arc::clone(samples), detector.cloned(), cancel.clone());
    let planned = tokio::task::spawn_blocking(move || {
        let begin = Instant::now();
        let speech = detector.map(|detector| detector.speech(&samples, || cancel.check())).transpose()?;
        let listening = begin.elapsed();
        let excerpt = match &speech {
            Some(speech) => Excerpt::around(samples, speech),
            None => Excerpt::whole(samples),
        };
        let windows = windows(&excerpt).map(|window| cancel.check().and(window)).collect::<Result<_>>()?;
        Ok(Plan { excerpt: Arc::new(excerpt), windows, speech, listening })
    });
    planned.await.map_err(|error| Error::internal_from("looking for speech and pauses", error))?
}

/// A time of the excerpt in the recording. Where nothing is left out it stays as it is, to the last bit.
fn moved(time: f64, to_recording: impl Fn(usize) -> usize) -> f64 {
    let position = (time * f64::from(SAMPLE_RATE)).round() as usize;
    time + (seconds(to_recording(position)) - seconds(position))
}

/// Samples in seconds.
fn seconds(samples: usize) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}
