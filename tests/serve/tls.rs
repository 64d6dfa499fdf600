//! wss: certificates, keys in each form, clients that stall.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use imesli::error::Error;
use imesli::serve::certificate::self_signed;
use imesli::serve::limits::Limits;
use imesli::serve::tls::Acceptor;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{Client, SAID, Server, Setup, audio, encoded};

async fn secure(cert: &Path, key: &Path, limits: Limits) -> Server {
    let tls = Some(Acceptor::from_files(cert, key).await.unwrap());
    Server::start(Setup { tls, limits, ..Setup::default() }).await
}

async fn client(server: &Server) -> Client {
    let mut client = Client::connect(&format!("wss://localhost:{}/", server.address.port())).await;
    assert_eq!(client.state().await, "ready");
    client
}

#[tokio::test]
async fn a_certificate_of_our_own_is_made_once_and_serves() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("certs");
    let (cert, key) = self_signed(&folder).unwrap();
    let before = std::fs::read(&key).unwrap();
    self_signed(&folder).unwrap();
    assert_eq!(std::fs::read(&key).unwrap(), before, "it is kept");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let server = secure(&cert, &key, Limits::default()).await;
    let mut insecure = client(&server).await;
    insecure.send(audio("a", &encoded(0))).await;
    assert_eq!(insecure.answer().await["transcription"], SAID[0].1);

    // Who is given the certificate trusts it, by name and by address.
    let root = native_tls::Certificate::from_pem(&std::fs::read(&cert).unwrap()).unwrap();
    let connector = native_tls::TlsConnector::builder().add_root_certificate(root).build().unwrap();
    let connector = tokio_native_tls::TlsConnector::from(connector);
    for name in ["localhost", "127.0.0.1"] {
        let stream = TcpStream::connect(server.address).await.unwrap();
        connector.connect(name, stream).await.unwrap();
    }
    let stream = TcpStream::connect(server.address).await.unwrap();
    assert!(connector.connect("elsewhere.example", stream).await.is_err());
}

/// Runs openssl in a folder; `None` where there is none.
fn openssl(dir: &Path, arguments: &str) -> Option<()> {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().ok()?;
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

#[tokio::test]
async fn keys_of_each_form_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    let Some(()) = openssl(dir.path(), "version") else {
        eprintln!("skipped: there is no openssl to make keys with");
        return;
    };
    let cert = "-x509 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
    openssl(dir.path(), &format!("req {cert} -newkey rsa:2048 -keyout rsa8.pem -out rsa.cert"));
    openssl(dir.path(), "rsa -in rsa8.pem -traditional -out rsa1.pem");
    openssl(dir.path(), "ecparam -name prime256v1 -genkey -out ec1.pem");
    openssl(dir.path(), &format!("req {cert} -key ec1.pem -out ec.cert"));
    openssl(dir.path(), "rsa -in rsa8.pem -traditional -aes128 -passout pass:x -out secret.pem");
    for (key, kind, cert) in [
        ("rsa8.pem", "BEGIN PRIVATE KEY", "rsa.cert"),
        ("rsa1.pem", "BEGIN RSA PRIVATE KEY", "rsa.cert"),
        ("ec1.pem", "BEGIN EC PRIVATE KEY", "ec.cert"),
    ] {
        assert!(std::fs::read_to_string(path(key)).unwrap().contains(kind));
        let server = secure(&path(cert), &path(key), Limits::default()).await;
        client(&server).await.is_alive().await;
    }
    for (cert, key, named) in [
        ("rsa.cert", "secret.pem", "encrypted"),
        ("rsa.cert", "ec1.pem", "can't be used"),
        ("rsa.cert", "rsa.cert", "no private key"),
        ("rsa8.pem", "rsa8.pem", "no certificate"),
        ("nothing", "rsa8.pem", "can't be read"),
    ] {
        let error = Acceptor::from_files(&path(cert), &path(key)).await.unwrap_err();
        assert!(
            matches!(&error, Error::InvalidInput(text) if text.contains(named)),
            "{cert}, {key}: {error}"
        );
    }
}

#[tokio::test]
async fn a_client_that_stalls_holds_up_nobody_and_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = self_signed(dir.path()).unwrap();
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    let server = secure(&cert, &key, limits).await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(TcpStream::connect(server.address).await.unwrap());
    }
    let begin = Instant::now();
    client(&server).await.is_alive().await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    for mut stream in stalled {
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0; 100])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    }
}

#[tokio::test]
async fn a_request_that_never_ends_is_let_go_without_tls_too() {
    use tokio::io::AsyncWriteExt;
    let limits = Limits { handshake: Duration::from_secs(1), ..Limits::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    for begun in ["", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{begun:?}");
    }
}
