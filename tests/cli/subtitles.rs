//! Subtitle files, read by a parser that is not ours.

use std::path::Path;

use subtp::srt::SubRip;
use subtp::vtt::{VttBlock, WebVtt};

use super::{imesli, text};
use crate::asr::SAID;

fn made(arguments: &[&str]) -> String {
    let output = imesli(&[&["transcribe"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn subrip_is_read_by_another_parser() {
    let (file, said) = SAID[3];
    let parsed = SubRip::parse(&made(&["--format", "srt", "--max-line-chars", "12", file])).unwrap();
    let cues = parsed.subtitles;
    assert!(cues.len() >= 2, "24 columns don't hold {said}");
    assert_eq!(cues.iter().flat_map(|cue| cue.text.clone()).collect::<Vec<_>>().join(" "), said);
    assert!(cues.iter().all(|cue| cue.text.len() <= 2 && cue.text.iter().all(|line| line.len() <= 12)));
    assert!(cues.iter().all(|cue| cue.start < cue.end));
    assert!(
        cues.windows(2).all(|pair| pair[0].end <= pair[1].start && pair[0].sequence + 1 == pair[1].sequence)
    );
}

#[test]
fn webvtt_is_read_by_another_parser() {
    let (file, said) = SAID[3];
    let parsed = WebVtt::parse(&made(&["--format", "vtt", file])).unwrap();
    let lines = parsed.blocks.into_iter().map(|block| match block {
        VttBlock::Que(cue) => cue.payload.join(" "),
        other => panic!("{other:?}"),
    });
    assert_eq!(lines.collect::<Vec<_>>().join(" "), said);
}

#[test]
fn tab_separated_values_have_milliseconds() {
    let (file, said) = SAID[3];
    let made = made(&["--format", "tsv", file]);
    let mut lines = made.lines();
    assert_eq!(lines.next(), Some("start\tend\ttext"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.iter().map(|row| row[2]).collect::<Vec<_>>().join(" "), said);
    let time = |text: &str| text.parse::<u64>().unwrap();
    assert!(rows.iter().all(|row| row.len() == 3 && time(row[0]) < time(row[1])), "{made}");
    assert!(time(rows[0][1]) > 100, "milliseconds: {made}");
}

#[test]
fn each_file_has_its_result_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("results");
    let dir = results.to_str().unwrap();
    assert_eq!(made(&["--format", "srt", "--output-dir", dir, SAID[0].0, SAID[1].0]), "");
    for (file, said) in &SAID[..2] {
        let stem = Path::new(file).file_stem().unwrap().to_str().unwrap();
        let written = std::fs::read_to_string(results.join(format!("{stem}.srt"))).unwrap();
        assert!(written.replace('\n', " ").contains(said), "{written}");
    }
    assert_eq!(made(&["--output-dir", dir, SAID[0].0]), "");
    assert_eq!(std::fs::read_to_string(results.join("theo-7309.txt")).unwrap(), format!("{}\n", SAID[0].1));
}

#[test]
fn results_that_would_get_mixed_up_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    for (wrong, named) in [
        (&["--format", "srt", SAID[0].0, SAID[1].0][..], "--output-dir"),
        (&["--output-dir", dir, SAID[0].0, SAID[0].0], "theo-7309.txt"),
        (&["--output-dir", "Cargo.toml", SAID[0].0], "Cargo.toml"),
        (&["--format", "vtt", "--max-line-chars", "2", SAID[0].0], "--max-line-chars"),
    ] {
        let output = imesli(&[&["transcribe"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(text(&output.stderr).contains(named), "{}", text(&output.stderr));
    }
}
