//! A certificate of our own, made on first use, so that wss works before one has a real one.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::Datelike;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

use crate::error::{Error, Result};

/// Long enough to be forgotten about; who wants better gets a real certificate.
const YEARS: i32 = 10;

/// The certificate and key in `dir`, made there if they are not: `cert.pem` and `key.pem`, for localhost, its
/// addresses, and this machine's name. The key can be read by its owner alone.
///
/// # Errors
/// [`Error::InvalidInput`] when the folder can't be written.
pub fn self_signed(dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    match (cert.exists(), key.exists()) {
        (true, true) => return Ok((cert, key)),
        (false, false) => {}
        _ => {
            let dir = dir.display();
            return Err(Error::InvalidInput(format!("{dir} holds one of cert.pem and key.pem: remove it")));
        }
    }
    let (cert_text, key_text) =
        make().map_err(|error| Error::internal_from("making a self-signed certificate", error))?;
    let cannot =
        |error| Error::InvalidInput(format!("cannot write a certificate to {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(cannot)?;
    write_new(&key, &key_text, true).map_err(cannot)?;
    write_new(&cert, &cert_text, false).map_err(cannot)?;
    tracing::info!(certificate = %cert.display(), "made a self-signed certificate");
    Ok((cert, key))
}

fn make() -> std::result::Result<(String, String), rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(gethostname::gethostname().into_string().ok().filter(|name| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    }));
    names.dedup();
    let mut params = CertificateParams::new(names)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "imesli, self-signed");
    params.distinguished_name = subject;
    let year = chrono::Utc::now().year();
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 1, 1);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn write_new(path: &Path, text: &str, secret: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if secret { 0o600 } else { 0o644 });
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
