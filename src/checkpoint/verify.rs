//! Reads a GGML file as whisper.cpp would, but carefully: whisper.cpp trusts every number in it, and
//! aborts or reads out of bounds on a damaged one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::config::Dims;
use super::error::{Error, Result};
use super::ggml::{MAGIC, QUANT_VERSION, QUANT_VERSION_FACTOR, stored_as};
use super::mel;
use super::names::expected;
use super::quantize::{QuantType, STORAGES, Storage};
use super::tokenizer::LAST_STANDARD;

/// The longest token of Whisper's vocabulary has 128 bytes.
const MAX_TOKEN_BYTES: usize = 4096;
const MAX_NAME_BYTES: usize = 256;
const MAX_DIMS: usize = 4;

/// What a GGML file says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct GgmlInfo {
    /// The model's dimensions.
    pub dims: Dims,
    /// The name of the matrices' type, such as `q8_0`.
    pub type_name: &'static str,
    /// The bytes of each token that the file holds, by id. Ids beyond it are special tokens.
    pub vocabulary: Vec<Vec<u8>>,
    /// The tokens of the file that look like special ones (`<|…|>`), with their ids.
    pub special: BTreeMap<String, u32>,
    /// The file's length.
    pub bytes: u64,
}

impl GgmlInfo {
    /// The type, where it is one that we write.
    pub fn quant_type(&self) -> Option<QuantType> {
        QuantType::ALL.into_iter().find(|ty| ty.name() == self.type_name)
    }
}

/// Whether a file begins like a GGML file.
pub(crate) fn is_ggml(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && u32::from_le_bytes(magic) == MAGIC
}

/// Checks a whole GGML file but for the values of its weights: magic, dimensions, mel filters,
/// vocabulary, and that its tensors are exactly those that whisper.cpp allocates for these dimensions,
/// in name, shape, type and length.
///
/// # Errors
/// [`Error::Ggml`] with the first fact that is wrong, [`Error::Read`] where the file can't be read.
pub fn verify(path: &Path) -> Result<GgmlInfo> {
    let file = File::open(path).map_err(Error::read(path))?;
    let size = file.metadata().map_err(Error::read(path))?.len();
    Reader { path, file: BufReader::with_capacity(1 << 16, file), left: size }.verify(size)
}

/// Only the header: dimensions and type.
pub(crate) fn type_of(path: &Path) -> Result<&'static Storage> {
    let file = File::open(path).map_err(Error::read(path))?;
    let left = file.metadata().map_err(Error::read(path))?.len();
    Reader { path, file: BufReader::new(file), left }.header().map(|(_, ty)| ty)
}

struct Reader<'a> {
    path: &'a Path,
    file: BufReader<File>,
    /// Bytes up to the end of the file.
    left: u64,
}

impl Reader<'_> {
    fn verify(mut self, bytes: u64) -> Result<GgmlInfo> {
        let (dims, ty) = self.header()?;
        self.filters(&dims)?;
        let vocabulary = self.vocabulary(&dims)?;
        self.tensors(&dims, ty)?;
        let special = vocabulary.iter().zip(0_u32..).filter_map(|(token, id)| {
            let name = str::from_utf8(token).ok().filter(|n| n.starts_with("<|") && n.ends_with("|>"))?;
            Some((name.to_string(), id))
        });
        Ok(GgmlInfo { dims, type_name: ty.name, special: special.collect(), vocabulary, bytes })
    }

    fn wrong(&self, fact: impl Into<String>) -> Error {
        Error::Ggml { path: self.path.to_path_buf(), fact: fact.into() }
    }

    /// Counts bytes off, before anything is read or allocated for them.
    fn claim(&mut self, n: u64) -> Result<()> {
        match self.left.checked_sub(n) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.wrong("it ends early")),
        }
    }

    fn bytes(&mut self, n: usize) -> Result<Vec<u8>> {
        self.claim(n as u64)?;
        let mut bytes = vec![0; n];
        self.file.read_exact(&mut bytes).map_err(Error::read(self.path))?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32> {
        self.claim(4)?;
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).map_err(Error::read(self.path))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn header(&mut self) -> Result<(Dims, &'static Storage)> {
        if self.number()? != MAGIC {
            return Err(self.wrong("it does not begin with the GGML magic"));
        }
        let mut fields = [0; 11];
        for field in &mut fields {
            *field = self.number()?;
        }
        let [
            vocab,
            audio_ctx,
            state,
            audio_head,
            audio_layer,
            text_ctx,
            text_state,
            text_head,
            text_layer,
            mels,
            ftype,
        ] = fields.map(|n| n as usize);
        let dims = Dims {
            n_vocab: vocab,
            n_audio_ctx: audio_ctx,
            n_state: state,
            n_audio_head: audio_head,
            n_audio_layer: audio_layer,
            n_text_ctx: text_ctx,
            n_text_head: text_head,
            n_text_layer: text_layer,
            n_mels: mels,
        };
        dims.check().map_err(|(field, fact)| self.wrong(format!("`{field}`: {fact}")))?;
        if text_state != state {
            return Err(self.wrong(format!("the encoder's width is {state}, the decoder's {text_state}")));
        }
        let factor = QUANT_VERSION_FACTOR as usize;
        let ty = STORAGES.into_iter().find(|s| s.ftype as usize == ftype % factor);
        let ty = ty.ok_or_else(|| self.wrong(format!("unknown type {ftype}")))?;
        if ty.is_quantized() && ftype / factor != QUANT_VERSION as usize {
            let version = ftype / factor;
            return Err(
                self.wrong(format!("version {version} of the block formats; {QUANT_VERSION} is read"))
            );
        }
        Ok((dims, ty))
    }

    fn filters(&mut self, dims: &Dims) -> Result<()> {
        let (rows, columns) = (self.number()? as usize, self.number()? as usize);
        if rows != dims.n_mels || columns != mel::N_BINS {
            let (n_mels, n_bins) = (dims.n_mels, mel::N_BINS);
            return Err(self.wrong(format!("mel filters of {rows} × {columns}, not {n_mels} × {n_bins}")));
        }
        let bytes = self.bytes(rows * columns * 4)?;
        if bytes.as_chunks::<4>().0.iter().any(|b| !f32::from_le_bytes(*b).is_finite()) {
            return Err(self.wrong("a mel filter is not finite"));
        }
        Ok(())
    }

    fn vocabulary(&mut self, dims: &Dims) -> Result<Vec<Vec<u8>>> {
        let count = self.number()? as usize;
        if count > dims.n_vocab {
            return Err(self.wrong(format!("{count} tokens for {} rows of the embedding", dims.n_vocab)));
        }
        // whisper.cpp takes the ids in between for languages, and aborts at the first that it can't name.
        if dims.n_vocab > LAST_STANDARD && count < dims.n_vocab {
            return Err(self.wrong(format!("{count} tokens of {}; the rest has no names", dims.n_vocab)));
        }
        let mut tokens = Vec::new();
        for id in 0..count {
            let length = self.number()? as usize;
            if length > MAX_TOKEN_BYTES {
                return Err(self.wrong(format!("token {id} has {length} bytes")));
            }
            tokens.push(self.bytes(length)?);
        }
        Ok(tokens)
    }

    fn tensors(&mut self, dims: &Dims, ty: &'static Storage) -> Result<()> {
        let mut missing: HashMap<String, (Vec<usize>, &Storage)> = expected(dims)
            .into_iter()
            .map(|e| {
                let shape = e.ggml_dims();
                (e.ggml, (shape, stored_as(e.kind, ty)))
            })
            .collect();
        while self.left > 0 {
            let (n_dims, n_name, id) = (self.number()? as usize, self.number()? as usize, self.number()?);
            if n_dims == 0 || n_dims > MAX_DIMS || n_name > MAX_NAME_BYTES {
                return Err(
                    self.wrong(format!("a tensor of {n_dims} dimensions and a name of {n_name} bytes"))
                );
            }
            let mut shape = Vec::with_capacity(n_dims);
            for _ in 0..n_dims {
                shape.push(self.number()? as usize);
            }
            let name = String::from_utf8_lossy(&self.bytes(n_name)?).into_owned();
            let Some((wanted, ty)) = missing.remove(&name) else {
                return Err(self.wrong(format!("tensor `{name}` is unknown or there twice")));
            };
            let trimmed = |shape: &[usize]| {
                let used = shape.iter().rposition(|n| *n != 1).map_or(0, |last| last + 1);
                shape.get(..used).map(<[usize]>::to_vec)
            };
            if trimmed(&shape) != trimmed(&wanted) {
                return Err(self.wrong(format!("tensor `{name}` has shape {shape:?}, not {wanted:?}")));
            }
            if id != ty.id {
                return Err(
                    self.wrong(format!("tensor `{name}` is of type {id}, not {} ({})", ty.id, ty.name))
                );
            }
            let size = wanted
                .iter()
                .try_fold(1_usize, |n, d| n.checked_mul(*d))
                // whisper.cpp counts a tensor's elements in 32 bits.
                .filter(|n| {
                    i32::try_from(*n).is_ok()
                        && wanted.first().is_some_and(|row| row.is_multiple_of(ty.block))
                })
                .and_then(|n| i64::try_from(ty.size(n)?).ok());
            let Some(size) = size else {
                return Err(self.wrong(format!(
                    "tensor `{name}`: {} does not divide its rows, or it is too large",
                    ty.name
                )));
            };
            self.claim(size.unsigned_abs())?;
            self.file.seek_relative(size).map_err(Error::read(self.path))?;
        }
        match missing.into_keys().min() {
            Some(name) => Err(self.wrong(format!("tensor `{name}` is missing"))),
            None => Ok(()),
        }
    }
}
