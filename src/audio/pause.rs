//! Where nothing is said, fine enough to tell where words begin and end. Pure.
//!
//! [`window`](super::window) looks for pauses that are safe to cut in; here the ends of a pause matter, and short
//! ones between two words too.

use std::ops::Range;

use super::SAMPLE_RATE;
use super::window::{Margin, mean_square, quiet_runs};

const RATE: usize = SAMPLE_RATE as usize;
/// Energy is measured each 10 ms …
const HOP: usize = RATE / 100;
/// … over 20 ms: longer than the period of any voice.
const FRAME: usize = 2 * HOP;
/// The shortest pause: 80 ms. Many closures inside a word are shorter; of the others none is near a word's edge, where
/// alone pauses are of interest.
const MIN_FRAMES: usize = 8;
/// Less than what is needed to cut a recording: a pause that is none costs a word at most 0.1 s.
const MARGIN: Margin = Margin { above_noise_db: 3.0, min_depth_db: 4.0 };

/// The pauses in `samples`, in order, as ranges of samples. None where loud and quiet can't be told apart.
pub fn pauses(samples: &[f32]) -> Vec<Range<usize>> {
    let frame = |index: usize| {
        let begin = (index * HOP).saturating_sub(HOP / 2);
        let end = (index * HOP + FRAME - HOP / 2).min(samples.len());
        mean_square(samples.get(begin..end).unwrap_or_default())
    };
    let energy: Vec<f32> = (0..samples.len() / HOP).map(frame).collect();
    let to_samples = |run: Range<usize>| {
        let end = if run.end == energy.len() { samples.len() } else { run.end * HOP };
        run.start * HOP..end
    };
    quiet_runs(&energy, MIN_FRAMES, MARGIN).into_iter().map(to_samples).collect()
}
