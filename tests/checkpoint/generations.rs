//! Whispers of every generation, and vocabularies that a fine-tune has grown.

use std::fs;

use half::f16;
use imesli::asr::search::SearchOptions;
use imesli::asr::transcriber::{Request, Transcriber};
use imesli::checkpoint::{Profile, QuantType, resolve};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::model::{Checkpoint, safetensors};
use crate::support::{ONE, root, samples, transcribe, transcriber};

/// Greedy, for models whose texts have no end.
fn request(language: Option<&str>) -> Request {
    let search = SearchOptions { beams: 1, max_new_tokens: 8, ..SearchOptions::default() };
    Request { language: language.map(str::to_string), search, ..Request::default() }
}

fn load(checkpoint: &Checkpoint, quantize: QuantType) -> (Transcriber, Profile) {
    let made = resolve(checkpoint.dir.path(), Some(quantize)).unwrap();
    (imesli::load::from_ggml(&made.ggml, ONE, true).unwrap(), made.profile)
}

#[test]
fn every_generation_is_converted_and_decoded() {
    // Vocabulary, mel bins, layers; the end token, and what a prompt consists of.
    for (kind, n_vocab, n_mels, layers, end, prompt) in [
        ("English-only", 51864, 80, [2, 2], 50256, [50257, 0, 0, 50362]),
        ("multilingual", 51865, 80, [2, 2], 50257, [50258, 50265, 50359, 50363]),
        ("v3", 51866, 128, [2, 2], 50257, [50258, 50265, 50360, 50364]),
        ("v3-turbo", 51866, 128, [3, 1], 50257, [50258, 50265, 50360, 50364]),
        ("distil, English-only", 51864, 80, [3, 2], 50256, [50257, 0, 0, 50362]),
        ("distil, v3", 51866, 128, [3, 2], 50257, [50258, 50265, 50360, 50364]),
    ] {
        let mut checkpoint = Checkpoint::of_layers(n_vocab, n_mels, layers);
        // Positions as in a real encoder, so that a whole window fits.
        checkpoint.config.insert("max_source_positions".into(), json!(1500));
        let positions = checkpoint.tensor("encoder.embed_positions.weight");
        positions.shape = vec![1500, 32];
        positions.values = positions.values.iter().copied().cycle().take(1500 * 32).collect();
        checkpoint.write("F16", "model.");
        for quantize in [QuantType::F16, QuantType::Q8_0] {
            let (transcriber, profile) = load(&checkpoint, quantize);
            let tokens = &profile.tokens;
            assert_eq!((tokens.eot, tokens.sot), (end, prompt[0]), "{kind}");
            assert_eq!(tokens.no_timestamps, Some(prompt[3]), "{kind}");
            let english = prompt[1] == 0;
            assert_eq!(tokens.languages.get("fr").copied(), (!english).then_some(prompt[1]), "{kind}");
            assert_eq!(tokens.transcribe, (!english).then_some(prompt[2]), "{kind}");
            let language = (!english).then_some("fr");
            let found = transcribe(&transcriber, samples("tests/data/theo-7309.wav"), &request(language));
            assert!(!found.tokens[0].is_empty(), "{kind} in {quantize}");
            assert_eq!(found.decoded, found.duration, "{kind} in {quantize}");
        }
    }
}

/// The demo model with seven rows more: a language, a word, and padding. The word is like this token, but
/// louder.
fn grown(like: u32) -> Checkpoint {
    let checkpoint = Checkpoint::without_tokenizer(51872, 80);
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(root("checkpoint").join(name)).unwrap()).unwrap()
    };
    let mut config = read("config.json");
    config["vocab_size"] = json!(51872);
    checkpoint.write_json("config.json", &config);
    let mut generation = read("generation_config.json");
    generation["lang_to_id"]["<|kab|>"] = json!(51865);
    checkpoint.write_json("generation_config.json", &generation);
    let added = json!({
        "51865": { "content": "<|kab|>", "special": true },
        "51866": { "content": " azul", "special": false },
    });
    checkpoint.write_json("tokenizer_config.json", &json!({ "added_tokens_decoder": added }));

    let bytes = fs::read(root("checkpoint/model.safetensors")).unwrap();
    let parts: Vec<_> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let (mut shape, mut data) = (tensor.shape().to_vec(), tensor.data().to_vec());
            if name.ends_with("embed_tokens.weight") {
                let row = |id: usize| data[id * 256..(id + 1) * 256].to_vec();
                let louder = |half: &[u8; 2]| f16::from_f32(f16::from_le_bytes(*half).to_f32() * 1.25);
                let word = row(like as usize);
                let word = word.as_chunks::<2>().0.iter().flat_map(|half| louder(half).to_le_bytes());
                let rows: Vec<u8> = row(50259).into_iter().chain(word).collect();
                data.extend(rows);
                data.resize(51872 * 256, 0);
                shape[0] = 51872;
            }
            (name, shape, data)
        })
        .collect();
    fs::write(checkpoint.path("model.safetensors"), safetensors(&parts, "F16")).unwrap();
    checkpoint
}

#[test]
fn added_tokens_and_padding_rows_decode() {
    let recording = "tests/data/theo-7309.wav";
    let plain = transcribe(&transcriber(QuantType::F16, ONE), samples(recording), &Request::default());
    assert_eq!(plain.text, "seven three zero nine");
    let seven = plain.tokens[0][0];

    let (transcriber, profile) = load(&grown(seven), QuantType::F16);
    let tokens = &profile.tokens;
    assert_eq!((tokens.eot, tokens.languages["kab"], tokens.languages["en"]), (50257, 51865, 50259));
    assert_eq!(tokens.added_text.iter().collect::<Vec<_>>(), [(&51866, &" azul".to_string())]);
    let request = Request { language: Some("kab".into()), ..Request::default() };
    let found = transcribe(&transcriber, samples(recording), &request);
    assert_eq!(found.text, "azul three zero nine");
    assert_eq!(found.language.as_deref(), Some("kab"));
    let mut wanted = plain.tokens[0].clone();
    wanted[0] = 51866;
    assert_eq!(found.tokens[0], wanted);
}
