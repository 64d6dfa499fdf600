//! Text with times as files that players and editors read. Pure.
//!
//! - `cues`: what is shown at a time, laid out in lines.
//! - [`Format`]: SubRip (`srt`), WebVTT (`vtt`, W3C), and tab-separated values as OpenAI's `whisper` writes them.

mod cues;

pub use cues::{Cue, cues};

use serde::Deserialize;

/// A stretch of text, usually a sentence or a breath.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Passage {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// The text.
    pub text: String,
    /// Its words with their times, where they are known: together they are the text.
    pub words: Vec<Word>,
}

/// A word, or what stands between two spaces.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Word {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// The word, with its punctuation, and the space before it where there is one.
    pub text: String,
}

/// How much is shown at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Columns in a line; a wide character (Han, kana) takes two.
    pub max_line_chars: usize,
    /// Lines.
    pub max_lines: usize,
}

impl Default for Layout {
    /// Two lines of 42 columns, as broadcasters and streaming services have it.
    fn default() -> Self {
        Self { max_line_chars: 42, max_lines: 2 }
    }
}

/// The kinds of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
    /// `start`, `end` in milliseconds and `text`, separated by tabs: a line for each passage, not laid out.
    Tsv,
}

impl Format {
    /// The file with these passages, which are in order.
    pub fn write(self, passages: &[Passage], layout: Layout) -> String {
        match self {
            Self::Srt => srt(&cues(passages, layout)),
            Self::Vtt => vtt(&cues(passages, layout)),
            Self::Tsv => tsv(passages),
        }
    }
}

fn srt(cues: &[Cue]) -> String {
    let one = |(number, cue): (usize, &Cue)| {
        // SubRip has no way to write its own arrow.
        let text = cue.lines.join("\n").replace("-->", "→");
        format!("{number}\n{} --> {}\n{text}\n\n", clock(cue.start, ','), clock(cue.end, ','))
    };
    (1..).zip(cues).map(one).collect()
}

fn vtt(cues: &[Cue]) -> String {
    let one = |cue: &Cue| {
        let text = cue.lines.join("\n").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!("\n{} --> {}\n{text}\n", clock(cue.start, '.'), clock(cue.end, '.'))
    };
    std::iter::once("WEBVTT\n".to_owned()).chain(cues.iter().map(one)).collect()
}

fn tsv(passages: &[Passage]) -> String {
    let milliseconds = |seconds: f64| (seconds.max(0.0) * 1000.0).round() as u64;
    let one = |passage: &Passage| {
        let text = passage.text.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{}\t{}\t{text}\n", milliseconds(passage.start), milliseconds(passage.end))
    };
    std::iter::once("start\tend\ttext\n".to_owned()).chain(passages.iter().map(one)).collect()
}

/// `01:02:03,045`.
fn clock(seconds: f64, separator: char) -> String {
    let all = (seconds.max(0.0) * 1000.0).round() as u64;
    let (seconds, milliseconds) = (all / 1000, all % 1000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}{separator}{milliseconds:03}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(start: f64, end: f64, text: &str) -> Passage {
        Passage { start, end, text: text.to_owned(), words: Vec::new() }
    }

    #[test]
    fn each_format_has_its_own_times_and_signs() {
        let passages = [passage(0.0, 1.2345, "a <b> & c"), passage(3_723.5, 3_725.0, "x --> y\tz")];
        let layout = Layout::default();
        assert_eq!(
            Format::Srt.write(&passages, layout),
            "1\n00:00:00,000 --> 00:00:01,235\na <b> & c\n\n\
             2\n01:02:03,500 --> 01:02:05,000\nx → y z\n\n"
        );
        assert_eq!(
            Format::Vtt.write(&passages, layout),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.235\na &lt;b&gt; &amp; c\n\
             \n01:02:03.500 --> 01:02:05.000\nx --&gt; y z\n"
        );
        assert_eq!(
            Format::Tsv.write(&passages, layout),
            "start\tend\ttext\n0\t1235\ta <b> & c\n3723500\t3725000\tx --> y z\n"
        );
    }

    #[test]
    fn nothing_said_is_an_empty_file_of_its_kind() {
        let files =
            [Format::Srt, Format::Vtt, Format::Tsv].map(|format| format.write(&[], Layout::default()));
        assert_eq!(files, ["", "WEBVTT\n", "start\tend\ttext\n"]);
    }
}
