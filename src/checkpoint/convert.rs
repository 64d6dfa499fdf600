//! The conductor: a checkpoint in, GGML files of one or several types and their profiles out.

use std::ffi::OsStr;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;

use super::config;
use super::encode::{Encoder, Sink};
use super::error::{Error, Result};
use super::ggml::{self, stored_as};
use super::input::{default_out, folder_of};
use super::material::Material;
use super::profile::{Profile, Source};
use super::quantize::QuantType;
use super::verify::{GgmlInfo, is_ggml, verify};

/// What to convert, and to what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The checkpoint folder, a weight file, or a GGML file. In a folder without weights, a GGML file in which
    /// no precision was lost will do.
    pub checkpoint: PathBuf,
    /// The folder of the model that an adapter was trained on, for an adapter that does not name it.
    pub base: Option<PathBuf>,
    /// The type of the matrices; [`convert_all`] is given several instead.
    pub quantize: QuantType,
    /// The file to write, or an existing folder for it. Where none is given: `ggml-<type>.bin` in the
    /// checkpoint folder, or beside the GGML file under its name with another type.
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

/// Converts a checkpoint. The file appears under its name only when it is complete and was read back.
///
/// # Errors
/// Every [`Error`]; none leaves a file behind.
pub fn convert(options: &Options) -> Result<Converted> {
    let made = convert_all(options, &[options.quantize])?.pop();
    made.ok_or_else(|| Error::Internal { path: options.checkpoint.clone(), fact: "nothing was made" })
}

/// Converts a checkpoint to several types in one pass over its weights. The files appear under their names
/// only when all of them are complete and were read back.
///
/// # Errors
/// Every [`Error`]; none leaves a file behind, but where the last renaming of several fails.
pub fn convert_all(options: &Options, types: &[QuantType]) -> Result<Vec<Converted>> {
    let mut wanted = Vec::new();
    for ty in types {
        if !wanted.contains(ty) {
            wanted.push(*ty);
        }
    }
    let outs = wanted.iter().map(|ty| Ok((*ty, target(options, *ty, wanted.len() == 1)?)));
    let outs = outs.collect::<Result<Vec<_>>>()?;
    for (_, out) in &outs {
        check_output(out, &Profile::path_for(out))?;
    }
    let mut material = Material::open(&options.checkpoint, options.base.as_deref())?;
    for (ty, out) in &outs {
        material.check_rows(*ty)?;
        if is_same_file(out, &material.path) {
            return Err(Error::OutputIsInput { path: out.clone() });
        }
        warn_of_loss(&material, *ty);
    }

    let mut files = outs.iter().map(|(_, out)| temporary_beside(out)).collect::<Result<Vec<_>>>()?;
    write(&mut material, &outs, &mut files)?;
    let mut made = Vec::new();
    for ((ty, out), file) in outs.into_iter().zip(files) {
        let info = verify(file.path())?;
        let mut profile = material.profile.clone();
        profile.source = Some(Source {
            weights: material.name.clone(),
            dtype: material.type_name().into(),
            quantization: ty.name().into(),
            files: material.files.clone(),
            base: material.base.clone(),
        });
        let profile_path = Profile::path_for(&out);
        profile.keep_probe_of(&profile_path);
        let mut profile_file = temporary_beside(&profile_path)?;
        profile.write(&profile_path, &mut profile_file)?;
        made.push((Converted { ggml: out, info, profile }, file, profile_file));
    }
    made.into_iter()
        .map(|(converted, file, profile)| {
            let (out, profile_path) = (&converted.ggml, Profile::path_for(&converted.ggml));
            file.persist(out).map_err(|e| Error::write(out)(e.error))?;
            profile.persist(&profile_path).map_err(|e| Error::write(&profile_path)(e.error))?;
            Ok(converted)
        })
        .collect()
}

/// Where the file of a type goes.
fn target(options: &Options, ty: QuantType, alone: bool) -> Result<PathBuf> {
    let checkpoint = options.checkpoint.as_path();
    let path = if is_ggml(checkpoint) {
        folder_of(checkpoint).join(renamed(checkpoint, ty))
    } else {
        default_out(checkpoint, ty)
    };
    match &options.out {
        None => Ok(path),
        Some(out) if out.is_dir() => Ok(out.join(path.file_name().unwrap_or_default())),
        Some(out) if alone => Ok(out.clone()),
        Some(out) => Err(Error::OutputNotFolder { path: out.clone() }),
    }
}

/// `ggml-small-f16.bin` → `ggml-small-q5_0.bin`; `kab.bin` → `kab-q5_0.bin`.
fn renamed(ggml: &Path, ty: QuantType) -> String {
    let stem = ggml.file_stem().unwrap_or(OsStr::new("ggml")).to_string_lossy();
    let base = QuantType::ALL.iter().find_map(|ty| stem.strip_suffix(ty.name())?.strip_suffix('-'));
    format!("{}-{ty}.bin", base.unwrap_or(&stem))
}

/// Refuses to replace what a conversion did not make: `--out` may be mistyped.
fn check_output(out: &Path, profile: &Path) -> Result<()> {
    if out.exists() && !is_ggml(out) {
        return Err(Error::OutputTaken { path: out.to_path_buf(), what: "a GGML file" });
    }
    let ours = profile != out && (!profile.exists() || looks_like_profile(profile));
    if ours { Ok(()) } else { Err(Error::OutputTaken { path: profile.to_path_buf(), what: "a profile" }) }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// A profile of any version: all have these two fields.
fn looks_like_profile(path: &Path) -> bool {
    config::read_config(path).is_ok_and(|json| json.contains_key("version") && json.contains_key("tokens"))
}

/// Quantizing what was quantized is done, for often nothing else is left of a model; but it is said.
fn warn_of_loss(material: &Material, ty: QuantType) {
    let Some(from) = material.ggml.filter(|from| from.is_quantized() && from.name != ty.name()) else {
        return;
    };
    let name = material.path.display();
    if ty.bits() < from.bits() {
        tracing::warn!(
            "{name} is {} already, and {ty} loses from that once more; a conversion of the checkpoint itself, \
             or of an f16 file, is better",
            from.name
        );
    } else {
        tracing::warn!("{name} is {} already; as {ty} it gets larger, not better", from.name);
    }
}

/// A file in the same folder, so that the rename at the end stays on one file system.
pub(super) fn temporary_beside(path: &Path) -> Result<NamedTempFile> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".imesli-").suffix(".tmp");
    // Temporary files are for their owner alone; a model is an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(dir).map_err(Error::write(path))
}

/// Writes all files, reading each tensor once.
fn write(material: &mut Material, outs: &[(QuantType, PathBuf)], files: &mut [NamedTempFile]) -> Result<()> {
    let mut sinks: Vec<_> = outs
        .iter()
        .zip(files)
        .map(|((ty, path), file)| {
            let out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
            Sink { ty: *ty, path: path.as_path(), out }
        })
        .collect();
    for sink in &mut sinks {
        ggml::write_header(
            &mut sink.out,
            &material.dims,
            sink.ty.storage(),
            &material.filters,
            &material.tokens,
        )
        .map_err(Error::write(sink.path))?;
    }
    let progress = progress(material.tensors.iter().map(|t| t.len() as u64).sum(), outs);
    let mut encoder = Encoder::new();
    for index in 0..material.tensors.len() {
        let from = material.path_of(index).to_path_buf();
        let (item, bytes) = material.bytes(index)?;
        let expected = &item.expected;
        for sink in &mut sinks {
            let storage = stored_as(expected.kind, sink.ty.storage());
            ggml::write_tensor_header(&mut sink.out, &expected.ggml, &expected.ggml_dims(), storage)
                .map_err(Error::write(sink.path))?;
        }
        encoder.run(item, &from, bytes, &mut sinks, |n| progress.inc(n as u64))?;
    }
    for sink in &mut sinks {
        sink.out.flush().map_err(Error::write(sink.path))?;
    }
    progress.finish_and_clear();
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
fn progress(total: u64, outs: &[(QuantType, PathBuf)]) -> ProgressBar {
    let types: Vec<_> = outs.iter().map(|(ty, _)| ty.name()).collect();
    let bar = ProgressBar::new(total).with_message(format!("converting to {}", types.join(", ")));
    match ProgressStyle::with_template("{msg} [{bar:40}] {percent} % · {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
