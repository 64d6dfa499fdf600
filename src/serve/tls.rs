//! TLS: from the files of a certificate and its key to what takes connections.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use native_tls::{Identity, Protocol};
use tokio::net::TcpStream;
use tokio_native_tls::{TlsAcceptor, TlsStream};

use super::keys;
use super::stamp::stamp;
use crate::error::{Error, Result};

/// How often the files are looked at. Certificates are renewed weeks before their end.
const LOOK: Duration = Duration::from_secs(5);

/// Takes TLS connections, and goes on with a new certificate when its files change. Its key is not shown.
pub struct Acceptor {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<TlsAcceptor>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor(***)")
    }
}

impl Acceptor {
    /// Reads a certificate chain and its private key, both PEM; the key as PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] names the file that can't be used, and why.
    pub async fn from_files(cert: &Path, key: &Path) -> Result<Self> {
        let current = RwLock::new(Self::read(cert, key).await?);
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current })
    }

    async fn read(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
        let wrong = |path: &Path, why: String| Error::InvalidInput(format!("{} {why}", path.display()));
        let read = |path: &Path| std::fs::read(path).map_err(|e| wrong(path, format!("can't be read: {e}")));
        let chain = read(cert)?;
        let blocks = pem::parse_many(&chain).map_err(|e| wrong(cert, format!("is no PEM file: {e}")))?;
        if !blocks.iter().any(|block| block.tag() == "CERTIFICATE") {
            return Err(wrong(cert, "holds no certificate".into()));
        }
        let pkcs8 = keys::to_pkcs8(&read(key)?).map_err(|why| wrong(key, why))?;
        let unusable = |e| wrong(cert, format!("and {} can't be used together for TLS: {e}", key.display()));
        let identity = Identity::from_pkcs8(&chain, pkcs8.as_bytes()).map_err(unusable)?;
        let acceptor = native_tls::TlsAcceptor::builder(identity)
            .min_protocol_version(Some(Protocol::Tlsv12))
            .build()
            .map_err(unusable)?;
        let acceptor = TlsAcceptor::from(acceptor);
        // That a key belongs to another certificate shows in the first handshake, which is better not a client's.
        try_out(&acceptor).await.map_err(unusable)?;
        Ok(acceptor)
    }

    /// Reads the files anew. Connections that are open stay as they are; when the files are of no use, the old
    /// certificate goes on serving.
    pub(super) async fn reload(&self) {
        match Self::read(&self.cert, &self.key).await {
            Ok(acceptor) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                tracing::info!(certificate = %self.cert.display(), "serving with the certificate as it is now");
            }
            Err(error) => tracing::error!("the certificate stays as it was: {error}"),
        }
    }

    /// Looks at the files now and then, for ever, and goes on with what they have become.
    pub(super) async fn watch(&self) {
        let stamps = || (stamp(&self.cert), stamp(&self.key));
        let (mut seen, mut pending) = (stamps(), None);
        loop {
            tokio::time::sleep(LOOK).await;
            let now = stamps();
            // A certificate and its key are written one after the other: wait until nothing changes any more.
            if now != seen && pending == Some(now) {
                seen = now;
                self.reload().await;
            }
            pending = Some(now);
        }
    }

    /// The handshake, in so much time at most. Never to be awaited where connections are accepted: a client
    /// that stalls would hold up all others.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        within: Duration,
    ) -> std::result::Result<TlsStream<TcpStream>, String> {
        let acceptor = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        match tokio::time::timeout(within, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the TLS handshake took too long".to_owned()),
        }
    }
}

/// A handshake with ourselves.
async fn try_out(acceptor: &TlsAcceptor) -> std::result::Result<(), native_tls::Error> {
    let connector = native_tls::TlsConnector::builder()
        .danger_accept_invalid_certs(true)
        .danger_accept_invalid_hostnames(true)
        .build()?;
    let connector = tokio_native_tls::TlsConnector::from(connector);
    let (client, server) = tokio::io::duplex(64 << 10);
    tokio::try_join!(acceptor.accept(server), connector.connect("localhost", client))?;
    Ok(())
}
