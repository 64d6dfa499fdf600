//! The list of a user's clips: a Common Voice TSV, CSV, or JSON lines.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Map, Value};

/// A recording and what is said in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clip {
    /// As the list names it.
    pub(super) name: String,
    /// Where it should be.
    pub(super) path: PathBuf,
    /// What is said.
    pub(super) sentence: String,
}

/// Names of the column with the file, in Common Voice and elsewhere.
const PATHS: [&str; 4] = ["path", "file", "file_name", "audio_filepath"];
/// Names of the column with the words.
const SENTENCES: [&str; 4] = ["sentence", "text", "transcription", "transcript"];

/// Reads a list. What it is shows in its first line: an object is JSON lines, a tab makes it TSV.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Clip>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let pairs = if first.trim_start().starts_with('{') {
        json_lines(text)
    } else {
        columns(text, first.contains('\t'))
    };
    let pairs = pairs.with_context(|| path.display().to_string())?;
    if pairs.is_empty() {
        bail!("{}: it has no clips", path.display());
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let clip = |(name, sentence): (String, String)| Clip { path: locate(folder, &name), name, sentence };
    Ok(pairs.into_iter().map(clip).collect())
}

fn columns(text: &str, tabs: bool) -> anyhow::Result<Vec<(String, String)>> {
    // Common Voice writes quotation marks as they are; in CSV they enclose what has commas in it.
    let delimiter = if tabs { b'\t' } else { b',' };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(!tabs)
        .flexible(tabs)
        .from_reader(text.as_bytes());
    let header = reader.headers()?.clone();
    let column = |names: &[&str]| {
        let found = names.iter().find_map(|name| header.iter().position(|column| column.trim() == *name));
        found.with_context(|| format!("its first line has no column `{}`", names.join("` or `")))
    };
    let (path, sentence) = (column(&PATHS)?, column(&SENTENCES)?);
    let mut pairs = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let field =
            |index: usize| record.get(index).map(str::trim).with_context(|| format!("line {line} is short"));
        pairs.push((named(field(path)?, line)?, field(sentence)?.to_owned()));
    }
    Ok(pairs)
}

fn json_lines(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let object: Map<String, Value> =
                serde_json::from_str(line).with_context(|| format!("line {number}"))?;
            let field = |names: &[&str]| {
                let value = names.iter().find_map(|name| object.get(*name));
                let missing = || format!("line {number} has no text `{}`", names.join("` or `"));
                value.and_then(Value::as_str).map(str::trim).with_context(missing)
            };
            Ok((named(field(&PATHS)?, number)?, field(&SENTENCES)?.to_owned()))
        })
        .collect()
}

fn named(name: &str, line: u64) -> anyhow::Result<String> {
    if name.is_empty() {
        bail!("line {line} names no file");
    }
    Ok(name.to_owned())
}

/// Beside the list, or in `clips/` beside it as Common Voice has it; old releases leave the ending out.
fn locate(folder: &Path, name: &str) -> PathBuf {
    let clips = folder.join("clips");
    let places = [folder.join(name), clips.join(name), clips.join(format!("{name}.mp3"))];
    let found = places.iter().find(|place| place.is_file());
    found.cloned().unwrap_or_else(|| folder.join(name))
}

/// At most `most` of the clips, spread evenly.
pub(super) fn spread(clips: Vec<Clip>, most: Option<u32>) -> Vec<Clip> {
    let (all, most) = (clips.len(), most.map_or(clips.len(), |most| (most as usize).min(clips.len())));
    // The clips at which i × most / all takes a new value.
    let chosen = |index: usize| index * most / all != (index + 1) * most / all;
    clips.into_iter().enumerate().filter(|(index, _)| chosen(*index)).map(|(_, clip)| clip).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may fail by panicking.
    use super::*;

    fn of(text: &str) -> anyhow::Result<Vec<(String, String)>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        std::fs::write(&path, text).unwrap();
        Ok(read(&path)?.into_iter().map(|clip| (clip.name, clip.sentence)).collect())
    }

    fn pair(path: &str, sentence: &str) -> (String, String) {
        (path.to_owned(), sentence.to_owned())
    }

    #[test]
    fn common_voice_is_read_with_its_quotation_marks() {
        let text = "client_id\tpath\tsentence_id\tsentence\tup_votes\nx\ta.mp3\t1\t\"Azul\" fell-ak, \"ay\t2\ny\tb.mp3\t2\tIh.\t0\n";
        assert_eq!(of(text).unwrap(), [pair("a.mp3", "\"Azul\" fell-ak, \"ay"), pair("b.mp3", "Ih.")]);
    }

    #[test]
    fn csv_and_json_lines_are_told_apart_by_themselves() {
        let wanted = [pair("a b.wav", "yiwen, sin"), pair("c.wav", "krad")];
        assert_eq!(of("\u{feff}text,file_name\n\"yiwen, sin\",a b.wav\nkrad,c.wav\n").unwrap(), wanted);
        assert_eq!(
            of("{\"path\":\"a b.wav\",\"sentence\":\"yiwen, sin\"}\n\n{\"audio_filepath\":\"c.wav\",\"text\":\"krad\",\"x\":1}\n")
                .unwrap(),
            wanted
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, fact) in [
            ("", "no column `path`"),
            ("path\tsentence\n", "no clips"),
            ("file,words\na,b\n", "no column `sentence`"),
            ("path\tsentence\na.mp3\n", "line 2 is short"),
            ("path\tsentence\n\tazul\n", "line 2 names no file"),
            ("path,sentence\na,b\na,b,c\n", "record 2"),
            ("{\"path\":\"a\",\"sentence\":\"b\"}\n{\"path\":\"a\"}\n", "line 2 has no text `sentence`"),
            ("{\"path\":{},\"sentence\":\"b\"}\n", "line 1 has no text `path`"),
            ("{\"path\":\"a\",\n", "line 1"),
        ] {
            let error = format!("{:#}", of(text).unwrap_err());
            assert!(error.contains(fact) && error.contains("list"), "{text:?}: {error}");
        }
    }

    #[test]
    fn clips_are_found_where_common_voice_has_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("clips")).unwrap();
        for file in ["beside.wav", "clips/beside.wav", "clips/a.mp3", "clips/old.mp3"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        for (name, found) in
            [("beside.wav", "beside.wav"), ("a.mp3", "clips/a.mp3"), ("old", "clips/old.mp3"), ("no", "no")]
        {
            assert_eq!(locate(dir.path(), name), dir.path().join(found));
        }
    }

    #[test]
    fn some_of_the_clips_are_spread_over_all() {
        let clip = |i: usize| Clip { name: i.to_string(), path: PathBuf::new(), sentence: String::new() };
        let names =
            |most| spread((0..10).map(clip).collect(), most).into_iter().map(|c| c.name).collect::<Vec<_>>();
        assert_eq!(names(None).len(), 10);
        assert_eq!(names(Some(99)).len(), 10);
        assert_eq!(names(Some(1)).len(), 1);
        assert_eq!(names(Some(5)), ["1", "3", "5", "7", "9"]);
    }
}
