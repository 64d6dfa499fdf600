//! Text that grows: a line for each phrase, and on a terminal what may still change, dim behind it.

use std::io::{self, Write};

use unicode_width::UnicodeWidthChar;

/// Lines that text which may still change takes at most.
const VOLATILE_LINES: usize = 3;
/// A terminal that does not say how wide it is.
const WIDTH: usize = 80;
/// Narrower ones are not believed.
const NARROWEST: usize = 10;

/// Where the text is written, and how far it has come.
pub(super) struct Page<W> {
    out: W,
    /// Columns to use, where it is a terminal.
    width: Option<fn() -> usize>,
    /// Where the next letter goes on a terminal.
    column: usize,
    /// Whether the line is still empty.
    empty: bool,
    /// Whether there is something behind the text.
    drawn: bool,
}

impl<W: Write> Page<W> {
    /// For a pipe or a file: nothing but the text, which never changes.
    pub(super) fn plain(out: W) -> Self {
        Self { out, width: None, column: 0, empty: true, drawn: false }
    }

    /// For a terminal.
    pub(super) fn terminal(out: W) -> Self {
        Self { width: Some(terminal_width), ..Self::plain(out) }
    }

    /// Adds text that stays, and shows what may follow it.
    pub(super) fn show(&mut self, committed: &str, volatile: &str) -> io::Result<()> {
        let Some(width) = self.width.map(|width| width()) else {
            let text = if self.empty { committed.trim_start() } else { committed };
            if !text.is_empty() {
                self.empty = false;
                self.out.write_all(text.as_bytes())?;
                self.out.flush()?;
            }
            return Ok(());
        };
        self.clear()?;
        let text = if self.empty { committed.trim_start() } else { committed };
        self.empty &= text.is_empty();
        let laid = Laid::new(text, self.column, width, usize::MAX);
        self.out.write_all(laid.text.as_bytes())?;
        self.column = laid.column;
        let text = if self.empty { volatile.trim_start() } else { volatile };
        if !text.is_empty() {
            let laid = Laid::new(text, self.column, width, VOLATILE_LINES);
            write!(self.out, "\x1b[2m{}\x1b[0m", laid.text)?;
            // Back to where the text ends: by steps, for the lines may have scrolled.
            if laid.breaks > 0 {
                write!(self.out, "\x1b[{}A", laid.breaks)?;
            }
            self.out.write_all(b"\r")?;
            if self.column > 0 {
                write!(self.out, "\x1b[{}C", self.column)?;
            }
            self.drawn = true;
        }
        self.out.flush()
    }

    /// Begins a new line, unless it is new.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.clear()?;
        if !self.empty {
            self.out.write_all(b"\n")?;
            (self.empty, self.column) = (true, 0);
        }
        self.out.flush()
    }

    /// Makes way for what somebody else writes on the terminal.
    pub(super) fn make_way(&mut self) -> io::Result<()> {
        if self.width.is_some() { self.end_line() } else { Ok(()) }
    }

    fn clear(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.drawn) {
            self.out.write_all(b"\x1b[J")?;
        }
        Ok(())
    }
}

/// The last column stays free: terminals differ in where the next letter goes.
fn terminal_width() -> usize {
    let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0));
    width.max(NARROWEST) - 1
}

/// Text as it stands in lines of a terminal.
struct Laid {
    text: String,
    /// The column behind it.
    column: usize,
    /// How many lines it has begun.
    breaks: usize,
}

impl Laid {
    /// Lays text out from this column on. What does not fit into so many lines is left out.
    fn new(text: &str, column: usize, width: usize, lines: usize) -> Self {
        let mut laid = Self { text: String::new(), column, breaks: 0 };
        for (number, word) in text.split(' ').enumerate() {
            // Control characters could do anything to a terminal.
            let letters = word.chars().filter_map(|c| Some((c, c.width()?)));
            let length: usize = letters.clone().map(|(_, width)| width).sum();
            if number > 0 && laid.column > 0 {
                if laid.column + 1 + length <= width {
                    laid.text.push(' ');
                    laid.column += 1;
                } else if !laid.new_line(lines) {
                    return laid;
                }
            }
            for (letter, letter_width) in letters {
                if laid.column + letter_width > width && !laid.new_line(lines) {
                    return laid;
                }
                laid.text.push(letter);
                laid.column += letter_width;
            }
        }
        laid
    }

    /// `false` where there is none left.
    fn new_line(&mut self, lines: usize) -> bool {
        if self.breaks + 1 >= lines {
            return false;
        }
        self.text.push('\n');
        self.breaks += 1;
        self.column = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    /// What a terminal of 11 columns is sent for these steps; `None` ends the line.
    fn sent(steps: &[Option<(&str, &str)>]) -> String {
        written(Page { width: Some(|| 10), ..Page::plain(Vec::new()) }, steps)
    }

    fn written(mut page: Page<Vec<u8>>, steps: &[Option<(&str, &str)>]) -> String {
        for step in steps {
            match step {
                Some((committed, volatile)) => page.show(committed, volatile).unwrap(),
                None => page.end_line().unwrap(),
            }
        }
        String::from_utf8(page.out).unwrap()
    }

    #[test]
    fn a_pipe_gets_what_stays_and_a_line_for_each_phrase() {
        let steps =
            [Some(("", " on")), Some((" one", " two")), Some((" two", "")), None, None, Some((" three", ""))];
        assert_eq!(written(Page::plain(Vec::new()), &steps), "one two\nthree");
    }

    #[test]
    fn what_may_change_is_dim_and_is_erased() {
        let text = sent(&[Some(("one", " two")), Some((" two", "")), None]);
        assert_eq!(text, "one\x1b[2m two\x1b[0m\r\x1b[3C\x1b[J two\n");
        assert_eq!(sent(&[Some(("", " so"))]), "\x1b[2mso\x1b[0m\r");
    }

    #[test]
    fn lines_are_broken_between_words_so_that_the_way_back_is_known() {
        let text = sent(&[Some(("seven eight", " nine zero one"))]);
        assert_eq!(text, "seven\neight\x1b[2m nine\nzero one\x1b[0m\x1b[1A\r\x1b[5C");
        assert_eq!(sent(&[Some(("abcdefghijklm", ""))]), "abcdefghij\nklm");
    }

    #[test]
    fn what_may_change_takes_few_lines() {
        let long = " word".repeat(100);
        let text = sent(&[Some(("x", &long))]);
        assert_eq!(text.matches('\n').count(), VOLATILE_LINES - 1);
        assert!(text.ends_with("\x1b[2A\r\x1b[1C"), "{text:?}");
    }

    #[test]
    fn text_can_t_steer_the_terminal() {
        assert_eq!(sent(&[Some(("a\x1b[2Jb\r\x07", ""))]), "a[2Jb");
    }
}
