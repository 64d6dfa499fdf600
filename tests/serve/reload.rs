//! Another model and another certificate, while the server goes on.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use imesli::checkpoint::QuantType;
use imesli::serve::certificate::self_signed;

use super::{Client, SAID, audio, encoded, long_encoded};
use crate::support::demo;

/// The program, with a log that is read on.
struct Program {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    url: String,
}

impl Program {
    fn start(model: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_imesli"))
            .args(["--port", "0", "--cpu", "--threads", "1", "--checkpoint"])
            .arg(model)
            .args(arguments)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut program = Self { child, log, url: String::new() };
        let line = program.log_until("listening on ");
        program.url = line.split_once("listening on ").unwrap().1.to_owned();
        program
    }

    fn log_until(&mut self, wanted: &str) -> String {
        self.log.by_ref().map(Result::unwrap).find(|line| line.contains(wanted)).expect(wanted)
    }

    fn hang_up(&self) {
        Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap();
    }

    async fn client(&self) -> Client {
        let mut client = Client::connect(&self.url).await;
        assert_eq!(client.state().await, "ready");
        client
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_model_leaves_the_old_one_serving_and_a_whole_one_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.bin");
    std::fs::copy(demo(QuantType::Q8_0), &model).unwrap();
    let mut program = Program::start(&model, &[]);
    let mut client = program.client().await;
    let answers = async |client: &mut Client| {
        client.send(audio("a", &encoded(0))).await;
        assert_eq!(client.answer().await["transcription"], SAID[0].1);
        assert_eq!(client.state().await, "ready");
    };
    answers(&mut client).await;

    std::fs::write(&model, b"this is no model").unwrap();
    program.hang_up();
    program.log_until("the old one serves on");
    answers(&mut client).await;

    // A file that begins well and is cut short.
    let whole = std::fs::read(demo(QuantType::F16)).unwrap();
    std::fs::write(&model, &whole[..whole.len() / 2]).unwrap();
    program.hang_up();
    program.log_until("the old one serves on");
    answers(&mut client).await;

    // What is being transcribed ends on the old model; what comes then is the new one's.
    client.send(audio("long", &long_encoded(60))).await;
    while client.state().await != "transcribing" {}
    let part = dir.path().join("part");
    std::fs::write(&part, &whole).unwrap();
    std::fs::rename(&part, &model).unwrap();
    program.hang_up();
    assert!(program.log_until("the model is loaded").contains("f16"));
    program.log_until("was loaded anew, and serves");
    answers(&mut program.client().await).await;
    let long = client.answer().await;
    assert_eq!((&long["type"], &long["audio_id"]), (&"transcription".into(), &"long".into()), "{long}");
}

/// The certificate that a server shows, in DER.
async fn certificate(url: &str) -> Vec<u8> {
    let address = url.strip_prefix("wss://").unwrap().to_owned();
    let show = move || {
        let connector =
            native_tls::TlsConnector::builder().danger_accept_invalid_certs(true).build().unwrap();
        let stream = std::net::TcpStream::connect(address).unwrap();
        let stream = connector.connect("localhost", stream).unwrap();
        stream.peer_certificate().unwrap().unwrap().to_der().unwrap()
    };
    tokio::task::spawn_blocking(show).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_and_nobody_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = self_signed(&dir.path().join("first")).unwrap();
    let (next_cert, next_key) = self_signed(&dir.path().join("second")).unwrap();
    let arguments = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut program = Program::start(&demo(QuantType::Q8_0), &arguments);
    let mut client = program.client().await;
    let first = certificate(&program.url).await;

    // A certificate without its key is no reason to stop.
    std::fs::copy(&next_cert, &cert).unwrap();
    program.log_until("the certificate stays as it was");
    assert_eq!(certificate(&program.url).await, first);

    std::fs::copy(&next_key, &key).unwrap();
    program.log_until("serving with the certificate as it is now");
    let second = certificate(&program.url).await;
    assert_ne!(first, second);
    assert_eq!(second, pem::parse(std::fs::read(&next_cert).unwrap()).unwrap().contents());
    client.is_alive().await;
    tokio::time::timeout(Duration::from_secs(30), program.client()).await.unwrap();
}
