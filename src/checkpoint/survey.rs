//! Walks through a GGML file from end to end, and notes what is where: the structure, not whether it makes
//! sense. Reads every number with care, and keeps no more than a real file of that size is worth.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::config::Dims;
use super::error::{Error, Result};
use super::ggml::MAGIC;
use super::quantize::{STORAGES, Storage};

/// The longest token of Whisper's vocabulary has 128 bytes.
const MAX_TOKEN_BYTES: usize = 1024;
/// Whisper's vocabulary has 400 kB in all.
const MAX_VOCABULARY_BYTES: usize = 16 << 20;
const MAX_TOKENS: usize = 1 << 20;
/// 128 bins of 201 frequencies are 25,728.
const MAX_FILTERS: usize = 1 << 16;
const MAX_NAME_BYTES: usize = 256;
const MAX_DIMS: usize = 4;
/// A Whisper of 64 + 64 layers has 2,507.
const MAX_TENSORS: usize = 10_000;

/// What a GGML file holds, as far as it could be followed.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The file's length.
    pub(crate) bytes: u64,
    pub(crate) header: Option<Header>,
    pub(crate) filters: Filters,
    /// The bytes of each token.
    pub(crate) vocabulary: Vec<Vec<u8>>,
    pub(crate) tensors: Vec<Entry>,
    /// Why the walk came to an end before the file did, or the file before the walk.
    pub(crate) broken: Option<String>,
}

/// The numbers behind the magic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// Unchecked; `n_state` is the encoder's.
    pub(crate) dims: Dims,
    /// The decoder's width.
    pub(crate) n_text_state: usize,
    /// `ggml_ftype`, and the version of the block formats times 1000.
    pub(crate) ftype: u32,
}

/// The mel filters.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) values: Vec<f32>,
}

/// A tensor in the file.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// In ggml's order, the fastest first.
    pub(crate) shape: Vec<usize>,
    pub(crate) storage: &'static Storage,
    /// Where its data begins.
    pub(crate) offset: u64,
    /// The length of its data.
    pub(crate) bytes: u64,
}

/// Why a walk stops.
enum Stop {
    /// The file can't be read.
    Io(Error),
    /// It can't be followed any further.
    Broken(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Io(error)
    }
}

type Walk<T> = std::result::Result<T, Stop>;

fn broken<T>(fact: impl Into<String>) -> Walk<T> {
    Err(Stop::Broken(fact.into()))
}

/// Walks through a file. An error is one of reading only; everything else is in the result.
pub(crate) fn survey(path: &Path) -> Result<Survey> {
    walk_to(path, |reader, survey| {
        survey.header = Some(reader.header()?);
        survey.filters = reader.filters()?;
        reader.vocabulary(&mut survey.vocabulary)?;
        reader.tensors(&mut survey.tensors)
    })
}

/// The same for the header alone.
pub(crate) fn survey_header(path: &Path) -> Result<Survey> {
    walk_to(path, |reader, survey| {
        survey.header = Some(reader.header()?);
        Ok(())
    })
}

fn walk_to(path: &Path, walk: impl FnOnce(&mut Reader<'_>, &mut Survey) -> Walk<()>) -> Result<Survey> {
    let file = File::open(path).map_err(Error::read(path))?;
    let metadata = file.metadata().map_err(Error::read(path))?;
    let bytes = metadata.len();
    let mut survey = Survey {
        bytes,
        header: None,
        filters: Filters::default(),
        vocabulary: Vec::new(),
        tensors: Vec::new(),
        broken: None,
    };
    let mut reader = Reader { path, file: BufReader::with_capacity(1 << 16, file), bytes, at: 0 };
    match walk(&mut reader, &mut survey) {
        Ok(()) => {}
        Err(Stop::Io(error)) => return Err(error),
        Err(Stop::Broken(fact)) => survey.broken = Some(fact),
    }
    Ok(survey)
}

struct Reader<'a> {
    path: &'a Path,
    file: BufReader<File>,
    /// The file's length.
    bytes: u64,
    at: u64,
}

impl Reader<'_> {
    /// Counts bytes off, before anything is read or allocated for them.
    fn claim(&mut self, n: u64, what: &str) -> Walk<()> {
        match self.at.checked_add(n).filter(|end| *end <= self.bytes) {
            Some(end) => {
                self.at = end;
                Ok(())
            }
            None => broken(format!("it ends early, in {what}")),
        }
    }

    fn take(&mut self, n: usize, what: &str) -> Walk<Vec<u8>> {
        self.claim(n as u64, what)?;
        let mut bytes = vec![0; n];
        self.file.read_exact(&mut bytes).map_err(Error::read(self.path))?;
        Ok(bytes)
    }

    fn number(&mut self, what: &str) -> Walk<u32> {
        self.claim(4, what)?;
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).map_err(Error::read(self.path))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn size(&mut self, what: &str) -> Walk<usize> {
        Ok(self.number(what)? as usize)
    }

    fn header(&mut self) -> Walk<Header> {
        if self.number("the header")? != MAGIC {
            return broken("it does not begin with the GGML magic");
        }
        let mut next = || self.size("the header");
        let (n_vocab, n_audio_ctx, n_state) = (next()?, next()?, next()?);
        let (n_audio_head, n_audio_layer, n_text_ctx) = (next()?, next()?, next()?);
        let (n_text_state, n_text_head, n_text_layer, n_mels) = (next()?, next()?, next()?, next()?);
        let dims = Dims {
            n_vocab,
            n_audio_ctx,
            n_state,
            n_audio_head,
            n_audio_layer,
            n_text_ctx,
            n_text_head,
            n_text_layer,
            n_mels,
        };
        Ok(Header { dims, n_text_state, ftype: self.number("the header")? })
    }

    fn filters(&mut self) -> Walk<Filters> {
        let what = "the mel filters";
        let (rows, columns) = (self.size(what)?, self.size(what)?);
        let Some(count) = rows.checked_mul(columns).filter(|count| *count <= MAX_FILTERS) else {
            return broken(format!("mel filters of {rows} × {columns}"));
        };
        let bytes = self.take(count * 4, what)?;
        let values = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Ok(Filters { rows, columns, values })
    }

    fn vocabulary(&mut self, tokens: &mut Vec<Vec<u8>>) -> Walk<()> {
        let what = "the vocabulary";
        let count = self.size(what)?;
        if count > MAX_TOKENS {
            return broken(format!("a vocabulary of {count} tokens"));
        }
        let mut left = MAX_VOCABULARY_BYTES;
        for id in 0..count {
            let length = self.size(what)?;
            if length > MAX_TOKEN_BYTES {
                return broken(format!("token {id} has {length} bytes"));
            }
            left = match left.checked_sub(length) {
                Some(left) => left,
                None => return broken(format!("a vocabulary of over {MAX_VOCABULARY_BYTES} bytes")),
            };
            tokens.push(self.take(length, what)?);
        }
        Ok(())
    }

    fn tensors(&mut self, tensors: &mut Vec<Entry>) -> Walk<()> {
        while self.at < self.bytes {
            if tensors.len() == MAX_TENSORS {
                return broken(format!("more than {MAX_TENSORS} tensors"));
            }
            let entry = self.entry()?;
            let size = i64::try_from(entry.bytes).unwrap_or(i64::MAX);
            let name = entry.name.clone();
            // Noted also where its data is cut off.
            tensors.push(entry);
            self.claim(size.unsigned_abs(), &format!("tensor `{name}`"))?;
            self.file.seek_relative(size).map_err(Error::read(self.path))?;
        }
        Ok(())
    }

    fn entry(&mut self) -> Walk<Entry> {
        let what = "a tensor's header";
        let (n_dims, n_name, type_id) = (self.size(what)?, self.size(what)?, self.number(what)?);
        if n_dims == 0 || n_dims > MAX_DIMS || n_name > MAX_NAME_BYTES {
            return broken(format!("a tensor of {n_dims} dimensions and a name of {n_name} bytes"));
        }
        let mut shape = Vec::with_capacity(n_dims);
        for _ in 0..n_dims {
            shape.push(self.size(what)?);
        }
        // Escaped, for it gets into messages; a real name has nothing to escape.
        let name = String::from_utf8_lossy(&self.take(n_name, what)?).escape_debug().to_string();
        let Some(storage) = STORAGES.into_iter().find(|s| s.id == type_id) else {
            return broken(format!("tensor `{name}` is of type {type_id}, which whisper.cpp does not load"));
        };
        let count = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        // whisper.cpp counts a tensor's elements in 32 bits.
        let count = count.filter(|n| i32::try_from(*n).is_ok());
        let bytes = count.and_then(|n| storage.size(n));
        let Some(bytes) =
            bytes.filter(|_| shape.first().is_some_and(|row| row.is_multiple_of(storage.block)))
        else {
            return broken(format!(
                "tensor `{name}` has shape {shape:?}: blocks of {} do not divide its rows, or it is too large",
                storage.block
            ));
        };
        Ok(Entry { name, shape, storage, offset: self.at, bytes: bytes as u64 })
    }
}
