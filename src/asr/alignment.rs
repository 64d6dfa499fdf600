//! When each token was said, by the attention of the decoder to the audio. Pure.
//!
//! OpenAI's method (`find_alignment` in whisper/timing.py), step for step: the weights of each chosen head are
//! normalised over the tokens, so that a frame which all tokens look at says nothing, smoothed over time by a
//! median, and averaged over the heads; dynamic time warping then finds the way through tokens and frames, forward
//! in both, on which the most attention lies.

use super::model::{Dims, Head};

/// Seconds of an encoder position.
pub const FRAME_SECONDS: f64 = 0.02;
/// Frames of the median filter.
const MEDIAN_WIDTH: usize = 7;

/// The heads to look at: those of the checkpoint that the model has, else all of the last half of the layers, as
/// OpenAI does for a model that it knows no better of.
pub fn heads(of_checkpoint: &[Head], dims: Dims) -> Vec<Head> {
    let within = |n: i32, bound: usize| usize::try_from(n).is_ok_and(|n| n < bound);
    let known: Vec<Head> = of_checkpoint
        .iter()
        .copied()
        .filter(|h| within(h.layer, dims.n_text_layer) && within(h.head, dims.n_text_head))
        .collect();
    if !known.is_empty() {
        return known;
    }
    let all = |n: usize| 0..i32::try_from(n).unwrap_or(i32::MAX);
    let layers = all(dims.n_text_layer).skip(dims.n_text_layer / 2);
    layers.flat_map(|layer| all(dims.n_text_head).map(move |head| Head { layer, head })).collect()
}

/// What the heads say together: for each token and frame how much more than others the token looks there.
#[derive(Debug)]
pub struct Evidence {
    frames: usize,
    heads: usize,
    /// Tokens × frames, the sum over the heads.
    sum: Vec<f32>,
}

impl Evidence {
    /// Nothing yet.
    pub fn new(tokens: usize, frames: usize) -> Self {
        Self { frames, heads: 0, sum: vec![0.0; tokens * frames] }
    }

    /// Adds heads: heads × tokens × frames weights.
    pub fn add(&mut self, weights: &mut [f32]) {
        for head in weights.chunks_exact_mut(self.sum.len().max(1)) {
            normalise(head, self.frames);
            for (row, sum) in head.chunks_exact(self.frames).zip(self.sum.chunks_exact_mut(self.frames)) {
                add_median(row, sum);
            }
            self.heads += 1;
        }
    }

    /// The frame in which each of `tokens`, a range of rows, begins. `None` when the evidence is not made of numbers.
    pub fn begins(&self, tokens: std::ops::Range<usize>) -> Option<Vec<usize>> {
        let rows = self.sum.get(tokens.start * self.frames..tokens.end * self.frames)?;
        let scale = -1.0 / self.heads.max(1) as f32;
        let cost: Vec<f32> = rows.iter().map(|sum| sum * scale).collect();
        cost.iter().all(|c| c.is_finite()).then(|| warp(&cost, self.frames))
    }
}

/// Subtracts from each frame its mean over the tokens, and divides it by its standard deviation.
fn normalise(head: &mut [f32], frames: usize) {
    /// A frame that all tokens look at alike, but for rounding, tells them apart by nothing.
    const ALIKE: f32 = 1e-6;
    let tokens = (head.len() / frames.max(1)).max(1) as f32;
    let mut mean = vec![0.0; frames];
    for row in head.chunks_exact(frames) {
        mean.iter_mut().zip(row).for_each(|(sum, w)| *sum += w);
    }
    mean.iter_mut().for_each(|sum| *sum /= tokens);
    let mut squares = vec![0.0; frames];
    for row in head.chunks_exact(frames) {
        let differences = row.iter().zip(&mean).map(|(w, mean)| w - mean);
        squares.iter_mut().zip(differences).for_each(|(sum, d)| *sum += d * d);
    }
    let deviations = squares.iter().map(|sum| (sum / tokens).sqrt());
    let factors: Vec<f32> = deviations
        .zip(&mean)
        .map(|(deviation, mean)| if deviation <= ALIKE * mean.abs() { 0.0 } else { deviation.recip() })
        .collect();
    for row in head.chunks_exact_mut(frames) {
        for ((w, mean), factor) in row.iter_mut().zip(&mean).zip(&factors) {
            *w = (*w - mean) * factor;
        }
    }
}

/// Adds the median of the [`MEDIAN_WIDTH`] frames around each frame; at the ends the row is mirrored. A row too short
/// for that is added as it is.
fn add_median(row: &[f32], sum: &mut [f32]) {
    const HALF: usize = MEDIAN_WIDTH / 2;
    if row.len() <= HALF {
        return sum.iter_mut().zip(row).for_each(|(sum, w)| *sum += w);
    }
    let before = row.get(1..=HALF).unwrap_or_default().iter().rev();
    let after = row.iter().rev().skip(1).take(HALF);
    let mirrored: Vec<f32> = before.chain(row).chain(after).copied().collect();
    for (around, sum) in mirrored.windows(MEDIAN_WIDTH).zip(sum) {
        if let Ok(around) = around.try_into() {
            *sum += median(around);
        }
    }
}

/// By a sorting network: no branches, so that the compiler can use vector registers.
fn median([a, b, c, d, e, f, g]: [f32; MEDIAN_WIDTH]) -> f32 {
    let order = |x: f32, y: f32| (x.min(y), x.max(y));
    let ((a, g), (c, d), (e, f)) = (order(a, g), order(c, d), order(e, f));
    let ((a, c), (b, e), (d, g)) = (order(a, c), order(b, e), order(d, g));
    let ((_, b), (c, f), (d, e)) = (order(a, b), order(c, f), order(d, e));
    let ((_, c), (e, _)) = (order(b, c), order(e, g));
    let ((_, d), (e, _)) = (order(c, d), order(e, f));
    d.min(e)
}

/// Dynamic time warping over rows × `columns` costs, all finite: the column in which the cheapest way from the first row and
/// column to the last, forward in both, reaches each row.
fn warp(cost: &[f32], columns: usize) -> Vec<usize> {
    /// Where a step comes from.
    #[derive(Clone, Copy, PartialEq)]
    enum Step {
        Both,
        Row,
        Column,
    }
    let rows = cost.len() / columns.max(1);
    let mut steps = Vec::with_capacity(rows * columns);
    // The row above, with the column before the first in front.
    let mut above = vec![f32::INFINITY; columns + 1];
    if let Some(corner) = above.first_mut() {
        *corner = 0.0;
    }
    for row in cost.chunks_exact(columns) {
        let mut here = Vec::with_capacity(columns + 1);
        let mut left = f32::INFINITY;
        here.push(left);
        for (pair, cost) in above.windows(2).zip(row) {
            let &[both, up] = pair else { continue };
            // The order among equals is OpenAI's.
            let (least, step) = if both < up && both < left {
                (both, Step::Both)
            } else if up < both && up < left {
                (up, Step::Row)
            } else {
                (left, Step::Column)
            };
            left = least + cost;
            here.push(left);
            steps.push(step);
        }
        above = here;
    }
    let mut begins = vec![0; rows];
    let (mut row, mut column) = (rows.saturating_sub(1), columns.saturating_sub(1));
    while let Some(begin) = begins.get_mut(row) {
        *begin = column;
        let step = match (row, column) {
            (0, _) => break, // its first column, whatever the way there
            (_, 0) => Step::Row,
            _ => steps.get(row * columns + column).copied().unwrap_or(Step::Row),
        };
        row -= usize::from(step != Step::Column);
        column -= usize::from(step != Step::Row);
    }
    if let Some(first) = begins.first_mut() {
        *first = 0;
    }
    begins
}

#[cfg(test)]
#[path = "alignment_tests.rs"]
mod tests;
