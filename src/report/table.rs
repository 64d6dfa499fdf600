//! The report of `--eval`, and how it is printed.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::config::{ConvertCommand, EvalText};
use crate::text::Orthography;

/// What the clips say about each type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    /// Clips that count.
    pub(super) clips: usize,
    /// Seconds of audio in them.
    pub(super) seconds: f64,
    /// Clips that don't, and why.
    pub(super) failed: Vec<FailedClip>,
    /// What was compared.
    pub(super) text: EvalText,
    pub(super) orthography: Orthography,
    pub(super) types: Vec<Row>,
    /// Percentage points of word error rate that a type may lose against f16.
    pub(super) max_wer_loss: Option<f64>,
    /// Whether none lost more.
    pub(super) passed: bool,
    pub(super) texts: Vec<Text>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FailedClip {
    pub(super) path: String,
    pub(super) reason: String,
}

/// One type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    #[serde(rename = "type")]
    pub(super) type_name: &'static str,
    /// None for the f16 model that was made for the comparison alone.
    pub(super) file: Option<String>,
    pub(super) bytes: u64,
    /// Errors for each word; none where the list has no words.
    pub(super) word_error_rate: Option<f64>,
    pub(super) word_errors: usize,
    pub(super) words: usize,
    pub(super) character_error_rate: Option<f64>,
    pub(super) character_errors: usize,
    pub(super) characters: usize,
    /// Percentage points of word error rate above f16.
    pub(super) wer_loss: Option<f64>,
    /// Seconds of work for each second of audio.
    pub(super) real_time_factor: f64,
    /// The most memory that the process had in RAM.
    pub(super) peak_bytes: Option<u64>,
    /// The share of clips whose text is not that of f16.
    pub(super) changed: f64,
}

/// A clip's texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Text {
    pub(super) path: String,
    pub(super) sentence: String,
    pub(super) seconds: f64,
    /// By type.
    pub(super) found: BTreeMap<&'static str, String>,
}

/// The heads of the columns.
const COLUMNS: [&str; 7] = ["type", "MB", "WER %", "CER %", "real time", "peak MB", "changed %"];

impl Report {
    pub(super) fn new(args: &ConvertCommand) -> Self {
        Self {
            clips: 0,
            seconds: 0.0,
            failed: Vec::new(),
            text: args.eval_text,
            orthography: args.decode.orthography,
            types: Vec::new(),
            max_wer_loss: args.max_wer_loss,
            passed: true,
            texts: Vec::new(),
        }
    }

    /// Sets whether it [`passed`](Self::passed).
    pub(super) fn judge(&mut self) {
        self.passed = !self.types.iter().any(|row| self.loses_too_much(row));
    }

    pub(super) fn loses_too_much(&self, row: &Row) -> bool {
        // A hair's breadth for the rounding of the subtraction.
        self.max_wer_loss.zip(row.wer_loss).is_some_and(|(most, loss)| loss > most + 1e-9)
    }

    /// Why a type is too bad.
    pub(super) fn loss(&self, row: &Row) -> String {
        let (loss, most) = (row.wer_loss.unwrap_or(0.0), self.max_wer_loss.unwrap_or(0.0));
        format!(
            "{}: {loss:.2} points of word error rate above f16; at most {most} are allowed",
            row.type_name
        )
    }

    pub(super) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    pub(super) fn table(&self) -> String {
        let percent = |rate: Option<f64>| rate.map_or("-".into(), |rate| format!("{:.2}", 100.0 * rate));
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let rows = self.types.iter().map(|row| {
            [
                row.type_name.to_owned(),
                format!("{:.1}", megabytes(row.bytes)),
                percent(row.word_error_rate),
                percent(row.character_error_rate),
                format!("{:.3}", row.real_time_factor),
                row.peak_bytes.map_or("-".into(), |bytes| format!("{:.0}", megabytes(bytes))),
                format!("{:.1}", 100.0 * row.changed),
            ]
        });
        let rows: Vec<_> = std::iter::once(COLUMNS.map(str::to_owned)).chain(rows).collect();
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        let _ = writeln!(text, "\n{}", self.basis());
        text
    }

    /// What the figures rest on.
    fn basis(&self) -> String {
        let failed = match self.failed.len() {
            0 => String::new(),
            n => format!(", {n} could not be counted"),
        };
        let how = match self.text {
            EvalText::Normalized => "text in lower case without punctuation",
            EvalText::Written => "text as written",
        };
        let spelling = match self.orthography {
            Orthography::None => "",
            Orthography::Kabyle => ", in standard Kabyle spelling",
        };
        let words = self.types.first().map_or(0, |row| row.words);
        format!("{} clips, {:.1} s, {words} words{failed}; {how}{spelling}", self.clips, self.seconds)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)] // A test may fail by panicking.
    use super::*;

    fn row(type_name: &'static str, rate: f64, loss: f64) -> Row {
        Row {
            type_name,
            file: None,
            bytes: 12_345_678,
            word_error_rate: Some(rate),
            word_errors: 1,
            words: 8,
            character_error_rate: None,
            character_errors: 0,
            characters: 0,
            wer_loss: Some(loss),
            real_time_factor: 0.25,
            peak_bytes: None,
            changed: 0.5,
        }
    }

    fn report(max_wer_loss: Option<f64>) -> Report {
        let mut report = Report {
            clips: 2,
            seconds: 3.25,
            failed: vec![FailedClip { path: "a".into(), reason: "b".into() }],
            text: EvalText::Normalized,
            orthography: Orthography::Kabyle,
            types: vec![row("f16", 0.125, 0.0), row("q8_0", 0.25, 12.5)],
            max_wer_loss,
            passed: true,
            texts: Vec::new(),
        };
        report.judge();
        report
    }

    #[test]
    fn the_table_is_aligned_and_says_what_it_rests_on() {
        assert_eq!(
            report(None).table(),
            "type    MB  WER %  CER %  real time  peak MB  changed %\n\
             f16   12.3  12.50      -      0.250        -       50.0\n\
             q8_0  12.3  25.00      -      0.250        -       50.0\n\n\
             2 clips, 3.2 s, 8 words, 1 could not be counted; text in lower case without punctuation, \
             in standard Kabyle spelling\n"
        );
    }

    #[test]
    fn a_loss_above_the_limit_fails_and_one_on_it_does_not() {
        assert!(report(None).passed);
        assert!(report(Some(12.5)).passed);
        let failed = report(Some(12.4));
        assert!(!failed.passed);
        let bad: Vec<_> = failed.types.iter().filter(|row| failed.loses_too_much(row)).collect();
        assert_eq!(bad.len(), 1);
        assert_eq!(
            failed.loss(bad[0]),
            "q8_0: 12.50 points of word error rate above f16; at most 12.4 are allowed"
        );
    }
}
