//! `--probe`.

use std::path::Path;
use std::process::Command;

use imesli::checkpoint::Profile;
use serde_json::{Value, json};

use super::{convert, demo_copy, text};
use crate::asr::SAID;
use crate::support::{Running, root};

fn files() -> Vec<&'static str> {
    SAID.iter().map(|(file, _)| *file).collect()
}

fn profile(dir: &Path) -> Profile {
    Profile::read(&dir.join("ggml-q8_0.json")).unwrap().unwrap()
}

/// `imesli transcribe` of the first recording, as JSON.
fn transcribed(checkpoint: &Path, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_imesli"))
        .args(["transcribe", "--format", "json", SAID[0].0, "--checkpoint"])
        .arg(checkpoint)
        .args(arguments)
        .current_dir(root(""))
        .env("IMESLI_THREADS", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_model_with_timestamps_is_seen_to_have_them() {
    let dir = demo_copy();
    let output = convert(dir.path(), &[&["--probe"], &files()[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let seen = profile(dir.path()).probe.unwrap();
    assert_eq!((seen.files, seen.timestamps, seen.timestamps_well_formed), (4, true, 1.0));
    assert_eq!(seen.language.as_deref(), Some("en"));
    assert!(seen.languages[0].probability > 0.9, "{seen:?}");
    assert!((17.0..20.0).contains(&seen.seconds), "{seen:?}");
    // Converting again, from the same files, does not forget it.
    assert!(convert(dir.path(), &[]).status.success());
    assert_eq!(profile(dir.path()).probe, Some(seen));
}

/// Takes the model's timestamps away: their rows become those of tokens that it never writes.
fn forget_timestamps(dir: &Path, begin: usize) {
    let path = dir.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let (start, row, rows) = {
        let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let tensor = metadata.info("model.decoder.embed_tokens.weight").unwrap();
        let (from, to) = tensor.data_offsets;
        (8 + header + from, (to - from) / tensor.shape[0], tensor.shape[0])
    };
    for token in begin..rows {
        bytes.copy_within(start..start + row, start + token * row);
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_model_without_timestamps_is_seen_and_not_asked_for_them() {
    let dir = demo_copy();
    assert!(convert(dir.path(), &[]).status.success());
    let begin = profile(dir.path()).tokens.timestamp_begin.unwrap() as usize;
    forget_timestamps(dir.path(), begin);
    let output = convert(dir.path(), &[&["--probe"], &files()[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let seen = profile(dir.path()).probe.unwrap();
    assert_eq!((seen.timestamps, seen.timestamps_well_formed), (false, 0.0));
    assert!(text(&output.stderr).contains("answered without"), "{}", text(&output.stderr));

    let found = transcribed(dir.path(), &["--timestamps", "segment"]);
    assert_eq!((&found["text"], &found["timestamps"]), (&json!(SAID[0].1), &json!("none")));
    assert_eq!(found["segments"][0]["end"], found["duration"]);
    let silent = transcribed(dir.path(), &[]);
    assert_eq!(silent.get("timestamps"), None);
    let server = Running::start(dir.path(), &[]);
    let found = transcribed(dir.path(), &["--timestamps", "segment", "--server", &server.url]);
    assert_eq!((&found["text"], &found["timestamps"]), (&json!(SAID[0].1), &json!("none")));
}

#[test]
fn a_model_with_timestamps_answers_with_them() {
    let dir = demo_copy();
    let found = transcribed(dir.path(), &["--timestamps", "segment"]);
    assert_eq!(found["timestamps"], "segment");
}

#[test]
fn the_preferred_language_goes_behind_every_named_one() {
    let dir = demo_copy();
    assert!(convert(dir.path(), &["--probe", SAID[0].0]).status.success());
    let path = dir.path().join("ggml-q8_0.json");
    let edit = |change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
    };
    let language = |arguments: &[&str]| transcribed(dir.path(), arguments)["language"].clone();
    edit(&|json| {
        json["generation"]["language"] = Value::Null;
        json["probe"]["language"] = json!("fr");
    });
    assert_eq!(language(&[]), "fr");
    assert_eq!(language(&["--language", "auto"]), "en");
    assert_eq!(language(&["--language", "de"]), "de");
    edit(&|json| json["generation"]["language"] = json!("it"));
    assert_eq!(language(&[]), "it");
    edit(&|json| {
        json["generation"]["language"] = Value::Null;
        json["probe"]["language"] = Value::Null;
    });
    assert_eq!(language(&[]), "en");
}

#[test]
fn what_is_no_recording_is_named_before_the_conversion() {
    let dir = demo_copy();
    for wrong in ["Cargo.toml", "/nowhere.wav"] {
        let output = convert(dir.path(), &["--probe", SAID[0].0, wrong]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(wrong), "{}", text(&output.stderr));
        assert!(!dir.path().join("ggml-q8_0.bin").exists());
    }
}

#[test]
fn silence_tells_nothing_and_says_so() {
    let dir = demo_copy();
    let file = dir.path().join("silence.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&file, spec).unwrap();
    (0..16_000).for_each(|_| writer.write_sample(0_i16).unwrap());
    writer.finalize().unwrap();
    let output = convert(dir.path(), &["--probe", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no words"), "{}", text(&output.stderr));
    assert_eq!(profile(dir.path()).probe, None);
}
