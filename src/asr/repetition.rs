//! Loops: a model that writes the same phrase again and again, though nobody says it. Pure.
//!
//! That a phrase is repeated proves nothing: people count, sing and stammer, and "one one one one" is what a telephone
//! number may sound like. So neither the entropy of the tokens nor how well the text compresses (Whisper's own
//! measure) will do: with ten words in the vocabulary every text compresses. What is a loop can't have been said:
//!
//! - the phrase comes four times or more, and faster than anybody speaks, or
//! - the text reached the model's limit in the middle of such a run, instead of coming to an end.

use super::model::Token;

/// The longest phrase that is looked for, in tokens: a long sentence.
const LONGEST_PHRASE: usize = 64;
/// How often a phrase comes in a row, at least, in a loop; and at most where loops are forbidden.
pub const REPEATS: usize = 4;
/// The shortest run that tells a loop where the text has no end, in tokens.
const SHORTEST_ENDLESS: usize = 32;
/// Nobody says so many words in a second, over a whole window: fast speech has 5 to 6.
const MAX_WORDS: f64 = 8.0;
/// The same in letters, for long words and scripts without spaces: fast speech has 25.
const MAX_LETTERS: f64 = 40.0;

/// A phrase that comes again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// The first token of its first time.
    start: usize,
    /// Behind the last token of its last time, which may be cut.
    end: usize,
    /// Tokens of the phrase.
    period: usize,
}

impl Run {
    fn repeats(self) -> usize {
        (self.end - self.start) / self.period
    }
}

/// Whether the text of `tokens` is a loop. `text` makes text of tokens; the audio lasts `seconds`; `endless` is a
/// text that reached the model's limit without an end.
pub fn is_loop(tokens: &[Token], text: impl Fn(&[Token]) -> String, seconds: f64, endless: bool) -> bool {
    (1..=LONGEST_PHRASE).flat_map(|period| runs(tokens, period)).any(|run| {
        let reaches_end = run.end == tokens.len();
        if endless && reaches_end && run.end - run.start >= SHORTEST_ENDLESS {
            return true;
        }
        let said = text(tokens.get(run.start..run.end).unwrap_or_default());
        let words = said.split_whitespace().count() as f64;
        let letters = said.chars().filter(|c| c.is_alphanumeric()).count() as f64;
        words / seconds.max(1.0) > MAX_WORDS || letters / seconds.max(1.0) > MAX_LETTERS
    })
}

/// The runs of phrases of `period` tokens that come [`REPEATS`] times or more.
fn runs(tokens: &[Token], period: usize) -> Vec<Run> {
    let mut found = Vec::new();
    let mut start = 0;
    // A pair that differs behind the last token ends the last run.
    let same = tokens.iter().zip(tokens.iter().skip(period)).map(|(a, b)| a == b).chain([false]);
    for (index, same) in same.enumerate() {
        if !same {
            let run = Run { start, end: index + period, period };
            found.extend(Some(run).filter(|run| run.end <= tokens.len() && run.repeats() >= REPEATS));
            start = index + 1;
        }
    }
    found
}

/// The tokens that would begin a phrase once more that has come [`REPEATS`] times in a row, right before them.
pub fn once_too_often(tokens: &[Token]) -> impl Iterator<Item = Token> + '_ {
    (1..=LONGEST_PHRASE).filter_map(|period| {
        let (earlier, later) = (tokens.iter().rev().skip(period), tokens.iter().rev());
        let same = later.zip(earlier).take_while(|(a, b)| a == b).count();
        let next = tokens.len().checked_sub(period).and_then(|index| tokens.get(index));
        next.copied().filter(|_| same >= period * (REPEATS - 1))
    })
}

#[cfg(test)]
#[path = "repetition_tests.rs"]
mod tests;
