//! `convert --inspect`: what a GGML file, a checkpoint folder or a weight file holds, and all that is wrong
//! with it. Works on damaged and hostile files, in bounded memory.

mod checkpoint;
mod ggml;
mod table;
mod values;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::config::Dims;
use super::error::{Error, Result};
use super::profile::Profile;
use super::quantize::QuantType;
use super::verify::is_ggml;

/// More notes on single tensors than these would be no help.
const MAX_FINDINGS: usize = 100;

/// What is known of a file or folder. Its JSON form is what `--json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was looked at.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// The size of the GGML or weight file.
    pub bytes: u64,
    /// The type of a GGML file's matrices, or that of most weights.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// The dimensions, as the file states them, possible or not.
    pub dims: Option<DimsReport>,
    /// The vocabulary.
    pub vocabulary: Option<VocabularyReport>,
    /// Special tokens, generation defaults and origin: the profile beside a GGML file, or the one that a
    /// conversion would write.
    pub profile: Option<Profile>,
    /// The tensors, in the file's order.
    pub tensors: Vec<TensorReport>,
    /// The GGML files of a folder.
    pub files: Vec<FileReport>,
    /// What makes it unusable.
    pub findings: Vec<String>,
    /// What is good to know.
    pub notes: Vec<String>,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A GGML file.
    Ggml,
    /// A checkpoint folder.
    Checkpoint,
    /// A weight file by itself.
    Weights,
}

/// The dimensions of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DimsReport {
    /// Rows of the token embedding.
    pub n_vocab: usize,
    /// Encoder positions.
    pub n_audio_ctx: usize,
    /// Width.
    pub n_state: usize,
    /// Heads of the encoder.
    pub n_audio_head: usize,
    /// Layers of the encoder.
    pub n_audio_layer: usize,
    /// Decoder positions.
    pub n_text_ctx: usize,
    /// Heads of the decoder.
    pub n_text_head: usize,
    /// Layers of the decoder.
    pub n_text_layer: usize,
    /// Mel bins.
    pub n_mels: usize,
}

impl From<Dims> for DimsReport {
    fn from(dims: Dims) -> Self {
        Self {
            n_vocab: dims.n_vocab,
            n_audio_ctx: dims.n_audio_ctx,
            n_state: dims.n_state,
            n_audio_head: dims.n_audio_head,
            n_audio_layer: dims.n_audio_layer,
            n_text_ctx: dims.n_text_ctx,
            n_text_head: dims.n_text_head,
            n_text_layer: dims.n_text_layer,
            n_mels: dims.n_mels,
        }
    }
}

/// A vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VocabularyReport {
    /// Tokens with bytes of their own.
    pub tokens: usize,
    /// Where they come from.
    pub source: String,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorReport {
    /// Its name in the file.
    pub name: String,
    /// Its shape as the file has it: GGML files begin with the dimension that varies fastest, others end
    /// with it.
    pub shape: Vec<usize>,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The length of its data, where the type is known.
    pub bytes: Option<u64>,
}

/// A GGML file in a checkpoint folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The type of its matrices.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// What makes it unusable. Where the folder has weights, it is made again.
    pub findings: Vec<String>,
}

impl Report {
    fn new(path: &Path, kind: Kind) -> Self {
        Self {
            path: path.to_path_buf(),
            kind,
            bytes: 0,
            type_name: None,
            dims: None,
            vocabulary: None,
            profile: None,
            tensors: Vec::new(),
            files: Vec::new(),
            findings: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether a model can be loaded or made from it.
    pub fn is_usable(&self) -> bool {
        self.findings.is_empty()
    }

    /// Prints it as readable text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        table::print(self, out)
    }

    fn find(&mut self, finding: impl ToString) {
        match self.findings.len() {
            n if n < MAX_FINDINGS => self.findings.push(finding.to_string()),
            MAX_FINDINGS => self.findings.push(format!("more than {MAX_FINDINGS} things are wrong")),
            _ => {}
        }
    }

    /// Takes a value, or notes why there is none. Facts need not name the file again.
    fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.find(error)).ok()
    }

    /// Which types the rows are too short for.
    fn note_types(&mut self, width: usize) {
        let (fitting, others): (Vec<_>, Vec<_>) =
            QuantType::ALL.into_iter().partition(|ty| width.is_multiple_of(ty.block()));
        if !others.is_empty() {
            let names = |types: &[QuantType]| types.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ");
            self.notes.push(format!(
                "rows of {width} weights can be stored as {}, not as {}",
                names(&fitting),
                names(&others)
            ));
        }
    }
}

/// Looks at a GGML file, a checkpoint folder or a weight file.
///
/// # Errors
/// [`Error::Read`] where nothing can be read at all; whatever else is wrong is in the report.
pub fn inspect(path: &Path) -> Result<Report> {
    let metadata = path.metadata().map_err(Error::read(path))?;
    if metadata.is_dir() {
        return checkpoint::inspect(path);
    }
    if !metadata.is_file() {
        return Err(Error::read(path)(io::Error::other("neither a file nor a folder")));
    }
    if is_ggml(path) { ggml::inspect(path) } else { checkpoint::inspect_weights(path, metadata.len()) }
}
