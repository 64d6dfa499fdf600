//! Checkpoints from a hub: `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION` in place of a folder.
//!
//! What is downloaded lies in the cache of Python's `huggingface_hub` and in its layout, so that neither
//! program fetches again what the other has: `models--OWNER--NAME/{refs,blobs,snapshots}`.
//!
//! - `reference`, `settings`: what is named, and how the environment wants it fetched.
//! - `selection`: which of a repository's files a conversion needs. Pure.
//! - `http`: requests, redirects, and who gets to see the token.
//! - `download`: one file, from where an earlier download of it stopped, with its checksum.
//! - `cache`: the layout on disk.
//! - `error`: what can go wrong.

mod cache;
mod download;
mod error;
mod http;
mod reference;
mod selection;
mod settings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::config;
use super::error::{Error, Result};
use super::lora;
use super::read::shard_names;
use cache::Repository;
pub use error::Failure;
use http::{Client, escaped};
pub use reference::Reference;
use selection::{Selection, Weights, select};
pub use settings::{Settings, Token};

/// A list of 10,000 files has about 1 MB.
const MAX_LISTING_BYTES: u64 = 64 << 20;

/// A checkpoint on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The folder or file.
    pub path: PathBuf,
    /// For an adapter from a hub, the base that it names.
    pub base: Option<PathBuf>,
}

/// What was named, on this machine: a path stays as it is, and what begins with `hf:` is fetched.
///
/// # Errors
/// [`Error::Hub`] where it can't be fetched; [`Error::Write`] where the cache can't be written.
pub fn local(named: &Path) -> Result<Local> {
    match Reference::of(named)? {
        None => Ok(Local { path: named.to_path_buf(), base: None }),
        Some(reference) => fetch(&reference, &Settings::from_environment()?),
    }
}

/// The snapshot of a repository in the cache, completed by what is not there yet. Where the hub can't be
/// reached, an earlier one will do, with a warning.
///
/// # Errors
/// As [`local`].
pub fn fetch(reference: &Reference, settings: &Settings) -> Result<Local> {
    let path = snapshot(reference, settings)?;
    let base = base_of(&path)?;
    let base = base.map(|base| snapshot(&base, settings)).transpose()?;
    Ok(Local { path, base })
}

fn snapshot(reference: &Reference, settings: &Settings) -> Result<PathBuf> {
    let repository = Repository::new(&settings.cache, reference);
    let cached = || repository.complete(&repository.commit_of(reference.revision())?);
    if settings.offline {
        return cached().ok_or_else(|| {
            Failure::Offline { name: reference.to_string(), cache: settings.cache.clone() }.into()
        });
    }
    match download(reference, settings, &repository) {
        Err(Error::Hub(failure)) if failure.is_unreachable() => match cached() {
            Some(found) => {
                tracing::warn!("{failure}; using {}", found.display());
                Ok(found)
            }
            None => Err(failure.into()),
        },
        other => other,
    }
}

/// Asks the hub for the newest commit of the revision, and for those of its files that are not there.
fn download(reference: &Reference, settings: &Settings, repository: &Repository) -> Result<PathBuf> {
    let client = Client::new(reference, settings);
    let (commit, names) = listing(&client, reference, settings)?;
    let wrong = |fact: String| Failure::Content { name: reference.to_string(), fact };
    let Selection { side, weights } = select(&names).map_err(wrong)?;
    let dir = repository.snapshot(&commit);
    let file = |name: &str, limit: u64| -> Result<PathBuf> {
        let path = dir.join(name);
        if !path.is_file() {
            let url = format!("{}/{}/resolve/{commit}/{name}", settings.endpoint, reference.repository());
            let file = client.describe(&url, name, &commit, limit)?;
            let blob = download::blob(&client, repository, &file, settings.pause)?;
            repository.link(&blob, &path)?;
        }
        Ok(path)
    };
    for name in &side {
        let path = file(name, selection::MAX_SIDE_BYTES)?;
        if name == "config.json" && weights.are_of_transformers() {
            // Before gigabytes of what is no Whisper.
            config::dims(&path, &config::read_config(&path)?)?;
        }
    }
    match &weights {
        Weights::Files(files) => {
            for name in files {
                file(name, selection::MAX_WEIGHT_BYTES)?;
            }
        }
        Weights::Index(index) => {
            for shard in shard_names(&file(index, selection::MAX_SIDE_BYTES)?)? {
                if !names.contains(&shard) || !selection::is_plain(&shard) {
                    return Err(wrong(format!("`{index}` names `{shard}`, which is no file of it")).into());
                }
                file(&shard, selection::MAX_WEIGHT_BYTES)?;
            }
        }
    }
    repository.remember(reference.revision(), &commit);
    Ok(dir)
}

/// The commit that a revision stands for, and the files in it.
fn listing(
    client: &Client,
    reference: &Reference,
    settings: &Settings,
) -> Result<(String, BTreeSet<String>)> {
    let (repository, revision) = (reference.repository(), escaped(reference.revision()));
    let url = format!("{}/api/models/{repository}/revision/{revision}", settings.endpoint);
    let bytes = client.read(&url, MAX_LISTING_BYTES)?;
    let wrong = |fact: &str| Failure::Content {
        name: reference.to_string(),
        fact: format!("{} does not answer as a hub does: {fact}", settings.endpoint),
    };
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
    let commit = json.get("sha").and_then(Value::as_str).filter(|sha| reference::is_commit(sha));
    let commit = commit.ok_or_else(|| wrong("no commit in `sha`"))?;
    let files = json.get("siblings").and_then(Value::as_array).ok_or_else(|| wrong("no `siblings`"))?;
    let names = files.iter().filter_map(|file| file.get("rfilename")?.as_str());
    Ok((commit.to_owned(), names.map(str::to_owned).collect()))
}

/// The base that an adapter names, where that is a repository and no folder here.
fn base_of(dir: &Path) -> Result<Option<Reference>> {
    let Some(json) = config::read_config_if_there(&dir.join(lora::CONFIG))? else { return Ok(None) };
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    let Some(base) = text("base_model_name_or_path").filter(|base| !Path::new(base).is_dir()) else {
        return Ok(None);
    };
    Ok(Reference::new(base, text("revision")).ok())
}
