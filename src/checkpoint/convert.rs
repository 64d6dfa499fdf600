//! The conductor: a checkpoint folder in, a GGML file and its profile out.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::config::{self, Dims};
use super::encode::Encoder;
use super::error::{Error, Result};
use super::plan::{Plan, plan};
use super::profile::{Profile, Source, SpecialTokens, source_files};
use super::quantize::QuantType;
use super::read::{self, Weights};
use super::tokenizer::{ENGLISH_ONLY, Vocabulary};
use super::verify::{GgmlInfo, is_ggml, verify};
use super::{generation, ggml};

/// What to convert, and to what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The checkpoint folder.
    pub checkpoint: PathBuf,
    /// The type of the matrices.
    pub quantize: QuantType,
    /// The file to write; `ggml-<type>.bin` in the checkpoint folder where none is given.
    pub out: Option<PathBuf>,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The GGML file.
    pub ggml: PathBuf,
    /// What was read back from it.
    pub info: GgmlInfo,
    /// Its profile, also written beside it.
    pub profile: Profile,
}

/// The name of the file that a conversion to this type writes.
pub fn file_name(ty: QuantType) -> String {
    format!("ggml-{ty}.bin")
}

/// Converts a checkpoint. The file appears under its name only when it is complete and was read back.
///
/// # Errors
/// Every [`Error`]; none leaves a file behind.
pub fn convert(options: &Options) -> Result<Converted> {
    let (dir, ty) = (options.checkpoint.as_path(), options.quantize);
    let out = options.out.clone().unwrap_or_else(|| dir.join(file_name(ty)));
    let profile_path = Profile::path_for(&out);
    check_output(&out, &profile_path)?;

    dir.read_dir().map_err(Error::read(dir))?;
    let path = read::find(dir).ok_or_else(|| Error::NoWeights { dir: dir.to_path_buf() })?;
    // Taken before the weights are read: a change in between makes the result look old, not new.
    let files = source_files(&path)?;
    let config_path = dir.join("config.json");
    let config = config::read_config(&config_path)?;
    let dims = config::dims(&config_path, &config)?;
    let tied = config.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(true);
    let mut weights = Weights::open(&path)?;
    let plan = plan(&mut weights, dims, tied, ty)?;

    let vocabulary = Vocabulary::read(dir, dims.n_vocab)?;
    if vocabulary.text.len() > dims.n_vocab {
        let fact = format!("{} tokens for {} rows of the embedding", vocabulary.text.len(), dims.n_vocab);
        return Err(Error::Vocabulary { path: dir.to_path_buf(), fact });
    }
    let mut profile = profile(dir, &config, &plan.dims, &vocabulary)?;
    let dtype = plan.tensors.iter().max_by_key(|t| t.len()).map_or("", |t| t.dtype.name());
    profile.source = Some(Source {
        weights: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        dtype: dtype.into(),
        quantization: ty.name().into(),
        files,
    });

    let mut file = temporary_beside(&out)?;
    write(&plan, &vocabulary, ty, &mut weights, &out, &mut file)?;
    let info = verify(file.path())?;
    let mut profile_file = temporary_beside(&profile_path)?;
    profile.write(&profile_path, &mut profile_file)?;
    file.persist(&out).map_err(|e| Error::write(&out)(e.error))?;
    profile_file.persist(&profile_path).map_err(|e| Error::write(&profile_path)(e.error))?;
    Ok(Converted { ggml: out, info, profile })
}

/// Refuses to replace what a conversion did not make: `--out` may be mistyped.
fn check_output(out: &Path, profile: &Path) -> Result<()> {
    if out.exists() && !is_ggml(out) {
        return Err(Error::OutputTaken { path: out.to_path_buf(), what: "a GGML file" });
    }
    let ours = profile != out && (!profile.exists() || looks_like_profile(profile));
    if ours { Ok(()) } else { Err(Error::OutputTaken { path: profile.to_path_buf(), what: "a profile" }) }
}

/// A profile of any version: all have these two fields.
fn looks_like_profile(path: &Path) -> bool {
    config::read_config(path).is_ok_and(|json| json.contains_key("version") && json.contains_key("tokens"))
}

fn profile(dir: &Path, config: &Map<String, Value>, dims: &Dims, vocabulary: &Vocabulary) -> Result<Profile> {
    let n_vocab = u32::try_from(dims.n_vocab).unwrap_or(u32::MAX);
    let languages = if dims.n_mels == 128 { 100 } else { 99 };
    let mut tokens = SpecialTokens::standard(n_vocab, languages);
    let named = vocabulary.special.as_ref().is_some_and(|s| s.contains_key("<|startoftranscript|>"));
    if let Some(special) = &vocabulary.special {
        tokens.take_named(special, n_vocab);
    }
    let path = dir.join("generation_config.json");
    let json = config::read_config_if_there(&path)?;
    if let Some(json) = &json {
        generation::take_ids(&path, json, named, &mut tokens)?;
    }
    let multilingual = json.as_ref().and_then(|json| json.get("is_multilingual")).and_then(Value::as_bool);
    if !multilingual.unwrap_or(dims.n_vocab != ENGLISH_ONLY) {
        tokens.forget_languages();
    }
    generation::check_ids(dir, &tokens, n_vocab)?;
    let generation = generation::generation(config, json.as_ref(), &tokens, n_vocab);
    Ok(Profile { version: super::profile::VERSION, tokens, generation, source: None })
}

/// A file in the same folder, so that the rename at the end stays on one file system.
fn temporary_beside(path: &Path) -> Result<NamedTempFile> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".imesli-").suffix(".tmp");
    // Temporary files are for their owner alone; a model is an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(dir).map_err(Error::write(path))
}

fn write(
    plan: &Plan,
    vocabulary: &Vocabulary,
    ty: QuantType,
    weights: &mut Weights,
    out: &Path,
    file: &mut NamedTempFile,
) -> Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    ggml::write_header(&mut writer, &plan.dims, ty.storage(), vocabulary).map_err(Error::write(out))?;
    let progress = progress(plan.tensors.iter().map(|t| t.len() as u64).sum(), ty);
    let from = weights.path.clone();
    let mut encoder = Encoder::new(ty);
    for tensor in &plan.tensors {
        let expected = &tensor.expected;
        let storage = ggml::stored_as(expected.kind, ty.storage());
        ggml::write_tensor_header(&mut writer, &expected.ggml, &expected.ggml_dims(), storage)
            .map_err(Error::write(out))?;
        let input = weights.bytes(&tensor.source)?;
        encoder.run(tensor, &from, input, out, &mut writer, |n| progress.inc(n as u64))?;
    }
    writer.flush().map_err(Error::write(out))?;
    progress.finish_and_clear();
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
fn progress(total: u64, ty: QuantType) -> ProgressBar {
    let bar = ProgressBar::new(total).with_message(format!("converting to {ty}"));
    match ProgressStyle::with_template("{msg} [{bar:40}] {percent} % · {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
