//! What `torch.save` writes: a zip archive with one pickle (`data.pkl`) and one entry per storage, or the
//! form before that ([`legacy`]).

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;
use zip::read::ZipFile;

use super::super::error::{Error, Result};
use super::machine::Machine;
use super::pickle::{Fault, Pickled, Saved, saved};
use super::place::{is_contiguous, span};
use super::{Place, Source, Tensor, WeightFile, Weights, legacy, open_file};

pub(super) type Archive = ZipArchive<BufReader<File>>;

/// The pickle of whisper-large is under 1 MB.
pub(super) const MAX_PICKLE_BYTES: u64 = 16 << 20;

/// Whether a file begins like one of `torch.save`.
pub(crate) fn is_torch(path: &Path) -> bool {
    let mut magic = Vec::new();
    let read = open_file(path).is_ok_and(|f| f.take(16).read_to_end(&mut magic).is_ok());
    read && (magic.starts_with(b"PK") || magic.starts_with(legacy::MAGIC))
}

pub(super) fn open(path: &Path) -> Result<Weights> {
    let wrong = |fact: String| Error::Torch { path: path.to_path_buf(), fact };
    let mut file = open_file(path)?;
    let size = file.metadata().map_err(Error::read(path))?.len();
    let mut magic = Vec::new();
    file.by_ref().take(legacy::MAGIC.len() as u64).read_to_end(&mut magic).map_err(Error::read(path))?;
    file.seek(SeekFrom::Start(0)).map_err(Error::read(path))?;
    let (saved, mut storages, archive) = if magic.starts_with(b"PK") {
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| wrong(e.to_string()))?;
        let (saved, root) = pickle(path, &mut archive)?;
        (saved, Storages::Zip { root, size, known: HashMap::new() }, Some(archive))
    } else if magic == legacy::MAGIC {
        let (saved, storages) = legacy::read(path, &mut file, size)?;
        (saved, Storages::Legacy(storages), None)
    } else {
        return Err(wrong(format!("not a file of torch.save; it has {size} bytes")));
    };

    let mut file = WeightFile { path: path.to_path_buf(), archive };
    let mut tensors = BTreeMap::new();
    for (name, found) in saved.tensors {
        let (entry, start, bytes) = storages.find(&mut file, &found)?;
        let Some(tensor) = tensor(&found, entry, start, bytes) else {
            return Err(Error::OutOfBounds { path: path.to_path_buf(), tensor: name });
        };
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(Error::DuplicateTensor { path: path.to_path_buf(), tensor: name });
        }
    }
    Ok(Weights { path: path.to_path_buf(), tensors, dims: saved.dims, files: vec![file] })
}

/// A tensor of a storage that begins at `start` and has so many bytes. `None` if it reaches beyond them.
fn tensor(found: &Pickled, entry: Option<usize>, start: u64, bytes: u64) -> Option<Tensor> {
    // A type that is not read has no size here; it is refused by name where the tensor is needed.
    let width = found.storage.dtype.as_ref().map_or(1, |d| d.size());
    let offset = found.offset.checked_mul(width)?;
    let end = span(&found.shape, &found.strides)?.checked_mul(width)?.checked_add(offset)?;
    if end as u64 > bytes {
        return None;
    }
    let strides = (!is_contiguous(&found.shape, &found.strides)).then(|| found.strides.clone());
    let place = Place { file: 0, entry, offset: start.checked_add(offset as u64)?, strides };
    Some(Tensor {
        dtype: found.storage.dtype.clone(),
        shape: found.shape.clone(),
        source: Source::Stored(place),
    })
}

/// The archive's object, and the folder in it that everything lies in, named after the file that was saved.
fn pickle(path: &Path, archive: &mut Archive) -> Result<(Saved, String)> {
    let wrong = |fact: String| Error::Torch { path: path.to_path_buf(), fact };
    let root = archive
        .file_names()
        .filter_map(std::result::Result::ok)
        .find_map(|name| {
            name.strip_suffix("data.pkl").filter(|r| r.is_empty() || r.ends_with('/')).map(String::from)
        })
        .ok_or_else(|| wrong("no data.pkl in it".into()))?;
    if let Some(order) = archive.index_for_name(&format!("{root}byteorder")) {
        let mut text = String::new();
        entry(path, archive, order)?.take(16).read_to_string(&mut text).map_err(Error::read(path))?;
        if text != "little" {
            return Err(wrong(format!("byte order {text:?}; only little-endian files are read")));
        }
    }
    let index = archive
        .index_for_name(&format!("{root}data.pkl"))
        .ok_or_else(|| wrong("no data.pkl in it".into()))?;
    let mut bytes = Vec::new();
    entry(path, archive, index)?
        .take(MAX_PICKLE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::read(path))?;
    if bytes.len() as u64 > MAX_PICKLE_BYTES {
        return Err(wrong(format!("its data.pkl has over {MAX_PICKLE_BYTES} bytes")));
    }
    let saved = saved(&mut Machine::new(&bytes)).map_err(Fault::at(path))?;
    Ok((saved, root))
}

/// Where the storages are.
enum Storages {
    Zip {
        root: String,
        /// The archive's length.
        size: u64,
        /// Those that were looked up: the entry where it is compressed, the beginning, the length.
        known: HashMap<String, (Option<usize>, u64, u64)>,
    },
    Legacy(legacy::Storages),
}

impl Storages {
    fn find(&mut self, file: &mut WeightFile, tensor: &Pickled) -> Result<(Option<usize>, u64, u64)> {
        let key = &tensor.storage.key;
        let wrong = |fact: String| Error::Torch { path: file.path.clone(), fact };
        match self {
            Self::Legacy(storages) => {
                let found = storages.get(key).map(|(start, bytes)| (None, *start, *bytes));
                found.ok_or_else(|| wrong(format!("no storage `{key}`")))
            }
            Self::Zip { root, size, known } => {
                if let Some(found) = known.get(key) {
                    return Ok(*found);
                }
                let archive = file.archive.as_mut().ok_or_else(|| wrong("no archive".into()))?;
                let found = locate(&file.path, archive, &format!("{root}data/{key}"), *size)?;
                known.insert(key.clone(), found);
                Ok(found)
            }
        }
    }
}

/// The place of an archive's entry, and its size in bytes.
fn locate(path: &Path, archive: &mut Archive, name: &str, file: u64) -> Result<(Option<usize>, u64, u64)> {
    let wrong = |fact: String| Error::Torch { path: path.to_path_buf(), fact };
    let index = archive.index_for_name(name).ok_or_else(|| wrong(format!("no entry `{name}`")))?;
    let entry = entry(path, archive, index)?;
    let size = entry.size();
    if entry.compression() != zip::CompressionMethod::Stored {
        return Ok((Some(index), 0, size));
    }
    let start = entry.data_start().ok_or_else(|| wrong(format!("entry `{name}` has no place")))?;
    match start.checked_add(size) {
        Some(end) if end <= file => Ok((None, start, size)),
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
