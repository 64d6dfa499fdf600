//! Which tokens may come next. Pure: a row of logits in, the forbidden ones set to −∞.
//!
//! The rules are transformers' logits processors of the same purpose: `SuppressTokensLogitsProcessor`,
//! `SuppressTokensAtBeginLogitsProcessor` and `WhisperTimeStampLogitsProcessor`, in the order in which
//! `WhisperForConditionalGeneration.generate` applies them.

use super::model::Token;
use super::repetition;

/// The rules of one decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The token that ends a text.
    pub end_of_text: Token,
    /// Never.
    pub suppress: Vec<Token>,
    /// Not as the first generated token.
    pub begin_suppress: Vec<Token>,
    /// The timestamp grammar, where timestamps are wanted.
    pub timestamps: Option<TimestampRules>,
    /// Whether no phrase may come more than [`repetition::REPEATS`] times in a row.
    pub no_loops: bool,
}

/// The grammar of timestamps: text between pairs of them, times that do not fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampRules {
    /// `<|notimestamps|>`, which must not come.
    pub no_timestamps: Token,
    /// `<|0.00|>`: this and all higher ids are times in steps of 20 ms.
    pub begin: Token,
    /// The latest first timestamp, in steps of 20 ms.
    pub max_initial: Option<u32>,
}

impl Rules {
    /// No rule but the end token.
    pub fn none(end_of_text: Token) -> Self {
        Self {
            end_of_text,
            suppress: Vec::new(),
            begin_suppress: Vec::new(),
            timestamps: None,
            no_loops: false,
        }
    }

    /// Forbids in `logits` (a row over the vocabulary) what may not follow `generated`.
    pub fn apply(&self, generated: &[Token], logits: &mut [f32]) {
        if generated.is_empty() {
            forbid(logits, &self.begin_suppress);
        }
        forbid(logits, &self.suppress);
        if self.no_loops {
            let times = self.timestamps.map_or(Token::MAX, |timestamps| timestamps.begin);
            let text: Vec<Token> = generated.iter().copied().filter(|token| *token < times).collect();
            let again: Vec<Token> = repetition::once_too_often(&text).collect();
            forbid(logits, &again);
        }
        if let Some(timestamps) = &self.timestamps {
            timestamps.apply(self.end_of_text, generated, logits);
        }
    }
}

impl TimestampRules {
    fn apply(&self, end_of_text: Token, generated: &[Token], logits: &mut [f32]) {
        let is_time = |token: Token| token >= self.begin;
        forbid(logits, &[self.no_timestamps]);
        let last_is_time = generated.last().copied().is_some_and(is_time);
        let before_is_time =
            generated.len() < 2 || generated.iter().rev().nth(1).copied().is_some_and(is_time);
        if last_is_time && before_is_time {
            forbid_range(logits, self.begin, None); // a pair is complete: text must come, or the end
        } else if last_is_time {
            forbid_range(logits, 0, Some(end_of_text)); // the other half of the pair, or the end
        }
        if let Some(latest) = generated.iter().rev().copied().find(|t| is_time(*t)) {
            // The second half of a pair may repeat the first; otherwise time goes on.
            let from = if last_is_time && !before_is_time { latest } else { latest.saturating_add(1) };
            forbid_range(logits, self.begin, Some(from));
        }
        if generated.is_empty() {
            forbid_range(logits, 0, Some(self.begin));
            if let Some(max) = self.max_initial {
                forbid_range(logits, self.begin.saturating_add(max).saturating_add(1), None);
            }
        }
        // Where all times together are more likely than any single text token, a time it is.
        let split = (self.begin as usize).min(logits.len());
        let (text, times) = logits.split_at_mut(split);
        let best_text = text.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let best_time = times.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if best_time == f32::NEG_INFINITY {
            return;
        }
        let sum: f64 = times.iter().map(|t| f64::from(t - best_time).exp()).sum();
        if f64::from(best_time) + sum.ln() > f64::from(best_text) {
            text.fill(f32::NEG_INFINITY);
        }
    }
}

fn forbid(logits: &mut [f32], tokens: &[Token]) {
    for token in tokens {
        if let Some(logit) = logits.get_mut(*token as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// Forbids ids from `begin` up to `end`, which is not included; without `end`, to the last.
fn forbid_range(logits: &mut [f32], begin: Token, end: Option<Token>) {
    let end = end.map_or(logits.len(), |end| (end as usize).min(logits.len()));
    if let Some(range) = logits.get_mut(begin as usize..end) {
        range.fill(f32::NEG_INFINITY);
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
