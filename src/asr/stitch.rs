//! The windows' texts joined to one. Pure.
//!
//! Where two windows share a second of audio, the words of that second are in both texts, and belong into the
//! result once; the word at the very edge of a window was cut and may be missing, maimed or made up. So the end
//! of the left text is laid over the beginning of the right one in every plausible way, and the likeliest wins.
//! A way (an `Overlay`) says how many words the texts share and whether the left text's last word or the right
//! text's first is a maimed one that goes. Its score is a sum of log-probabilities:
//!
//! - **How many words the overlap should hold**: a normal distribution around *overlap × speaking rate*, the
//!   rate being that of both windows together, without their pauses. A word that went counts half: half of it was in the overlap.
//! - **What agreement proves**: two words that agree by chance do so with the probability `p` of that word in
//!   these texts, so agreement is worth `-ln p`. A repetition proves nothing new: in "one one one one" any
//!   number of words agrees, so only the first counts, and the speaking rate decides.
//! - **What disagreement costs**: a maimed word at the edge costs little where it resembles what the other window
//!   heard, more where it does not; a word heard differently in the middle is allowed once, among three or more.

use std::collections::{HashMap, HashSet};

use super::word::{Word, words};
use crate::audio::window::Window;

#[cfg(test)]
mod tests;

/// One window and what was said in it.
#[derive(Debug, Clone)]
pub struct WindowText {
    /// Where the text is from.
    pub window: Window,
    /// What the model made of it.
    pub text: String,
}

/// The least variance of the word count in an overlap: its two edges each fall somewhere in a word.
const COUNT_VARIANCE: f64 = 0.6;
/// How much the speaking rate in one second strays from the mean, as a share of it.
const RATE_DEVIATION: f64 = 0.25;
/// ln-probability that the model maims a word that the window's edge cuts, into something alike.
const MAIMED_ALIKE: f64 = -0.5;
/// The same into something else.
const MAIMED: f64 = -2.0;
/// ln-probability that two windows hear a whole word differently.
const HEARD_DIFFERENTLY: f64 = -3.0;
/// The most words that an overlay tries; enough for a second of any speech, also by characters.
const MAX_SHARED: usize = 24;

/// The words of consecutive windows, in order, joined: each says which part of `parts` it is from.
pub fn stitch(parts: &[WindowText]) -> Vec<Word> {
    let mut joined: Vec<Word> = Vec::new();
    let mut previous: Option<(usize, f64)> = None;
    for (index, part) in parts.iter().enumerate() {
        let right = words(&part.text, index);
        let (count, seconds) = (right.len(), part.window.speech_seconds());
        match previous.filter(|_| part.window.overlap > 0) {
            Some((left_count, left_seconds)) => {
                let rate = (left_count + count) as f64 / (left_seconds + seconds).max(1.0);
                // What stands before the window on the left was settled by the join before.
                let tail = joined.len() - left_count.min(joined.len());
                let left = joined.split_off(tail);
                joined.extend(merge(left, right, part.window.overlap_seconds() * rate));
            }
            None => joined.extend(right),
        }
        previous = Some((count, seconds));
    }
    joined
}

/// One way to lay the right text over the left one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Overlay {
    /// Words that both texts have.
    shared: usize,
    /// Whether the left text's last word is maimed (1) or not (0).
    left_edge: usize,
    /// The same of the right text's first word.
    right_edge: usize,
}

/// Joins two texts whose audio shares about `expected` words.
fn merge(mut left: Vec<Word>, right: Vec<Word>, expected: f64) -> Vec<Word> {
    let Overlay { shared, left_edge, right_edge } = best_overlay(&left, &right, expected);
    left.truncate(left.len() - left_edge);
    // Up to the middle of the overlap the left window heard better, from there the right one.
    let from_right = shared / 2;
    left.truncate(left.len() - from_right);
    let mut right = right.into_iter().skip(right_edge + (shared - from_right - shared.min(1)));
    if shared > 0 {
        // Punctuation at the end of a window is a guess: the seam has that of the window that went on.
        let seam = left.pop().zip(right.next());
        left.extend(seam.map(|(word, other)| word.with_tail_of(&other)));
    }
    left.extend(right);
    left
}

fn best_overlay(left: &[Word], right: &[Word], expected: f64) -> Overlay {
    let frequency = Frequency::of(left, right);
    let most = ((2.0 * expected).ceil() as usize + 3).min(MAX_SHARED);
    let mut best = (f64::NEG_INFINITY, Overlay::default());
    for shared in 0..=most {
        for (left_edge, right_edge) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let overlay = Overlay { shared, left_edge, right_edge };
            let Some(score) = overlay.score(left, right, expected, &frequency) else { continue };
            if score > best.0 {
                best = (score, overlay);
            }
        }
    }
    best.1
}

impl Overlay {
    /// How likely this way is, or `None` where the texts don't allow it.
    fn score(self, left: &[Word], right: &[Word], expected: f64, frequency: &Frequency) -> Option<f64> {
        let left_end = left.len().checked_sub(self.left_edge)?;
        let left_start = left_end.checked_sub(self.shared)?;
        let right_end = self.right_edge + self.shared;
        let pairs = left.get(left_start..left_end)?.iter().zip(right.get(self.right_edge..right_end)?);

        let count = self.shared as f64 + 0.5 * (self.left_edge + self.right_edge) as f64;
        let variance = COUNT_VARIANCE + (RATE_DEVIATION * expected).powi(2);
        let mut score = -(count - expected).powi(2) / (2.0 * variance);

        let mut different = 0;
        let mut seen = HashSet::new();
        let mut before: Option<&str> = None;
        for (left, right) in pairs {
            if left.key != right.key {
                different += 1;
                score += HEARD_DIFFERENTLY;
            } else if before != Some(&left.key) && seen.insert((before, left.key.as_str())) {
                score -= frequency.ln(&left.key);
            }
            before = Some(&left.key);
        }
        if different > usize::from(self.shared >= 3) {
            return None;
        }
        if self.left_edge == 1 {
            // The next window has the word whole: behind what is shared.
            let maimed = left.get(left_end)?;
            score +=
                edge_score(right.get(right_end), self.shared, |whole| starts_alike(&maimed.key, &whole.key))?;
        }
        if self.right_edge == 1 {
            let maimed = right.first()?;
            let whole = left_start.checked_sub(1).and_then(|index| left.get(index));
            score += edge_score(whole, self.shared, |whole| ends_alike(&maimed.key, &whole.key))?;
        }
        Some(score)
    }
}

/// What a maimed word costs. With nothing else shared, only likeness tells that it is one.
fn edge_score(whole: Option<&Word>, shared: usize, alike: impl Fn(&Word) -> bool) -> Option<f64> {
    match whole {
        Some(whole) if alike(whole) => Some(MAIMED_ALIKE),
        _ if shared == 0 => None,
        _ => Some(MAIMED),
    }
}

/// How often each word is said in two windows.
struct Frequency<'a> {
    counts: HashMap<&'a str, usize>,
    total: usize,
}

impl<'a> Frequency<'a> {
    fn of(left: &'a [Word], right: &'a [Word]) -> Self {
        let mut counts = HashMap::new();
        for word in left.iter().chain(right) {
            *counts.entry(word.key.as_str()).or_default() += 1;
        }
        Self { counts, total: left.len() + right.len() }
    }

    /// The logarithm of a word's probability. A word that agrees was counted twice, once on each side, whence
    /// the half; one more word than there are keeps it below 1.
    fn ln(&self, key: &str) -> f64 {
        let count = self.counts.get(key).copied().unwrap_or(1) as f64 / 2.0;
        (count.max(1.0) / (self.total as f64 / 2.0 + 1.0)).min(1.0).ln()
    }
}

/// Whether two different words begin alike: two letters or more, and half of the shorter one.
fn starts_alike(a: &str, b: &str) -> bool {
    alike(a, b, a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count())
}

/// The same of their ends.
fn ends_alike(a: &str, b: &str) -> bool {
    alike(a, b, a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b).count())
}

fn alike(a: &str, b: &str, common: usize) -> bool {
    a != b && common >= 2 && 2 * common >= a.chars().count().min(b.chars().count())
}
