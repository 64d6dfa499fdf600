//! What a conversion writes.

use std::fs;

use half::f16;
use imesli::checkpoint::{QuantType, mel, verify};
use whisper_rs::{WhisperContext, WhisperContextParameters};

use super::model::{Checkpoint, REFERENCE_SHA256, sha256};
use super::parsed::parse;

/// Whether whisper.cpp loads a file.
fn loads(path: &std::path::Path) -> bool {
    let mut parameters = WhisperContextParameters::default();
    parameters.use_gpu(false);
    WhisperContext::new_with_params(path, parameters).is_ok()
}

#[test]
fn mel_filters_are_whispers_own() {
    for (n_mels, expected) in [
        (80, "4f2701b1d287d74a0dc9871026e9519d98cb76426615f2539b0d151a0ae4ec2e"),
        (128, "2a5f9822897750e047c85dea37cc268d3be0ecfd23c28a5f10da129d99d05afe"),
    ] {
        let bytes: Vec<u8> = mel::filters(n_mels).iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(sha256(bytes), expected, "{n_mels}");
    }
}

#[test]
fn f16_is_byte_for_byte_what_whisper_cpp_writes() {
    for dtype in ["F32", "F16", "BF16"] {
        for prefix in ["model.", ""] {
            let checkpoint = Checkpoint::new();
            checkpoint.write(dtype, prefix);
            let sum = sha256(checkpoint.converted(QuantType::F16));
            assert_eq!(sum, REFERENCE_SHA256, "{dtype} with prefix {prefix:?}");
        }
    }
}

#[test]
fn torch_archives_give_the_same_file() {
    for name in ["f16.bin", "bf16.bin", "f32.bin"] {
        let checkpoint = Checkpoint::new();
        checkpoint.write_bin(name);
        assert_eq!(sha256(checkpoint.converted(QuantType::F16)), REFERENCE_SHA256, "{name}");
    }
}

#[test]
fn safetensors_go_before_pytorch_model_bin() {
    let mut checkpoint = Checkpoint::new();
    checkpoint.write_bin("f16.bin");
    checkpoint.tensor("decoder.layer_norm.bias").values[0] = 0.5;
    checkpoint.write("F32", "model.");
    let written = parse(&checkpoint.converted(QuantType::F32));
    assert_eq!(written.tensors["decoder.ln.bias"].1[0], 0.5);
}

#[test]
fn a_tied_output_projection_is_skipped() {
    for keep_embedding in [true, false] {
        let mut checkpoint = Checkpoint::new();
        let at = checkpoint.tensors.iter().position(|t| t.name == "decoder.embed_tokens.weight").unwrap();
        let embedding = &mut checkpoint.tensors[at];
        let output = super::model::Tensor {
            name: "proj_out.weight".into(),
            shape: embedding.shape.clone(),
            values: embedding.values.clone(),
        };
        // Some writers keep only this name of the two.
        if keep_embedding {
            checkpoint.tensors.push(output);
        } else {
            checkpoint.tensors[at] = output;
        }
        checkpoint.write("F32", "");
        assert_eq!(sha256(checkpoint.converted(QuantType::F16)), REFERENCE_SHA256);
    }
}

#[test]
fn every_type_round_trips_and_loads() {
    let mut checkpoint = Checkpoint::new();
    // Neither f16 nor bf16 can hold these.
    for tensor in &mut checkpoint.tensors {
        tensor.values.iter_mut().for_each(|v| *v *= 1.000_123);
    }
    checkpoint.write("F32", "model.");
    let exact = parse(&checkpoint.converted(QuantType::F32)).tensors;
    for tensor in &checkpoint.tensors {
        let same = exact.values().filter(|(_, values)| *values == tensor.values).count();
        assert!(same > 0, "{}", tensor.name);
    }

    // The largest error, in steps of a block whose largest value is 15/64.
    let largest = 15.0 / 64.0 * 1.000_2_f32;
    for (ty, id, ftype, bound) in [
        (QuantType::F32, 0, 0, 0.0),
        (QuantType::F16, 1, 1, largest / 2048.0),
        (QuantType::Q8_0, 8, 2007, largest / 127.0 * 0.51),
        (QuantType::Q5_1, 7, 2009, 2.0 * largest / 31.0 * 0.51),
        (QuantType::Q5_0, 6, 2008, largest / 16.0 * 1.01),
        (QuantType::Q4_1, 3, 2003, 2.0 * largest / 15.0 * 0.51),
        (QuantType::Q4_0, 2, 2002, largest / 8.0 * 1.01),
    ] {
        let made = checkpoint.convert(ty).unwrap();
        assert_eq!(made.info.quant_type(), Some(ty));
        let written = parse(&fs::read(&made.ggml).unwrap());
        assert_eq!(written.header[11], ftype, "{ty}");
        for (name, (stored, values)) in &written.tensors {
            let matrix = name.ends_with(".weight") && !name.contains("_ln") && !name.contains(".ln");
            let conv = name.contains("conv") && matrix;
            let expected = match (conv, matrix) {
                (true, _) => id.min(1),
                (_, true) => id,
                _ => 0,
            };
            assert_eq!(*stored, expected, "{ty} {name}");
            for (value, exact) in values.iter().zip(&exact[name].1) {
                match *stored {
                    // whisper.cpp's converter rounds also these to f16, in an f16 file.
                    0 if ty == QuantType::F16 => assert_eq!(*value, f16::from_f32(*exact).to_f32(), "{name}"),
                    0 => assert_eq!(value, exact, "{ty} {name}"),
                    1 => assert_eq!(*value, f16::from_f32(*exact).to_f32(), "{ty} {name}"),
                    _ => assert!((value - exact).abs() <= bound, "{ty} {name}: {value} for {exact}"),
                }
            }
        }
        assert!(loads(&made.ggml), "whisper.cpp loads {ty}");
    }
}

#[test]
fn vocabularies_of_all_generations_load() {
    // English, v1 and v2, v3, and with rows added: whisper.cpp aborts on those if they have no names.
    for (n_vocab, n_mels, tokens) in
        [(51864, 80, 50256), (51865, 80, 50257), (51866, 128, 50257), (51872, 80, 51872), (51872, 128, 51872)]
    {
        let checkpoint = Checkpoint::without_tokenizer(n_vocab, n_mels);
        checkpoint.write("F16", "model.");
        let made = checkpoint.convert(QuantType::Q8_0).unwrap();
        assert_eq!(made.info.vocabulary.len(), tokens, "{n_vocab}");
        assert!(loads(&made.ggml), "{n_vocab}");
    }
}

#[test]
fn the_embedded_vocabulary_is_whispers() {
    let checkpoint = Checkpoint::without_tokenizer(51865, 80);
    checkpoint.write("F16", "model.");
    let vocabulary = checkpoint.convert(QuantType::Q8_0).unwrap().info.vocabulary;
    assert_eq!(vocabulary[0], b"!");
    assert_eq!(vocabulary[220], b" ");
    assert_eq!(vocabulary[50256], b"");
    // The tokens of multilingual.tiktoken by rank, joined by line feeds.
    assert_eq!(
        sha256(vocabulary.join(&b'\n')),
        "17b6323df2cc502a969f241ce6effdae0bf586b2a8ec159bde316d915c1c41ab"
    );
}

#[test]
fn the_vocabulary_is_the_checkpoints_own() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F16", "model.");
    let written = parse(&checkpoint.converted(QuantType::F16));
    assert_eq!(written.tokens.len(), 20);
    assert_eq!(written.tokens[0], b"a");
    assert_eq!(written.tokens[18], b" ");
    assert_eq!(written.tokens[19], "ɣ".as_bytes());
}

#[test]
fn tokenizer_json_will_do() {
    let checkpoint = Checkpoint::new();
    let read = |name: &str| -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_slice(&fs::read(checkpoint.path(name)).unwrap()).unwrap()
    };
    let added: Vec<_> = read("added_tokens.json")
        .into_iter()
        .map(|(content, id)| serde_json::json!({ "id": id, "content": content, "special": true }))
        .collect();
    let tokenizer = serde_json::json!({ "added_tokens": added, "model": { "vocab": read("vocab.json") } });
    checkpoint.write_json("tokenizer.json", &tokenizer);
    fs::remove_file(checkpoint.path("vocab.json")).unwrap();
    fs::remove_file(checkpoint.path("added_tokens.json")).unwrap();
    checkpoint.write("F16", "model.");
    let made = checkpoint.convert(QuantType::F16).unwrap();
    assert_eq!(sha256(fs::read(&made.ggml).unwrap()), REFERENCE_SHA256);
    assert_eq!(made.profile.tokens.languages["kab"], 23);
}

#[test]
fn the_text_length_comes_from_the_position_embedding() {
    let mut checkpoint = Checkpoint::new();
    checkpoint.config.insert("max_length".into(), 225.into());
    checkpoint.config.insert("max_target_positions".into(), 448.into());
    checkpoint.write("F16", "model.");
    assert_eq!(checkpoint.convert(QuantType::F16).unwrap().info.dims.n_text_ctx, 16);
}

#[test]
fn out_names_the_file_and_the_profile() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F16", "model.");
    let options = imesli::checkpoint::Options {
        checkpoint: checkpoint.dir.path().into(),
        base: None,
        quantize: QuantType::Q5_0,
        out: Some(checkpoint.path("kab.bin")),
    };
    let made = imesli::checkpoint::convert(&options).unwrap();
    assert_eq!(made.ggml, checkpoint.path("kab.bin"));
    assert_eq!(verify(&made.ggml).unwrap(), made.info);
    assert!(checkpoint.path("kab.json").is_file());
    // The same again replaces both.
    imesli::checkpoint::convert(&options).unwrap();
}
