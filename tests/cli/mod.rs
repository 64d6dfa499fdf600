//! The program as a user runs it.

mod subtitles;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use imesli::checkpoint::QuantType;

use crate::asr::SAID;
use crate::support::{demo, root};

fn imesli(arguments: &[&str]) -> Output {
    let ggml = demo(QuantType::Q8_0);
    Command::new(env!("CARGO_BIN_EXE_imesli"))
        .args(arguments)
        .current_dir(root(""))
        .env("IMESLI_CHECKPOINT", ggml)
        .env("IMESLI_THREADS", "1")
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_file_becomes_its_words_and_nothing_else_on_standard_output() {
    let output = imesli(&["transcribe", SAID[0].0]);
    assert_eq!(text(&output.stdout), format!("{}\n", SAID[0].1));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn several_files_are_told_apart() {
    let output = imesli(&["transcribe", SAID[0].0, SAID[1].0]);
    let wanted: String = SAID[..2].iter().map(|(file, said)| format!("{file}: {said}\n")).collect();
    assert_eq!(text(&output.stdout), wanted);
}

#[test]
fn the_format_of_a_file_does_not_change_its_words() {
    let truth: BTreeMap<String, String> =
        serde_json::from_slice(&fs::read(root("tests/data/truth.json")).unwrap()).unwrap();
    let files: Vec<String> = truth.keys().map(|name| format!("tests/data/{name}")).collect();
    let arguments: Vec<&str> =
        [&["transcribe"], &files.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
    let wanted: String = truth.iter().map(|(name, said)| format!("tests/data/{name}: {said}\n")).collect();
    assert_eq!(text(&imesli(&arguments).stdout), wanted);
}

#[test]
fn json_carries_text_times_and_tokens() {
    let output = imesli(&["transcribe", "--format", "json", "--timestamps", "segment", SAID[2].0]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["text"], SAID[2].1);
    assert_eq!(json["file"], SAID[2].0);
    assert_eq!(json["language"], "en");
    assert!(json["duration"].as_f64().unwrap() > 1.0);
    assert_eq!(json["duration"], json["decoded"]);
    assert!(json["segments"][0]["end"].as_f64().unwrap() > json["segments"][0]["start"].as_f64().unwrap());
    assert!(json["windows"][0]["tokens"].as_array().unwrap().len() >= 6);
}

#[test]
fn json_carries_words() {
    let output = imesli(&["transcribe", "--format", "json", "--timestamps", "word", SAID[2].0]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["timestamps"], &json["word_times"]), (&"word".into(), &"attention".into()));
    let segments = json["segments"].as_array().unwrap();
    let words: Vec<_> = segments.iter().flat_map(|segment| segment["words"].as_array().unwrap()).collect();
    let texts: Vec<&str> = words.iter().map(|word| word["word"].as_str().unwrap().trim()).collect();
    assert_eq!(texts.join(" "), SAID[2].1);
    let number = |word: &serde_json::Value, field: &str| word[field].as_f64().unwrap();
    assert!(words.windows(2).all(|pair| number(pair[0], "end") <= number(pair[1], "start")), "{json}");
    assert!(words.iter().all(|word| number(word, "probability") > 0.5), "{json}");
    assert_eq!(json["windows"][0]["token_times"].as_array().unwrap().len(), words.len());
}

#[test]
fn a_file_that_fails_does_not_keep_the_others_from_being_done() {
    let output = imesli(&["transcribe", "Cargo.toml", SAID[0].0]);
    assert_eq!(text(&output.stdout), format!("{}: {}\n", SAID[0].0, SAID[0].1));
    assert!(text(&output.stderr).contains("Cargo.toml"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_unusable_checkpoint_is_one_clear_line_and_exit_code_2() {
    for wrong in ["/nowhere", "Cargo.toml", "tests"] {
        let output = imesli(&["transcribe", "--checkpoint", wrong, SAID[0].0]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        let log = text(&output.stderr);
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains(wrong), "{log}");
    }
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    for wrong in [&["transcribe"][..], &["transcribe", "--beam-size", "x", "a.wav"], &["fly"]] {
        assert_eq!(imesli(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn converting_and_transcribing_are_one_program() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-f16.bin");
    let out = out.to_str().unwrap();
    let made = imesli(&["convert", "--checkpoint", "checkpoint", "--quantize", "f16", "--out", out]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let output = imesli(&["transcribe", "--checkpoint", out, SAID[3].0]);
    assert_eq!(text(&output.stdout), format!("{}\n", SAID[3].1));
}

#[test]
fn another_voice_detector_is_checked_before_it_is_used() {
    let detector = "src/audio/voice/silero-v6.2.bin";
    let output = imesli(&["transcribe", "--format", "json", "--vad-model", detector, SAID[0].0]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["text"], &json["looped"]), (&SAID[0].1.into(), &0.into()));
    assert!(json["speech_duration"].as_f64().unwrap() > 1.0 && json["speech"][0]["end"].is_f64(), "{json}");
    for wrong in ["Cargo.toml", "/nowhere.bin", "src", "checkpoint/model.safetensors"] {
        let output = imesli(&["transcribe", "--vad-model", wrong, SAID[0].0]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(text(&output.stderr).contains(wrong), "{}", text(&output.stderr));
    }
}
