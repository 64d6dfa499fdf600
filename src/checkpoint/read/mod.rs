//! Weight files: a table of tensors, and the bytes of one at a time.

mod machine;
mod pickle;
mod safetensors;
mod torch;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use super::error::{Error, Result};

/// The element types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dtype {
    F32,
    F16,
    Bf16,
}

impl Dtype {
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Little-endian elements to f32, exactly. Both slices hold the same number of elements.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut [f32]) {
        let pairs = || bytes.as_chunks::<2>().0.iter();
        match self {
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
    /// Whether the elements lie one after the other.
    pub(crate) contiguous: bool,
    place: Place,
}

impl Tensor {
    /// Whether both are views of the same bytes, as tied weights are.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.place == other.place && self.shape == other.shape && self.dtype == other.dtype
    }
}

/// Where a tensor's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// At this offset of the file.
    Plain { offset: u64 },
    /// At this offset of a compressed entry of the archive.
    Packed { entry: usize, offset: u64 },
}

/// A weight file: its tensors by name, as the file names them.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) path: PathBuf,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// The archive, for compressed entries.
    archive: Option<torch::Archive>,
}

impl Weights {
    /// Opens a weight file and reads its table, not its data.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|e| e == "safetensors") {
            safetensors::open(path)
        } else {
            torch::open(path)
        }
    }

    /// The bytes of a tensor, one after the other. Fails where the file is too short for them.
    pub(crate) fn bytes(&mut self, tensor: &Tensor) -> Result<Box<dyn Read + '_>> {
        match tensor.place {
            Place::Plain { offset } => {
                let mut file = File::open(&self.path).map_err(Error::read(&self.path))?;
                file.seek(SeekFrom::Start(offset)).map_err(Error::read(&self.path))?;
                Ok(Box::new(file))
            }
            Place::Packed { entry, offset } => {
                let archive = self.archive.as_mut().ok_or_else(|| Error::Internal {
                    path: self.path.clone(),
                    fact: "a compressed tensor without an archive",
                })?;
                let mut data = torch::entry(&self.path, archive, entry)?;
                let skipped = std::io::copy(&mut data.by_ref().take(offset), &mut std::io::sink())
                    .map_err(Error::read(&self.path))?;
                if skipped < offset {
                    return Err(Error::Torch {
                        path: self.path.clone(),
                        fact: "an entry is shorter than the archive says".into(),
                    });
                }
                Ok(Box::new(BufReader::new(data)))
            }
        }
    }
}

/// The weights of a checkpoint folder: `model.safetensors`, else `pytorch_model.bin`.
pub(crate) fn find(dir: &Path) -> Option<PathBuf> {
    ["model.safetensors", "pytorch_model.bin"]
        .map(|name| dir.join(name))
        .into_iter()
        .find(|path| path.is_file())
}

/// The product of a shape, where it fits.
fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))
}
