//! `--eval`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{convert, demo_copy, text};
use crate::asr::SAID;
use crate::support::root;

/// A list as Common Voice has it, with the clips in `clips/`: three right ones, one with two words too many
/// and one changed of 8, one that is missing, and one that is no audio.
fn common_voice(dir: &Path) -> String {
    let clips = dir.join("clips");
    std::fs::create_dir(&clips).unwrap();
    let mut list = "client_id\tpath\tsentence\tup_votes\n".to_owned();
    for (index, (file, said)) in SAID.iter().enumerate() {
        std::fs::copy(root(file), clips.join(format!("{index}.wav"))).unwrap();
        let said = if index == 0 { "Seven, TREE zero \"nine\" ten ten!" } else { said };
        list.push_str(&format!("x\t{index}.wav\t{said}\t2\n"));
    }
    std::fs::copy(root("Cargo.toml"), clips.join("text.mp3")).unwrap();
    list.push_str("x\tmissing.mp3\tone\t2\nx\ttext.mp3\ttwo\t2\n");
    let path = dir.join("test.tsv");
    std::fs::write(&path, list).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Words of the list that count: 6 + 4 + 6 + 10.
const WORDS: usize = 26;

#[test]
fn the_report_counts_each_type_against_f16_and_names_what_it_could_not_count() {
    let dir = demo_copy();
    let list = common_voice(dir.path());
    let output = convert(dir.path(), &["--quantize", "q8_0,q5_1", "--eval", &list, "--json"]);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["clips"], &report["passed"]), (&json!(4), &json!(true)));
    let failed = report["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 2, "{failed:?}");
    for name in ["missing.mp3", "text.mp3"] {
        assert!(log.contains(name), "{log}");
    }
    let types = report["types"].as_array().unwrap();
    let names: Vec<_> = types.iter().map(|row| row["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["f16", "q8_0", "q5_1"]);
    for row in types {
        assert_eq!((&row["word_errors"], &row["words"]), (&json!(3), &json!(WORDS)), "{row}");
        assert!((row["word_error_rate"].as_f64().unwrap() - 3.0 / WORDS as f64).abs() < 1e-9, "{row}");
        // "tree" has lost a letter, " ten ten" has eight.
        assert_eq!(row["character_errors"], 9, "{row}");
        assert_eq!((&row["changed"], &row["wer_loss"]), (&json!(0.0), &json!(0.0)));
        assert!(row["real_time_factor"].as_f64().unwrap() > 0.0);
        let peak = row["peak_bytes"].as_u64();
        if cfg!(target_os = "linux") {
            let bytes = row["bytes"].as_u64().unwrap();
            assert!((bytes..1 << 30).contains(&peak.unwrap()), "{row}");
        }
    }
    assert_eq!(report["texts"][0]["found"]["q5_1"], SAID[0].1);
    let file = |index: usize| types[index]["file"].as_str().map(|file| Path::new(file).is_file());
    assert_eq!((file(0), file(1), file(2)), (None, Some(true), Some(true)));
    // The f16 model was only for the comparison.
    let left = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name.contains("f16") || name.starts_with('.')).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn the_one_program_prints_a_table() {
    let dir = demo_copy();
    let list = dir.path().join("list.jsonl");
    let line =
        |(file, said): &(&str, &str)| json!({ "path": root(file), "sentence": said }).to_string() + "\n";
    std::fs::write(&list, SAID.iter().map(line).collect::<String>()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_imesli"))
        .args(["convert", "--quantize", "q8_0,f16", "--eval-clips", "2", "--checkpoint"])
        .arg(dir.path())
        .arg("--eval")
        .arg(&list)
        .env("IMESLI_THREADS", "1")
        .output()
        .unwrap();
    let (table, log) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{log}");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..3], ["type", "MB", "WER"]);
    assert_eq!((rows[1][0], rows[1][2], rows[1][3]), ("f16", "0.00", "0.00"));
    assert_eq!(rows[2][0], "q8_0", "f16 goes first");
    assert!(table.contains("2 clips"), "{table}");
}

#[test]
fn a_loss_beyond_what_is_allowed_is_exit_code_1() {
    let dir = demo_copy();
    let list = common_voice(dir.path());
    for (allowed, code) in [("0", 0), ("-1", 1)] {
        let output = convert(dir.path(), &["--eval", &list, "--max-wer-loss", allowed, "--eval-clips", "6"]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr).contains("q8_0: 0.00 points"), code == 1);
    }
}

#[test]
fn texts_are_respelled_before_they_are_compared() {
    let dir = demo_copy();
    let list = dir.path().join("list.csv");
    // The g of phonetic writing, which is none of the letters that the model writes.
    let (file, said) = SAID[3];
    let said = said.replace("eight", "ei\u{261}ht");
    std::fs::write(&list, format!("path,sentence\n{},{said}\n", root(file).display())).unwrap();
    let list = list.to_str().unwrap();
    for (orthography, errors) in [("none", 1), ("kabyle", 0)] {
        let output = convert(dir.path(), &["--eval", list, "--json", "--orthography", orthography]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["orthography"], orthography);
        assert_eq!(report["types"][0]["word_errors"], errors);
    }
}

#[test]
fn a_list_that_cannot_be_used_is_named_before_the_conversion() {
    let dir = demo_copy();
    let empty = dir.path().join("empty.tsv");
    std::fs::write(&empty, "path\tsentence\n").unwrap();
    for (list, fact) in [("/nowhere.tsv", "/nowhere.tsv"), (empty.to_str().unwrap(), "no clips")] {
        let output = convert(dir.path(), &["--eval", list]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(fact), "{}", text(&output.stderr));
        assert!(!dir.path().join("ggml-q8_0.bin").exists());
    }
    assert_eq!(convert(dir.path(), &["--json"]).status.code(), Some(2), "--json is for --eval");
}

#[test]
fn nothing_to_count_is_a_failure() {
    let dir = demo_copy();
    let list = dir.path().join("list.csv");
    std::fs::write(&list, "path,sentence\nmissing.wav,one\n").unwrap();
    let output = convert(dir.path(), &["--eval", list.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("none of the 1 clips"), "{}", text(&output.stderr));
}
