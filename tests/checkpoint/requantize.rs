//! A GGML file as input, and several types in one pass.

use std::fs;
use std::path::{Path, PathBuf};

use imesli::checkpoint::{Converted, Error, Options, Profile, QuantType, convert, convert_all, resolve};

use super::model::Checkpoint;
use super::parsed::parse;
use super::types::{cosine, logits};

/// Types whose blocks divide rows of 32.
fn narrow() -> impl Iterator<Item = QuantType> {
    QuantType::ALL.into_iter().filter(|ty| ty.block() <= 32)
}

fn requantize(from: &Path, quantize: QuantType, out: Option<PathBuf>) -> Result<Converted, Error> {
    convert(&Options { checkpoint: from.into(), base: None, quantize, out })
}

fn checkpoint() -> Checkpoint {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F16", "model.");
    checkpoint.write_json("generation_config.json", &serde_json::json!({ "language": "kab" }));
    checkpoint
}

#[test]
fn from_floats_it_is_what_the_checkpoint_gives() {
    let checkpoint = checkpoint();
    for from in [QuantType::F16, QuantType::F32] {
        let ggml = checkpoint.convert(from).unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        for ty in narrow() {
            let direct = checkpoint.convert(ty).unwrap();
            let made = requantize(&ggml.ggml, ty, Some(folder.path().into())).unwrap();
            assert!(fs::read(&made.ggml).unwrap() == fs::read(&direct.ggml).unwrap(), "{from} to {ty}");
            // The profile is carried over, and knows the checkpoint's files, but says what it was made from.
            let mut expected = direct.profile.clone();
            let source = expected.source.as_mut().unwrap();
            (source.weights, source.dtype) = (format!("ggml-{from}.bin"), from.name().into());
            assert_eq!(made.profile, expected);
            assert_eq!(Profile::read(&Profile::path_for(&made.ggml)).unwrap(), Some(expected));
        }
    }
}

#[test]
fn all_types_are_read_back_by_ggmls_own_routines() {
    let checkpoint = Checkpoint::wide();
    checkpoint.write("F32", "model.");
    for ty in QuantType::ALL {
        let ggml = checkpoint.convert(ty).unwrap().ggml;
        let plain = requantize(&ggml, QuantType::F32, Some(checkpoint.path("plain.bin"))).unwrap();
        // The engine rounds what it multiplies quantized weights with, so that the two differ a little.
        let near = cosine(&logits(&plain.ggml), &logits(&ggml));
        assert!(near > 0.995, "{ty}: {near}");
    }
}

#[test]
fn what_was_quantized_is_quantized_again() {
    let checkpoint = checkpoint();
    let q8 = checkpoint.convert(QuantType::Q8_0).unwrap();
    let values = |path: &Path| parse(&fs::read(path).unwrap()).tensors;
    let before = values(&q8.ggml);
    for ty in [QuantType::Q5_0, QuantType::F16] {
        let made = requantize(&q8.ggml, ty, None).unwrap();
        assert_eq!(made.ggml, checkpoint.path(&format!("ggml-{ty}.bin")));
        assert_eq!(made.info.vocabulary, q8.info.vocabulary);
        assert_eq!(made.profile.source.as_ref().unwrap().dtype, "q8_0");
        for (name, (_, values)) in values(&made.ggml) {
            for (value, before) in values.iter().zip(&before[&name].1) {
                assert!((value - before).abs() < 15.0 / 64.0 / 16.0 * 1.1, "{name}: {value} for {before}");
            }
        }
    }
    // To the same type it is copied.
    let copy = requantize(&q8.ggml, QuantType::Q8_0, Some(checkpoint.path("copy.bin"))).unwrap();
    assert!(fs::read(&copy.ggml).unwrap() == fs::read(&q8.ggml).unwrap());
}

#[test]
fn it_is_said_that_precision_was_lost() {
    let checkpoint = checkpoint();
    let run = |from: &str, to: &str| {
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_convert"))
            .arg("--checkpoint")
            .arg(checkpoint.path(from))
            .args(["--quantize", to])
            .output()
            .unwrap();
        assert_eq!(run.status.code(), Some(0));
        String::from_utf8_lossy(&run.stderr).into_owned()
    };
    checkpoint.convert(QuantType::Q5_0).unwrap();
    checkpoint.convert(QuantType::F16).unwrap();
    assert!(run("ggml-q5_0.bin", "q4_0").contains("loses from that once more"));
    assert!(run("ggml-q5_0.bin", "q8_0").contains("larger, not better"));
    assert!(!run("ggml-f16.bin", "q4_1").contains("WARN"));
}

#[test]
fn a_file_without_a_profile() {
    let checkpoint = Checkpoint::without_tokenizer(51865, 80);
    checkpoint.write("F16", "");
    let made = checkpoint.convert(QuantType::F16).unwrap();
    let stock = checkpoint.path("whisper.bin");
    fs::rename(&made.ggml, &stock).unwrap();
    fs::remove_file(Profile::path_for(&made.ggml)).unwrap();
    let small = requantize(&stock, QuantType::Q5_1, None).unwrap();
    assert_eq!(small.ggml, checkpoint.path("whisper-q5_1.bin"));
    assert_eq!(small.profile.tokens, Profile::standard(51865).tokens);
    // Of another origin than the weights beside it, for all that is known: it is not made again from them.
    let before = fs::read(&small.ggml).unwrap();
    let found = resolve(checkpoint.dir.path(), Some(QuantType::Q5_1)).unwrap();
    assert_eq!(found.ggml, small.ggml);
    assert!(fs::read(&small.ggml).unwrap() == before);
}

#[test]
fn names_that_can_not_be() {
    let checkpoint = checkpoint();
    let ggml = checkpoint.convert(QuantType::F16).unwrap().ggml;
    let same = requantize(&ggml, QuantType::Q8_0, Some(ggml.clone())).unwrap_err();
    assert!(matches!(same, Error::OutputIsInput { .. }), "{same}");
    let same = requantize(&ggml, QuantType::F16, None).unwrap_err();
    assert!(matches!(same, Error::OutputIsInput { .. }), "{same}");
    assert_eq!(same.exit_code(), 2);
    let options = Options {
        checkpoint: ggml,
        base: None,
        quantize: QuantType::F16,
        out: Some(checkpoint.path("one-name.bin")),
    };
    let error = convert_all(&options, &[QuantType::Q8_0, QuantType::Q5_0]).unwrap_err();
    assert!(matches!(error, Error::OutputNotFolder { .. }), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_damaged_file_is_refused() {
    let checkpoint = checkpoint();
    let ggml = checkpoint.convert(QuantType::F16).unwrap().ggml;
    let whole = fs::read(&ggml).unwrap();
    let damaged = checkpoint.path("damaged.bin");
    fs::write(&damaged, &whole[..whole.len() - 1]).unwrap();
    let error = requantize(&damaged, QuantType::Q8_0, None).unwrap_err();
    assert!(matches!(error, Error::Ggml { .. }), "{error}");
    // A weight that is no number, in the last tensor.
    let mut bytes = whole.clone();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&damaged, &bytes).unwrap();
    let error = requantize(&damaged, QuantType::Q8_0, None).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert!(!checkpoint.path("damaged-q8_0.bin").exists());
}

#[test]
fn a_folder_with_nothing_but_floats() {
    let checkpoint = checkpoint();
    checkpoint.convert(QuantType::F16).unwrap();
    let direct = checkpoint.converted(QuantType::Q4_1);
    for name in ["model.safetensors", "ggml-q4_1.bin", "ggml-q4_1.json", "config.json", "vocab.json"] {
        fs::remove_file(checkpoint.path(name)).unwrap();
    }
    let found = resolve(checkpoint.dir.path(), Some(QuantType::Q4_1)).unwrap();
    assert_eq!(found.info.quant_type(), Some(QuantType::Q4_1));
    assert!(fs::read(&found.ggml).unwrap() == direct);
    assert_eq!(found.profile.generation.language.as_deref(), Some("kab"));
    assert_eq!(checkpoint.convert(QuantType::Q5_1).unwrap().info.quant_type(), Some(QuantType::Q5_1));
}

#[test]
fn a_list_is_made_in_one_pass() {
    let checkpoint = checkpoint();
    let types: Vec<_> = narrow().chain([QuantType::Q8_0]).collect();
    let folder = tempfile::TempDir::new().unwrap();
    let options = Options {
        checkpoint: checkpoint.dir.path().into(),
        base: None,
        quantize: QuantType::F16,
        out: Some(folder.path().into()),
    };
    let made = convert_all(&options, &types).unwrap();
    assert_eq!(made.len(), types.len() - 1, "q8_0 is made once");
    for made in made {
        let ty = made.info.quant_type().unwrap();
        assert_eq!(made.ggml, folder.path().join(format!("ggml-{ty}.bin")));
        assert!(fs::read(&made.ggml).unwrap() == checkpoint.converted(ty), "{ty}");
        assert!(Profile::path_for(&made.ggml).is_file());
    }
}

#[test]
fn a_list_is_made_whole_or_not_at_all() {
    let mut checkpoint = checkpoint();
    let refused = |checkpoint: &Checkpoint, types: &[QuantType]| {
        let folder = tempfile::TempDir::new().unwrap();
        let out = Some(folder.path().to_path_buf());
        let options =
            Options { checkpoint: checkpoint.dir.path().into(), base: None, quantize: types[0], out };
        let error = convert_all(&options, types).unwrap_err();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{error}");
        error
    };
    let error = refused(&checkpoint, &[QuantType::Q8_0, QuantType::Q4_K]);
    assert!(matches!(error, Error::RowWidth { ty: "q4_k", .. }), "{error}");
    checkpoint.tensor("decoder.layer_norm.bias").values[3] = 1e6;
    checkpoint.write("F32", "");
    let error = refused(&checkpoint, &[QuantType::F32, QuantType::F16]);
    assert!(matches!(error, Error::HalfOverflow { .. }), "{error}");
}
