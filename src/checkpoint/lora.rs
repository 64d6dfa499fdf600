//! PEFT's LoRA adapters: what they say about themselves, and how they are merged into their base.
//!
//! Follows `LoraModel.merge_and_unload`: W + (alpha / r) · B·A for each matrix that the adapter has two
//! factors for; any other tensor of the adapter (`modules_to_save`, trained biases) replaces the base's.
//! `fan_in_fan_out` needs nothing: PEFT ignores it for the linear layers that Whisper is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::config::{Dims, read_config};
use super::error::{Error, Result};
use super::names::{BareNames, TIED, TOKEN_EMBEDDING};
use super::read::{Tensor, Weights};

/// The adapter's configuration.
pub(crate) const CONFIG: &str = "adapter_config.json";
/// Its weights, the first that is there.
pub(crate) const WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// Options that change nothing in a merge, or that are looked at below.
const KNOWN: [&str; 24] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
];

/// Ways to begin that leave the base's weights as they are. The others change them, so that the adapter
/// fits the changed base alone.
const PLAIN_STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// An adapter folder.
#[derive(Debug)]
pub(crate) struct Adapter {
    config_path: PathBuf,
    config: Map<String, Value>,
    /// Its weight file.
    pub(crate) weights: PathBuf,
}

impl Adapter {
    /// Reads the configuration of an adapter folder, and refuses what is not plain LoRA.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let config_path = dir.join(CONFIG);
        let config = read_config(&config_path)?;
        let wrong = |fact: String| Error::Adapter { path: config_path.clone(), fact };
        let names = || WEIGHTS.iter().map(|name| dir.join(name));
        let weights = names().find(|path| path.symlink_metadata().is_ok());
        let weights = weights.ok_or_else(|| wrong(format!("no {} beside it", WEIGHTS.join(" or "))))?;
        match config.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            Some(other) => {
                return Err(wrong(format!("an adapter of type {other}; only LORA is merged")));
            }
            None => return Err(wrong("no `peft_type` in it".into())),
        }
        if config.get("use_dora").is_some_and(is_set) {
            return Err(wrong(
                "DoRA (`use_dora`) is not merged; merge it with PEFT and save the model".into(),
            ));
        }
        if let Some(start) = config.get("init_lora_weights").and_then(Value::as_str)
            && !PLAIN_STARTS.contains(&start)
        {
            let fact = format!("`init_lora_weights` is `{start}`, which changes the base as well");
            return Err(wrong(format!("{fact}; merge it with PEFT and save the model")));
        }
        let other = config.iter().find(|(name, value)| {
            !KNOWN.contains(&name.as_str()) && name.as_str() != "use_rslora" && is_set(value)
        });
        if let Some((name, _)) = other {
            let fact = format!("the option `{name}` is not supported; merge it with PEFT and save the model");
            return Err(wrong(fact));
        }
        Ok(Self { config_path, config, weights })
    }

    /// The base's folder: the one given, or the one that the configuration names.
    pub(crate) fn base(&self, given: Option<&Path>) -> Result<PathBuf> {
        let wrong = |fact: String| Error::Adapter { path: self.config_path.clone(), fact };
        if let Some(given) = given {
            return Ok(given.to_path_buf());
        }
        let Some(name) = self.config.get("base_model_name_or_path").and_then(Value::as_str) else {
            return Err(wrong(
                "it names no base model; name its folder with `imesli convert --base DIR`".into(),
            ));
        };
        let path = PathBuf::from(name);
        if path.is_dir() {
            return Ok(path);
        }
        Err(wrong(format!(
            "its base model `{name}` is not a folder here; name it with `imesli convert --base DIR` or `--base hf:OWNER/NAME`"
        )))
    }

    /// Merges the adapter into its base, a model of these dimensions.
    pub(crate) fn merge(&self, base: &mut Weights, dims: &Dims) -> Result<()> {
        let bare = BareNames::new(dims);
        let adapter = Weights::open(&self.weights)?;
        let wrong = |fact: String| Error::Adapter { path: self.weights.clone(), fact };
        let theirs: BTreeMap<String, String> =
            base.tensors.keys().map(|name| (bare.of(name), name.clone())).collect();
        let mut factors: BTreeMap<String, Factors> = BTreeMap::new();
        for (name, tensor) in base.take_in(adapter) {
            let Some(inner) = name.strip_prefix("base_model.model.") else {
                return Err(wrong(format!("tensor `{name}` is not one of a PEFT adapter")));
            };
            let inner = inner.replace(".default.", ".");
            let module = inner.split_once(".lora_").map(|(module, _)| format!("{module}.weight"));
            let saved = inner.replace(".modules_to_save.", ".").replace(".base_layer.", ".");
            let target = bare.of(module.as_ref().unwrap_or(&saved));
            if target == TIED || target == TOKEN_EMBEDDING {
                let fact = "whisper.cpp has one matrix for input and output tokens; merge it with PEFT and save the model";
                return Err(wrong(format!("tensor `{name}` was trained: {fact}")));
            }
            if let Some(module) = inner.strip_suffix(".lora_A.weight") {
                factors.entry(module.into()).or_default().a = Some(tensor);
            } else if let Some(module) = inner.strip_suffix(".lora_B.weight") {
                factors.entry(module.into()).or_default().b = Some(tensor);
            } else if module.is_some() {
                return Err(wrong(format!("tensor `{name}`: only linear layers without a bias are merged")));
            } else {
                let Some(replaced) = theirs.get(&target).and_then(|name| base.tensors.get_mut(name)) else {
                    return Err(wrong(format!("tensor `{name}` is not one of the base")));
                };
                if replaced.shape != tensor.shape {
                    let (found, wanted) = (&tensor.shape, &replaced.shape);
                    return Err(wrong(format!("tensor `{name}` has shape {found:?}, the base's {wanted:?}")));
                }
                *replaced = tensor;
            }
        }
        if factors.is_empty() {
            return Err(wrong("no LoRA matrices in it".into()));
        }
        for (module, Factors { a, b }) in factors {
            let (Some(a), Some(b)) = (a, b) else {
                return Err(wrong(format!("`{module}` has only one of lora_A and lora_B")));
            };
            let name = theirs.get(&bare.of(&format!("{module}.weight")));
            let Some(matrix) = name.and_then(|name| base.tensors.get_mut(name)) else {
                return Err(wrong(format!("the base has no `{module}.weight`")));
            };
            let scale = self.scale(&module, a.shape.first().copied().unwrap_or(0))?;
            let shapes = format!("{:?}, {:?} and {:?}", matrix.shape, a.shape, b.shape);
            *matrix = matrix.clone().merged(a, b, scale).ok_or_else(|| {
                wrong(format!("`{module}`: base, lora_A and lora_B of {shapes} do not fit together"))
            })?;
        }
        Ok(())
    }

    /// What B·A is multiplied by: alpha / r, or alpha / √r with rank stabilisation.
    fn scale(&self, module: &str, rank: usize) -> Result<f32> {
        let wrong = |fact: String| Error::Adapter { path: self.config_path.clone(), fact };
        let number = |pattern, field| {
            let own = self.of_pattern(pattern, module)?;
            let value = own.or_else(|| self.config.get(field)).and_then(Value::as_f64);
            value.ok_or_else(|| wrong(format!("`{field}` is missing or not a number")))
        };
        let (r, alpha) = (number("rank_pattern", "r")?, number("alpha_pattern", "lora_alpha")?);
        if r != rank as f64 || rank == 0 {
            return Err(wrong(format!("`{module}` is of rank {rank}, the configuration says {r}")));
        }
        let stabilised = self.config.get("use_rslora").is_some_and(is_set);
        Ok((alpha / if stabilised { r.sqrt() } else { r }) as f32)
    }

    /// The entry of `rank_pattern` or `alpha_pattern` for a module: PEFT's keys are the ends of names, and
    /// regular expressions.
    fn of_pattern(&self, field: &'static str, module: &str) -> Result<Option<&Value>> {
        let wrong = |fact: String| Error::Adapter { path: self.config_path.clone(), fact };
        for (key, value) in self.config.get(field).and_then(Value::as_object).into_iter().flatten() {
            let regex = Regex::new(&format!(r"^(.*\.)?({key})$"))
                .map_err(|_| wrong(format!("`{field}`: `{key}` is not a pattern that is understood")))?;
            if regex.is_match(module) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// The two matrices of one module.
#[derive(Default)]
struct Factors {
    a: Option<Tensor>,
    b: Option<Tensor>,
}

/// Whether an option is used.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
