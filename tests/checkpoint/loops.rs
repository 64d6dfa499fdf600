//! A model with random weights, which says the same thing for ever.

use imesli::asr::search::SearchOptions;
use imesli::asr::switch::Switch;
use imesli::asr::transcriber::{Request, Transcript};
use imesli::checkpoint::{QuantType, resolve};
use serde_json::json;

use super::model::Checkpoint;
use crate::support::{ONE, samples, transcribe};

/// Positions as in a real model, the decoder's all alike: where it is in the text makes no difference to it.
fn model() -> Checkpoint {
    let mut checkpoint = Checkpoint::of_layers(51865, 80, [1, 1]);
    for (field, side, count) in
        [("max_source_positions", "encoder", 1500), ("max_target_positions", "decoder", 448)]
    {
        checkpoint.config.insert(field.into(), json!(count));
        let positions = checkpoint.tensor(&format!("{side}.embed_positions.weight"));
        positions.shape = vec![count, 32];
        let pattern = if side == "encoder" { positions.values.clone() } else { vec![0.0] };
        positions.values = pattern.into_iter().cycle().take(count * 32).collect();
    }
    checkpoint.write("F16", "model.");
    checkpoint
}

#[test]
fn a_model_that_loops_is_asked_twice_and_no_more() {
    let checkpoint = model();
    let made = resolve(checkpoint.dir.path(), Some(QuantType::F16)).unwrap();
    let transcriber = imesli::load::from_ggml(&made.ggml, ONE, true).unwrap();
    // Over 8 s: long enough to be split where a text has no end.
    let twice = samples("tests/data/jackson-4815162390.wav").repeat(2);
    let heard = |loop_guard: Switch| -> Transcript {
        let search = SearchOptions { beams: 1, ..SearchOptions::default() };
        let request = Request {
            language: Some("fr".into()),
            search,
            loop_guard,
            vad: Switch::Off,
            ..Request::default()
        };
        transcribe(&transcriber, twice.clone(), &request)
    };
    let guarded = heard(Switch::On);
    assert_eq!((guarded.looped, guarded.unended), (1, 1), "{:?}", guarded.tokens);
    // The model's own text of the whole window, up to its limit: 448 positions without the prompt's four.
    assert_eq!(guarded.tokens[0].len(), 444);
    assert_eq!(guarded.segments.len(), 1);
    let alone = heard(Switch::Off);
    assert_eq!(alone.looped, 0);
    assert!(alone.unended > 1, "without the guard it is split again and again: {}", alone.unended);
}
