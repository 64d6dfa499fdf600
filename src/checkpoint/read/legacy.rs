//! `torch.save` before PyTorch 1.6, or asked for it since: five pickles, then the storages.
//!
//! Magic number, protocol, facts about the system, the object, the storages' names in their order; then
//! for each storage its number of elements in eight bytes, and the elements.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::super::error::{Error, Result};
use super::machine::{Machine, Value};
use super::pickle::{Fault, Pickled, Saved, saved};
use super::torch::MAX_PICKLE_BYTES;

/// `0x1950a86a20f9469cfc6c` as protocol 2 writes it.
pub(super) const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const PROTOCOL: i128 = 1001;
const LENGTH_BYTES: u64 = 8;

/// Where each storage's elements begin in the file, and how many bytes they have.
pub(super) type Storages = HashMap<String, (u64, u64)>;

/// The object and its storages. `file` stands at its beginning.
pub(super) fn read(path: &Path, file: &mut File, size: u64) -> Result<(Saved, Storages)> {
    let mut bytes = Vec::new();
    file.take(MAX_PICKLE_BYTES).read_to_end(&mut bytes).map_err(Error::read(path))?;
    let rest = bytes.get(MAGIC.len()..).unwrap_or_default();
    let rest = system(rest).map_err(Fault::at(path))?;
    let mut machine = Machine::new(rest);
    let saved = saved(&mut machine).map_err(Fault::at(path))?;
    let (keys, rest) = keys(machine.rest()).map_err(Fault::at(path))?;
    let start = (bytes.len() - rest.len()) as u64;
    let storages = storages(path, file, size, start, &keys, &saved.tensors)?;
    Ok((saved, storages))
}

/// Protocol and system; what is behind them.
fn system(bytes: &[u8]) -> std::result::Result<&[u8], Fault> {
    let mut machine = Machine::new(bytes);
    let protocol = machine.run()?;
    if !matches!(machine.value(protocol)?, Value::Int(PROTOCOL)) {
        return Fault::broken(format!("its protocol is not {PROTOCOL}"));
    }
    let mut machine = Machine::new(machine.rest());
    let facts = machine.run()?;
    let Value::Dict(items) = machine.value(facts)? else {
        return Fault::broken("no facts about the system");
    };
    for (key, value) in items {
        let is_order = matches!(machine.value(*key)?, Value::Text(key) if key == "little_endian");
        if is_order && !matches!(machine.value(*value)?, Value::Bool(true)) {
            return Fault::broken("it was saved on a big-endian machine");
        }
    }
    Ok(machine.rest())
}

/// The storages' names in their order, and what is behind them.
fn keys(bytes: &[u8]) -> std::result::Result<(Vec<String>, &[u8]), Fault> {
    let mut machine = Machine::new(bytes);
    let list = machine.run()?;
    let Value::List(items) = machine.value(list)? else {
        return Fault::broken("no list of storages");
    };
    let mut keys = Vec::new();
    for item in items {
        match machine.value(*item)? {
            Value::Text(key) => keys.push(key.clone()),
            _ => return Fault::broken("the name of a storage is not text"),
        }
    }
    Ok((keys, machine.rest()))
}

/// Walks over the storages, from length to length.
fn storages(
    path: &Path,
    file: &mut File,
    size: u64,
    mut at: u64,
    keys: &[String],
    tensors: &[(String, Pickled)],
) -> Result<Storages> {
    let wrong = |fact: String| Error::Torch { path: path.to_path_buf(), fact };
    let known: HashMap<&str, &Pickled> = tensors.iter().map(|(_, t)| (t.storage.key.as_str(), t)).collect();
    let mut storages = Storages::new();
    for key in keys {
        let tensor =
            known.get(key.as_str()).ok_or_else(|| wrong(format!("no tensor is in storage `{key}`")))?;
        let width = match &tensor.storage.dtype {
            Ok(dtype) => dtype.size() as u64,
            Err(other) => match other.as_str() {
                "long" => 8,
                "int" => 4,
                "short" => 2,
                _ => 1,
            },
        };
        let mut length = [0; LENGTH_BYTES as usize];
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(&mut length))
            .map_err(Error::read(path))?;
        let elements = u64::from_le_bytes(length);
        if elements != tensor.storage.elements as u64 {
            return Err(wrong(format!(
                "storage `{key}` has {elements} elements here and {} there",
                tensor.storage.elements
            )));
        }
        let start = at + LENGTH_BYTES;
        let bytes = elements.checked_mul(width);
        let end = bytes.and_then(|n| start.checked_add(n)).filter(|end| *end <= size);
        let (Some(bytes), Some(end)) = (bytes, end) else {
            return Err(wrong(format!("storage `{key}` of {elements} elements reaches beyond the file")));
        };
        if storages.insert(key.clone(), (start, bytes)).is_some() {
            return Err(wrong(format!("storage `{key}` is there twice")));
        }
        at = end;
    }
    Ok(storages)
}
