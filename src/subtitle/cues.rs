//! What is shown at a time: passages cut into cues, cues into lines.
//!
//! A cue holds what fits its lines and what one listens to in [`MAX_SECONDS`]; it ends early in a pause, or behind the
//! end of a sentence once it is half full. The lines of a cue are about equally long, as readers like them.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Layout, Passage, Word};

/// The longest cue: longer ones are read twice.
const MAX_SECONDS: f64 = 7.0;
/// The shortest, where the next one leaves room: shorter ones can't be read.
const MIN_SECONDS: f64 = 0.8;
/// A pause that ends a cue.
const PAUSE_SECONDS: f64 = 1.0;

/// What is shown at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Cue {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds: not after the next one's start.
    pub end: f64,
    /// The text, line by line.
    pub lines: Vec<String>,
}

/// What is never cut: a word, or a part of one that is longer than a line.
#[derive(Debug, Clone)]
struct Unit {
    start: f64,
    end: f64,
    text: String,
    /// Whether a space stands before it.
    spaced: bool,
}

/// The cues of passages that are in order.
pub fn cues(passages: &[Passage], layout: Layout) -> Vec<Cue> {
    let layout = Layout { max_line_chars: layout.max_line_chars.max(1), max_lines: layout.max_lines.max(1) };
    let mut cues = Vec::new();
    for passage in passages {
        let mut open: Vec<Unit> = Vec::new();
        for unit in units(passage, layout.max_line_chars) {
            if ends_before(&open, &unit, layout) {
                cues.extend(close(&mut open, layout));
            }
            open.push(unit);
        }
        cues.extend(close(&mut open, layout));
    }
    settle(&mut cues);
    cues
}

/// The passage's words; where they have no times of their own, they share its time by their length.
fn units(passage: &Passage, most: usize) -> Vec<Unit> {
    let known = passage.words.clone();
    let words = if known.is_empty() { shared_out(passage) } else { known };
    let mut units = Vec::new();
    for word in words {
        let text: String = word.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut spaced = units.is_empty() || word.text.starts_with(char::is_whitespace);
        let total = text.width().max(1) as f64;
        let mut done = 0;
        for part in parts(&text, most) {
            let time = |columns: usize| word.start + (word.end - word.start) * columns as f64 / total;
            let start = time(done);
            done += part.width();
            units.push(Unit { start, end: time(done), text: part, spaced });
            spaced = false;
        }
    }
    units
}

fn shared_out(passage: &Passage) -> Vec<Word> {
    let words: Vec<&str> = passage.text.split_whitespace().collect();
    let columns = |word: &str| word.width() + 1;
    let total = words.iter().map(|word| columns(word)).sum::<usize>().max(1) as f64;
    let length = (passage.end - passage.start).max(0.0);
    let mut before = 0;
    let one = |word: &str| {
        let start = passage.start + length * before as f64 / total;
        before += columns(word);
        Word { start, end: passage.start + length * before as f64 / total, text: format!(" {word}") }
    };
    words.into_iter().map(one).collect()
}

/// A text in parts of at most so many columns: itself, nearly always.
fn parts(text: &str, most: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut columns = 0;
    for character in text.chars() {
        let width = character.width().unwrap_or(0);
        match parts.last_mut() {
            Some(part) if columns + width <= most => part.push(character),
            _ => {
                parts.push(character.into());
                columns = 0;
            }
        }
        columns += width;
    }
    parts
}

/// Whether the cue that holds `open` ends before `next`.
fn ends_before(open: &[Unit], next: &Unit, layout: Layout) -> bool {
    let (Some(first), Some(last)) = (open.first(), open.last()) else { return false };
    let mut with = open.to_vec();
    with.push(next.clone());
    let half = layout.max_line_chars * layout.max_lines / 2;
    let sentence =
        last.text.trim_end_matches(['"', '”', '»', ')']).ends_with(['.', '!', '?', '…', '。', '！', '？']);
    lines(&with, layout.max_line_chars).len() > layout.max_lines
        || next.end - first.start > MAX_SECONDS
        || next.start - last.end > PAUSE_SECONDS
        || sentence && lines(open, usize::MAX).iter().map(|line| line.width()).sum::<usize>() >= half
}

/// Takes what is open as a cue.
fn close(open: &mut Vec<Unit>, layout: Layout) -> Option<Cue> {
    let units = std::mem::take(open);
    let (start, end) = (units.first()?.start, units.last()?.end);
    let needed = lines(&units, layout.max_line_chars).len();
    // The narrowest lines that are not more lines.
    let narrow = (1..layout.max_line_chars).find(|width| lines(&units, *width).len() <= needed);
    Some(Cue { start, end, lines: lines(&units, narrow.unwrap_or(layout.max_line_chars)) })
}

/// The units in lines of at most so many columns, each line as full as it gets.
fn lines(units: &[Unit], most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for unit in units {
        let space = usize::from(unit.spaced);
        match lines.last_mut() {
            Some(line) if line.width() + space + unit.text.width() <= most => {
                line.extend(unit.spaced.then_some(' '));
                line.push_str(&unit.text);
            }
            _ => lines.push(unit.text.clone()),
        }
    }
    lines
}

/// Times that go forward, and are long enough to be read where there is room.
fn settle(cues: &mut [Cue]) {
    let mut next_start = f64::INFINITY;
    for cue in cues.iter_mut().rev() {
        cue.start = cue.start.max(0.0).min(next_start);
        cue.end = cue.end.max(cue.start + MIN_SECONDS).min(next_start).max(cue.start);
        next_start = cue.start;
    }
}

#[cfg(test)]
#[path = "cues_tests.rs"]
mod tests;
