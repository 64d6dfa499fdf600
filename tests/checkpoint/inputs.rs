//! Every form in which the same weights may come gives the same file, byte for byte.

use std::fs;
use std::path::Path;

use imesli::checkpoint::{Error, Options, QuantType, convert, resolve};
use serde_json::{Value, json};

use super::model::{Checkpoint, REFERENCE_SHA256, encode, fixture, safetensors, sha256};

/// The f16 file's checksum.
fn sum(checkpoint: &Checkpoint) -> String {
    sha256(checkpoint.converted(QuantType::F16))
}

fn pattern(checkpoint: &Checkpoint, dtype: &str, names: impl Fn(usize, &str) -> (String, String)) {
    // Shard and name of each tensor; writes the shards and their index.
    let mut shards = std::collections::BTreeMap::<String, Vec<_>>::new();
    let mut map = serde_json::Map::new();
    for (i, tensor) in checkpoint.tensors.iter().enumerate() {
        let (shard, name) = names(i, &tensor.name);
        map.insert(name.clone(), json!(shard));
        shards.entry(shard).or_default().push((name, tensor.shape.clone(), encode(&tensor.values, dtype)));
    }
    for (name, parts) in shards {
        fs::write(checkpoint.path(&name), safetensors(&parts, dtype)).unwrap();
    }
    checkpoint.write_json("model.safetensors.index.json", &json!({ "metadata": {}, "weight_map": map }));
    checkpoint.write_config();
}

/// Three shards.
fn sharded() -> Checkpoint {
    let checkpoint = Checkpoint::new();
    pattern(&checkpoint, "F32", |i, name| {
        (format!("model-{:05}-of-00003.safetensors", i % 3 + 1), format!("model.{name}"))
    });
    checkpoint
}

#[test]
fn what_torch_saves() {
    for name in
        ["f16.bin", "bf16.bin", "f32.bin", "f64.bin", "legacy.bin", "strided.bin", "strided-legacy.bin"]
    {
        let checkpoint = Checkpoint::new();
        checkpoint.write_bin(name);
        assert_eq!(sum(&checkpoint), REFERENCE_SHA256, "{name}");
    }
}

#[test]
fn doubles() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F64", "model.");
    let made = checkpoint.convert(QuantType::F16).unwrap();
    assert_eq!(sha256(fs::read(&made.ggml).unwrap()), REFERENCE_SHA256);
    assert_eq!(made.profile.source.unwrap().dtype, "f64");
}

#[test]
fn prefixes() {
    for prefix in [
        "",
        "model.",
        "module.model.",
        "_orig_mod.model.",
        "model._orig_mod.",
        "_orig_mod.module.",
        "model.model.",
    ] {
        let checkpoint = Checkpoint::new();
        checkpoint.write("F16", prefix);
        assert_eq!(sum(&checkpoint), REFERENCE_SHA256, "{prefix}");
    }
    // Layers that were compiled one by one.
    let mut checkpoint = Checkpoint::new();
    for tensor in &mut checkpoint.tensors {
        tensor.name = tensor.name.replace("layers.0.", "layers.0._orig_mod.");
    }
    checkpoint.write("F16", "model.");
    assert_eq!(sum(&checkpoint), REFERENCE_SHA256);
}

#[test]
fn shards() {
    let checkpoint = sharded();
    assert_eq!(sum(&checkpoint), REFERENCE_SHA256);
    // Those of a real torch.save, compiled and distributed.
    let checkpoint = Checkpoint::new();
    checkpoint.write_config();
    for name in [
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
        "pytorch_model.bin.index.json",
    ] {
        fs::copy(fixture(name), checkpoint.path(name)).unwrap();
    }
    let made = checkpoint.convert(QuantType::F16).unwrap();
    assert_eq!(sha256(fs::read(&made.ggml).unwrap()), REFERENCE_SHA256);
    // A change of any shard is noticed.
    let names: Vec<_> = made.profile.source.unwrap().files.into_iter().map(|f| f.name).collect();
    assert_eq!(
        names[..3],
        [
            "pytorch_model.bin.index.json",
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin"
        ]
    );
}

#[test]
fn a_trainers_checkpoint() {
    let checkpoint = Checkpoint::new();
    let run = checkpoint.path("checkpoint-1000");
    checkpoint.write("F32", "model.");
    fs::create_dir(&run).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::rename(checkpoint.path(name), run.join(name)).unwrap();
    }
    for name in ["optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth"] {
        fs::copy(fixture("call.bin"), run.join(name)).unwrap();
    }
    // The tokenizer stayed in the folder of the run.
    let options = Options { checkpoint: run.clone(), base: None, quantize: QuantType::F16, out: None };
    let made = convert(&options).unwrap();
    assert_eq!(sha256(fs::read(&made.ggml).unwrap()), REFERENCE_SHA256);
    assert_eq!(made.profile.tokens.languages["kab"], 23);

    // The run's folder itself is not guessed at.
    fs::create_dir(checkpoint.path("checkpoint-900")).unwrap();
    let state = json!({ "best_model_checkpoint": "out/checkpoint-900" }).to_string();
    fs::write(run.join("trainer_state.json"), state).unwrap();
    let error = checkpoint.refusal(QuantType::F16);
    let text = error.to_string();
    assert!(text.contains("newest is checkpoint-1000") && text.contains("checkpoint-900 the best"), "{text}");
    assert_eq!(resolve(checkpoint.dir.path(), None).unwrap_err().to_string(), text);
}

/// A folder with OpenAI's file under this name, without a configuration.
fn openai(name: &str) -> Checkpoint {
    let checkpoint = Checkpoint::new();
    fs::copy(fixture("openai.pt"), checkpoint.path(name)).unwrap();
    checkpoint
}

#[test]
fn openais_own_files() {
    let checkpoint = openai("tiny.pt");
    assert_eq!(sum(&checkpoint), REFERENCE_SHA256, "the folder");
    // By its name; the result bears the name, too.
    let made = resolve(&checkpoint.path("tiny.pt"), Some(QuantType::F16)).unwrap();
    assert_eq!(made.ggml, checkpoint.path("ggml-tiny-f16.bin"));
    assert_eq!(sha256(fs::read(&made.ggml).unwrap()), REFERENCE_SHA256);
    // Made once, and again when the file changes.
    let time = |path: &Path| path.metadata().unwrap().modified().unwrap();
    let before = time(&made.ggml);
    assert_eq!(resolve(&checkpoint.path("tiny.pt"), Some(QuantType::F16)).unwrap().ggml, made.ggml);
    assert_eq!(time(&made.ggml), before);
    let file = fs::File::options().write(true).open(checkpoint.path("tiny.pt")).unwrap();
    file.set_modified(before + std::time::Duration::from_secs(60)).unwrap();
    resolve(&checkpoint.path("tiny.pt"), Some(QuantType::F16)).unwrap();
    assert_ne!(time(&made.ggml), before);
}

#[test]
fn several_of_openais_files() {
    let checkpoint = openai("tiny.pt");
    fs::copy(checkpoint.path("tiny.pt"), checkpoint.path("base.pt")).unwrap();
    let error = checkpoint.refusal(QuantType::F16).to_string();
    assert!(error.contains("name one of them: base.pt, tiny.pt"), "{error}");
    // Each has a file of its own.
    let names = ["tiny.pt", "base.pt"].map(|name| resolve(&checkpoint.path(name), None).unwrap().ggml);
    assert_eq!(names, ["ggml-tiny-q8_0.bin", "ggml-base-q8_0.bin"].map(|name| checkpoint.path(name)));
}

#[test]
fn a_weight_file_by_its_name() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F16", "model.");
    fs::copy(fixture("call.bin"), checkpoint.path("pytorch_model.bin")).unwrap();
    let made = resolve(&checkpoint.path("model.safetensors"), Some(QuantType::F16)).unwrap();
    assert_eq!(made.ggml, checkpoint.path("ggml-f16.bin"));
    assert_eq!(sha256(fs::read(made.ggml).unwrap()), REFERENCE_SHA256);
    let error = resolve(&checkpoint.path("pytorch_model.bin"), Some(QuantType::F32)).unwrap_err();
    assert!(matches!(error, Error::PickleGlobal { .. }), "{error}");
}

/// The fact that is wrong with shards after their index was changed.
fn refused(change: impl FnOnce(&Checkpoint, &mut serde_json::Map<String, Value>)) -> String {
    let checkpoint = sharded();
    let path = checkpoint.path("model.safetensors.index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&checkpoint, index["weight_map"].as_object_mut().unwrap());
    fs::write(&path, index.to_string()).unwrap();
    match checkpoint.refusal(QuantType::F16) {
        Error::Index { fact, .. } => fact,
        other => panic!("{other}"),
    }
}

#[test]
fn shards_that_do_not_fit_their_index() {
    const NAME: &str = "model.encoder.conv1.bias";
    let fact = refused(|c, _| fs::remove_file(c.path("model-00002-of-00003.safetensors")).unwrap());
    assert!(fact.starts_with("shard `model-00002-of-00003.safetensors` with"), "{fact}");
    for file in ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "c:\\x"] {
        let fact = refused(|_, map| drop(map.insert(NAME.into(), json!(file))));
        assert!(fact.contains("not in this folder"), "{file}: {fact}");
    }
    let fact = refused(|_, map| drop(map.insert(NAME.into(), json!(7))));
    assert!(fact.contains("no file name"), "{fact}");
    let fact = refused(|_, map| drop(map.insert(NAME.into(), json!("model-00001-of-00003.safetensors"))));
    assert!(fact.contains(&format!("`{NAME}` is not in")), "{fact}");
    let fact = refused(|_, map| {
        map.insert("model.more".into(), json!("model-00001-of-00003.safetensors"));
    });
    assert!(fact.contains("`model.more` is not in"), "{fact}");
    let fact = refused(|c, _| {
        let from = c.path("model-00001-of-00003.safetensors");
        fs::copy(from, c.path("model-00002-of-00003.safetensors")).unwrap();
    });
    assert!(fact.contains("is in `model-00001") && fact.contains("and in `model-00002"), "{fact}");
    let fact = refused(|_, map| {
        for i in 0..1001 {
            map.insert(format!("t{i}"), json!(format!("s{i}")));
        }
    });
    assert!(fact.contains("at most 1000"), "{fact}");

    let checkpoint = sharded();
    checkpoint.write_json("model.safetensors.index.json", &json!({ "weight_map": [] }));
    assert!(matches!(checkpoint.refusal(QuantType::F16), Error::Index { .. }));
    // An index is not a shard.
    let own = json!({ "weight_map": { NAME: "model.safetensors.index.json" } });
    checkpoint.write_json("model.safetensors.index.json", &own);
    assert!(matches!(checkpoint.refusal(QuantType::F16), Error::Torch { .. }));
}
