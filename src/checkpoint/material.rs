//! What goes into a GGML file, wherever it comes from: a checkpoint folder, or another GGML file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::config::{self, Dims};
use super::error::{Error, Result};
use super::input::{Located, Settings, is_without_weights};
use super::names::{Expected, Kind, expected};
use super::plan::plan;
use super::profile::{Profile, SourceFile, SpecialTokens, source_files};
use super::quantize::{BF16, F16, F32, QuantType, Storage, dequantize};
use super::read::{Dtype, Tensor, Weights};
use super::tokenizer::{ENGLISH_ONLY, Vocabulary};
use super::verify::{is_ggml, read_ggml, type_of};
use super::{generation, mel};

/// Everything but the weights themselves, and where those are.
#[derive(Debug)]
pub(crate) struct Material {
    /// The file with the weights, or the index of several.
    pub(crate) path: PathBuf,
    /// The name of the file that they are known by: that, or an adapter's.
    pub(crate) name: String,
    /// What an adapter was merged into.
    pub(crate) base: Option<PathBuf>,
    pub(crate) dims: Dims,
    /// Mel filters, a row for each bin.
    pub(crate) filters: Vec<f32>,
    /// The bytes of each token that the file holds.
    pub(crate) tokens: Vec<Vec<u8>>,
    /// All tensors, in the order of the file to be written.
    pub(crate) tensors: Vec<Item>,
    /// The profile, without its source.
    pub(crate) profile: Profile,
    /// The files that the result depends on, the weights first. None where that is not known.
    pub(crate) files: Vec<SourceFile>,
    /// The type of the matrices, where the input is a GGML file.
    pub(crate) ggml: Option<&'static Storage>,
    data: Data,
}

/// One tensor: what it must be, how its elements are written, and where.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) expected: Expected,
    pub(crate) coding: Coding,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Checkpoint(Tensor),
    Ggml { offset: u64 },
}

#[derive(Debug)]
enum Data {
    Checkpoint(Weights),
    Ggml(File),
}

impl Item {
    /// The number of its elements; the limits on dimensions keep it far from overflow.
    pub(crate) fn len(&self) -> usize {
        self.expected.shape.iter().product()
    }

    #[cfg(test)]
    pub(crate) fn for_test(expected: Expected, coding: Coding) -> Self {
        Self { expected, coding, place: Place::Ggml { offset: 0 } }
    }

    /// The length of its rows, as ggml sees them.
    pub(crate) fn width(&self) -> usize {
        self.expected.shape.last().copied().unwrap_or(1)
    }
}

/// How elements are written in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain(Dtype),
    Blocks(&'static Storage),
}

impl Coding {
    pub(crate) fn of_ggml(storage: &'static Storage) -> Self {
        match storage {
            s if *s == F32 => Self::Plain(Dtype::F32),
            s if *s == F16 => Self::Plain(Dtype::F16),
            s if *s == BF16 => Self::Plain(Dtype::Bf16),
            blocks => Self::Blocks(blocks),
        }
    }

    /// The bytes of `n` elements, where blocks divide them.
    pub(crate) fn size(self, n: usize) -> Option<usize> {
        match self {
            Self::Plain(dtype) => n.checked_mul(dtype.size()),
            Self::Blocks(storage) => storage.size(n),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain(dtype) => dtype.name(),
            Self::Blocks(storage) => storage.name,
        }
    }

    /// To f32. `None` where the slices' sizes do not fit together.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut [f32]) -> Option<()> {
        match self {
            Self::Plain(dtype) => dtype.decode(bytes, out),
            Self::Blocks(storage) => dequantize(storage, bytes, out)?,
        }
        Some(())
    }
}

impl Material {
    /// Opens what the user named: a checkpoint folder, a weight file, or a GGML file. A folder without weights
    /// will do where it has a GGML file in which no precision was lost. `base` is an adapter's.
    pub(crate) fn open(path: &Path, base: Option<&Path>) -> Result<Self> {
        let file = match path {
            file if is_ggml(file) => Some(file.to_path_buf()),
            dir if base.is_none() && dir.is_dir() && is_without_weights(dir) => float_ggml(dir),
            _ => None,
        };
        match (file, base) {
            (Some(_), Some(_)) => {
                let fact = "a base is for an adapter, and this is a GGML file".into();
                Err(Error::Choose { path: path.to_path_buf(), fact })
            }
            (Some(file), None) => Self::ggml(&file),
            (None, base) => Self::checkpoint(path, base),
        }
    }

    fn checkpoint(path: &Path, base: Option<&Path>) -> Result<Self> {
        let located = Located::new(path, base)?;
        // Taken before the weights are read: a change in between makes the result look old, not new.
        let files = source_files(path, &located.files()?)?;
        let mut input = located.open()?;
        let plan = plan(&mut input.weights, input.dims, input.tied)?;
        let dims = plan.dims;

        let vocabulary = Vocabulary::read(&input.tokenizer, dims.n_vocab)?;
        if vocabulary.text.len() > dims.n_vocab {
            let fact = format!("{} tokens for {} rows of the embedding", vocabulary.text.len(), dims.n_vocab);
            return Err(Error::Vocabulary { path: input.tokenizer, fact });
        }
        let profile = profile(&input.settings(), &dims, &vocabulary)?;
        let tail = vocabulary.tail(dims.n_vocab);
        let tensors = plan.tensors.into_iter().map(|planned| Item {
            expected: planned.expected,
            coding: Coding::Plain(planned.dtype),
            place: Place::Checkpoint(planned.source),
        });
        Ok(Self {
            path: input.weights.path.clone(),
            name: located.name(),
            base: located.base(),
            dims,
            filters: mel::filters(dims.n_mels),
            tokens: vocabulary.text.into_iter().chain(tail).collect(),
            tensors: tensors.collect(),
            profile,
            files,
            ggml: None,
            data: Data::Checkpoint(input.weights),
        })
    }

    /// A GGML file: header, filters and vocabulary are kept as they are, the profile is that beside it.
    fn ggml(path: &Path) -> Result<Self> {
        let (info, survey) = read_ggml(path)?;
        let mut profile =
            Profile::read(&Profile::path_for(path))?.unwrap_or_else(|| Profile::for_ggml(&info));
        let files = profile.source.take().map(|source| source.files).unwrap_or_default();
        let tensors = expected(&info.dims).into_iter().map(|expected| {
            let found = survey.tensors.iter().find(|t| t.name == expected.ggml);
            let found = found.ok_or_else(|| Error::Internal {
                path: path.to_path_buf(),
                fact: "a tensor of a verified file is missing",
            })?;
            let place = Place::Ggml { offset: found.offset };
            Ok(Item { expected, coding: Coding::of_ggml(found.storage), place })
        });
        Ok(Self {
            path: path.to_path_buf(),
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            base: None,
            dims: info.dims,
            filters: survey.filters.values,
            tensors: tensors.collect::<Result<_>>()?,
            tokens: info.vocabulary,
            profile,
            files,
            ggml: Some(info.storage),
            data: Data::Ggml(File::open(path).map_err(Error::read(path))?),
        })
    }

    /// The name of the type that most of the input is in.
    pub(crate) fn type_name(&self) -> &'static str {
        if let Some(storage) = self.ggml {
            return storage.name;
        }
        self.tensors.iter().max_by_key(|t| t.len()).map_or("", |t| t.coding.name())
    }

    /// Fails where the blocks of a type do not divide the rows of every matrix.
    pub(crate) fn check_rows(&self, ty: QuantType) -> Result<()> {
        let block = ty.block();
        let matrices = self.tensors.iter().filter(|t| t.expected.kind == Kind::Matrix);
        match matrices.map(Item::width).find(|width| !width.is_multiple_of(block)) {
            None => Ok(()),
            Some(width) => {
                let (path, instead) = (self.path.clone(), ty.instead(width).name());
                Err(Error::RowWidth { path, ty: ty.name(), block, width, instead })
            }
        }
    }
}

impl Material {
    /// The file that a tensor is in.
    pub(crate) fn path_of(&self, index: usize) -> &Path {
        match (self.tensors.get(index).map(|item| &item.place), &self.data) {
            (Some(Place::Checkpoint(tensor)), Data::Checkpoint(weights)) => weights.path_of(tensor),
            _ => &self.path,
        }
    }

    /// The bytes of a tensor, one after the other. Fails where the file is too short for them.
    pub(crate) fn bytes(&mut self, index: usize) -> Result<(&Item, Box<dyn Read + '_>)> {
        let path = &self.path;
        let mismatch = || Error::Internal { path: path.clone(), fact: "a tensor without its file" };
        let item = self.tensors.get(index).ok_or_else(mismatch)?;
        let reader: Box<dyn Read + '_> = match (&item.place, &mut self.data) {
            (Place::Checkpoint(tensor), Data::Checkpoint(weights)) => weights.bytes(tensor)?,
            (Place::Ggml { offset }, Data::Ggml(file)) => {
                file.seek(SeekFrom::Start(*offset)).map_err(Error::read(path))?;
                Box::new(file)
            }
            _ => return Err(mismatch()),
        };
        Ok((item, reader))
    }
}

/// The GGML file of a folder from which others can be made without a further loss: f32, else bf16 or f16.
pub(crate) fn float_ggml(dir: &Path) -> Option<PathBuf> {
    let files = dir.read_dir().ok()?.flatten().map(|entry| entry.path());
    let mut found: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "bin") && is_ggml(path))
        .filter_map(|path| Some((type_of(&path).ok().filter(|ty| !ty.is_quantized())?.bytes, path)))
        .collect();
    found.sort();
    let widest = found.last()?.0;
    found.into_iter().find(|(bytes, _)| *bytes == widest).map(|(_, path)| path)
}

/// The profile of a checkpoint: its special tokens and decoding defaults.
pub(crate) fn profile(settings: &Settings<'_>, dims: &Dims, vocabulary: &Vocabulary) -> Result<Profile> {
    let path = settings.generation;
    let n_vocab = u32::try_from(dims.n_vocab).unwrap_or(u32::MAX);
    let languages = if dims.n_mels == 128 { 100 } else { 99 };
    let mut tokens = SpecialTokens::standard(n_vocab, languages);
    let named = vocabulary.special.as_ref().is_some_and(|s| s.contains_key("<|startoftranscript|>"));
    if let Some(special) = &vocabulary.special {
        tokens.take_named(special, n_vocab);
    }
    tokens.added_text = vocabulary.added.clone();
    let json = config::read_config_if_there(path)?;
    if let Some(json) = &json {
        generation::take_ids(path, json, named, &mut tokens)?;
    }
    let multilingual = json.as_ref().and_then(|json| json.get("is_multilingual")).and_then(Value::as_bool);
    if !multilingual.unwrap_or(dims.n_vocab != ENGLISH_ONLY) {
        tokens.forget_languages();
    }
    generation::check_ids(settings.tokenizer, &tokens, n_vocab)?;
    let generation = generation::generation(settings.config, json.as_ref(), &tokens, n_vocab);
    Ok(Profile { version: super::profile::VERSION, tokens, generation, source: None, probe: None })
}
