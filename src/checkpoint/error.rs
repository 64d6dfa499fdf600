//! What can be wrong with a checkpoint: one variant per failure.

use std::path::{Path, PathBuf};

/// Why a checkpoint can't be used. Every variant names the file and the fact.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{}: can't be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The result could not be written.
    #[error("{}: can't be written: {source}", path.display())]
    Write {
        /// The file to be written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder holds no weights that we read.
    #[error(
        "{}: no model.safetensors, pytorch_model.bin (or the index of either's shards), .pt or GGML file in this folder",
        dir.display()
    )]
    NoWeights {
        /// The checkpoint folder.
        dir: PathBuf,
    },
    /// The folder holds GGML files, but none of the type asked for and nothing to make one from.
    #[error("{}: no GGML file of type {wanted} and no weights to make one from; found: {found}", dir.display())]
    NoSuchType {
        /// The checkpoint folder.
        dir: PathBuf,
        /// The type asked for.
        wanted: &'static str,
        /// The GGML files that are there.
        found: String,
    },
    /// A file is larger than any sensible file of its kind.
    #[error("{}: {size} bytes; at most {limit} are read of a file of this kind", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A JSON file is not what it should be.
    #[error("{}: {fact}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser found.
        fact: String,
    },
    /// A field of `config.json` is missing or out of range.
    #[error("{}: `{field}`: {fact}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        fact: String,
    },
    /// A Whisper variant that whisper.cpp does not compute.
    #[error("{}: {fact}; whisper.cpp does not support that", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not supported.
        fact: String,
    },
    /// A safetensors file whose header is wrong.
    #[error("{}: not a valid safetensors file: {fact}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fact: String,
    },
    /// More than one thing in a folder that could be meant, or none that is complete.
    #[error("{}: {fact}", path.display())]
    Choose {
        /// The folder.
        path: PathBuf,
        /// What is there, and what to do.
        fact: String,
    },
    /// An index of shards that does not fit them.
    #[error("{}: {fact}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        fact: String,
    },
    /// A PEFT adapter that can't be merged.
    #[error("{}: {fact}", path.display())]
    Adapter {
        /// The adapter's configuration or weights.
        path: PathBuf,
        /// What is wrong or not supported.
        fact: String,
    },
    /// A file that is not as `torch.save` writes it.
    #[error("{}: not a valid PyTorch file: {fact}", path.display())]
    Torch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fact: String,
    },
    /// A pickle that is broken, or uses what a state dict never needs.
    #[error("{}: bad pickle: {fact}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fact: String,
    },
    /// A pickle that names a Python function or class outside the few that weights need.
    #[error("{}: the pickle refers to `{name}`, which weights never need; refused, nothing of it was run", path.display())]
    PickleGlobal {
        /// The file.
        path: PathBuf,
        /// The function's or class's full name.
        name: String,
    },
    /// A tensor whose elements lie far apart.
    #[error("{}: the elements of tensor `{tensor}` lie far apart; save it with `.contiguous()`", path.display())]
    NotContiguous {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor that reaches beyond its data.
    #[error("{}: tensor `{tensor}` reaches beyond its data", path.display())]
    OutOfBounds {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor of a type that is not read.
    #[error("{}: tensor `{tensor}` is of type {dtype}; f64, f32, f16 and bf16 are read", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: String,
    },
    /// A tensor that a Whisper model of this configuration does not have.
    #[error("{}: unknown tensor `{tensor}`", path.display())]
    UnknownTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor that is not there.
    #[error("{}: tensor `{tensor}` is missing", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// The same tensor twice.
    #[error("{}: tensor `{tensor}` is there twice", path.display())]
    DuplicateTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor whose shape does not follow from the configuration.
    #[error("{}: tensor `{tensor}` has shape {found:?}, the configuration says {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// What it should be.
        expected: Vec<usize>,
    },
    /// A weight that is infinite or not a number: the training diverged, or the file is damaged.
    #[error("{}: tensor `{tensor}` holds a value that is not finite", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A weight that f16 can't hold.
    #[error("{}: tensor `{tensor}` holds {value}, which f16 can't; convert with --quantize f32", path.display())]
    HalfOverflow {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The value.
        value: f32,
    },
    /// Rows that the block type does not divide.
    #[error("{}: {ty} needs rows of a multiple of {block} values, the model's have {width}; use {instead}", path.display())]
    RowWidth {
        /// The weights.
        path: PathBuf,
        /// The type asked for.
        ty: &'static str,
        /// Its block size.
        block: usize,
        /// The row's length.
        width: usize,
        /// The type to use instead.
        instead: &'static str,
    },
    /// A vocabulary that can't be right.
    #[error("{}: {fact}", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fact: String,
    },
    /// A file that is in the way and is not ours to replace.
    #[error("{}: exists and is not {what}; not replaced", path.display())]
    OutputTaken {
        /// The file.
        path: PathBuf,
        /// What it would have to be.
        what: &'static str,
    },
    /// The result would replace what it is made from.
    #[error("{}: this is the file that is converted; give --out another name", path.display())]
    OutputIsInput {
        /// The file.
        path: PathBuf,
    },
    /// Several files, and one name for them.
    #[error("{}: for several types, --out must be a folder that exists", path.display())]
    OutputNotFolder {
        /// What was given.
        path: PathBuf,
    },
    /// A GGML file that whisper.cpp could not load, or would abort on.
    #[error("{}: not a usable GGML file: {fact}", path.display())]
    Ggml {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fact: String,
    },
    /// A profile that is there but can't be read.
    #[error("{}: not a usable profile: {fact}; delete it to have it made again", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fact: String,
    },
    /// A checkpoint that could not be fetched from a hub.
    #[error(transparent)]
    Hub(#[from] super::hub::Failure),
    /// A fault of the converter itself.
    #[error("{}: internal error: {fact}", path.display())]
    Internal {
        /// The file that was being handled.
        path: PathBuf,
        /// What failed.
        fact: &'static str,
    },
}

/// [`std::result::Result`] with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The program's exit code: 2 for a checkpoint that can't be used, 1 where the work itself failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Write { .. } | Self::Internal { .. } => 1,
            _ => 2,
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Read { path: path.to_path_buf(), source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Write { path: path.to_path_buf(), source }
    }
}
