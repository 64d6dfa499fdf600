//! Where to cut a recording that is too long for the model. Pure.
//!
//! A window ends in a pause where there is one near its end: then no word is cut, and the next window begins
//! exactly there. Where speech runs on, the window is full, and the next one begins a second earlier, so that a
//! word cut at the end of the one is whole in the other.

use std::ops::Range;

use super::SAMPLE_RATE;
use super::excerpt::Excerpt;
use crate::error::Result;

/// What the model takes at once.
pub const WINDOW_SECONDS: usize = 30;
/// [`WINDOW_SECONDS`] in samples.
pub const WINDOW_SAMPLES: usize = WINDOW_SECONDS * RATE;
/// A window that ends in the middle of speech: two seconds less, so that the model sees that the audio ends. In one
/// that is full to its last sample it leaves out words, and not only at the end (docs/long.md).
const RUN_ON_SAMPLES: usize = WINDOW_SAMPLES - 2 * RATE;
/// How much of a window comes again in the next one where no pause was found: one second, longer than any
/// word of fluent speech.
pub const OVERLAP_SAMPLES: usize = RATE;

const RATE: usize = SAMPLE_RATE as usize;

/// The part of a full window, at its end, that is searched for a pause. A shorter one would find fewer pauses, a
/// longer one costs windows: at worst a fifth more.
const SEARCH_FRAMES: usize = 6 * RATE / FRAME;
/// Energy is measured over 20 ms: longer than the period of any voice, shorter than any sound of speech.
const FRAME: usize = RATE / 50;
/// The shortest pause: 200 ms. The closure of a "t" or "k" inside a word is silent too, but for at most 150 ms.
const MIN_PAUSE_FRAMES: usize = 10;
/// Pauses longer than this are all equally good: 600 ms.
const LONG_PAUSE_FRAMES: usize = 30;
/// Frames over which the quietest moments are averaged: 100 ms.
const SMOOTH_FRAMES: usize = 5;
/// In a clean recording, what is this much below the loud parts is a pause (weak fricatives are some 25 dB below
/// the vowels).
const CLEAN_DEPTH_DB: f32 = 30.0;
/// In noisy ones: noise of speech-like colour strays by 2 dB.
const MARGIN: Margin = Margin { above_noise_db: 4.0, min_depth_db: 8.0 };
/// What counts as digital silence.
const FLOOR_DB: f32 = -100.0;

/// A stretch of a recording that goes to the model in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its samples within the excerpt.
    pub range: Range<usize>,
    /// How many samples at its beginning are also the end of the window before.
    pub overlap: usize,
    /// How many of its samples are in no pause: what a speaking rate is taken over.
    pub speech: usize,
}

impl Window {
    /// The length of its overlap with the window before, in seconds.
    pub fn overlap_seconds(&self) -> f64 {
        self.overlap as f64 / f64::from(SAMPLE_RATE)
    }

    /// Its length without pauses, in seconds.
    pub fn speech_seconds(&self) -> f64 {
        self.speech as f64 / f64::from(SAMPLE_RATE)
    }
}

/// The windows of an excerpt, of at most [`WINDOW_SAMPLES`] each, in order: together they cover all of it. It is
/// read as it goes, one window at a time.
///
/// Fails with the error of [`Excerpt::read`], and ends there.
pub fn windows(excerpt: &Excerpt) -> Windows<'_> {
    Windows { excerpt, start: 0, overlap: 0 }
}

/// See [`windows`].
#[derive(Debug)]
pub struct Windows<'a> {
    excerpt: &'a Excerpt,
    /// Where the next window begins, and how much of it the one before has already.
    start: usize,
    overlap: usize,
}

impl Iterator for Windows<'_> {
    type Item = Result<Window>;

    fn next(&mut self) -> Option<Result<Window>> {
        let Self { excerpt, start, overlap } = *self;
        let all = excerpt.len();
        if start + overlap >= all {
            return None;
        }
        let full = match excerpt.read(start..start + WINDOW_SAMPLES) {
            Ok(full) => full,
            Err(error) => {
                self.start = all;
                return Some(Err(error));
            }
        };
        let pauses = Pauses::find(&full);
        // The last window has nothing to end in a pause for.
        let (is_last, pause) =
            if start + full.len() < all { (false, pauses.best_end()) } else { (true, None) };
        let length = pause.unwrap_or(if is_last { full.len() } else { RUN_ON_SAMPLES });
        let end = start + length;
        self.overlap = if pause.is_some() || end == all { 0 } else { OVERLAP_SAMPLES };
        self.start = end - self.overlap;
        Some(Ok(Window { range: start..end, overlap, speech: length - pauses.within(length) }))
    }
}

/// The energy of a window, and where it is low for long.
struct Pauses {
    energy: Vec<f32>,
    /// In frames, in order.
    runs: Vec<Range<usize>>,
}

impl Pauses {
    fn find(window: &[f32]) -> Self {
        let energy: Vec<f32> = window.chunks_exact(FRAME).map(mean_square).collect();
        let runs = quiet_runs(&energy, MIN_PAUSE_FRAMES, MARGIN);
        Self { energy, runs }
    }

    /// Samples that are in a pause, among the first `length`.
    fn within(&self, length: usize) -> usize {
        self.runs.iter().map(|run| (run.end * FRAME).min(length).saturating_sub(run.start * FRAME)).sum()
    }

    /// The best place to end the window in a pause, in its last [`SEARCH_FRAMES`].
    fn best_end(&self) -> Option<usize> {
        let first = self.energy.len().saturating_sub(SEARCH_FRAMES);
        let inside = self.runs.iter().map(|run| run.start.max(first)..run.end.max(first));
        let long = inside.filter(|run| run.len() >= MIN_PAUSE_FRAMES);
        // A long pause is surer to be one; a late one wastes less of the window. Equal weights.
        let score = |run: &Range<usize>| {
            let length = run.len().min(LONG_PAUSE_FRAMES) as f32 / LONG_PAUSE_FRAMES as f32;
            length + (run.end - first) as f32 / SEARCH_FRAMES as f32
        };
        let best = long.max_by(|a, b| score(a).total_cmp(&score(b)))?;
        Some(quietest(&self.energy, best) * FRAME)
    }
}

/// What a pause is in a noisy recording.
#[derive(Debug, Clone, Copy)]
pub(super) struct Margin {
    /// No more than this above the noise.
    pub(super) above_noise_db: f32,
    /// And this much below the loud parts.
    pub(super) min_depth_db: f32,
}

/// The runs of at least `min_frames` frames whose energy is that of a pause, in order.
pub(super) fn quiet_runs(energy: &[f32], min_frames: usize, margin: Margin) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    if let Some(threshold) = pause_threshold(energy, margin) {
        let mut start = 0;
        // A loud frame behind the last one ends the last run.
        for (index, &frame) in energy.iter().chain([&f32::INFINITY]).enumerate() {
            if frame > threshold {
                if index - start >= min_frames {
                    runs.push(start..index);
                }
                start = index + 1;
            }
        }
    }
    runs
}

/// The energy below which a frame belongs to a pause, or `None` where loud and quiet can't be told apart.
fn pause_threshold(energy: &[f32], margin: Margin) -> Option<f32> {
    let mut sorted = energy.to_vec();
    sorted.sort_by(f32::total_cmp);
    let loud = decibels(sorted.get(sorted.len() * 9 / 10).copied()?);
    let quiet = energy.windows(SMOOTH_FRAMES).map(mean).fold(f32::INFINITY, f32::min);
    let in_noise = decibels(quiet) + margin.above_noise_db;
    let threshold = (loud - CLEAN_DEPTH_DB).max(in_noise).min(loud - margin.min_depth_db);
    (threshold > decibels(quiet)).then(|| 10_f32.powf(threshold / 10.0))
}

/// The frame at which to cut a pause: where it is quietest, in its second half but not at its very end, so
/// that the next window begins a little before speech does.
fn quietest(energy: &[f32], run: Range<usize>) -> usize {
    let from = run.start.max(run.end.saturating_sub(LONG_PAUSE_FRAMES)).midpoint(run.end);
    let to = run.end - SMOOTH_FRAMES;
    let level = |at: usize| {
        let around = at.saturating_sub(SMOOTH_FRAMES / 2)..at + SMOOTH_FRAMES / 2 + 1;
        mean(energy.get(around).unwrap_or_default())
    };
    (from.min(to)..=to).min_by(|&a, &b| level(a).total_cmp(&level(b))).unwrap_or(to)
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

pub(super) fn mean_square(frame: &[f32]) -> f32 {
    frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len().max(1) as f32
}

fn decibels(energy: f32) -> f32 {
    (10.0 * energy.log10()).max(FLOOR_DB)
}
