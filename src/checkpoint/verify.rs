//! Holds a GGML file against what whisper.cpp takes for granted: whisper.cpp trusts every number in it, and
//! aborts or reads out of bounds on a damaged one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::{Error, Result};
use super::ggml::{MAGIC, QUANT_VERSION, QUANT_VERSION_FACTOR, stored_as};
use super::names::expected;
use super::quantize::{QuantType, STORAGES, Storage};
use super::survey::{Entry, Header, Survey, survey, survey_header};
use super::tokenizer::LAST_STANDARD;
use super::{config::Dims, mel};

/// No more findings than this are collected.
const MAX_FINDINGS: usize = 100;

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
    /// The matrices' type.
    pub(crate) storage: &'static Storage,
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
    // A pipe would be waited for.
    if !path.is_file() {
        return false;
    }
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
    read_ggml(path).map(|(info, _)| info)
}

/// The same, with the places of its tensors.
pub(crate) fn read_ggml(path: &Path) -> Result<(GgmlInfo, Survey)> {
    let mut survey = survey(path)?;
    let judged = judge(&survey);
    match (judged.findings.into_iter().next(), judged.model) {
        (None, Some((dims, storage))) => {
            let vocabulary = std::mem::take(&mut survey.vocabulary);
            let special = special_tokens(&vocabulary);
            let (type_name, bytes) = (storage.name, survey.bytes);
            Ok((GgmlInfo { dims, type_name, vocabulary, special, bytes, storage }, survey))
        }
        (fact, _) => Err(unusable(path, fact)),
    }
}

/// Only the header: the type of the matrices.
pub(crate) fn type_of(path: &Path) -> Result<&'static Storage> {
    let judged = judge_header(&survey_header(path)?);
    match (judged.findings.into_iter().next(), judged.model) {
        (None, Some((_, storage))) => Ok(storage),
        (fact, _) => Err(unusable(path, fact)),
    }
}

fn unusable(path: &Path, fact: Option<String>) -> Error {
    Error::Ggml { path: path.to_path_buf(), fact: fact.unwrap_or_else(|| "it has no header".into()) }
}

/// The tokens that look like special ones, with their ids.
pub(crate) fn special_tokens(vocabulary: &[Vec<u8>]) -> BTreeMap<String, u32> {
    let special = vocabulary.iter().zip(0_u32..).filter_map(|(token, id)| {
        let name = str::from_utf8(token).ok().filter(|n| n.starts_with("<|") && n.ends_with("|>"))?;
        Some((name.to_string(), id))
    });
    special.collect()
}

/// What a survey comes to.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// The dimensions and the matrices' type, where the header tells them.
    pub(crate) model: Option<(Dims, &'static Storage)>,
    /// All that is wrong, in the file's order; the first of it is enough for whisper.cpp to fail.
    pub(crate) findings: Vec<String>,
}

impl Judgement {
    fn add(&mut self, fact: impl Into<String>) {
        match self.findings.len() {
            n if n < MAX_FINDINGS => self.findings.push(fact.into()),
            MAX_FINDINGS => self.findings.push(format!("more than {MAX_FINDINGS} things are wrong")),
            _ => {}
        }
    }
}

/// Judges a whole file.
pub(crate) fn judge(survey: &Survey) -> Judgement {
    let mut judged = judge_header(survey);
    let Some(header) = survey.header else { return judged };
    filters(survey, &header.dims, &mut judged);
    vocabulary(survey, header.dims.n_vocab, &mut judged);
    match judged.model {
        Some((dims, ty)) => tensors(survey, &dims, ty, &mut judged),
        None => judged.findings.extend(survey.broken.clone()),
    }
    judged
}

fn judge_header(survey: &Survey) -> Judgement {
    let mut judged = Judgement::default();
    let Some(header) = survey.header else {
        judged.findings.extend(survey.broken.clone());
        return judged;
    };
    let Header { dims, n_text_state, ftype } = header;
    let mut fine = true;
    if let Err((field, fact)) = dims.check() {
        judged.add(format!("`{field}`: {fact}"));
        fine = false;
    }
    if n_text_state != dims.n_state {
        judged.add(format!("the encoder's width is {}, the decoder's {n_text_state}", dims.n_state));
        fine = false;
    }
    let storage = STORAGES.into_iter().find(|s| s.ftype == ftype % QUANT_VERSION_FACTOR);
    if storage.is_none() {
        judged.add(format!("unknown type {ftype}"));
    }
    let version = ftype / QUANT_VERSION_FACTOR;
    if storage.is_some_and(Storage::is_quantized) && version != QUANT_VERSION {
        judged.add(format!("version {version} of the block formats; {QUANT_VERSION} is read"));
    }
    judged.model = storage.filter(|_| fine).map(|storage| (dims, storage));
    judged
}

fn filters(survey: &Survey, dims: &Dims, judged: &mut Judgement) {
    let found = &survey.filters;
    if found.values.is_empty() && survey.broken.is_some() {
        return;
    }
    if found.rows != dims.n_mels || found.columns != mel::N_BINS {
        let (rows, columns, n_mels, n_bins) = (found.rows, found.columns, dims.n_mels, mel::N_BINS);
        judged.add(format!("mel filters of {rows} × {columns}, not {n_mels} × {n_bins}"));
    }
    if found.values.iter().any(|v| !v.is_finite()) {
        judged.add("a mel filter is not finite");
    }
}

fn vocabulary(survey: &Survey, n_vocab: usize, judged: &mut Judgement) {
    let count = survey.vocabulary.len();
    let cut_short = survey.broken.is_some() && survey.tensors.is_empty();
    if count > n_vocab {
        judged.add(format!("{count} tokens for {n_vocab} rows of the embedding"));
    }
    // whisper.cpp takes the ids in between for languages, and aborts at the first that it can't name.
    if n_vocab > LAST_STANDARD && count < n_vocab && !cut_short {
        judged.add(format!("{count} tokens of {n_vocab}; the rest has no names"));
    }
}

fn tensors(survey: &Survey, dims: &Dims, ty: &'static Storage, judged: &mut Judgement) {
    let mut missing: HashMap<String, (Vec<usize>, &'static Storage)> = expected(dims)
        .into_iter()
        .map(|e| (e.ggml.clone(), (e.ggml_dims(), stored_as(e.kind, ty))))
        .collect();
    let mut seen = Vec::new();
    for entry in &survey.tensors {
        match missing.remove(&entry.name) {
            Some((shape, storage)) => {
                seen.push(entry.name.as_str());
                tensor(entry, &shape, storage, judged);
            }
            None if seen.contains(&entry.name.as_str()) => {
                judged.add(format!("tensor `{}` is there twice", entry.name));
            }
            None => judged.add(format!("tensor `{}` is unknown", entry.name)),
        }
    }
    if let Some(fact) = &survey.broken {
        judged.add(fact);
        if !missing.is_empty() {
            judged.add(format!("{} of {} tensors were found", seen.len(), seen.len() + missing.len()));
        }
        return;
    }
    let mut missing: Vec<_> = missing.into_keys().collect();
    missing.sort();
    for name in missing {
        judged.add(format!("tensor `{name}` is missing"));
    }
}

fn tensor(entry: &Entry, wanted: &[usize], storage: &Storage, judged: &mut Judgement) {
    let Entry { name, shape, .. } = entry;
    // Trailing dimensions of 1 may be left out.
    let used = |shape: &[usize]| {
        let used = shape.iter().rposition(|n| *n != 1).map_or(0, |last| last + 1);
        shape.get(..used).map(<[usize]>::to_vec)
    };
    if used(shape) != used(wanted) {
        judged.add(format!("tensor `{name}` has shape {shape:?}, not {wanted:?}"));
    }
    if entry.storage != storage {
        judged.add(format!("tensor `{name}` is of type {}, not {}", entry.storage.name, storage.name));
    }
}
