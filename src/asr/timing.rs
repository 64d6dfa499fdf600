//! Words with their times, made of tokens with theirs. Pure.
//!
//! The attention says when a word begins, but not where a pause belongs: to the word before it, to the one behind, or
//! half to each. So what falls into a pause, or close to one, is moved to its ends: a word begins where a pause ends,
//! and ends where one begins.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::segment::Segment;
use super::word::{Word, is_letter};

/// Where the times of words come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// From the decoder's attention to the audio.
    Attention,
    /// From the length of the words, over what is no pause.
    Estimate,
}

/// A token of a text, and when it was said.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedToken {
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// When, in seconds.
    pub time: Range<f64>,
    /// How likely the model found it.
    pub probability: f32,
}

/// A word and when it was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimedWord {
    /// The word with its punctuation, and with the space before it, but for the first of a segment: the words of a
    /// segment together are its text.
    #[serde(rename = "word")]
    pub text: String,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// How likely the model found it: the mean over its tokens.
    pub probability: f32,
}

/// A part of a transcript: the text of a window, and its tokens.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimedText {
    /// The text.
    pub text: String,
    /// Its tokens, in order.
    pub tokens: Vec<TimedToken>,
}

/// A boundary of a word this close to a pause, in seconds, is that of the pause.
const REACH: f64 = 0.1;
/// No word is made shorter than this, in seconds.
const SHORTEST: f64 = 0.02;
/// A pause of so many seconds ends a segment; …
const LONG_PAUSE: f64 = 0.6;
/// … behind a sentence, one of so many.
const SENTENCE_PAUSE: f64 = 0.2;
/// The longest segment in seconds: as long as the longest that the model writes.
const LONGEST_SEGMENT: f64 = 30.0;
/// Of long segments, the end of a sentence is the end without a pause.
const LONG_SEGMENT: f64 = 10.0;

/// Words in the making.
#[derive(Debug)]
struct Draft {
    word: Word,
    time: Range<f64>,
    probability: f32,
    /// The last of its tokens.
    last_token: usize,
    /// Whether its start and its end are those of a pause.
    settled: (bool, bool),
}

/// The segments of a transcript: its `words`, with times from the tokens of the `parts` that they are from. `pauses`
/// are in order; no time is past `duration`.
pub fn segments(words: &[Word], parts: &[TimedText], pauses: &[Range<f64>], duration: f64) -> Vec<Segment> {
    let mut drafts = drafts(words, parts);
    for draft in &mut drafts {
        settle(draft, pauses);
    }
    shorten(&mut drafts);
    in_order(&mut drafts, duration);
    group(drafts)
}

/// The words with their tokens' times. Characters that one token holds are one word.
fn drafts(words: &[Word], parts: &[TimedText]) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::with_capacity(words.len());
    for word in words {
        let Some(part) = parts.get(word.part) else { continue };
        let first = part.tokens.partition_point(|token| token.range.end <= word.range.start);
        let own = part.tokens.iter().skip(first).take_while(|token| token.range.start < word.range.end);
        let own: Vec<&TimedToken> = own.filter(|token| !token.range.is_empty()).collect();
        // Punctuation makes no sound, and gets the pause behind a word as its time.
        let sounds = |token: &&TimedToken| {
            let range = token.range.start.max(word.range.start)..token.range.end.min(word.range.end);
            part.text.get(range).is_some_and(|text| text.contains(is_letter))
        };
        let sounding: Vec<&TimedToken> = own.iter().copied().filter(sounds).collect();
        let timed = if sounding.is_empty() { &own } else { &sounding };
        let before = drafts.last().map_or(0.0, |draft| draft.time.end);
        let start = timed.first().map_or(before, |token| token.time.start);
        let end = timed.last().map_or(start, |token| token.time.end);
        let probability = own.iter().map(|token| token.probability).sum::<f32>() / own.len().max(1) as f32;
        let last_token = first + own.len().saturating_sub(1);
        match drafts.last_mut() {
            Some(last) if !word.spaced && last.word.part == word.part && last.last_token >= first => {
                last.word.text.push_str(&word.text);
                last.word.range.end = word.range.end;
                last.time.end = last.time.end.max(end);
                last.last_token = last_token;
            }
            _ => drafts.push(Draft {
                word: word.clone(),
                time: start..end,
                probability,
                last_token,
                settled: (false, false),
            }),
        }
    }
    drafts
}

/// Moves the start of a word to the end of a pause that it is in or close to, and its end to the beginning of one.
fn settle(draft: &mut Draft, pauses: &[Range<f64>]) {
    let (start, end) = (draft.time.start, draft.time.end);
    let later = nearest(pauses, start).map(|pause| pause.end);
    let earlier = nearest(pauses, end).map(|pause| pause.start);
    let choices = [(later, earlier), (later, None), (None, earlier)];
    let fits =
        |(from, to): &(Option<f64>, Option<f64>)| to.unwrap_or(end) - from.unwrap_or(start) >= SHORTEST;
    if let Some((from, to)) = choices.into_iter().find(fits) {
        draft.time = from.unwrap_or(start)..to.unwrap_or(end);
        draft.settled = (from.is_some(), to.is_some());
    }
}

/// The pause that a time is in, or that it is closest to, within [`REACH`].
fn nearest(pauses: &[Range<f64>], time: f64) -> Option<&Range<f64>> {
    let distance = |pause: &Range<f64>| (pause.start - time).max(time - pause.end).max(0.0);
    let first = pauses.partition_point(|pause| pause.end < time - REACH);
    let close = pauses.iter().skip(first).take_while(|pause| pause.start <= time + REACH);
    close.min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// Cuts words that are much longer than others where nothing but their neighbours' attention bounds them: at the
/// beginning and the end of a window, and behind a sentence. As OpenAI does: to twice the median, at most 1.4 s.
fn shorten(drafts: &mut [Draft]) {
    const LONGEST_MEDIAN: f64 = 0.7;
    let mut lengths: Vec<f64> =
        drafts.iter().map(|d| d.time.end - d.time.start).filter(|l| *l > 0.0).collect();
    lengths.sort_by(f64::total_cmp);
    let Some(median) = lengths.get(lengths.len() / 2) else { return };
    let most = 2.0 * median.min(LONGEST_MEDIAN);
    let parts: Vec<usize> = drafts.iter().map(|draft| draft.word.part).collect();
    let sentence_ends: Vec<bool> = drafts.iter().map(|draft| ends_sentence(&draft.word.text)).collect();
    for (index, draft) in drafts.iter_mut().enumerate() {
        let part = Some(&draft.word.part);
        let before = index.checked_sub(1);
        let first = before.and_then(|i| parts.get(i)) != part;
        let behind_sentence = before.and_then(|i| sentence_ends.get(i)) == Some(&true);
        let last = parts.get(index + 1) != part;
        if draft.time.end - draft.time.start <= most {
        } else if (first || behind_sentence) && !draft.settled.0 {
            draft.time.start = draft.time.end - most;
        } else if (last || sentence_ends.get(index) == Some(&true)) && !draft.settled.1 {
            draft.time.end = draft.time.start + most;
        }
    }
}

/// No word begins before the one before it, none ends after the next begins, all are within the recording.
fn in_order(drafts: &mut [Draft], duration: f64) {
    let mut earliest = 0.0_f64;
    for draft in drafts.iter_mut() {
        draft.time.start = draft.time.start.clamp(earliest, duration.max(earliest));
        earliest = draft.time.start;
    }
    let mut latest = duration;
    for draft in drafts.iter_mut().rev() {
        draft.time.end = draft.time.end.min(latest).max(draft.time.start);
        latest = draft.time.start;
    }
}

/// Segments that end in long pauses and behind sentences.
fn group(drafts: Vec<Draft>) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for Draft { word, time, probability, .. } in drafts {
        let open = segments.last_mut().filter(|segment| {
            let pause = time.start - segment.end;
            let sentence = ends_sentence(&segment.text)
                && (pause >= SENTENCE_PAUSE || segment.end - segment.start >= LONG_SEGMENT);
            !(pause >= LONG_PAUSE || sentence || time.end - segment.start > LONGEST_SEGMENT)
        });
        let mut text = word.text;
        match open {
            Some(segment) => {
                if word.spaced {
                    text.insert(0, ' ');
                }
                segment.text.push_str(&text);
                segment.end = time.end;
                segment.words.push(TimedWord { text, start: time.start, end: time.end, probability });
            }
            None => segments.push(Segment {
                start: time.start,
                end: time.end,
                text: text.clone(),
                words: vec![TimedWord { text, start: time.start, end: time.end, probability }],
            }),
        }
    }
    segments
}

fn ends_sentence(text: &str) -> bool {
    let closing = |c: char| matches!(c, '"' | '\'' | ')' | ']' | '}' | '”' | '’' | '»' | '」' | '』');
    text.trim_end_matches(closing).ends_with(['.', '!', '?', '…', '。', '！', '？', '؟', '।'])
}

/// Times for tokens of these `lengths` in a recording of `duration` with these `pauses` (all in the same unit of time), where
/// nothing better is known: each takes as much of what is no pause as it has of all letters.
pub fn estimate(lengths: &[usize], pauses: &[Range<f64>], duration: f64) -> Vec<Range<f64>> {
    let mut speech: Vec<Range<f64>> = Vec::new();
    let mut begin = 0.0;
    for pause in pauses.iter().chain([&(duration..duration)]) {
        if pause.start > begin {
            speech.push(begin..pause.start);
        }
        begin = pause.end.max(begin);
    }
    if speech.is_empty() {
        speech.push(0.0..duration);
    }
    let total: f64 = speech.iter().map(|run| run.end - run.start).sum();
    let all = lengths.iter().sum::<usize>().max(1) as f64;
    // The time at which so much of the speech is over; at the end of a run, that end or the beginning of the next.
    let at = |share: f64, begins: bool| {
        let mut left = share * total;
        for run in &speech {
            let length = run.end - run.start;
            if left < length - 1e-9 || !begins && left <= length + 1e-9 {
                return run.start + left.clamp(0.0, length);
            }
            left -= length;
        }
        speech.last().map_or(duration, |run| run.end)
    };
    let mut before = 0;
    let time = |length: &usize| {
        let start = before as f64 / all;
        before += length;
        let start = at(start, true);
        start..at(before as f64 / all, false).max(start)
    };
    lengths.iter().map(time).collect()
}

#[cfg(test)]
#[path = "timing_tests.rs"]
mod tests;
