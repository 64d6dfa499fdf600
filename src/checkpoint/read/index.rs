//! Shards: an index in JSON that says which tensor is in which file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::config::read_json;
use super::super::error::{Error, Result};
use super::Weights;

/// The index of whisper-large has 150 kB.
const MAX_INDEX_BYTES: u64 = 16 << 20;
/// transformers makes shards of 5 GB, or as small as one asks for.
const MAX_SHARDS: usize = 1000;

fn wrong(path: &Path, fact: String) -> Error {
    Error::Index { path: path.to_path_buf(), fact }
}

/// Which tensor is in which shard.
fn tensors(path: &Path) -> Result<BTreeMap<String, String>> {
    let index = read_json(path, MAX_INDEX_BYTES)?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong(path, "no `weight_map` in it".into()))?;
    let mut tensors = BTreeMap::new();
    for (tensor, file) in map {
        let Some(file) = file.as_str() else {
            return Err(wrong(path, format!("tensor `{tensor}` is in {file}, which is no file name")));
        };
        // The name of a file in this folder, and no way out of it.
        if file.is_empty() || file.contains(['/', '\\', '\0']) || file.starts_with('.') {
            return Err(wrong(
                path,
                format!("tensor `{tensor}` is in `{file}`, which is not in this folder"),
            ));
        }
        tensors.insert(tensor.clone(), file.to_string());
    }
    let shards = tensors.values().collect::<BTreeSet<_>>().len();
    if shards > MAX_SHARDS {
        return Err(wrong(path, format!("{shards} shards; at most {MAX_SHARDS} are read")));
    }
    Ok(tensors)
}

/// The files that an index names, there or not.
pub(crate) fn shard_names(path: &Path) -> Result<BTreeSet<String>> {
    Ok(tensors(path)?.into_values().collect())
}

/// Which tensor is in which shard, and the shards' paths, by name. All must be there.
fn read(path: &Path) -> Result<(BTreeMap<String, String>, BTreeMap<String, PathBuf>)> {
    let tensors = tensors(path)?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let files: BTreeMap<_, _> = tensors.values().map(|file| (file.clone(), dir.join(file))).collect();
    if let Some((name, _)) = files.iter().find(|(_, file)| file.symlink_metadata().is_err()) {
        let tensors = tensors.values().filter(|file| *file == name).count();
        return Err(wrong(path, format!("shard `{name}` with {tensors} tensors is not there")));
    }
    Ok((tensors, files))
}

/// The files that an index names.
pub(crate) fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    Ok(read(path)?.1.into_values().collect())
}

pub(super) fn open(path: &Path) -> Result<Weights> {
    let (wanted, files) = read(path)?;
    let mut all =
        Weights { path: path.to_path_buf(), tensors: BTreeMap::new(), dims: None, files: Vec::new() };
    let mut owner: BTreeMap<String, &str> = BTreeMap::new();
    for (name, file) in &files {
        let shard = Weights::open_one(file)?;
        let first = all.take_files(shard.files);
        for (tensor, mut value) in shard.tensors {
            if let Some(other) = owner.insert(tensor.clone(), name) {
                return Err(wrong(path, format!("tensor `{tensor}` is in `{other}` and in `{name}`")));
            }
            value.source.move_files(first);
            all.tensors.insert(tensor, value);
        }
    }
    for (tensor, file) in &wanted {
        if owner.get(tensor) != Some(&file.as_str()) {
            return Err(wrong(path, format!("tensor `{tensor}` is not in `{file}`")));
        }
    }
    Ok(all)
}
