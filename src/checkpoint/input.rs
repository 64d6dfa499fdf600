//! What a checkpoint is made of: the files in a folder that belong together, opened and read as one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::config::{self, Dims};
use super::error::{Error, Result};
use super::lora::{self, Adapter};
use super::openai;
use super::quantize::QuantType;
use super::read::{Weights, is_torch, shards};
use super::tokenizer;

/// Whole models, the first that is there.
pub(super) const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];
/// What a trainer keeps beside the model, under the ending of OpenAI's files.
pub(super) const TRAINERS: [&str; 3] = ["optimizer.pt", "scheduler.pt", "scaler.pt"];
/// Files beside the weights that a conversion depends on.
pub(super) const SIDE_FILES: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "vocab.json",
    "added_tokens.json",
    "tokenizer.json",
    "tokenizer_config.json",
];
const GENERATION: &str = "generation_config.json";

/// The files of a checkpoint.
#[derive(Debug)]
pub(crate) struct Located {
    /// The folder that the configuration and the tokenizer are in.
    dir: PathBuf,
    /// The weights of a whole model.
    weights: PathBuf,
    /// The adapter that is merged into it, and its folder.
    adapter: Option<(Adapter, PathBuf)>,
    /// The adapter's base as it was named: a folder, or a weight file.
    base: Option<PathBuf>,
}

/// A checkpoint that was opened.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) weights: Weights,
    /// `config.json`, or what stands for it.
    pub(crate) config: Map<String, Value>,
    pub(crate) dims: Dims,
    /// Whether the output projection is the token embedding.
    pub(crate) tied: bool,
    /// The folder of the tokenizer.
    pub(crate) tokenizer: PathBuf,
    /// Where `generation_config.json` is, if there is one.
    pub(crate) generation: PathBuf,
}

/// What a profile is made from, beside the vocabulary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub(crate) config: &'a Map<String, Value>,
    /// The folder of the tokenizer.
    pub(crate) tokenizer: &'a Path,
    /// Where `generation_config.json` is, if there is one.
    pub(crate) generation: &'a Path,
}

impl Located {
    /// Finds the files of a checkpoint: a folder, or a weight file in one. `base` is the folder of the
    /// model that an adapter was trained on, where its own configuration does not name one that is there.
    pub(crate) fn new(checkpoint: &Path, base: Option<&Path>) -> Result<Self> {
        if checkpoint.is_file() {
            let dir = folder_of(checkpoint).to_path_buf();
            return Ok(Self { dir, weights: checkpoint.to_path_buf(), adapter: None, base: None });
        }
        let dir = checkpoint.to_path_buf();
        dir.read_dir().map_err(Error::read(&dir))?;
        let whole = whole(&dir);
        if base.is_none() && !is_adapter(&dir) {
            return match whole.as_slice() {
                [weights] => Ok(Self { weights: weights.clone(), dir, adapter: None, base: None }),
                _ => Err(explain(&dir)),
            };
        }
        if base.is_none() && !whole.is_empty() {
            return Err(explain(&dir));
        }
        if !is_adapter(&dir) {
            let fact = format!("no {} in this folder: a base is for an adapter", lora::CONFIG);
            return Err(Error::Choose { path: dir, fact });
        }
        let adapter = Adapter::open(&dir)?;
        let base = adapter.base(base)?;
        let whole = whole_of(&base)?;
        let [weights] = whole.as_slice() else { return Err(explain(&base)) };
        let folder = folder_of(weights).to_path_buf();
        Ok(Self { dir: folder, weights: weights.clone(), adapter: Some((adapter, dir)), base: Some(base) })
    }

    /// Every file that the result depends on, the weights first.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = vec![self.weights.clone()];
        if self.weights.extension().is_some_and(|e| e == "json") {
            files.extend(shards(&self.weights)?);
        }
        let adapter = self.adapter.as_ref();
        files.extend(adapter.iter().flat_map(|(a, dir)| [dir.join(lora::CONFIG), a.weights.clone()]));
        let tokenizer = self.tokenizer();
        let mut dirs = vec![self.dir.as_path()];
        dirs.extend(adapter.map(|(_, dir)| dir.as_path()));
        if !dirs.contains(&tokenizer.as_path()) {
            dirs.push(&tokenizer);
        }
        let side = dirs.iter().flat_map(|dir| SIDE_FILES.iter().map(|name| dir.join(name)));
        files.extend(side.filter(|path| path.is_file()));
        Ok(files)
    }

    /// The weight file's name.
    pub(crate) fn name(&self) -> String {
        let path = self.adapter.as_ref().map_or(&self.weights, |(adapter, _)| &adapter.weights);
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The base by its full path, where there is an adapter.
    pub(crate) fn base(&self) -> Option<PathBuf> {
        self.base.as_ref().map(|base| base.canonicalize().unwrap_or_else(|_| base.clone()))
    }

    /// The folder with the tokenizer: the adapter's or model's own, the one that a trainer saves its
    /// checkpoints into, or the base's.
    pub(crate) fn tokenizer(&self) -> PathBuf {
        let own = self.adapter.as_ref().map_or(&self.dir, |(_, dir)| dir);
        let saved_in = is_trainers(own).then(|| folder_of(own));
        let mut places = [Some(own.as_path()), saved_in, Some(&self.dir)].into_iter().flatten();
        places.find(|dir| tokenizer::is_in(dir)).unwrap_or(&self.dir).to_path_buf()
    }

    /// Opens the weights, reads the configuration, and merges the adapter.
    pub(crate) fn open(&self) -> Result<Input> {
        let mut weights = self.weights()?;
        let (path, config) = self.config(weights.dims.as_ref())?;
        let dims = config::dims(&path, &config)?;
        self.merge(&mut weights, &dims)?;
        let (tied, tokenizer) = (is_tied(&config), self.tokenizer());
        Ok(Input { weights, config, dims, tied, tokenizer, generation: self.generation() })
    }

    /// The weights of the whole model, without an adapter.
    pub(crate) fn weights(&self) -> Result<Weights> {
        Weights::open(&self.weights)
    }

    /// The configuration, and the file that it comes from: the weights themselves where they bring their
    /// dimensions along, as OpenAI's do.
    pub(crate) fn config(
        &self,
        dims: Option<&BTreeMap<String, u64>>,
    ) -> Result<(PathBuf, Map<String, Value>)> {
        let path = self.dir.join("config.json");
        match dims {
            Some(dims) => Ok((self.weights.clone(), openai::config(&self.weights, dims)?)),
            None => config::read_config(&path).map(|config| (path, config)),
        }
    }

    /// Merges the adapter, if there is one.
    pub(crate) fn merge(&self, weights: &mut Weights, dims: &Dims) -> Result<()> {
        self.adapter.as_ref().map_or(Ok(()), |(adapter, _)| adapter.merge(weights, dims))
    }

    /// Where `generation_config.json` is, if there is one: the adapter's goes first.
    pub(crate) fn generation(&self) -> PathBuf {
        let own = self.adapter.as_ref().map(|(_, dir)| dir.join(GENERATION));
        own.filter(|path| path.is_file()).unwrap_or_else(|| self.dir.join(GENERATION))
    }
}

impl Input {
    /// What a profile is made from.
    pub(crate) fn settings(&self) -> Settings<'_> {
        Settings { config: &self.config, tokenizer: &self.tokenizer, generation: &self.generation }
    }
}

/// Whether a configuration ties the output projection to the token embedding.
pub(crate) fn is_tied(config: &Map<String, Value>) -> bool {
    config.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(true)
}

/// Whether a folder holds nothing that could be converted, and nothing to choose from.
pub(crate) fn is_without_weights(dir: &Path) -> bool {
    matches!(explain(dir), Error::NoWeights { .. }) && find(dir).is_none()
}

/// The weights of a checkpoint, where there are some and it is clear which.
pub(crate) fn find(checkpoint: &Path) -> Option<PathBuf> {
    if checkpoint.is_file() {
        return Some(checkpoint.to_path_buf());
    }
    match (whole(checkpoint).as_slice(), is_adapter(checkpoint)) {
        ([weights], false) => Some(weights.clone()),
        ([], true) => Some(checkpoint.join(lora::CONFIG)),
        _ => None,
    }
}

/// Whether a file holds weights that can be converted, by its name or its beginning.
pub(crate) fn is_weights(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".safetensors") || name.ends_with(".index.json") || is_torch(path)
}

/// The file that a conversion writes where no other is named: `ggml-q8_0.bin` in the checkpoint's folder,
/// and for OpenAI's `small.pt`, of which one folder holds many, `ggml-small-q8_0.bin` beside it.
pub(crate) fn default_out(checkpoint: &Path, ty: QuantType) -> PathBuf {
    if !checkpoint.is_file() {
        return checkpoint.join(format!("ggml-{ty}.bin"));
    }
    let stem = checkpoint.file_stem().unwrap_or_default().to_string_lossy();
    let own = checkpoint.extension().is_some_and(|e| e == "pt" || e == "pth");
    let name = if own { format!("ggml-{stem}-{ty}.bin") } else { format!("ggml-{ty}.bin") };
    folder_of(checkpoint).join(name)
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Why no weights are taken from a folder.
pub(crate) fn explain(dir: &Path) -> Error {
    let choose = |fact: String| Error::Choose { path: dir.to_path_buf(), fact };
    let names = |paths: &[PathBuf]| {
        let names = paths.iter().filter_map(|path| path.file_name()).map(|n| n.to_string_lossy());
        names.collect::<Vec<_>>().join(", ")
    };
    let whole = whole(dir);
    match whole.as_slice() {
        [weights, ..] if is_adapter(dir) => choose(format!(
            "{} and an adapter ({}) are both here; name the file to use it without the adapter, or give the \
             adapter's base with `imesli convert --base DIR`",
            names(std::slice::from_ref(weights)),
            lora::CONFIG
        )),
        [_, _, ..] => choose(format!("several models are here, name one of them: {}", names(&whole))),
        _ => match trainers(dir) {
            Some(fact) => choose(fact),
            None => Error::NoWeights { dir: dir.to_path_buf() },
        },
    }
}

/// The whole models in a folder: one that transformers would load, else all of OpenAI's.
fn whole(dir: &Path) -> Vec<PathBuf> {
    // What is there and can't be opened is an error later on, not a reason to take another file.
    let names = WEIGHTS.iter().map(|name| dir.join(name));
    if let Some(found) = names.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return vec![found];
    }
    let entries = dir.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = entries
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".pt") && !TRAINERS.contains(&name.as_ref()) && path.is_file()
        })
        .collect();
    found.sort();
    found
}

/// The same of a folder, or a weight file by itself.
fn whole_of(base: &Path) -> Result<Vec<PathBuf>> {
    if base.is_file() {
        return Ok(vec![base.to_path_buf()]);
    }
    base.read_dir().map_err(Error::read(base))?;
    if is_adapter(base) {
        let fact = "the base is an adapter itself; merge that one first".into();
        return Err(Error::Choose { path: base.to_path_buf(), fact });
    }
    Ok(whole(base))
}

fn is_adapter(dir: &Path) -> bool {
    dir.join(lora::CONFIG).symlink_metadata().is_ok()
}

/// The step of a trainer's checkpoint: `checkpoint-1000`.
fn step(dir: &Path) -> Option<u64> {
    dir.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse().ok()
}

fn is_trainers(dir: &Path) -> bool {
    step(dir).is_some()
}

/// What to do with a folder that only holds checkpoints of a trainer. Not taken by ourselves: the newest
/// may be half written, and need not be the best.
fn trainers(dir: &Path) -> Option<String> {
    let entries = dir.read_dir().ok()?.flatten().map(|entry| entry.path());
    let newest =
        entries.filter(|path| path.is_dir() && step(path).is_some()).max_by_key(|path| step(path))?;
    let name = newest.file_name()?.to_string_lossy().into_owned();
    let state = config::read_config_if_there(&newest.join("trainer_state.json")).ok().flatten();
    let best = state.as_ref().and_then(|s| s.get("best_model_checkpoint")).and_then(Value::as_str);
    let best = best.and_then(|path| Path::new(path).file_name()).map(|name| name.to_string_lossy());
    let best = best.map_or(String::new(), |name| format!("; the trainer calls {name} the best"));
    Some(format!("a folder of a trainer's checkpoints, name one of them: the newest is {name}{best}"))
}
