//! LoRA adapters, against what PEFT's own `merge_and_unload` made of them (tools/make_adapters.py).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use imesli::checkpoint::{Converted, Error, Options, QuantType, convert, resolve};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::model::{Checkpoint, fixture};
use super::parsed::parse;

/// A copy of an adapter's folder, and a base with its tokenizer.
struct Case {
    base: Checkpoint,
    adapter: TempDir,
    name: &'static str,
}

impl Case {
    fn new(name: &'static str) -> Self {
        let base = Checkpoint::new();
        base.write("F32", "model.");
        let adapter = TempDir::new().unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(fixture("adapters").join(name).join(file), adapter.path().join(file)).unwrap();
        }
        Self { base, adapter, name }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.adapter.path().join(name)
    }

    fn set(&self, field: &str, value: Value) {
        let path = self.path("adapter_config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config[field] = value;
        fs::write(path, config.to_string()).unwrap();
    }

    fn convert(&self, base: Option<&Path>) -> Result<Converted, Error> {
        let options = Options {
            checkpoint: self.adapter.path().into(),
            base: base.map(Path::to_path_buf),
            quantize: QuantType::F32,
            out: None,
        };
        convert(&options)
    }

    /// The fact of a refusal.
    fn refused(&self) -> String {
        let error = self.convert(Some(self.base.dir.path())).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(!self.path("ggml-f32.bin").exists());
        match error {
            Error::Adapter { fact, path } => {
                assert!(path.starts_with(self.adapter.path()), "{path:?}");
                fact
            }
            other => panic!("{other}"),
        }
    }

    /// Compares a file with PEFT's result. The number of tensors that were changed.
    fn compare(&self, made: &Path) -> usize {
        let bytes = fs::read(fixture("adapters").join(self.name).join("merged.safetensors")).unwrap();
        let merged = SafeTensors::deserialize(&bytes).unwrap();
        let written = parse(&fs::read(made).unwrap()).tensors;
        let mut theirs = BTreeMap::new();
        for (name, tensor) in merged.tensors() {
            let (values, _) = tensor.data().as_chunks::<4>();
            theirs.insert(name, values.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>());
        }
        let mut changed = 0;
        for (tensor, (_, values)) in self.base.tensors.iter().zip(in_order(&written, &self.base)) {
            match theirs.get(&format!("model.{}", tensor.name)) {
                None => assert_eq!(values, &tensor.values, "{} is the base's", tensor.name),
                Some(wanted) => {
                    changed += 1;
                    let error = values.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(error <= 1e-5, "{}: {error}", tensor.name);
                    assert_ne!(values, &tensor.values, "{} was changed", tensor.name);
                }
            }
        }
        changed
    }
}

/// The tensors of a GGML file in the order of the checkpoint's. Both are written in the same order.
fn in_order<'a>(
    written: &'a BTreeMap<String, (u32, Vec<f32>)>,
    base: &Checkpoint,
) -> Vec<&'a (u32, Vec<f32>)> {
    let names = [
        ("layers", "blocks"),
        ("self_attn_layer_norm", "attn_ln"),
        ("self_attn", "attn"),
        ("encoder_attn_layer_norm", "cross_attn_ln"),
        ("encoder_attn", "cross_attn"),
        ("q_proj", "query"),
        ("k_proj", "key"),
        ("v_proj", "value"),
        ("out_proj", "out"),
        ("final_layer_norm", "mlp_ln"),
        ("fc1", "mlp.0"),
        ("fc2", "mlp.2"),
        ("embed_positions.weight", "positional_embedding"),
        ("embed_tokens", "token_embedding"),
        ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"),
    ];
    let ggml = |name: &str| names.iter().fold(name.to_string(), |name, (hf, ours)| name.replace(hf, ours));
    base.tensors.iter().map(|tensor| &written[&ggml(&tensor.name)]).collect()
}

#[test]
fn merged_as_peft_does() {
    for (name, changed) in [("plain", 6), ("patterns", 15)] {
        let case = Case::new(name);
        let made = case.convert(Some(case.base.dir.path())).unwrap();
        assert_eq!(case.compare(&made.ggml), changed, "{name}");
        assert_eq!(made.ggml, case.path("ggml-f32.bin"));
        assert_eq!(made.profile.tokens.languages["kab"], 23, "the base's tokenizer");
    }
}

#[test]
fn the_base_may_have_any_form() {
    let case = Case::new("plain");
    fs::remove_file(case.base.path("model.safetensors")).unwrap();
    for name in ["f32.bin", "legacy.bin", "strided.bin", "f64.bin"] {
        case.base.write_bin(name);
        assert_eq!(case.compare(&case.convert(Some(case.base.dir.path())).unwrap().ggml), 6, "{name}");
    }
    fs::remove_file(case.base.path("pytorch_model.bin")).unwrap();
    fs::remove_file(case.base.path("config.json")).unwrap();
    fs::copy(fixture("openai.pt"), case.base.path("tiny.pt")).unwrap();
    assert_eq!(case.compare(&case.convert(Some(&case.base.path("tiny.pt"))).unwrap().ggml), 6, "OpenAI's");
}

#[test]
fn the_base_that_the_adapter_names() {
    let case = Case::new("plain");
    let error = case.convert(None).unwrap_err().to_string();
    assert!(error.contains("`openai/whisper-small`") && error.contains("--base"), "{error}");
    case.set("base_model_name_or_path", json!(case.base.dir.path()));
    let made = resolve(case.adapter.path(), Some(QuantType::F32)).unwrap();
    assert_eq!(case.compare(&made.ggml), 6);

    // A change of the base is noticed, and so is one of the adapter's own tokenizer.
    let written = || made.ggml.metadata().unwrap().modified().unwrap();
    let before = written();
    resolve(case.adapter.path(), Some(QuantType::F32)).unwrap();
    assert_eq!(written(), before);
    case.base.write_json("generation_config.json", &json!({ "language": "kab" }));
    let again = resolve(case.adapter.path(), Some(QuantType::F32)).unwrap();
    assert_eq!(again.profile.generation.language.as_deref(), Some("kab"));
    for name in ["vocab.json", "added_tokens.json"] {
        fs::rename(case.base.path(name), case.path(name)).unwrap();
    }
    assert_eq!(resolve(case.adapter.path(), None).unwrap().profile.tokens.languages["kab"], 23);

    // Once merged, the base need not stay.
    drop(case.base);
    assert_eq!(resolve(case.adapter.path(), Some(QuantType::F32)).unwrap().ggml, made.ggml);
}

#[test]
fn a_base_given_once_is_remembered() {
    let case = Case::new("plain");
    case.convert(Some(case.base.dir.path())).unwrap();
    case.base.write_json("generation_config.json", &json!({ "language": "kab" }));
    let again = resolve(case.adapter.path(), Some(QuantType::F32)).unwrap();
    assert_eq!(again.profile.generation.language.as_deref(), Some("kab"));
    assert_eq!(case.compare(&again.ggml), 6);
}

#[test]
fn a_base_of_16_bits_is_not_rounded_again() {
    let case = Case::new("plain");
    case.base.write("F16", "");
    let made = case.convert(Some(case.base.dir.path())).unwrap();
    assert_eq!(case.compare(&made.ggml), 6);
    let written = parse(&fs::read(&made.ggml).unwrap()).tensors;
    let (_, values) = &written["encoder.blocks.0.attn.query.weight"];
    assert!(values.iter().any(|v| f16::from_f32(*v).to_f32() != *v));
}

#[test]
fn what_is_not_plain_lora() {
    let dora = Case::new("dora");
    assert!(dora.refused().contains("DoRA"));
    dora.set("use_dora", json!(false));
    assert!(dora.refused().contains("lora_magnitude_vector"));
    assert!(Case::new("embedding").refused().contains("decoder.embed_tokens.weight"));
    for (field, value, named) in [
        ("peft_type", json!("IA3"), "IA3"),
        ("peft_type", json!(null), "peft_type"),
        ("init_lora_weights", json!("pissa_niter_4"), "pissa_niter_4"),
        ("alora_invocation_tokens", json!([1, 2]), "alora_invocation_tokens"),
        ("lora_bias", json!(true), "lora_bias"),
        ("layer_replication", json!([[0, 1]]), "layer_replication"),
        ("trainable_token_indices", json!([5]), "trainable_token_indices"),
        ("an_option_of_next_year", json!("x"), "an_option_of_next_year"),
        ("r", json!(8), "rank 4"),
        ("lora_alpha", json!("x"), "lora_alpha"),
        ("rank_pattern", json!({ "(": 4 }), "pattern"),
        ("rank_pattern", json!({ "q_proj": 0 }), "rank 4"),
    ] {
        let case = Case::new("plain");
        case.set(field, value);
        let fact = case.refused();
        assert!(fact.contains(named), "{field}: {fact}");
    }
}

#[test]
fn adapters_that_do_not_fit() {
    let with = |name: &str, shape: &[usize]| {
        let case = Case::new("plain");
        let bytes = vec![0; shape.iter().product::<usize>() * 4];
        let parts = [(format!("base_model.model.model.{name}"), shape.to_vec(), bytes)];
        fs::write(case.path("adapter_model.safetensors"), super::model::safetensors(&parts, "F32")).unwrap();
        case.refused()
    };
    assert!(with("encoder.layers.0.self_attn.q_proj.lora_A.weight", &[4, 32]).contains("only one of"));
    assert!(with("encoder.layers.0.self_attn.q_proj.lora_B.bias", &[32]).contains("without a bias"));
    let embedding = "decoder.embed_tokens.lora_embedding_A";
    assert!(with(embedding, &[4, 40]).contains("one matrix for input and output"));
    assert!(with("encoder.layers.9.fc1.bias", &[128]).contains("not one of the base"));
    assert!(with("encoder.layers.0.fc1.bias", &[64]).contains("has shape [64]"));
    assert!(with("encoder.layers.0.fc1.bias", &[128]).contains("no LoRA matrices"));

    let case = Case::new("plain");
    fs::remove_file(case.path("adapter_model.safetensors")).unwrap();
    assert!(case.refused().contains("adapter_model.safetensors or adapter_model.bin"));
    // The output projection, which some bases have as a tensor of its own.
    let case = Case::new("plain");
    let parts = [("base_model.model.proj_out.lora_A.weight".into(), vec![4, 32], vec![0; 512])];
    fs::write(case.path("adapter_model.safetensors"), super::model::safetensors(&parts, "F32")).unwrap();
    assert!(case.refused().contains("one matrix for input and output"));
    // A convolution, whose kernels are no matrix.
    let case = Case::new("plain");
    let parts = [("A", vec![4, 80]), ("B", vec![32, 4])].map(|(which, shape)| {
        let bytes = vec![0; shape.iter().product::<usize>() * 4];
        (format!("base_model.model.model.encoder.conv1.lora_{which}.weight"), shape, bytes)
    });
    fs::write(case.path("adapter_model.safetensors"), super::model::safetensors(&parts, "F32")).unwrap();
    assert!(case.refused().contains("do not fit together"));
}

#[test]
fn adapter_and_whole_model_in_one_folder() {
    let case = Case::new("plain");
    fs::copy(case.base.path("model.safetensors"), case.path("model.safetensors")).unwrap();
    fs::copy(case.base.path("config.json"), case.path("config.json")).unwrap();
    assert!(matches!(case.convert(None), Err(Error::Choose { .. })));
    assert_eq!(case.compare(&case.convert(Some(case.base.dir.path())).unwrap().ggml), 6);
    // A base for what is no adapter.
    let options = Options {
        checkpoint: case.base.dir.path().into(),
        base: Some(case.adapter.path().into()),
        quantize: QuantType::F32,
        out: None,
    };
    assert!(matches!(convert(&options), Err(Error::Choose { .. })));
}
