//! Times of words: attention beside transformers', and what the whole makes of it.

use imesli::asr::model::{Encoded, Head, Model, ModelOptions, Token};
use imesli::asr::pool::PoolOptions;
use imesli::asr::search::SearchOptions;
use imesli::asr::segment::Timestamps;
use imesli::asr::timing::{TimeSource, TimedWord};
use imesli::asr::transcriber::{Request, Transcript};
use imesli::checkpoint::QuantType;
use imesli::error::Result;
use imesli::text::Orthography;
use serde::Deserialize;

use super::SAID;
use crate::support::{ONE, demo, root, samples, transcribe, transcriber};

fn words_wanted() -> Request {
    Request { timestamps: Timestamps::Word, ..Request::default() }
}

fn words(found: &Transcript) -> Vec<&TimedWord> {
    found.segments.iter().flat_map(|segment| &segment.words).collect()
}

/// What must hold of every transcript with words.
fn check(found: &Transcript) {
    for segment in &found.segments {
        assert_eq!(segment.words.iter().map(|word| word.text.as_str()).collect::<String>(), segment.text);
        assert_eq!(Some(segment.start), segment.words.first().map(|word| word.start), "{segment:?}");
        assert_eq!(Some(segment.end), segment.words.last().map(|word| word.end), "{segment:?}");
    }
    let texts: Vec<&str> = found.segments.iter().map(|segment| segment.text.as_str()).collect();
    assert_eq!(texts.join(" "), found.text);
    let words = words(found);
    assert!(
        words.iter().all(|word| 0.0 <= word.start && word.start <= word.end && word.end <= found.duration)
    );
    assert!(words.iter().all(|word| (0.0..=1.0).contains(&word.probability)));
    for pair in words.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{pair:?}");
    }
}

/// Made by `tools/compare_word_times.py --write`.
#[derive(Deserialize)]
struct Reference {
    heads: Vec<[i32; 2]>,
    tokens: Vec<u32>,
    frames: usize,
    weights: Vec<Vec<Vec<f32>>>,
}

/// The weights of all heads, one after the other.
fn attention(encoded: &mut Encoded<'_>, tokens: &[Token], heads: &[Head], frames: usize) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    encoded.attention(tokens, heads, frames, |weights| all.extend_from_slice(weights))?;
    Ok(all)
}

#[test]
fn the_attention_is_that_of_transformers() {
    let text = std::fs::read(root("tests/data/nicolas-5521-attention.json")).unwrap();
    let reference: Reference = serde_json::from_slice(&text).unwrap();
    let heads: Vec<Head> = reference.heads.iter().map(|&[layer, head]| Head { layer, head }).collect();
    let wanted: Vec<f32> = reference.weights.into_iter().flatten().flatten().collect();
    for (quantize, most) in [(QuantType::F32, 0.002), (QuantType::F16, 0.01), (QuantType::Q8_0, 0.08)] {
        let model = Model::load(&demo(quantize), ModelOptions { gpu: false }).unwrap();
        let mut state = model.new_state(1).unwrap();
        state.set_audio(&samples("tests/data/nicolas-5521.wav"), None).unwrap();
        let mut encoded = state.encode().unwrap();
        let mut attention =
            |heads: &[Head]| attention(&mut encoded, &reference.tokens, heads, reference.frames).unwrap();
        let found = attention(&heads);
        assert_eq!(found.len(), wanted.len());
        let differences = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
        let difference = differences.fold(0.0, f32::max);
        assert!(difference < most, "{}: {difference}", quantize.name());
        for row in found.chunks(reference.frames) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-3);
        }
        // One head by itself, the last first: the same weights.
        let half = wanted.len() / 2;
        assert_eq!(attention(&heads[1..]), found[half..]);
    }
}

#[test]
fn what_the_model_has_not_is_refused() {
    let model = Model::load(&demo(QuantType::Q8_0), ModelOptions { gpu: false }).unwrap();
    let mut state = model.new_state(1).unwrap();
    state.set_audio(&[0.0; 16_000], None).unwrap();
    let mut encoded = state.encode().unwrap();
    let head = |layer, head| vec![Head { layer, head }];
    for (tokens, heads, frames) in [
        (vec![50258; 2], head(4, 0), 10),
        (vec![50258; 2], head(-1, 0), 10),
        (vec![50258; 2], head(0, 2), 10),
        (vec![50258; 2], vec![], 10),
        (vec![50258; 2], head(0, 0), 0),
        (vec![50258; 2], head(0, 0), 1501),
        (vec![50258; 449], head(0, 0), 10),
        (vec![], head(0, 0), 10),
        (vec![60_000], head(0, 0), 10),
    ] {
        assert!(attention(&mut encoded, &tokens, &heads, frames).is_err(), "{tokens:?} {heads:?} {frames}");
    }
    assert_eq!(attention(&mut encoded, &[50258; 448], &head(3, 1), 1500).unwrap().len(), 448 * 1500);
}

#[test]
fn words_have_times_and_the_text_stays() {
    // Reading the attention must not change what is found later on the same state either.
    let transcriber = transcriber(QuantType::Q8_0, ONE);
    for beams in [1, 5] {
        let search = SearchOptions { beams, ..SearchOptions::default() };
        let plain = Request { search, ..Request::default() };
        for (file, said) in SAID {
            let before = transcribe(&transcriber, samples(file), &plain);
            let found = transcribe(&transcriber, samples(file), &Request { search, ..words_wanted() });
            let after = transcribe(&transcriber, samples(file), &plain);
            for other in [&before, &after] {
                assert_eq!((&found.text, &found.tokens), (&other.text, &other.tokens), "{file}");
                assert_eq!(found.mean_log_probs, other.mean_log_probs, "{file}");
            }
            check(&found);
            let texts: Vec<&str> = words(&found).iter().map(|word| word.text.trim()).collect();
            assert_eq!(texts.join(" "), said);
            assert_eq!(found.word_times, Some(TimeSource::Attention));
            assert_eq!(found.timestamps, Some(Timestamps::Word));
            assert_eq!((before.word_times, before.timestamps), (None, None));
            assert!(before.segments.iter().all(|segment| segment.words.is_empty()));
        }
    }
}

/// Seconds at which the sound of a recording comes and goes, where silence of 50 ms or more parts it.
fn bursts(samples: &[f32]) -> Vec<(f64, f64)> {
    let loud: Vec<bool> = samples.chunks(160).map(|c| c.iter().any(|s| s.abs() > 0.02)).collect();
    let mut found: Vec<(f64, f64)> = Vec::new();
    for (index, _) in loud.iter().enumerate().filter(|(_, loud)| **loud) {
        let (start, end) = (index as f64 / 100.0, (index + 1) as f64 / 100.0);
        match found.last_mut() {
            Some(last) if start - last.1 < 0.05 => last.1 = end,
            _ => found.push((start, end)),
        }
    }
    found
}

#[test]
fn words_are_where_the_sound_is() {
    let transcriber = transcriber(QuantType::Q8_0, ONE);
    let samples = samples(SAID[0].0);
    let bursts = bursts(&samples);
    let found = transcribe(&transcriber, samples, &words_wanted());
    let words = words(&found);
    let near =
        |time: f64, edge: fn(&(f64, f64)) -> f64| bursts.iter().any(|burst| (edge(burst) - time).abs() < 0.1);
    for word in &words {
        assert!(near(word.start, |b| b.0), "{word:?} {bursts:?}");
        assert!(near(word.end, |b| b.1), "{word:?} {bursts:?}");
    }
}

#[test]
fn a_long_recording_has_each_word_once_and_in_order() {
    // With pauses too short to cut in, so that windows overlap; in changing order, which misleads the model less.
    let order = [3, 0, 2, 1, 3, 2, 0, 1, 2, 3, 1, 0, 1, 2, 0, 3];
    let trimmed = |index: &usize| {
        let all = samples(SAID[*index].0);
        let loud = |s: &f32| s.abs() > 0.02;
        let (first, last) = (all.iter().position(loud).unwrap(), all.iter().rposition(loud).unwrap());
        all[first..=last].to_vec()
    };
    let close: Vec<f32> = order.iter().flat_map(trimmed).collect();
    let apart: Vec<f32> =
        order.iter().flat_map(|i| [samples(SAID[*i].0), vec![0.0; 8_000]].concat()).collect();
    let transcriber = transcriber(QuantType::Q8_0, PoolOptions { states: 2, threads: 1, requests: 4 });
    for (name, long) in [("close", close), ("apart", apart)] {
        let found = transcribe(&transcriber, long.clone(), &words_wanted());
        let plain = transcribe(&transcriber, long, &Request::default());
        assert_eq!(found.text, plain.text, "{name}");
        assert!(found.tokens.len() > 1, "{name}");
        check(&found);
        let words = words(&found);
        assert_eq!(words.len(), found.text.split_whitespace().count(), "{name}");
        // The words are spread over the whole recording.
        assert!(words[0].start < 2.0 && words[words.len() - 1].end > found.duration - 3.0, "{name}");
        let longest = words.windows(2).map(|pair| pair[1].start - pair[0].start).fold(0.0, f64::max);
        assert!(longest < 3.0, "{name}: {longest} s between two words");
    }
}

#[test]
fn a_model_that_names_no_heads_has_words_too() {
    // A GGML file without its profile.
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone.bin");
    std::fs::copy(demo(QuantType::Q8_0), &alone).unwrap();
    let transcriber = imesli::load::from_ggml(&alone, ONE, true).unwrap();
    let request = Request { language: Some("en".into()), ..words_wanted() };
    for (file, said) in SAID {
        let found = transcribe(&transcriber, samples(file), &request);
        check(&found);
        assert_eq!((found.text.as_str(), found.word_times), (said, Some(TimeSource::Attention)));
        assert_eq!(words(&found).len(), said.split(' ').count());
    }
}

#[test]
fn words_are_respelled_with_the_text() {
    let transcriber = transcriber(QuantType::Q8_0, ONE);
    let request = Request { orthography: Orthography::Kabyle, ..words_wanted() };
    let found = transcribe(&transcriber, samples(SAID[2].0), &request);
    check(&found);
    assert_eq!(found.text, SAID[2].1);
}

#[test]
fn silence_has_no_words() {
    let transcriber = transcriber(QuantType::Q8_0, ONE);
    for length in [1, 200, 320, 16_000, 600_000] {
        let found = transcribe(&transcriber, vec![0.0; length], &words_wanted());
        assert_eq!((found.text.as_str(), found.segments.len()), ("", 0), "{length} samples");
    }
}
