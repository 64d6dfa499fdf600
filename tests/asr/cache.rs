//! The decoder's cache: cells that come and go, and a cache that grows, change nothing.

use imesli::asr::model::{Encoded, Model, ModelOptions, State};
use imesli::asr::search::{Decoder, Extension};
use imesli::checkpoint::QuantType;

use crate::support::{demo, samples};

fn state() -> State {
    // 32-bit weights, so that what is left of a difference is the order of sums.
    let model = Model::load(&demo(QuantType::F32), ModelOptions { gpu: false }).unwrap();
    let mut state = model.new_state(1).unwrap();
    state.set_audio(&samples("tests/data/nicolas-5521.wav"), None).unwrap();
    state
}

/// Some sequence of text tokens that all differ from their neighbours.
fn token(beam: usize, position: usize) -> u32 {
    u32::try_from(1000 + (position * 37 + beam * 101) % 5000).unwrap()
}

/// The logits after a whole sequence, decoded at once into an empty cache.
fn at_once(encoded: &mut Encoded<'_>, sequence: &[u32]) -> Vec<f32> {
    let mut logits = Vec::new();
    encoded.start(sequence, &mut logits).unwrap();
    logits
}

#[test]
fn beams_that_fork_and_die_see_their_own_past_alone_in_a_cache_that_grows() {
    const BEAMS: usize = 5;
    const STEPS: usize = 240;
    let mut state = state();
    let mut encoded = state.encode().unwrap();
    let prompt = [50258, 50259, 50359, 50363];
    let mut logits = Vec::new();
    encoded.start(&prompt, &mut logits).unwrap();
    let mut sequences = vec![prompt.to_vec()];
    let mut checked = 0;
    for step in 0..STEPS {
        // Five beams that stay apart, so that the cache fills up; every 16th step the last dies and the first forks.
        let parent = |beam: usize| match (step, step % 16) {
            (0, _) => 0,
            (_, 15) if beam == BEAMS - 1 => 0,
            _ => beam,
        };
        let beams: Vec<Extension> =
            (0..BEAMS).map(|beam| Extension { parent: parent(beam), token: token(beam, step) }).collect();
        encoded.extend(&beams, &mut logits).unwrap();
        sequences = beams.iter().map(|beam| [&*sequences[beam.parent], &[beam.token]].concat()).collect();
    }
    let n_vocab = encoded.dims().n_vocab;
    assert_eq!(logits.len(), BEAMS * n_vocab);
    for (sequence, row) in sequences.iter().zip(logits.chunks(n_vocab)) {
        let expected = at_once(&mut encoded, sequence);
        assert_eq!(expected.len(), n_vocab, "logits of the last token alone");
        let difference = row.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 2e-3, "{difference}");
        let spread = expected.iter().copied().fold(f32::MIN, f32::max)
            - expected.iter().copied().fold(f32::MAX, f32::min);
        assert!(spread > 5.0, "logits that say nothing: {spread}");
        checked += 1;
    }
    assert_eq!(checked, BEAMS);
}

#[test]
fn a_cache_that_has_grown_gives_what_a_fresh_one_gives() {
    let short: Vec<u32> = (0..40).map(|position| token(0, position)).collect();
    let long: Vec<u32> = (0..440).map(|position| token(1, position)).collect();
    let mut state = state();
    let mut encoded = state.encode().unwrap();
    let before = at_once(&mut encoded, &short);
    let of_long = at_once(&mut encoded, &long);
    assert_eq!(at_once(&mut encoded, &short), before);
    assert_eq!(at_once(&mut encoded, &long), of_long);
}
