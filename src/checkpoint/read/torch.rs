//! `pytorch_model.bin`: a zip archive with one pickle (`data.pkl`) and one entry per storage.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::read::ZipFile;

use super::super::error::{Error, Result};
use super::pickle::{self, Fault, Storage};
use super::{Place, Tensor, Weights, count};

pub(super) type Archive = ZipArchive<BufReader<File>>;

/// The pickle of whisper-large is under 1 MB.
const MAX_PICKLE_BYTES: u64 = 16 << 20;

pub(super) fn open(path: &Path) -> Result<Weights> {
    let wrong = |fact: String| Error::Torch { path: path.to_path_buf(), fact };
    let mut file = File::open(path).map_err(Error::read(path))?;
    let size = file.metadata().map_err(Error::read(path))?.len();
    let mut magic = [0; 4];
    file.read_exact(&mut magic).map_err(|_| wrong(format!("it has {size} bytes, too few")))?;
    if !magic.starts_with(b"PK") {
        return Err(wrong(
            "not a zip archive (the form that PyTorch wrote before 1.6 is not read yet)".into(),
        ));
    }
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| wrong(e.to_string()))?;

    // Everything lies in one folder, named after the file that was saved.
    let root = archive
        .file_names()
        .filter_map(std::result::Result::ok)
        .find_map(|name| {
            name.strip_suffix("data.pkl").filter(|r| r.is_empty() || r.ends_with('/')).map(String::from)
        })
        .ok_or_else(|| wrong("no data.pkl in it".into()))?;
    if let Some(order) = archive.index_for_name(&format!("{root}byteorder")) {
        let mut text = String::new();
        entry(path, &mut archive, order)?.take(16).read_to_string(&mut text).map_err(Error::read(path))?;
        if text != "little" {
            return Err(wrong(format!("byte order {text:?}; only little-endian files are read")));
        }
    }
    let index = archive
        .index_for_name(&format!("{root}data.pkl"))
        .ok_or_else(|| wrong("no data.pkl in it".into()))?;
    let mut bytes = Vec::new();
    entry(path, &mut archive, index)?
        .take(MAX_PICKLE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::read(path))?;
    if bytes.len() as u64 > MAX_PICKLE_BYTES {
        return Err(wrong(format!("its data.pkl has over {MAX_PICKLE_BYTES} bytes")));
    }
    let pickled = pickle::state_dict(&bytes).map_err(|fault| match fault {
        Fault::Broken(fact) => Error::Pickle { path: path.to_path_buf(), fact },
        Fault::Global(name) => Error::PickleGlobal { path: path.to_path_buf(), name },
    })?;

    let mut places = HashMap::new();
    let mut tensors = BTreeMap::new();
    for (name, found) in pickled {
        let storage = &found.storage;
        let (place, bytes) = match places.get(&storage.key) {
            Some(known) => *known,
            None => {
                let known = locate(path, &mut archive, &root, storage, size)?;
                places.insert(storage.key.clone(), known);
                known
            }
        };
        // A type that is not read has no size here; it is refused by name where the tensor is needed.
        let width = found.dtype.as_ref().map_or(1, |d| d.size());
        let start = found.offset.checked_mul(width);
        let end = count(&found.shape)
            .and_then(|n| n.checked_mul(width))
            .zip(start)
            .and_then(|(n, s)| n.checked_add(s));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(Error::OutOfBounds { path: path.to_path_buf(), tensor: name });
        };
        if end as u64 > bytes {
            return Err(Error::OutOfBounds { path: path.to_path_buf(), tensor: name });
        }
        let place = match place {
            At::File(offset) => Place::Plain { offset: offset + start as u64 },
            At::Entry(entry) => Place::Packed { entry, offset: start as u64 },
        };
        let contiguous = found.is_contiguous();
        let tensor = Tensor { dtype: found.dtype, shape: found.shape, contiguous, place };
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(Error::DuplicateTensor { path: path.to_path_buf(), tensor: name });
        }
    }
    Ok(Weights { path: path.to_path_buf(), tensors, archive: Some(archive) })
}

/// Where a storage begins.
#[derive(Debug, Clone, Copy)]
enum At {
    File(u64),
    Entry(usize),
}

/// A storage's place and its size in bytes.
fn locate(path: &Path, archive: &mut Archive, root: &str, storage: &Storage, file: u64) -> Result<(At, u64)> {
    let wrong = |fact: String| Error::Torch { path: path.to_path_buf(), fact };
    let name = format!("{root}data/{}", storage.key);
    let index = archive.index_for_name(&name).ok_or_else(|| wrong(format!("no entry `{name}`")))?;
    let entry = entry(path, archive, index)?;
    let size = entry.size();
    if entry.compression() != zip::CompressionMethod::Stored {
        return Ok((At::Entry(index), size));
    }
    let start = entry.data_start().ok_or_else(|| wrong(format!("entry `{name}` has no place")))?;
    match start.checked_add(size) {
        Some(end) if end <= file => Ok((At::File(start), size)),
        _ => Err(wrong(format!("entry `{name}` reaches beyond the file"))),
    }
}

/// An entry's content.
pub(super) fn entry<'a>(
    path: &Path,
    archive: &'a mut Archive,
    index: usize,
) -> Result<ZipFile<'a, BufReader<File>>> {
    archive.by_index(index).map_err(|e| Error::Torch { path: path.to_path_buf(), fact: e.to_string() })
}
