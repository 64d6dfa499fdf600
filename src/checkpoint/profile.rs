//! The profile: what a GGML file can't say about its model, in a small JSON file beside it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::convert::temporary_beside;
use super::error::{Error, Result};
use super::languages::LANGUAGES;
use super::tokenizer::{END_OF_TEXT, FIRST_MULTILINGUAL, LAST_STANDARD};
use super::verify::GgmlInfo;

/// The profile's format.
pub const VERSION: u32 = 1;
const MAX_PROFILE_BYTES: u64 = 16 << 20;
/// Languages of a 51865-token vocabulary.
const N_LANGUAGES: u32 = 99;

/// What the server needs to know of a model beyond its GGML file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// The special tokens.
    pub tokens: SpecialTokens,
    /// How the checkpoint wants to be decoded.
    pub generation: Generation,
    /// What the GGML file was made from; none for a file that came as GGML.
    #[serde(default)]
    pub source: Option<Source>,
    /// What was seen when the GGML file was tried on speech; none where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// What a model was seen to do with speech (`convert --probe`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Files that were tried.
    pub files: usize,
    /// Seconds of audio in them.
    pub seconds: f64,
    /// Whether it writes timestamps that are of use; where not, requests for them are answered without.
    pub timestamps: bool,
    /// The share of files whose timestamps were well formed.
    pub timestamps_well_formed: f64,
    /// The code of the language that it prefers, which is used where none is named; none where it is
    /// undecided, or an English-only model.
    pub language: Option<String>,
    /// The likeliest languages by its own judgement, the first of them first.
    pub languages: Vec<LanguageSeen>,
    /// How much less than the encoder's 30 s is enough for shorter audio; none where nothing less is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_context: Option<AudioContext>,
}

/// How much less than the encoder's 30 s is enough for shorter audio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AudioContext {
    /// Seconds of silence that it needs behind the audio.
    pub margin_seconds: f32,
    /// The mean log-probability below which a text is doubted and the audio is heard again with all 30 s.
    pub min_log_prob: f32,
}

/// How likely a model finds a language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanguageSeen {
    /// Its code.
    pub code: String,
    /// The mean of its probability over all files.
    pub probability: f64,
}

/// Ids of the special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTokens {
    /// `<|endoftext|>`; every id below it is text.
    pub eot: u32,
    /// `<|startoftranscript|>`.
    pub sot: u32,
    /// `<|translate|>`.
    pub translate: Option<u32>,
    /// `<|transcribe|>`.
    pub transcribe: Option<u32>,
    /// `<|startofprev|>`: what follows is a prompt.
    pub start_of_prev: Option<u32>,
    /// `<|nospeech|>`, in older vocabularies `<|nocaptions|>`.
    pub no_speech: Option<u32>,
    /// `<|notimestamps|>`.
    pub no_timestamps: Option<u32>,
    /// `<|0.00|>`; the timestamps of 0.02 s steps follow it.
    pub timestamp_begin: Option<u32>,
    /// Language tokens by code, `kab` and other added ones included. None in an English-only model: its
    /// prompt has neither language nor task.
    pub languages: BTreeMap<String, u32>,
    /// Tokens behind the special ones that are text, as a fine-tune adds them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub added_text: BTreeMap<u32, String>,
}

/// Decoding defaults of the checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Generation {
    /// Code of the language that it was tuned for; `None`: detect.
    pub language: Option<String>,
    /// `transcribe` or `translate`.
    pub task: Option<String>,
    /// Tokens that never come.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that do not come first.
    pub begin_suppress_tokens: Vec<u32>,
    /// Layer and head of each cross-attention head that follows the audio.
    pub alignment_heads: Vec<[u32; 2]>,
    /// Most tokens of one window, the prompt included.
    pub max_length: Option<u32>,
    /// Whether timestamps are asked for by default.
    pub return_timestamps: Option<bool>,
    /// The latest first timestamp, in steps of 20 ms.
    pub max_initial_timestamp_index: Option<u32>,
    /// What the checkpoint's maker has measured, as `imesli_audio_context`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_context: Option<AudioContext>,
}

/// What a GGML file was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The weight file's name.
    pub weights: String,
    /// Its element type.
    pub dtype: String,
    /// The type of the GGML file.
    pub quantization: String,
    /// Every file that the result depends on, the weights first.
    pub files: Vec<SourceFile>,
    /// The folder of the model that an adapter was merged into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
}

/// A file as it was when it was converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name in the checkpoint folder, or its path where it is elsewhere.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, in ms since 1970.
    pub modified_ms: u64,
}

/// What the files of a checkpoint look like now.
pub(crate) fn source_files(checkpoint: &Path, files: &[PathBuf]) -> Result<Vec<SourceFile>> {
    let dir = if checkpoint.is_dir() { checkpoint } else { checkpoint.parent().unwrap_or(checkpoint) };
    files.iter().map(|path| source_file(dir, path)).collect()
}

fn source_file(dir: &Path, path: &Path) -> Result<SourceFile> {
    let metadata = path.metadata().map_err(Error::read(path))?;
    let modified = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.and_then(|t| u64::try_from(t.as_millis()).ok()).unwrap_or(0);
    let here = path.strip_prefix(dir).map(Path::to_path_buf);
    let elsewhere = || path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = here.unwrap_or_else(|_| elsewhere()).to_string_lossy().into_owned();
    Ok(SourceFile { name, size: metadata.len(), modified_ms })
}

impl Profile {
    /// The profile of a GGML file that came without one and whose vocabulary has this many tokens:
    /// Whisper's own layout. Added tokens come after it, so that larger vocabularies keep it.
    pub fn standard(n_vocab: u32) -> Self {
        let languages = if n_vocab == LAST_STANDARD as u32 { N_LANGUAGES + 1 } else { N_LANGUAGES };
        Self::new(SpecialTokens::standard(n_vocab, languages))
    }

    /// The profile of a GGML file that came without one, by what the file says itself.
    pub fn for_ggml(info: &GgmlInfo) -> Self {
        let n_vocab = u32::try_from(info.dims.n_vocab).unwrap_or(u32::MAX);
        // The 128-bin generation of Whisper has one more language, Cantonese.
        let languages = N_LANGUAGES + u32::from(info.dims.n_mels == 128);
        let mut tokens = SpecialTokens::standard(n_vocab, languages);
        tokens.take_named(&info.special, n_vocab);
        Self::new(tokens)
    }

    fn new(tokens: SpecialTokens) -> Self {
        Self { version: VERSION, tokens, generation: Generation::default(), source: None, probe: None }
    }

    /// Where the profile of a GGML file lies: `ggml-q8_0.bin` → `ggml-q8_0.json`.
    pub fn path_for(ggml: &Path) -> PathBuf {
        ggml.with_extension("json")
    }

    /// Reads a profile; `None` where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let wrong = |fact: String| Error::Profile { path: path.to_path_buf(), fact };
        let file = match File::open(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::read(path))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_PROFILE_BYTES).read_to_end(&mut bytes).map_err(Error::read(path))?;
        let profile: Self = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if profile.version != VERSION {
            return Err(wrong(format!("its version is {}, this program's is {VERSION}", profile.version)));
        }
        Ok(Some(profile))
    }

    /// Takes what was seen of an earlier conversion of the same files to the same type.
    pub(crate) fn keep_probe_of(&mut self, earlier: &Path) {
        if let Ok(Some(earlier)) = Self::read(earlier)
            && earlier.source == self.source
        {
            self.probe = earlier.probe;
        }
    }

    /// Replaces the profile of a GGML file.
    ///
    /// # Errors
    /// [`Error::Write`]; the old profile then stays.
    pub fn save_for(&self, ggml: &Path) -> Result<()> {
        let path = Self::path_for(ggml);
        let mut file = temporary_beside(&path)?;
        self.write(&path, &mut file)?;
        file.persist(&path).map_err(|e| Error::write(&path)(e.error))?;
        Ok(())
    }

    /// Writes the profile as readable JSON.
    pub(crate) fn write(&self, path: &Path, mut out: impl Write) -> Result<()> {
        serde_json::to_writer_pretty(&mut out, self).map_err(|e| Error::write(path)(e.into()))?;
        out.write_all(b"\n").and_then(|()| out.flush()).map_err(Error::write(path))
    }
}

impl SpecialTokens {
    /// Whisper's own layout, ids beyond the vocabulary left out.
    pub(crate) fn standard(n_vocab: u32, n_languages: u32) -> Self {
        let multilingual = n_vocab >= FIRST_MULTILINGUAL as u32;
        let (eot, n_languages) = if multilingual { (50257, n_languages) } else { (50256, N_LANGUAGES) };
        let first = eot + 2;
        let after = first + n_languages;
        let known = |id: u32| Some(id).filter(|id| *id < n_vocab);
        let codes = LANGUAGES.iter().map(|(code, _)| (*code).to_string());
        let languages = codes.zip(first..after).filter(|(_, id)| *id < n_vocab);
        let mut tokens = Self {
            eot,
            sot: eot + 1,
            translate: known(after),
            transcribe: known(after + 1),
            start_of_prev: known(after + 3),
            no_speech: known(after + 4),
            no_timestamps: known(after + 5),
            timestamp_begin: known(after + 6),
            languages: languages.collect(),
            added_text: BTreeMap::new(),
        };
        if !multilingual {
            tokens.forget_languages();
        }
        tokens
    }

    /// English-only models have the tokens of languages and tasks, but were never trained on them.
    pub(crate) fn forget_languages(&mut self) {
        self.languages.clear();
        (self.translate, self.transcribe) = (None, None);
    }

    /// Takes the ids of the special tokens that are in `named`. Where the start token is, the whole
    /// layout is: what is not named does not exist. Elsewhere only languages are added.
    pub(crate) fn take_named(&mut self, named: &BTreeMap<String, u32>, n_vocab: u32) {
        let id = |name: &str| named.get(name).copied().filter(|id| *id < n_vocab);
        let languages = named
            .iter()
            .filter(|(_, id)| **id < n_vocab)
            .filter_map(|(name, id)| Some((language_of(name)?.to_string(), *id)));
        let Some(sot) = id("<|startoftranscript|>") else {
            // Added to Whisper's own.
            return self.languages.extend(languages);
        };
        let no_timestamps = id("<|notimestamps|>");
        *self = Self {
            eot: id(END_OF_TEXT).unwrap_or(sot.saturating_sub(1)),
            sot,
            translate: id("<|translate|>"),
            transcribe: id("<|transcribe|>"),
            start_of_prev: id("<|startofprev|>"),
            no_speech: id("<|nospeech|>").or_else(|| id("<|nocaptions|>")),
            no_timestamps,
            // Tokenizers often leave the timestamps out; they follow this token.
            timestamp_begin: id("<|0.00|>").or(no_timestamps.map(|id| id + 1)).filter(|id| *id < n_vocab),
            languages: languages.collect(),
            added_text: BTreeMap::new(),
        };
    }
}

/// The code in a language token's name: two to four small letters, with a script or region behind.
pub(crate) fn language_of(name: &str) -> Option<&str> {
    let code = name.strip_prefix("<|")?.strip_suffix("|>")?;
    let (main, rest) = code.split_once(['-', '_']).unwrap_or((code, ""));
    let plain = (2..=3).contains(&main.len()) && main.bytes().all(|b| b.is_ascii_lowercase());
    (plain && rest.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(code)
}
