//! From what the user named to a GGML file that can be loaded, converting where needed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::Crc;

use super::convert::{Options, convert};
use super::error::{Error, Result};
use super::generation::check_ids;
use super::hub::{self, Local};
use super::input::{self, Located};
use super::material::float_ggml;
use super::profile::{Profile, source_files};
use super::quantize::QuantType;
use super::verify::{GgmlInfo, is_ggml, type_of, verify};

/// The type that is made where none is asked for.
pub const DEFAULT_TYPE: QuantType = QuantType::Q8_0;

/// A GGML file that was checked, and its profile.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The file to load.
    pub ggml: PathBuf,
    /// What it says about itself.
    pub info: GgmlInfo,
    /// Its profile.
    pub profile: Profile,
}

/// Finds the GGML file for `--checkpoint`, and makes it where it has to be made.
///
/// A checkpoint of a hub is fetched first, and is then a folder like any other.
///
/// A file is taken as it is. In a folder, a GGML file goes first: of the type asked for; where none is
/// asked for, of [`DEFAULT_TYPE`], else the newest. It is made again when the files it was made from
/// have changed since (its profile knows them). Without one, the weights are converted, into the folder
/// or, where that can't be written, into the user's cache folder. Where there are no weights, a GGML file
/// of floats stands in for them.
///
/// # Errors
/// Every [`Error`].
pub fn resolve(path: &Path, quantize: Option<QuantType>) -> Result<Resolved> {
    let Local { path, base } = hub::local(path)?;
    resolve_with(&path, base, quantize, cache_root().as_deref())
}

/// [`resolve`] with another folder in place of the user's cache folder.
///
/// # Errors
/// Every [`Error`].
pub fn resolve_with_cache(
    path: &Path,
    quantize: Option<QuantType>,
    cache: Option<&Path>,
) -> Result<Resolved> {
    resolve_with(path, None, quantize, cache)
}

fn resolve_with(
    path: &Path,
    base: Option<PathBuf>,
    quantize: Option<QuantType>,
    cache: Option<&Path>,
) -> Result<Resolved> {
    if !path.is_file() {
        path.read_dir().map_err(Error::read(path))?;
    } else if is_ggml(path) || !input::is_weights(path) {
        return load(path);
    }
    let weights = input::find(path);
    let cache = cache.and_then(|root| cache_for(path, root));
    let cache = cache.as_deref();
    let candidates = candidates(path, cache);
    if let Some(found) = choose(&candidates, quantize) {
        if weights.is_none() {
            return load(&found.path);
        }
        let (state, made_with) = state_of(&found.path, path)?;
        match state {
            State::Current => match load(&found.path) {
                Err(Error::Ggml { fact, .. }) if Profile::path_for(&found.path).exists() => {
                    tracing::warn!("{}: {fact}; converting again", found.path.display());
                }
                result => return result,
            },
            State::Old => tracing::info!("{}: the checkpoint has changed since", found.path.display()),
        }
        let ty = QuantType::ALL.into_iter().find(|ty| ty.name() == found.type_name);
        return make(path, base.or(made_with), ty.unwrap_or(DEFAULT_TYPE), Some(found.path.clone()), cache);
    }
    if weights.is_some() {
        return make(path, base, quantize.unwrap_or(DEFAULT_TYPE), None, cache);
    }
    match quantize {
        Some(wanted) if float_ggml(path).is_some() => make(path, None, wanted, None, cache),
        Some(wanted) if !candidates.is_empty() => {
            let names = candidates.iter().map(|c| format!("{} ({})", c.path.display(), c.type_name));
            let found = names.collect::<Vec<_>>().join(", ");
            Err(Error::NoSuchType { dir: path.to_path_buf(), wanted: wanted.name(), found })
        }
        _ => Err(input::explain(path)),
    }
}

/// Checks a GGML file and reads its profile, or makes one up from what the file says.
fn load(path: &Path) -> Result<Resolved> {
    let info = verify(path)?;
    let profile = Profile::read(&Profile::path_for(path))?.unwrap_or_else(|| Profile::for_ggml(&info));
    // The profile may have been edited, or the file may be too small a model for Whisper's own tokens.
    check_ids(path, &profile.tokens, u32::try_from(info.dims.n_vocab).unwrap_or(u32::MAX))?;
    Ok(Resolved { ggml: path.to_path_buf(), info, profile })
}

#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    type_name: &'static str,
    modified: SystemTime,
}

/// The GGML files of a folder, and those in the cache that were made from it.
fn candidates(checkpoint: &Path, cache: Option<&Path>) -> Vec<Candidate> {
    let mut found = Vec::new();
    let is_file = checkpoint.is_file();
    let dir = if is_file { input::folder_of(checkpoint) } else { checkpoint };
    for folder in std::iter::once(dir).chain(cache) {
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension() != Some(OsStr::new("bin")) || !is_ggml(&path) {
                continue;
            }
            match type_of(&path) {
                // Beside a weight file there may be those of other models.
                Ok(storage) if is_file && !is_ours(checkpoint, &path, storage.name) => {}
                Ok(storage) => {
                    let modified =
                        entry.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                    found.push(Candidate { path, type_name: storage.name, modified });
                }
                Err(e) => tracing::warn!("passed over: {e}"),
            }
        }
    }
    // The name that we write goes before another of the same type, then the newest.
    found.sort_by_key(|c| (!is_ours(checkpoint, &c.path, c.type_name), std::cmp::Reverse(c.modified)));
    found
}

/// Whether a file has the name that a conversion of this checkpoint would give it.
fn is_ours(checkpoint: &Path, path: &Path, type_name: &str) -> bool {
    let ty = QuantType::ALL.into_iter().find(|ty| ty.name() == type_name);
    ty.is_some_and(|ty| input::default_out(checkpoint, ty).file_name() == path.file_name())
}

fn choose(candidates: &[Candidate], quantize: Option<QuantType>) -> Option<&Candidate> {
    let wanted = quantize.unwrap_or(DEFAULT_TYPE).name();
    let exact = candidates.iter().find(|c| c.type_name == wanted);
    match quantize {
        Some(_) => exact,
        None => exact.or_else(|| candidates.iter().max_by_key(|c| c.modified)),
    }
}

enum State {
    /// Made from the weights as they are, or not by us.
    Current,
    /// The weights or what is beside them have changed.
    Old,
}

/// Whether a GGML file is as new as the checkpoint beside it, and the base that it was made with.
fn state_of(ggml: &Path, checkpoint: &Path) -> Result<(State, Option<PathBuf>)> {
    let source = match Profile::read(&Profile::path_for(ggml)) {
        Ok(profile) => profile.and_then(|p| p.source),
        Err(Error::Profile { .. }) => return Ok((State::Old, None)),
        Err(other) => return Err(other),
    };
    let Some(source) = source else { return Ok((State::Current, None)) };
    if source.files.is_empty() {
        // One that was made from another GGML file may not know where that came from.
        return Ok((State::Current, source.base));
    }
    let now = Located::new(checkpoint, source.base.as_deref())
        .and_then(|located| source_files(checkpoint, &located.files()?));
    match now {
        Ok(now) if now != source.files => Ok((State::Old, source.base)),
        Ok(_) => Ok((State::Current, source.base)),
        // The base need not stay where it was.
        Err(error) if source.base.is_some() => {
            tracing::warn!("{error}; {} is taken as it is", ggml.display());
            Ok((State::Current, source.base))
        }
        Err(error) => Err(error),
    }
}

/// Converts, in place or to where the folder's cache is.
fn make(
    checkpoint: &Path,
    base: Option<PathBuf>,
    quantize: QuantType,
    out: Option<PathBuf>,
    cache: Option<&Path>,
) -> Result<Resolved> {
    let out = out.unwrap_or_else(|| input::default_out(checkpoint, quantize));
    let out = match out.parent() {
        Some(_) if !is_writable(input::folder_of(&out)) => {
            let parent = input::folder_of(&out);
            let cache = cache.ok_or_else(|| Error::Write {
                path: out.clone(),
                source: std::io::Error::other("the folder can't be written, and there is no cache folder"),
            })?;
            std::fs::create_dir_all(cache).map_err(Error::write(cache))?;
            tracing::info!("{} can't be written; using {}", parent.display(), cache.display());
            cache.join(out.file_name().unwrap_or_default())
        }
        _ => out,
    };
    tracing::info!("converting {} to {}", checkpoint.display(), out.display());
    let made = convert(&Options { checkpoint: checkpoint.to_path_buf(), base, quantize, out: Some(out) })?;
    Ok(Resolved { ggml: made.ggml, info: made.info, profile: made.profile })
}

/// Whether files can be made in a folder: permission bits do not tell.
fn is_writable(dir: &Path) -> bool {
    tempfile::tempfile_in(dir).is_ok()
}

/// Where the conversions of a folder go that can't be written: a folder of its own, by its full path.
fn cache_for(dir: &Path, root: &Path) -> Option<PathBuf> {
    let full = dir.canonicalize().ok()?;
    let name = full.file_name().unwrap_or(OsStr::new("checkpoint")).to_string_lossy().into_owned();
    let mut crc = Crc::new();
    crc.update(full.as_os_str().as_encoded_bytes());
    Some(root.join("imesli").join(format!("{name}-{:08x}", crc.sum())))
}

fn cache_root() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || folder("HOME");
    if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")))
    }
}
