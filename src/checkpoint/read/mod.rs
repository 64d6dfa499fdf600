//! Weight files: a table of tensors, and the bytes of one at a time.
//!
//! [`Weights`] looks the same whatever is behind it: one file or shards, safetensors or a pickle (zip, or
//! the form before it), tensors that are not contiguous, or weights that an adapter is merged into.

mod index;
mod legacy;
mod machine;
mod merged;
mod pickle;
mod place;
mod safetensors;
mod torch;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use super::error::{Error, Result};
pub(crate) use index::{shard_names, shards};
pub(crate) use merged::Merged;
use place::{Gather, Place};
pub(crate) use torch::is_torch;

/// A file whose tensors claim more than this many times its length is a bomb: no compressed weights come
/// near it.
const MAX_EXPANSION: u64 = 200;
/// Bytes from the first element of a strided tensor to its last, for each byte of the tensor.
const MAX_SPREAD: usize = 16;

/// The element types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
}

impl Dtype {
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Little-endian elements to f32: f64 is rounded, the others are exact. Both slices hold the same
    /// number of elements.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut [f32]) {
        let pairs = || bytes.as_chunks::<2>().0.iter();
        match self {
            Self::F64 => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *o = f64::from_le_bytes(*b) as f32;
                }
            }
            Self::F32 => {
                for (o, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *o = f32::from_le_bytes(*b);
                }
            }
            Self::F16 => out.iter_mut().zip(pairs()).for_each(|(o, b)| *o = f16::from_le_bytes(*b).to_f32()),
            Self::Bf16 => {
                out.iter_mut().zip(pairs()).for_each(|(o, b)| *o = bf16::from_le_bytes(*b).to_f32())
            }
        }
    }
}

/// One tensor of a weight file.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    /// The element type, or the name of one that is not read: an error only if the tensor is needed.
    pub(crate) dtype: std::result::Result<Dtype, String>,
    pub(crate) shape: Vec<usize>,
    source: Source,
}

/// Where a tensor comes from.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    Stored(Place),
    Merged(Box<Merged>),
}

impl Tensor {
    /// Whether both are views of the same bytes, as tied weights are.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.source == other.source && self.shape == other.shape && self.dtype == other.dtype
    }

    /// Its length in bytes, where its type is read.
    pub(crate) fn size(&self) -> Option<usize> {
        let width = self.dtype.as_ref().ok()?.size();
        count(&self.shape)?.checked_mul(width)
    }

    /// Whether its elements lie so far apart that it would take much more memory than its own to bring
    /// them together.
    pub(crate) fn is_spread(&self) -> bool {
        let most = self.size().and_then(|n| n.checked_mul(MAX_SPREAD));
        match &self.source {
            Source::Stored(place) => self.dtype.is_ok() && (most.is_none() || place.span(self) > most),
            Source::Merged(merged) => merged.is_spread(),
        }
    }
}

/// The weights of a checkpoint: its tensors by name, as the files name them.
#[derive(Debug)]
pub(crate) struct Weights {
    /// The file that was opened.
    pub(crate) path: PathBuf,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// The dimensions that an OpenAI file carries with it, by their names there.
    pub(crate) dims: Option<BTreeMap<String, u64>>,
    files: Vec<WeightFile>,
}

/// A file that tensors are in.
#[derive(Debug)]
struct WeightFile {
    path: PathBuf,
    /// For compressed entries.
    archive: Option<torch::Archive>,
}

impl Weights {
    /// Opens a weight file, or the index of shards, and reads its table, not its data.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|e| e == "json") { index::open(path) } else { Self::open_one(path) }
    }

    fn open_one(path: &Path) -> Result<Self> {
        let safetensors = path.extension().is_some_and(|e| e == "safetensors");
        let weights = if safetensors { safetensors::open(path)? } else { torch::open(path)? };
        let real = path.metadata().map_err(Error::read(path))?.len();
        let claimed = weights.tensors.values().filter_map(Tensor::size);
        let claimed = claimed.fold(0_u64, |sum, n| sum.saturating_add(n as u64));
        if claimed / MAX_EXPANSION > real {
            let fact = format!("its tensors claim {claimed} bytes, the file has {real}");
            return Err(Error::Torch { path: path.to_path_buf(), fact });
        }
        Ok(weights)
    }

    /// The file that a tensor is in.
    pub(crate) fn path_of(&self, tensor: &Tensor) -> &Path {
        let place = match &tensor.source {
            Source::Stored(place) => place,
            Source::Merged(merged) => merged.place(),
        };
        self.files.get(place.file).map_or(&self.path, |file| &file.path)
    }

    /// The bytes of a tensor in its own type, one element after the other, the last dimension fastest.
    /// They may go on behind the tensor's end. Fails where the file is too short for them.
    pub(crate) fn bytes(&mut self, tensor: &Tensor) -> Result<Box<dyn Read + '_>> {
        match &tensor.source {
            Source::Stored(place) => {
                let Some(strides) = &place.strides else { return self.stored(place) };
                let (Some(span), Ok(dtype), false) = (place.span(tensor), &tensor.dtype, tensor.is_spread())
                else {
                    let path = self.path_of(tensor).to_path_buf();
                    return Err(Error::Internal { path, fact: "a tensor that can't be gathered" });
                };
                let path = self.path_of(tensor).to_path_buf();
                let mut bytes = Vec::new();
                self.stored(place)?.take(span as u64).read_to_end(&mut bytes).map_err(Error::read(&path))?;
                if bytes.len() < span {
                    return Err(Error::read(&path)(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(Box::new(Gather::new(bytes, &tensor.shape, strides, dtype.size())))
            }
            Source::Merged(merged) => merged.bytes(self),
        }
    }

    /// What lies at a place, to the end of the file or entry.
    fn stored(&mut self, place: &Place) -> Result<Box<dyn Read + '_>> {
        let internal = Error::Internal { path: self.path.clone(), fact: "a tensor without a file" };
        let Some(WeightFile { path, archive }) = self.files.get_mut(place.file) else {
            return Err(internal);
        };
        let Some(entry) = place.entry else {
            let mut file = File::open(&path).map_err(Error::read(path))?;
            file.seek(SeekFrom::Start(place.offset)).map_err(Error::read(path))?;
            return Ok(Box::new(file));
        };
        let Some(archive) = archive else { return Err(internal) };
        let mut data = torch::entry(path, archive, entry)?;
        let skipped =
            io::copy(&mut data.by_ref().take(place.offset), &mut io::sink()).map_err(Error::read(path))?;
        if skipped < place.offset {
            let fact = "an entry is shorter than the archive says".into();
            return Err(Error::Torch { path: path.clone(), fact });
        }
        Ok(Box::new(BufReader::new(data)))
    }

    /// A tensor's elements as f32, in memory.
    fn values(&mut self, tensor: &Tensor) -> Result<Vec<f32>> {
        let path = self.path_of(tensor).to_path_buf();
        let (Ok(dtype), Some(size)) = (&tensor.dtype, tensor.size()) else {
            return Err(Error::Internal { path, fact: "a tensor without a type" });
        };
        let mut bytes = Vec::new();
        self.bytes(tensor)?.take(size as u64).read_to_end(&mut bytes).map_err(Error::read(&path))?;
        if bytes.len() < size {
            return Err(Error::read(&path)(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut values = vec![0.0; size / dtype.size()];
        dtype.decode(&bytes, &mut values);
        Ok(values)
    }

    /// Takes in the files of other weights; what they call their first file is now the one returned.
    fn take_files(&mut self, other: Vec<WeightFile>) -> usize {
        let first = self.files.len();
        self.files.extend(other);
        first
    }
}

/// Opens a regular file: a pipe would wait for ever.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    let metadata = path.metadata().map_err(Error::read(path))?;
    if !metadata.is_file() {
        return Err(Error::read(path)(io::Error::other("not a regular file")));
    }
    File::open(path).map_err(Error::read(path))
}

/// The product of a shape, where it fits.
fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))
}
