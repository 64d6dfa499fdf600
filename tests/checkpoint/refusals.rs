//! Every way in which a checkpoint is refused; each leaves no file and exits with 2.

use std::fs;

use imesli::checkpoint::{Error, Options, QuantType, convert};
use serde_json::{Value, json};

use super::model::Checkpoint;

/// The error of a checkpoint that was changed before it was written.
fn refused(change: impl FnOnce(&mut Checkpoint)) -> Error {
    let mut checkpoint = Checkpoint::new();
    change(&mut checkpoint);
    checkpoint.write("F32", "model.");
    checkpoint.refusal(QuantType::Q8_0)
}

/// The error of a configuration with this field changed.
fn config(field: &str, value: Value) -> Error {
    refused(|c| drop(c.config.insert(field.into(), value)))
}

#[test]
fn a_folder_that_is_not_there() {
    let options =
        Options { base: None, checkpoint: "/no/such/folder".into(), quantize: QuantType::F16, out: None };
    assert!(matches!(convert(&options), Err(Error::Read { .. })));
}

#[test]
fn no_weights() {
    let checkpoint = Checkpoint::new();
    checkpoint.write_config();
    assert!(matches!(checkpoint.refusal(QuantType::F16), Error::NoWeights { .. }));
}

#[test]
fn no_configuration() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F32", "");
    fs::remove_file(checkpoint.path("config.json")).unwrap();
    assert!(matches!(checkpoint.refusal(QuantType::F16), Error::Read { .. }));
}

#[test]
fn json_that_is_not_an_object() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F32", "");
    for text in ["[1]", "{", "", "\u{0}"] {
        fs::write(checkpoint.path("config.json"), text).unwrap();
        assert!(matches!(checkpoint.refusal(QuantType::F16), Error::Json { .. }));
    }
}

#[test]
fn a_json_file_without_end() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F32", "");
    let file = fs::File::create(checkpoint.path("config.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(matches!(checkpoint.refusal(QuantType::F16), Error::TooLarge { .. }));
}

#[test]
fn dimensions_that_can_not_be() {
    for (field, value) in [
        ("vocab_size", json!(0)),
        ("vocab_size", json!(1_u64 << 40)),
        ("d_model", json!(-32)),
        ("d_model", json!("32")),
        ("encoder_layers", json!(1_000_000)),
        ("decoder_layers", json!(null)),
        ("encoder_attention_heads", json!(5)),
        ("decoder_attention_heads", json!(0)),
        ("max_source_positions", json!(1_000_000)),
        ("num_mel_bins", json!(40)),
    ] {
        match config(field, value.clone()) {
            Error::Config { field: named, .. } => assert_eq!(named, field),
            other => panic!("{field} {value}: {other}"),
        }
    }
    let missing = refused(|c| drop(c.config.remove("d_model")));
    assert!(matches!(missing, Error::Config { field: "d_model", .. }));
}

#[test]
fn variants_that_whisper_cpp_does_not_compute() {
    for (field, value) in [
        ("encoder_ffn_dim", json!(64)),
        ("model_type", json!("wav2vec2")),
        ("activation_function", json!("relu")),
        ("scale_embedding", json!(true)),
    ] {
        assert!(matches!(config(field, value), Error::Unsupported { .. }), "{field}");
    }
}

#[test]
fn an_output_projection_of_its_own() {
    let error = refused(|c| {
        c.config.insert("tie_word_embeddings".into(), json!(false));
        let values = vec![0.25; 40 * 32];
        c.tensors.push(super::model::Tensor { name: "proj_out.weight".into(), shape: vec![40, 32], values });
    });
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn a_missing_tensor() {
    for name in ["encoder.layers.0.fc1.bias", "decoder.embed_tokens.weight", "decoder.embed_positions.weight"]
    {
        match refused(|c| c.tensors.retain(|t| t.name != name)) {
            Error::MissingTensor { tensor, .. } => assert_eq!(tensor, name),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn an_unknown_tensor() {
    let error = refused(|c| c.tensor("decoder.layer_norm.bias").name = "decoder.layers.7.fc1.bias".into());
    // The first that is wrong in either way is named.
    assert!(matches!(error, Error::MissingTensor { .. }));
    let error = refused(|c| {
        let values = vec![0.0; 32];
        c.tensors.push(super::model::Tensor { name: "decoder.adapter.bias".into(), shape: vec![32], values });
    });
    assert!(matches!(error, Error::UnknownTensor { tensor, .. } if tensor == "decoder.adapter.bias"));
}

#[test]
fn a_misshapen_tensor() {
    let name = "decoder.layers.0.fc1.weight";
    match refused(|c| c.tensor(name).shape = vec![32, 128]) {
        Error::Shape { tensor, found, expected, .. } => {
            assert_eq!((tensor.as_str(), found, expected), (name, vec![32, 128], vec![128, 32]));
        }
        other => panic!("{other}"),
    }
    // Fewer rows than the configuration's vocabulary, as after a resize that was not saved.
    let error = config("vocab_size", json!(41));
    assert!(matches!(error, Error::Shape { tensor, .. } if tensor == "decoder.embed_tokens.weight"));
}

#[test]
fn the_same_tensor_under_two_names() {
    let checkpoint = Checkpoint::new();
    let parts: Vec<_> = ["model.encoder.conv1.bias", "encoder.conv1.bias"]
        .map(|name| (name.to_string(), vec![32], vec![0; 128]))
        .into();
    checkpoint.write_config();
    fs::write(checkpoint.path("model.safetensors"), super::model::safetensors(&parts, "F32")).unwrap();
    assert!(matches!(checkpoint.refusal(QuantType::F16), Error::DuplicateTensor { .. }));
}

#[test]
fn element_types_that_are_not_read() {
    let checkpoint = Checkpoint::new();
    let parts: Vec<_> = checkpoint
        .tensors
        .iter()
        .map(|t| (t.name.clone(), t.shape.clone(), vec![0; t.values.len()]))
        .collect();
    checkpoint.write_config();
    fs::write(checkpoint.path("model.safetensors"), super::model::safetensors(&parts, "F8_E4M3")).unwrap();
    assert!(matches!(checkpoint.refusal(QuantType::F16), Error::Dtype { dtype, .. } if dtype == "f8_e4m3"));
}

#[test]
fn a_tensor_that_is_spread_over_a_large_storage() {
    let checkpoint = Checkpoint::new();
    checkpoint.write_bin("spread.bin");
    match checkpoint.refusal(QuantType::F16) {
        Error::NotContiguous { tensor, .. } => assert_eq!(tensor, "encoder.conv1.weight"),
        other => panic!("{other}"),
    }
}

#[test]
fn weights_that_are_not_finite() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = refused(|c| c.tensor("decoder.layers.0.fc2.weight").values[1000] = value);
        assert!(matches!(error, Error::NotFinite { tensor, .. } if tensor == "decoder.layers.0.fc2.weight"));
    }
}

#[test]
fn weights_beyond_f16() {
    let error = refused(|c| c.tensor("encoder.conv2.weight").values[7] = 70_000.0);
    assert!(matches!(error, Error::HalfOverflow { value: 70_000.0, .. }));
}

#[test]
fn rows_that_blocks_do_not_divide() {
    let mut checkpoint = Checkpoint::new();
    // A width of 40: not a multiple of 32.
    checkpoint.config.insert("d_model".into(), json!(40));
    for field in ["encoder_ffn_dim", "decoder_ffn_dim"] {
        checkpoint.config.insert(field.into(), json!(160));
    }
    for tensor in &mut checkpoint.tensors {
        let conv1 = tensor.name == "encoder.conv1.weight";
        for size in &mut tensor.shape {
            *size = match *size {
                32 => 40,
                128 => 160,
                other => other,
            };
        }
        if tensor.name == "decoder.embed_tokens.weight" {
            tensor.shape[0] = 40;
        }
        assert!(!conv1 || tensor.shape == [40, 80, 3]);
        tensor.values = vec![0.125; tensor.shape.iter().product()];
    }
    checkpoint.write("F32", "model.");
    assert!(matches!(checkpoint.refusal(QuantType::Q8_0), Error::RowWidth { width: 40, .. }));
    checkpoint.convert(QuantType::F16).unwrap();
}

#[test]
fn vocabularies_that_can_not_be() {
    for vocab in [
        json!({ "a": 0, "b": 2 }),
        json!({ "a": 0, "b": 0 }),
        json!({ "a": -1 }),
        json!({ "a": "0" }),
        json!({ "a": 0, "日": 1 }),
        json!({}),
    ] {
        let error = refused(|c| c.write_json("vocab.json", &vocab));
        assert!(matches!(error, Error::Vocabulary { .. }), "{vocab}: {error}");
    }
    // More tokens than the embedding has rows.
    let many: serde_json::Map<String, Value> =
        (0..94_u8).map(|i| (char::from(b'!' + i).to_string(), json!(i))).collect();
    let error = refused(|c| {
        c.write_json("vocab.json", &Value::Object(many));
        c.write_json("added_tokens.json", &json!({}));
    });
    assert!(matches!(error, Error::Vocabulary { .. }), "{error}");
}

#[test]
fn no_vocabulary_for_an_unusual_size() {
    let checkpoint = Checkpoint::without_tokenizer(40, 80);
    checkpoint.write("F32", "");
    assert!(matches!(checkpoint.refusal(QuantType::F16), Error::Vocabulary { .. }));
}

#[test]
fn special_tokens_beyond_the_embedding() {
    let error =
        refused(|c| c.write_json("generation_config.json", &json!({ "lang_to_id": { "<|kab|>": 50259 } })));
    assert!(matches!(error, Error::Vocabulary { .. }), "{error}");
    let error =
        refused(|c| c.write_json("generation_config.json", &json!({ "lang_to_id": { "<|kab|>": "x" } })));
    assert!(matches!(error, Error::Json { .. }), "{error}");
}

#[test]
fn files_in_the_way_are_kept() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F32", "model.");
    let to = |name: &str| {
        let options = Options {
            checkpoint: checkpoint.dir.path().into(),
            base: None,
            quantize: QuantType::F16,
            out: Some(checkpoint.path(name)),
        };
        convert(&options).unwrap_err()
    };
    // The weights themselves; a name whose profile would be config.json; one that is its own profile.
    for name in ["model.safetensors", "config.bin", "other.json"] {
        assert!(matches!(to(name), Error::OutputTaken { .. }), "{name}");
    }
    let error = to("no/such/folder.bin");
    assert!(matches!(error, Error::Write { .. }));
    assert_eq!(error.exit_code(), 1);
}
