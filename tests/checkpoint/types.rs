//! Every type in the engine: what it computes with the weights is near to what it computes in f32.

use std::path::Path;
use std::process::Command;

use imesli::asr::model::{Model, ModelOptions};
use imesli::asr::search::Decoder;
use imesli::checkpoint::{Error, QuantType};

use super::model::Checkpoint;

/// The logits after a prompt, on a made-up sound.
pub(crate) fn logits(ggml: &Path) -> Vec<f32> {
    let model = Model::load(ggml, ModelOptions { gpu: false }).unwrap();
    let mut state = model.new_state(1).unwrap();
    let sound: Vec<f32> =
        (0..7000).map(|i| 0.5 * (i as f32 * 0.05).sin() * (i as f32 * 0.003).cos()).collect();
    state.set_audio(&sound, None).unwrap();
    let mut logits = Vec::new();
    state.encode().unwrap().start(&[21, 3, 7, 11], &mut logits).unwrap();
    logits
}

pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn every_type_is_loaded_and_computed_with() {
    let checkpoint = Checkpoint::wide();
    checkpoint.write("F32", "model.");
    let exact = logits(&checkpoint.convert(QuantType::F32).unwrap().ggml);
    assert_eq!(exact.len(), 40);
    let (low, high) = exact.iter().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    assert!(high - low > 0.5, "the logits differ among each other: {low} to {high}");
    for ty in QuantType::ALL {
        let made = checkpoint.convert(ty).unwrap();
        assert_eq!(made.info.quant_type(), Some(ty));
        let near = cosine(&logits(&made.ggml), &exact);
        eprintln!("{ty}: {near}");
        let wanted = match ty.bits() {
            bits if bits > 8.0 => 0.999,
            bits if bits > 5.0 => 0.99,
            bits if bits > 4.0 => 0.95,
            bits if bits > 3.3 => 0.85,
            _ => 0.7,
        };
        assert!(near > wanted, "{ty}: {near}");
    }
}

#[test]
fn rows_that_the_blocks_do_not_divide() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F16", "model.");
    for (ty, other) in [(QuantType::Q4_K, "iq4_nl"), (QuantType::Q6_K, "q8_0"), (QuantType::IQ2_S, "iq4_nl")]
    {
        let error = checkpoint.refusal(ty);
        assert!(matches!(error, Error::RowWidth { width: 32, block: 256, .. }), "{error}");
        assert!(error.to_string().contains(&format!("use {other}")), "{error}");
    }
}

#[test]
fn types_that_want_an_importance_matrix_are_named() {
    let run = Command::new(env!("CARGO_BIN_EXE_convert"))
        .args(["--checkpoint", "nowhere", "--quantize", "iq2_xs"])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(2));
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(text.contains("importance matrix") && text.contains("q2_k"), "{text}");
}
