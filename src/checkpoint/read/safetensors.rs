//! The safetensors format: eight bytes of header length, a JSON header, the data.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::Metadata;

use super::super::error::{Error, Result};
use super::{Dtype, Place, Source, Tensor, WeightFile, Weights, open_file};

const LENGTH_BYTES: u64 = 8;
/// whisper-large has a header of 200 kB; the format allows 100 MB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

pub(super) fn open(path: &Path) -> Result<Weights> {
    let wrong = |fact: String| Error::Safetensors { path: path.to_path_buf(), fact };
    let mut file = open_file(path)?;
    let size = file.metadata().map_err(Error::read(path))?.len();

    let mut length = [0; LENGTH_BYTES as usize];
    if size < LENGTH_BYTES {
        return Err(wrong(format!("it has {size} bytes, too few for a header")));
    }
    file.read_exact(&mut length).map_err(Error::read(path))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length > size - LENGTH_BYTES {
        return Err(wrong(format!("a header of {length} bytes in a file of {size}")));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(Error::read(path))?;
    // Checks that the tensors follow one another without gap or overlap, and that their shapes and
    // types account for their bytes.
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|e| wrong(format!("bad header: {e}")))?;

    let start = LENGTH_BYTES + length;
    let end = start.checked_add(metadata.data_len() as u64);
    if end != Some(size) {
        let data = metadata.data_len();
        return Err(wrong(format!(
            "the header speaks of {data} bytes of data, the file has {}",
            size - start
        )));
    }
    let mut tensors = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        use safetensors::Dtype as Found;
        let dtype = match info.dtype {
            Found::F64 => Ok(Dtype::F64),
            Found::F32 => Ok(Dtype::F32),
            Found::F16 => Ok(Dtype::F16),
            Found::BF16 => Ok(Dtype::Bf16),
            other => Err(format!("{other:?}").to_lowercase()),
        };
        let offset = start + info.data_offsets.0 as u64;
        let source = Source::Stored(Place { file: 0, entry: None, offset, strides: None });
        tensors.insert(name, Tensor { dtype, shape: info.shape.clone(), source });
    }
    let file = WeightFile { path: path.to_path_buf(), archive: None };
    Ok(Weights { path: path.to_path_buf(), tensors, dims: None, files: vec![file] })
}
