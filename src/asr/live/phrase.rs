//! What was heard of one phrase so far, and how much of it is sure. Pure.
//!
//! Each step hears the phrase once more, from its beginning to now, with what is committed as its settled prefix, so that
//! only the rest is searched for. A word is committed when two steps in a row agree on it, and when it is so far from
//! the end of the audio that it can't be half a word. This is local agreement (Macháček, Dabre and Bojar 2023,
//! arXiv 2307.14743) with two differences: the prefix can't change, and the times are those of the attention.

use std::ops::Range;

use crate::asr::model::Token;
use crate::asr::recognizer::Heard;
use crate::asr::vocabulary::Vocabulary;
use crate::asr::word::is_unspaced;
use crate::audio::SAMPLE_RATE;

/// A text token, and when it was said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) token: Token,
    pub(super) log_prob: f32,
    /// Seconds from the start of the phrase.
    pub(super) time: Range<f64>,
}

/// One phrase.
#[derive(Debug, Default)]
pub(super) struct Phrase {
    /// What is committed.
    committed: Vec<Said>,
    /// What was heard behind it in the last step.
    tail: Vec<Said>,
}

impl Phrase {
    /// The settled tokens.
    pub(super) fn prefix(&self) -> Vec<Token> {
        tokens(&self.committed)
    }

    /// Where the last committed word ends, in seconds from the start of the phrase.
    pub(super) fn committed_end(&self) -> f64 {
        self.committed.last().map_or(0.0, |said| said.time.end)
    }

    /// What was heard behind what is committed, as text.
    pub(super) fn tail(&self, vocabulary: &Vocabulary) -> String {
        vocabulary.text(&tokens(&self.tail))
    }

    /// All of what a step heard, the prefix first.
    pub(super) fn all(&self, vocabulary: &Vocabulary, heard: &Heard) -> Vec<Said> {
        let mut all: Vec<Said> = Vec::new();
        for piece in &heard.pieces {
            let offset = piece.range.start as f64 / f64::from(SAMPLE_RATE);
            let found = &piece.hypothesis;
            let new = found.tokens.iter().copied().zip(found.log_probs.iter().copied());
            let new = new.filter(|(token, _)| vocabulary.is_text(*token));
            // The prefix is in front of the first piece alone.
            let prefix = if all.is_empty() { self.committed.as_slice() } else { &[] };
            let known = prefix.iter().map(|said| (said.token, said.log_prob));
            let mut times = piece.times.iter().flat_map(|times| &times.times);
            let mut before = offset;
            all.extend(known.chain(new).map(|(token, log_prob)| {
                let time = times.next().map(|time| time.start + offset..time.end + offset);
                let time = time.unwrap_or(before..before);
                before = time.end;
                Said { token, log_prob, time }
            }));
        }
        all
    }

    /// Takes what a step heard, the prefix first, and commits what is sure: words on which the step before agrees, and
    /// that end before `sure_until` (seconds from the start of the phrase). Gives what is new.
    pub(super) fn agree(&mut self, vocabulary: &Vocabulary, all: Vec<Said>, sure_until: f64) -> Vec<Token> {
        let known = self.committed.len().min(all.len());
        let heard = all.get(known..).unwrap_or_default().to_vec();
        let same = heard.iter().zip(&self.tail).take_while(|(a, b)| a.token == b.token).count();
        let (ends, ends_before) = (word_ends(vocabulary, &heard), word_ends(vocabulary, &self.tail));
        let is_sure = |count: &usize| {
            let ends_in = |ends: &[bool]| ends.get(*count) == Some(&true);
            let end = count.checked_sub(1).and_then(|last| heard.get(last)).map(|said| said.time.end);
            ends_in(&ends) && ends_in(&ends_before) && end.is_some_and(|end| end <= sure_until)
        };
        let count = (1..=same).rev().find(is_sure).unwrap_or(0);
        self.commit(all, known + count)
    }

    /// Commits the first `count` tokens of what a step heard, the prefix included, and gives what is new.
    pub(super) fn commit(&mut self, all: Vec<Said>, count: usize) -> Vec<Token> {
        let before = self.committed.len();
        self.committed = all;
        self.tail = self.committed.split_off(count.max(before).min(self.committed.len()));
        tokens(self.committed.get(before..).unwrap_or_default())
    }

    /// What is committed, when the phrase is over.
    pub(super) fn into_committed(self) -> Vec<Said> {
        self.committed
    }
}

pub(super) fn tokens(said: &[Said]) -> Vec<Token> {
    said.iter().map(|said| said.token).collect()
}

/// For each number of tokens, whether so many of them are whole words. At its very end a text might go on, but for all
/// that is known it does not.
pub(super) fn word_ends(vocabulary: &Vocabulary, said: &[Said]) -> Vec<bool> {
    let tokens = tokens(said);
    let (text, ranges) = vocabulary.text_by_token(&tokens);
    let whole = vocabulary.whole(&tokens) == tokens.len();
    let begins_word = |index: usize| {
        let before = index.checked_sub(1).and_then(|index| ranges.get(index));
        let (Some(before), Some(range)) = (before, ranges.get(index)) else { return whole };
        let next = text.get(range.start..).and_then(|rest| rest.chars().next());
        before.end <= range.start && next.is_none_or(separates)
    };
    (0..=said.len()).map(begins_word).collect()
}

/// Whether a character can't be in the middle of a word: a space, the end of a sentence or of a part of it, or one of a
/// script without spaces.
fn separates(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, ',' | '.' | ';' | ':' | '!' | '?' | '…' | '،' | '؛' | '؟' | '。' | '、' | '！' | '？')
        || is_unspaced(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: f64 = 100.0;

    /// " a", " b", "c" (goes on with a word), ",", and the two bytes of ɛ.
    fn vocabulary() -> Vocabulary {
        let text: [&[u8]; 6] = [b" a", b" b", b"c", b",", b"\xc9", b"\x9b"];
        Vocabulary::of_text(text.iter().map(|t| t.to_vec()).collect())
    }

    fn said(tokens: &[Token]) -> Vec<Said> {
        let one = |(index, token): (usize, &Token)| Said {
            token: *token,
            log_prob: 0.0,
            time: index as f64..(index + 1) as f64,
        };
        tokens.iter().enumerate().map(one).collect()
    }

    /// What each of these hypotheses commits.
    fn committed(steps: &[(&[Token], f64)]) -> Vec<Vec<Token>> {
        let mut phrase = Phrase::default();
        steps.iter().map(|(tokens, sure)| phrase.agree(&vocabulary(), said(tokens), *sure)).collect()
    }

    #[test]
    fn two_steps_have_to_agree() {
        assert_eq!(committed(&[(&[0, 1], END), (&[0, 0], END)]), [vec![], vec![0]]);
        assert_eq!(
            committed(&[(&[0, 1], END), (&[1, 1], END), (&[1, 1], END)]),
            [vec![], vec![], vec![1, 1]]
        );
    }

    #[test]
    fn what_is_committed_stays_and_the_next_step_goes_on_behind_it() {
        let found = committed(&[(&[0], END), (&[0, 1], END), (&[0, 1, 0], END), (&[0, 1, 0], END)]);
        assert_eq!(found, [vec![], vec![0], vec![1], vec![0]]);
    }

    #[test]
    fn a_word_near_the_end_of_the_audio_waits() {
        assert_eq!(committed(&[(&[0, 1], 1.0), (&[0, 1], 1.0), (&[0, 1], 2.0)]), [vec![], vec![0], vec![1]]);
    }

    #[test]
    fn no_word_is_cut() {
        // " bc" beside " b": they agree on half a word only.
        assert_eq!(committed(&[(&[0, 1, 2], END), (&[0, 1, 0], END)]), [vec![], vec![0]]);
        // A comma ends a word.
        assert_eq!(committed(&[(&[0, 3, 1], END), (&[0, 1], END)]), [vec![], vec![0]]);
        // Half a character is none, and what is before it may be part of its word.
        assert!(committed(&[(&[0, 4], END), (&[0, 4], END)]).concat().is_empty());
        assert_eq!(committed(&[(&[0, 4, 5], END), (&[0, 4, 5], END)]), [vec![], vec![0, 4, 5]]);
    }

    #[test]
    fn all_can_be_committed_at_once() {
        let mut phrase = Phrase::default();
        phrase.agree(&vocabulary(), said(&[0]), END);
        assert_eq!(phrase.tail(&vocabulary()), " a");
        assert_eq!(phrase.commit(said(&[0, 1]), 2), [0, 1]);
        assert_eq!((phrase.prefix(), phrase.committed_end()), (vec![0, 1], 2.0));
        assert_eq!(phrase.tail(&vocabulary()), "");
        // What is committed is never taken back, whatever is asked for.
        assert!(phrase.commit(said(&[0, 1]), 1).is_empty());
    }
}
