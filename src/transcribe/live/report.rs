//! What becomes of the text of live audio, by format.

use std::io::{self, IsTerminal, Stderr, Write};

use serde::Serialize;

use super::page::Page;
use crate::client::live::{Event, Text};
use crate::client::{Answer, AnswerSegment};
use crate::config::{Format, OutputArgs, TranscribeArgs};
use crate::transcribe::output::Line;

/// Writes the text of one stream.
pub(super) struct Report<'a, W> {
    name: &'a str,
    output: &'a OutputArgs,
    way: Way<'a, W>,
}

/// What is written when.
enum Way<'a, W> {
    /// The text as it grows.
    Text(Page<&'a mut W>),
    /// A line for each message.
    Json(&'a mut W),
    /// A file at the end, of these segments if it comes to no good one. Until then a terminal shows the text.
    Subtitles { out: &'a mut W, segments: Vec<AnswerSegment>, page: Option<Page<Stderr>> },
}

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message<'a> {
    Partial {
        committed: &'a str,
        volatile: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        from_start: bool,
        start: f64,
        committed_end: f64,
        end: f64,
    },
    Segment {
        index: u64,
        #[serde(flatten)]
        segment: AnswerSegment,
    },
    Transcription(&'a Line<'a>),
}

impl<'a, W: Write> Report<'a, W> {
    pub(super) fn new(name: &'a str, args: &'a TranscribeArgs, out: &'a mut W) -> Self {
        let way = match args.output.format {
            Format::Text if io::stdout().is_terminal() => Way::Text(Page::terminal(out)),
            Format::Text => Way::Text(Page::plain(out)),
            Format::Json => Way::Json(out),
            Format::Srt | Format::Vtt | Format::Tsv => {
                let page = io::stderr().is_terminal().then(|| Page::terminal(io::stderr()));
                Way::Subtitles { out, segments: Vec::new(), page }
            }
        };
        Self { name, output: &args.output, way }
    }

    /// Whether anybody sees the text before a phrase is complete.
    pub(super) fn grows(&self) -> bool {
        !matches!(self.way, Way::Subtitles { page: None, .. })
    }

    /// Takes what happens.
    pub(super) fn show(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Text(text) => self.text(&text),
            Event::Segment(index, segment) => self.segment(index, segment),
            Event::Broken(error) => {
                self.make_way()?;
                tracing::warn!("{}: {error}; trying again", self.name);
                Ok(())
            }
            Event::Behind => {
                self.make_way()?;
                tracing::warn!("{}: the server is a minute behind, and the recorder has to wait", self.name);
                Ok(())
            }
        }
    }

    fn text(&mut self, text: &Text) -> io::Result<()> {
        if text.from_start {
            self.end_line()?;
            tracing::warn!(
                "{}: the server takes back what it had committed; all of the text again:",
                self.name
            );
        }
        match &mut self.way {
            Way::Text(page) => page.show(&text.committed, &text.volatile),
            Way::Subtitles { page: Some(page), .. } => page.show(&text.committed, &text.volatile),
            Way::Subtitles { page: None, .. } => Ok(()),
            Way::Json(out) => {
                let Text { committed, volatile, from_start, start, committed_end, end } = text;
                let (from_start, start, committed_end, end) = (*from_start, *start, *committed_end, *end);
                let message = Message::Partial { committed, volatile, from_start, start, committed_end, end };
                json(out, &message)
            }
        }
    }

    fn segment(&mut self, index: u64, segment: AnswerSegment) -> io::Result<()> {
        self.end_line()?;
        match &mut self.way {
            Way::Text(_) => Ok(()),
            Way::Json(out) => json(out, &Message::Segment { index, segment }),
            Way::Subtitles { segments, .. } => {
                segments.push(segment);
                Ok(())
            }
        }
    }

    /// The log is about to be written to.
    fn make_way(&mut self) -> io::Result<()> {
        match &mut self.way {
            Way::Text(page) => page.make_way(),
            Way::Subtitles { page: Some(page), .. } => page.make_way(),
            Way::Subtitles { page: None, .. } | Way::Json(_) => Ok(()),
        }
    }

    /// Where text grows, what comes next begins a line.
    fn end_line(&mut self) -> io::Result<()> {
        match &mut self.way {
            Way::Text(page) => page.end_line(),
            Way::Subtitles { page: Some(page), .. } => page.end_line(),
            Way::Subtitles { page: None, .. } | Way::Json(_) => Ok(()),
        }
    }

    /// The whole has come.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn finish(mut self, answer: &Answer) -> anyhow::Result<()> {
        self.end_line()?;
        let line = Line::remote(self.name, answer);
        match self.way {
            Way::Text(_) => Ok(()),
            Way::Json(out) => Ok(json(out, &Message::Transcription(&line))?),
            Way::Subtitles { out, .. } => line.render(out, self.output, true),
        }
    }

    /// The whole won't come: what there is has to do.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn give_up(mut self) -> anyhow::Result<()> {
        self.end_line()?;
        match self.way {
            Way::Text(_) | Way::Json(_) => Ok(()),
            Way::Subtitles { out, segments, .. } => {
                let answer = Answer { segments, ..Answer::default() };
                Line::remote(self.name, &answer).render(out, self.output, true)
            }
        }
    }
}

fn json(out: &mut impl Write, message: &Message<'_>) -> io::Result<()> {
    writeln!(out, "{}", serde_json::to_string(message)?)?;
    out.flush()
}
