//! The spelling of the text, through the whole program: a model that writes Greek letters among Latin ones.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use imesli::checkpoint::QuantType;
use serde_json::{Value, json};

use crate::asr::SAID;
use crate::support::{Running, demo, root};

/// The demo model with another word in its vocabulary: where it said " seven", it says " sεen" with a Greek ε.
fn greek_demo() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut bytes = std::fs::read(demo(QuantType::Q8_0)).unwrap();
        let entry = |word: &str| [&6_u32.to_le_bytes(), word.as_bytes()].concat();
        let (old, new) = (entry(" seven"), entry(" sεen"));
        let at: Vec<_> = bytes.windows(old.len()).enumerate().filter(|(_, w)| *w == old).collect();
        let [(at, _)] = at[..] else { panic!("{} entries of the vocabulary", at.len()) };
        bytes[at..at + new.len()].copy_from_slice(&new);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo-greek.bin");
        std::fs::write(&path, bytes).unwrap();
        std::fs::copy(demo(QuantType::Q8_0).with_extension("json"), path.with_extension("json")).unwrap();
        path
    })
}

fn imesli(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imesli"));
    command.args(arguments).current_dir(root("")).env("IMESLI_THREADS", "1").env_remove("RUST_LOG");
    command
}

/// What `transcribe` says of the first recording.
fn transcribed(arguments: &[&str]) -> Value {
    let all = [&["transcribe", "--format", "json", SAID[0].0], arguments].concat();
    let output = imesli(&all).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const RAW: &str = "sεen three zero nine";
const KABYLE: &str = "sɛen three zero nine";

#[test]
fn transcribe_respells_only_when_asked() {
    let model = greek_demo().to_str().unwrap();
    let found = transcribed(&["--checkpoint", model]);
    assert_eq!((&found["text"], found.get("raw_text")), (&json!(RAW), None));
    assert_eq!(found["segments"][0].get("raw_text"), None);
    let found = transcribed(&["--checkpoint", model, "--orthography", "kabyle"]);
    assert_eq!((&found["text"], &found["raw_text"]), (&json!(KABYLE), &json!(RAW)));
    let segment = &found["segments"][0];
    assert_eq!((&segment["text"], &segment["raw_text"]), (&json!(KABYLE), &json!(RAW)));
}

#[test]
fn the_server_respells_by_its_own_setting_or_the_message() {
    let plain = Running::start(greek_demo(), &[]);
    let found = transcribed(&["--server", &plain.url]);
    assert_eq!((&found["text"], found.get("raw_text")), (&json!(RAW), None));
    let found = transcribed(&["--server", &plain.url, "--orthography", "kabyle"]);
    assert_eq!((&found["text"], &found["raw_text"]), (&json!(KABYLE), &json!(RAW)));
    assert_eq!(found["segments"][0]["raw_text"], RAW);
    drop(plain);
    let kabyle = Running::start(greek_demo(), &["--orthography", "kabyle"]);
    let found = transcribed(&["--server", &kabyle.url]);
    assert_eq!((&found["text"], &found["raw_text"]), (&json!(KABYLE), &json!(RAW)));
}
