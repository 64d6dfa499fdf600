//! One file into the cache. Unfinished, it is called after its checksum, so that what a later run goes on with
//! belongs to the same content; it gets its name when the checksum is right.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use super::super::error::{Error, Result};
use super::cache::Repository;
use super::http::{Client, Described};

/// Attempts in a row that bring nothing new.
const ATTEMPTS: u32 = 5;
/// Smaller files are there at once.
const WORTH_A_WORD: u64 = 4 << 20;
const BUFFER: usize = 128 << 10;

/// The blob of a file, downloaded unless it is there. `pause` comes before a second attempt.
pub(super) fn blob(
    client: &Client<'_>,
    repository: &Repository,
    file: &Described,
    pause: Duration,
) -> Result<PathBuf> {
    let path = repository.blob(&file.etag);
    // Two programs that went on with the same unfinished file would spoil it.
    let _lock = repository.lock(&file.etag)?;
    if path.is_file() {
        return Ok(path);
    }
    let unfinished = repository.blob(&format!("{}.incomplete", file.etag));
    loop {
        let resumed = transfer(client, file, &unfinished, pause)?;
        if checksum(&unfinished, file.etag.len())? == file.etag {
            break;
        }
        std::fs::remove_file(&unfinished).map_err(Error::write(&unfinished))?;
        let fact = "the checksum is wrong: what came is not the file that the hub describes";
        if !resumed {
            return Err(client.wrong_file(&file.name, fact.into()).into());
        }
        tracing::warn!("{}: {fact}; once more from the beginning", file.name);
    }
    std::fs::rename(&unfinished, &path).map_err(Error::write(&path))?;
    Ok(path)
}

/// Fetches what is missing of an unfinished file. Says whether there was something of it before.
fn transfer(client: &Client<'_>, file: &Described, path: &Path, pause: Duration) -> Result<bool> {
    let mut out = File::options().create(true).append(true).open(path).map_err(Error::write(path))?;
    let length = |out: &File| out.metadata().map(|m| m.len()).map_err(Error::write(path));
    let began = length(&out)?;
    let bar = progress(file, began);
    let mut failures = 0;
    loop {
        let have = length(&out)?;
        if file.size == Some(have) {
            break;
        }
        let fact = match attempt(client, file, (&mut out, path), have, &bar) {
            Ok(()) if file.size.is_none() => break,
            Ok(()) if file.size == Some(length(&out)?) => break,
            Ok(()) => client.unreachable("the connection ended early".into()),
            Err(Error::Hub(failure)) if failure.is_unreachable() => failure,
            Err(other) => return Err(other),
        };
        failures = if length(&out)? > have { 1 } else { failures + 1 };
        if failures >= ATTEMPTS {
            return Err(fact.into());
        }
        tracing::warn!("{}: {fact}; trying again", file.name);
        thread::sleep(pause * 2_u32.pow(failures - 1));
    }
    bar.finish_and_clear();
    out.sync_all().map_err(Error::write(path))?;
    Ok(began > 0)
}

/// One request, and what it brings.
fn attempt(
    client: &Client<'_>,
    file: &Described,
    (out, path): (&mut File, &Path),
    have: u64,
    bar: &ProgressBar,
) -> Result<()> {
    // More than there should be is no beginning of it.
    let from = if file.size.is_some_and(|size| have > size) { 0 } else { have };
    let response = client.open(&file.url, from)?;
    let goes_on =
        response.status() == StatusCode::PARTIAL_CONTENT && from > 0 && fits(&response, from, file.size);
    let mut written = if goes_on { from } else { 0 };
    out.set_len(written).map_err(Error::write(path))?;
    if !goes_on && response.status() != StatusCode::OK {
        return Err(client.unreachable("it answers with another part than was asked for".into()).into());
    }
    let most = file.size.unwrap_or(file.limit);
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; BUFFER];
    loop {
        bar.set_position(written);
        let read = match body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(client.unreachable(format!("{}: {error}", file.name)).into()),
        };
        written += read.len() as u64;
        if written > most {
            out.set_len(0).map_err(Error::write(path))?;
            return Err(client.wrong_file(&file.name, format!("more than {most} bytes came")).into());
        }
        out.write_all(read).map_err(Error::write(path))?;
    }
}

/// Whether a part is the rest of the file: `bytes 100-199/200`.
fn fits(response: &Response<Body>, from: u64, size: Option<u64>) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let Some((range, total)) = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('/')) else {
        return false;
    };
    let begins = range.split_once('-').is_some_and(|(first, _)| first.trim().parse() == Ok(from));
    begins && size.is_none_or(|size| total.trim() == "*" || total.trim().parse() == Ok(size))
}

/// SHA-256, or git's SHA-1 of a blob, in so many digits.
fn checksum(path: &Path, digits: usize) -> Result<String> {
    let mut file = File::open(path).map_err(Error::read(path))?;
    let size = file.metadata().map_err(Error::read(path))?.len();
    if digits == 64 {
        return digest(Sha256::new(), &mut file, path);
    }
    let mut git = Sha1::new();
    git.update(format!("blob {size}\0"));
    digest(git, &mut file, path)
}

fn digest<D: Digest>(mut hasher: D, file: &mut File, path: &Path) -> Result<String> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).map_err(Error::read(path))? {
            0 => break,
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A bar on a terminal for a large file, and a line in the log.
fn progress(file: &Described, have: u64) -> ProgressBar {
    let Some(size) = file.size.filter(|size| *size > WORTH_A_WORD) else { return ProgressBar::hidden() };
    let mega = |bytes: u64| bytes as f64 / 1e6;
    tracing::info!("downloading {}: {:.0} of {:.0} MB are here", file.name, mega(have), mega(size));
    let bar = ProgressBar::new(size).with_message(file.name.clone()).with_position(have);
    let template =
        "{msg} [{bar:40}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn checksums_are_those_of_git_and_of_sha256sum() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"azul\n").unwrap();
        // `git hash-object` and `sha256sum`.
        assert_eq!(checksum(file.path(), 40).unwrap(), "b5aebcf4c3f3471a50573b53ae12186d6533a5ad");
        assert_eq!(
            checksum(file.path(), 64).unwrap(),
            "fc077660195a7c2991ae1e8de9e68f71a191f6c6355cace0bac2affdc62f513a"
        );
    }
}
