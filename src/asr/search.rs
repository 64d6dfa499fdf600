//! The token search: greedy, beam, and drawing at a temperature, over whatever gives logits. Pure.
//!
//! The beam search is transformers' (`GenerationMixin._beam_search` of version 5, `do_sample=False`,
//! `early_stopping=False`), step for step, because its text is the reference: log-probabilities are taken
//! before the [`Rules`] forbid anything and are not normalised again; `2 × beams` candidates are drawn from
//! all beams; a candidate that ends counts only among the best `beams`; ended sequences are ranked by
//! their mean log-probability (length penalty 1.0), the end token included; the search stops when every
//! place is taken by an ended sequence and the best running one could not replace the worst of them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::model::Token;
use super::rules::Rules;
use crate::error::{Error, Result};

/// What the search needs of a model: logits for the sequences that it grows.
pub trait Decoder {
    /// Logits per row.
    fn n_vocab(&self) -> usize;

    /// The longest sequence, prompt included.
    fn max_positions(&self) -> usize;

    /// Forgets all sequences, decodes the prompt as one beam, and writes the logits after its last token into `logits`
    /// (`n_vocab` values).
    ///
    /// # Errors
    /// Whatever the model fails with.
    fn start(&mut self, prompt: &[Token], logits: &mut Vec<f32>) -> Result<()>;

    /// Replaces the beams: the i-th new beam is its parent among the old beams, and one token more. Writes
    /// `n_vocab` logits for each new beam, in their order.
    ///
    /// # Errors
    /// Whatever the model fails with.
    fn extend(&mut self, beams: &[Extension], logits: &mut Vec<f32>) -> Result<()>;
}

/// A beam of the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// The beam of this step that it continues.
    pub parent: usize,
    /// With which token.
    pub token: Token,
}

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchOptions {
    /// Sequences that are kept at a time; 1 is greedy.
    pub beams: usize,
    /// The most tokens to generate, the end token included. Bounded by the model's positions.
    pub max_new_tokens: usize,
    /// The exponent of the length by which an ended sequence's score is divided.
    pub length_penalty: f32,
    /// 0 searches for the likeliest text. Above, each token is drawn with its probability at this temperature, and
    /// there are no beams.
    pub temperature: f32,
}

impl Default for SearchOptions {
    /// The Python server's: five beams, no limit but the model's.
    fn default() -> Self {
        Self { beams: 5, max_new_tokens: usize::MAX, length_penalty: 1.0, temperature: 0.0 }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hypothesis {
    /// The generated tokens, without the prompt and without the end token.
    pub tokens: Vec<Token>,
    /// The log-probability of each of `tokens`, before any rule.
    pub log_probs: Vec<f32>,
    /// The sum of all log-probabilities, the end token's included.
    pub sum_log_prob: f32,
    /// Whether the model ended the sequence; false means that the limit cut it.
    pub ended: bool,
}

impl Hypothesis {
    /// Mean log-probability per generated token, the end token included.
    pub fn mean_log_prob(&self) -> f32 {
        let generated = self.tokens.len() + usize::from(self.ended);
        self.sum_log_prob / generated.max(1) as f32
    }

    fn push(&mut self, token: Token, log_prob: f32, end: Token) {
        self.sum_log_prob += log_prob;
        if token == end {
            self.ended = true;
        } else {
            self.tokens.push(token);
            self.log_probs.push(log_prob);
        }
    }
}

/// Searches for the text that follows `prompt`. `cancelled` is asked after every token.
///
/// # Errors
/// [`Error::InvalidInput`] for a prompt that leaves no room, [`Error::Cancelled`], and what `decoder`
/// fails with.
pub fn search(
    decoder: &mut impl Decoder,
    prompt: &[Token],
    rules: &Rules,
    options: SearchOptions,
    cancelled: &dyn Fn() -> bool,
) -> Result<Hypothesis> {
    let room = decoder.max_positions().saturating_sub(prompt.len());
    let limit = options.max_new_tokens.min(room);
    if prompt.is_empty() || limit == 0 {
        return Err(Error::InvalidInput(format!(
            "a prompt of {} tokens leaves no room for text in {} positions",
            prompt.len(),
            decoder.max_positions()
        )));
    }
    let mut search = Search { decoder, rules, limit, cancelled, logits: Vec::new() };
    if options.temperature > 0.0 {
        let mut random = fastrand::Rng::with_seed(SEED);
        search.one(prompt, |logits| draw(logits, options.temperature, &mut random))
    } else if options.beams <= 1 {
        search.one(prompt, |logits| best(logits, 1).first().copied())
    } else {
        search.beam(prompt, options.beams, options.length_penalty)
    }
}

/// Where the drawing begins, in every window: the same audio gives the same text at any temperature.
const SEED: u64 = 0;

/// What both searches work with.
struct Search<'a, D> {
    decoder: &'a mut D,
    rules: &'a Rules,
    /// The most tokens to generate.
    limit: usize,
    cancelled: &'a dyn Fn() -> bool,
    /// A row of `n_vocab` for each running beam.
    logits: Vec<f32>,
}

impl<D: Decoder> Search<'_, D> {
    fn go_on(&self) -> Result<()> {
        if (self.cancelled)() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// One sequence, whose next token `choose` takes from the logits that the rules have left.
    fn one(
        &mut self,
        prompt: &[Token],
        mut choose: impl FnMut(&[f32]) -> Option<(f32, Token)>,
    ) -> Result<Hypothesis> {
        let mut found = Hypothesis::default();
        self.decoder.start(prompt, &mut self.logits)?;
        for step in 0..self.limit {
            self.go_on()?;
            let norm = LogNorm::of(&self.logits);
            self.rules.apply(&found.tokens, &mut self.logits);
            let Some((logit, token)) = choose(&self.logits) else {
                return Err(Error::internal("the token rules forbid every token"));
            };
            found.push(token, norm.log_prob(logit), self.rules.end_of_text);
            if found.ended || step + 1 == self.limit {
                break;
            }
            self.decoder.extend(&[Extension { parent: 0, token }], &mut self.logits)?;
        }
        Ok(found)
    }

    fn beam(&mut self, prompt: &[Token], beams: usize, length_penalty: f32) -> Result<Hypothesis> {
        let n_vocab = self.decoder.n_vocab();
        let mut running = vec![Hypothesis::default()];
        let mut ended: Vec<(f32, Hypothesis)> = Vec::with_capacity(beams + 1);
        self.decoder.start(prompt, &mut self.logits)?;
        for length in 1..=self.limit {
            self.go_on()?;
            let candidates = candidates(&mut self.logits, n_vocab, &running, self.rules, 2 * beams);
            if candidates.is_empty() {
                return Err(Error::internal("the token rules forbid every token"));
            }
            let divisor = (length as f32).powf(length_penalty);
            let mut next = Vec::with_capacity(beams);
            let mut extensions = Vec::with_capacity(beams);
            for (rank, candidate) in candidates.iter().enumerate() {
                let ends = candidate.token == self.rules.end_of_text || length == self.limit;
                if ends && rank >= beams || !ends && next.len() == beams {
                    continue;
                }
                let Some(parent) = running.get(candidate.parent) else { continue };
                let mut grown = parent.clone();
                grown.push(candidate.token, candidate.log_prob, self.rules.end_of_text);
                grown.sum_log_prob = candidate.score;
                if ends {
                    keep_best(&mut ended, (candidate.score / divisor, grown), beams);
                } else {
                    extensions.push(Extension { parent: candidate.parent, token: candidate.token });
                    next.push(grown);
                }
            }
            running = next;
            let Some(leader) = running.first() else { break };
            let worst = ended.last().map_or(f32::NEG_INFINITY, |(score, _)| *score);
            if ended.len() == beams && leader.sum_log_prob / divisor <= worst {
                break;
            }
            self.decoder.extend(&extensions, &mut self.logits)?;
        }
        let best_ended = ended.into_iter().next().map(|(_, hypothesis)| hypothesis);
        best_ended
            .or_else(|| running.into_iter().next())
            .ok_or_else(|| Error::internal("the search found nothing"))
    }
}

/// A continuation of a running beam by one token.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    score: f32,
    log_prob: f32,
    parent: usize,
    token: Token,
}

/// The best `most` continuations over all beams, best first; what a rule forbids is not among them.
fn candidates(
    logits: &mut [f32],
    n_vocab: usize,
    running: &[Hypothesis],
    rules: &Rules,
    most: usize,
) -> Vec<Candidate> {
    let mut all = Vec::with_capacity(running.len() * most);
    for (parent, (row, beam)) in logits.chunks_exact_mut(n_vocab.max(1)).zip(running).enumerate() {
        let norm = LogNorm::of(row);
        rules.apply(&beam.tokens, row);
        all.extend(best(row, most).into_iter().map(|(logit, token)| {
            let log_prob = norm.log_prob(logit);
            Candidate { score: beam.sum_log_prob + log_prob, log_prob, parent, token }
        }));
    }
    // Stable: of equal scores the earlier beam and the lower token come first.
    all.sort_by(|a, b| descending(a.score, b.score));
    all.truncate(most);
    all
}

/// Puts an ended hypothesis among the best `most`, which are sorted best first.
fn keep_best(ended: &mut Vec<(f32, Hypothesis)>, new: (f32, Hypothesis), most: usize) {
    let place = ended.partition_point(|(score, _)| *score >= new.0);
    ended.insert(place, new);
    ended.truncate(most);
}

/// The `most` largest finite values of a row with their indices, largest first; the lower index first
/// where values are equal.
fn best(row: &[f32], most: usize) -> Vec<(f32, Token)> {
    let mut top: Vec<(f32, Token)> = Vec::with_capacity(most + 1);
    let mut least = f32::NEG_INFINITY;
    for (token, &value) in (0..).zip(row) {
        // Also false for NaN, which never wins.
        if value > least {
            let place = top.partition_point(|(other, _)| *other >= value);
            top.insert(place, (value, token));
            top.truncate(most);
            if top.len() == most {
                least = top.last().map_or(least, |(value, _)| *value);
            }
        }
    }
    top
}

/// Draws a token with its probability at a temperature, and gives its logit; `None` where all are forbidden.
fn draw(row: &[f32], temperature: f32, random: &mut fastrand::Rng) -> Option<(f32, Token)> {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return None;
    }
    let weight = |logit: f32| f64::from((logit - max) / temperature).exp();
    let total: f64 = row.iter().map(|logit| weight(*logit)).sum();
    let mut left = random.f64() * total;
    let mut last = None;
    for (token, &logit) in (0..).zip(row).filter(|(_, logit)| **logit > f32::NEG_INFINITY) {
        left -= weight(logit);
        last = Some((logit, token));
        if left < 0.0 {
            break;
        }
    }
    // Rounding may leave a little: it falls to the last.
    last
}

fn descending(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

/// The normaliser of a row of logits: `log_softmax(x) = x − max − log Σ exp(x − max)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogNorm {
    max: f32,
    log_sum: f32,
}

impl LogNorm {
    pub(crate) fn of(row: &[f32]) -> Self {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Eight sums side by side, so that the compiler can use vector registers.
        let mut sums = [0f32; 8];
        let mut chunks = row.chunks_exact(8);
        for chunk in &mut chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *sum += exp_negative(x - max);
            }
        }
        let rest: f32 = chunks.remainder().iter().map(|x| exp_negative(x - max)).sum();
        let total: f64 = sums.iter().map(|s| f64::from(*s)).sum::<f64>() + f64::from(rest);
        Self { max, log_sum: total.ln() as f32 }
    }

    pub(crate) fn log_prob(self, logit: f32) -> f32 {
        (logit - self.max) - self.log_sum
    }
}

/// `exp(x)` for x ≤ 0 within 2e-7 of the true value, without branches, so that it vectorises:
/// 2^n · 2^f with f in [−½, ½] by the Taylor series of exp.
#[inline]
fn exp_negative(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low bits
    let x = x.max(-87.0); // exp(−87) is the last before subnormal numbers; it adds nothing to a sum ≥ 1
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that x − n·ln 2 is exact to the last bits (Cody and Waite).
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let series =
        1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0)))));
    let power = f32::from_bits((shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23);
    series * power
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
