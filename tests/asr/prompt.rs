//! Text that the model is given beside the audio.

use imesli::asr::model::{Model, ModelOptions};
use imesli::asr::search::SearchOptions;
use imesli::asr::tokenize::Tokenizer;
use imesli::asr::transcriber::Request;
use imesli::checkpoint::QuantType;
use serde::Deserialize;

use super::SAID;
use crate::support::{ONE, demo, root, samples, transcribe, transcriber};

#[derive(Deserialize)]
struct Case {
    text: String,
    tokens: Vec<u32>,
}

/// The first token that is no text, of the multilingual vocabulary.
const END_OF_TEXT: usize = 50257;

#[test]
fn text_becomes_the_tokens_of_openais_tokenizer() {
    let file = std::fs::read(root("tests/data/tokens.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&file).unwrap();
    assert!(cases.len() > 20);
    let model = Model::load(&demo(QuantType::Q8_0), ModelOptions { gpu: false }).unwrap();
    let bytes = model.token_bytes();
    let tokenizer = Tokenizer::new(bytes.iter().take(END_OF_TEXT).map(Vec::as_slice)).unwrap();
    for Case { text, tokens } in cases {
        assert_eq!(tokenizer.encode(&text).unwrap(), tokens, "{text:?}");
    }
}

#[test]
fn a_prompt_reaches_the_model_and_the_words_stay_right() {
    let transcriber = transcriber(QuantType::F16, ONE);
    let plain = transcribe(&transcriber, samples(SAID[0].0), &Request::default());
    let prompt = "one two three".to_owned();
    let with = transcribe(&transcriber, samples(SAID[0].0), &Request { prompt, ..Request::default() });
    assert_eq!((plain.text.as_str(), with.text.as_str()), (SAID[0].1, SAID[0].1));
    assert_ne!(plain.mean_log_probs, with.mean_log_probs);
    // Longer than the model's half: its end is kept.
    let prompt = "nine ".repeat(1000);
    let long = transcribe(&transcriber, samples(SAID[0].0), &Request { prompt, ..Request::default() });
    assert_eq!(long.tokens.len(), 1);
}

#[test]
fn a_temperature_draws_the_same_text_again() {
    let transcriber = transcriber(QuantType::F16, ONE);
    let search = SearchOptions { temperature: 1.0, ..SearchOptions::default() };
    let request = Request { search, ..Request::default() };
    let found = [0, 1].map(|_| transcribe(&transcriber, samples(SAID[3].0), &request));
    assert_eq!(found[0].tokens, found[1].tokens);
}
