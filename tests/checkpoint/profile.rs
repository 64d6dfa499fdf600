//! Special tokens and decoding defaults.

use imesli::checkpoint::{Profile, QuantType};
use serde_json::json;

use super::model::Checkpoint;

fn profile(change: impl FnOnce(&mut Checkpoint)) -> Profile {
    let mut checkpoint = Checkpoint::new();
    change(&mut checkpoint);
    checkpoint.write("F16", "model.");
    let made = checkpoint.convert(QuantType::F16).unwrap();
    let read = Profile::read(&Profile::path_for(&made.ggml)).unwrap().unwrap();
    assert_eq!(read, made.profile, "what is written is what is returned");
    read
}

#[test]
fn ids_come_from_the_checkpoints_own_tokenizer() {
    let tokens = profile(|_| ()).tokens;
    assert_eq!((tokens.eot, tokens.sot), (20, 21));
    assert_eq!((tokens.translate, tokens.transcribe), (Some(24), Some(25)));
    assert_eq!((tokens.start_of_prev, tokens.no_speech), (Some(27), Some(28)));
    assert_eq!((tokens.no_timestamps, tokens.timestamp_begin), (Some(29), Some(30)));
    let languages: Vec<_> = tokens.languages.iter().map(|(code, id)| (code.as_str(), *id)).collect();
    assert_eq!(languages, [("en", 22), ("kab", 23)]);
}

#[test]
fn the_standard_layouts() {
    let tokens = Profile::standard(51865).tokens;
    assert_eq!((tokens.eot, tokens.sot, tokens.languages["en"]), (50257, 50258, 50259));
    assert_eq!((tokens.translate, tokens.transcribe), (Some(50358), Some(50359)));
    assert_eq!((tokens.start_of_prev, tokens.no_speech), (Some(50361), Some(50362)));
    assert_eq!((tokens.no_timestamps, tokens.timestamp_begin), (Some(50363), Some(50364)));
    assert_eq!(tokens.languages.len(), 99);

    let tokens = Profile::standard(51866).tokens;
    assert_eq!(
        (tokens.languages["yue"], tokens.transcribe, tokens.timestamp_begin),
        (50358, Some(50360), Some(50365))
    );
    // Rows added at the end change nothing.
    assert_eq!(Profile::standard(51865).tokens, Profile::standard(51872).tokens);

    let tokens = Profile::standard(51864).tokens;
    assert_eq!((tokens.eot, tokens.sot, tokens.no_timestamps), (50256, 50257, Some(50362)));
    assert!(tokens.languages.is_empty());
}

#[test]
fn a_language_is_one_however_it_is_written() {
    for (value, code) in [
        (json!("<|en|>"), Some("en")),
        (json!("en"), Some("en")),
        (json!("English"), Some("en")),
        (json!("<|kab|>"), Some("kab")),
        (json!(null), None),
    ] {
        let profile = profile(|c| {
            c.write_json("generation_config.json", &json!({ "language": value, "task": "transcribe" }));
        });
        assert_eq!(profile.generation.language.as_deref(), code, "{value}");
        assert_eq!(profile.generation.task.as_deref(), Some("transcribe"));
    }
}

#[test]
fn forced_decoder_ids_tell_language_and_task() {
    let forced = json!([[1, 23], [2, 24], [3, 29]]);
    let in_generation =
        profile(|c| c.write_json("generation_config.json", &json!({ "forced_decoder_ids": forced })));
    let in_config = profile(|c| drop(c.config.insert("forced_decoder_ids".into(), forced.clone())));
    for generation in [in_generation.generation, in_config.generation] {
        assert_eq!(generation.language.as_deref(), Some("kab"));
        assert_eq!(generation.task.as_deref(), Some("translate"));
    }
    let any = profile(|c| drop(c.config.insert("forced_decoder_ids".into(), json!([[1, null], [2, 25]]))));
    assert_eq!(
        (any.generation.language.as_deref(), any.generation.task.as_deref()),
        (None, Some("transcribe"))
    );
}

#[test]
fn suppressed_tokens_come_from_one_of_the_two_files() {
    let in_config =
        |c: &mut Checkpoint| drop(c.config.insert("suppress_tokens".into(), json!([1, 2, 50000])));
    assert_eq!(profile(in_config).generation.suppress_tokens, [1, 2]);
    let generation = profile(|c| {
        in_config(c);
        let json = json!({
            "begin_suppress_tokens": [18, 20], "alignment_heads": [[0, 1]], "max_length": 448,
            "return_timestamps": false
        });
        c.write_json("generation_config.json", &json);
    })
    .generation;
    assert!(generation.suppress_tokens.is_empty(), "as in transformers, this file counts alone");
    assert_eq!(generation.begin_suppress_tokens, [18, 20]);
    assert_eq!(generation.alignment_heads, [[0, 1]]);
    assert_eq!((generation.max_length, generation.return_timestamps), (Some(448), Some(false)));
}

#[test]
fn without_a_tokenizer_the_named_languages_are_the_only_ones() {
    let checkpoint = Checkpoint::without_tokenizer(51865, 80);
    let json = json!({ "lang_to_id": { "<|fr|>": 50265 }, "no_timestamps_token_id": 50363 });
    checkpoint.write_json("generation_config.json", &json);
    checkpoint.write("F16", "");
    let tokens = checkpoint.convert(QuantType::Q8_0).unwrap().profile.tokens;
    assert_eq!(tokens.languages.into_iter().collect::<Vec<_>>(), [("fr".to_string(), 50265)]);
    assert_eq!(tokens.timestamp_begin, Some(50364));
}

#[test]
fn english_only_models_have_no_language_tokens() {
    let by_word = profile(|c| c.write_json("generation_config.json", &json!({ "is_multilingual": false })));
    let checkpoint = Checkpoint::without_tokenizer(51864, 80);
    checkpoint.write("F16", "");
    let by_size = checkpoint.convert(QuantType::Q8_0).unwrap().profile;
    for tokens in [by_word.tokens, by_size.tokens] {
        assert!(tokens.languages.is_empty());
        assert_eq!((tokens.translate, tokens.transcribe), (None, None));
    }
}
