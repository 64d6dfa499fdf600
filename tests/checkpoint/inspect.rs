//! What `convert --inspect` says.

use std::fs;
use std::process::Command;

use imesli::checkpoint::inspect::Kind;
use imesli::checkpoint::{QuantType, inspect};
use serde_json::{Value, json};

use super::model::{Checkpoint, Tensor};

fn checkpoint() -> Checkpoint {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F16", "model.");
    checkpoint.write_json("generation_config.json", &json!({ "language": "kab", "suppress_tokens": [1, 2] }));
    checkpoint
}

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_convert")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_ggml_file() {
    let checkpoint = checkpoint();
    let made = checkpoint.convert(QuantType::Q5_0).unwrap();
    let report = inspect(&made.ggml).unwrap();
    assert_eq!((report.kind, report.bytes), (Kind::Ggml, made.info.bytes));
    assert_eq!(report.type_name.as_deref(), Some("q5_0"));
    assert_eq!(report.dims.unwrap().n_audio_layer, 1);
    assert_eq!(report.vocabulary.as_ref().unwrap().tokens, 20);
    assert_eq!(report.profile, Some(made.profile));
    let largest = report.tensors.iter().find(|t| t.name == "decoder.token_embedding.weight").unwrap();
    assert_eq!((largest.shape.as_slice(), largest.bytes), (&[32, 40][..], Some(40 * 22)));
    assert!(report.is_usable() && report.notes.is_empty(), "{:?} {:?}", report.findings, report.notes);

    let file = made.ggml.to_str().unwrap();
    let (code, text, said) = run(&["--inspect", file]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    for part in [
        "GGML file, q5_0",
        "1 layers, 2 heads, 24 positions",
        "kab",
        "2 tokens, 0 at the",
        "32 × 40",
        "usable",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, text, _) = run(&["--inspect", file, "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["type"], "q5_0");
    assert_eq!(json["kind"], "ggml");
    assert_eq!(json["dims"]["n_state"], 32);
    assert_eq!(json["profile"]["generation"]["language"], "kab");
    assert_eq!(json["tensors"].as_array().unwrap().len(), 50);
    assert_eq!(json["findings"], json!([]));
}

#[test]
fn all_that_is_wrong_with_a_ggml_file() {
    let checkpoint = checkpoint();
    let made = checkpoint.convert(QuantType::F16).unwrap();
    let mut bytes = fs::read(&made.ggml).unwrap();
    let rename = |bytes: &mut [u8], from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
    };
    rename(&mut bytes, b"encoder.conv2.bias", b"encoder.conv2.\x1b[2m");
    rename(&mut bytes, b"decoder.ln.weight", b"decoder.ln.weighs");
    let end = bytes.len();
    bytes[end - 8..].copy_from_slice(&[0xff; 8]);
    bytes[4 * 4..4 * 5].copy_from_slice(&2_u32.to_le_bytes());
    fs::write(&made.ggml, &bytes).unwrap();
    fs::write(made.ggml.with_extension("json"), "{").unwrap();
    let findings = inspect(&made.ggml).unwrap().findings.join("\n");
    for part in [
        "`encoder.conv2.\\u{1b}[2m` is unknown",
        "`decoder.ln.weighs` is unknown",
        "`encoder.conv2.bias` is missing",
        "`decoder.ln.weight` is missing",
        "`decoder.ln.bias` holds 2 values that are not finite",
        "not a usable profile",
    ] {
        assert!(findings.contains(part), "{part}: {findings}");
    }
    let (code, text, _) = run(&["--inspect", made.ggml.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(text.contains("not usable") && !text.contains('\x1b'), "{text}");
}

#[test]
fn a_checkpoint_folder() {
    let checkpoint = checkpoint();
    checkpoint.convert(QuantType::Q8_0).unwrap();
    let report = inspect(checkpoint.dir.path()).unwrap();
    assert!(report.is_usable(), "{:?}", report.findings);
    assert_eq!((report.kind, report.type_name.as_deref()), (Kind::Checkpoint, Some("f16")));
    assert_eq!(report.tensors.len(), 50);
    assert_eq!(report.dims.unwrap().n_text_ctx, 16, "by the weights, not by the configuration");
    assert_eq!(report.files.len(), 1);
    assert_eq!(report.files[0].type_name.as_deref(), Some("q8_0"));
    assert_eq!(report.profile.unwrap().tokens.languages["kab"], 23);
    assert!(
        report.notes[0].contains("rows of 32") && report.notes[0].contains("not as q6_k"),
        "{:?}",
        report.notes
    );
    // It made nothing.
    assert!(!checkpoint.path("ggml-f16.bin").exists());
}

#[test]
fn all_that_is_wrong_with_a_checkpoint() {
    let mut checkpoint = checkpoint();
    checkpoint.tensors.retain(|t| t.name != "encoder.layers.0.fc1.bias");
    checkpoint.tensor("decoder.layers.0.fc1.weight").shape = vec![32, 128];
    checkpoint.tensor("encoder.conv1.bias").values[7] = f32::INFINITY;
    checkpoint.tensor("encoder.conv2.bias").values[7] = 1e9;
    let values = vec![0.0; 32];
    checkpoint.tensors.push(Tensor { name: "decoder.adapter.bias".into(), shape: vec![32], values });
    checkpoint.write("F32", "model.");
    checkpoint.write_json("generation_config.json", &json!({ "no_timestamps_token_id": 4000 }));
    let report = inspect(checkpoint.dir.path()).unwrap();
    let findings = report.findings.join("\n");
    for part in [
        "`encoder.layers.0.fc1.bias` is missing",
        "`decoder.layers.0.fc1.weight` has shape [32, 128]",
        "unknown tensor `decoder.adapter.bias`",
        "`encoder.conv1.bias` holds 1 values that are not finite",
        "has the id 4000",
    ] {
        assert!(findings.contains(part), "{part}: {findings}");
    }
    assert!(report.notes.iter().any(|n| n.contains("1000000000, more than f16 can")), "{:?}", report.notes);
    let (code, text, _) = run(&["--inspect", checkpoint.dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn weight_files_and_what_is_none() {
    let checkpoint = checkpoint();
    let report = inspect(&checkpoint.path("model.safetensors")).unwrap();
    assert_eq!((report.kind, report.tensors.len(), report.is_usable()), (Kind::Weights, 50, true));
    let report = inspect(&checkpoint.path("config.json")).unwrap();
    assert!(!report.is_usable());
    assert!(inspect(&checkpoint.path("nothing")).is_err());
    let empty = tempfile::TempDir::new().unwrap();
    assert!(inspect(empty.path()).unwrap().findings[0].contains("no model.safetensors"));
    for arguments in
        [&["--inspect", "/nowhere"][..], &["--json"], &["--inspect", "a", "--checkpoint", "b"], &[]]
    {
        let (code, out, _) = run(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
    }
}
