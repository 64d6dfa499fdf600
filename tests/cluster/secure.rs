//! Who may talk to the broker, and how.

use std::process::Command;
use std::time::Duration;

use imesli::checkpoint::QuantType;
use imesli::serve::certificate::self_signed;
use serde_json::json;

use super::broker::free_port;
use super::process::Process;
use super::{Cluster, Door, MODEL, Worker, imesli, is_answered};
use crate::support::demo;

/// A pair of keys that is known to everybody: the one that the tests of async-nats use.
const PUBLIC: &str = "UAFHG6FUD2UU4SDFVAFUL5LDFO2XM4WYM76UNXTPJYJK7EEMYRBHT2VE";
const SEED: &str = "SUACH75SWCM5D2JMJM6EKLR2WDARVGZT4QC6LX3AGHSWOMVAKERABBBRWM";
/// Somebody else's, out of the documentation of async-nats.
const WRONG: &str = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";

/// How long a program may try to reach its broker at the start, and a little.
const TRYING: Duration = Duration::from_secs(60);

/// A door and a worker with these arguments.
fn both(url: &str, arguments: &[&str]) -> [Command; 2] {
    let mut door = imesli(&["--port", "0", "--engine", url]);
    let mut worker = imesli(&["worker", "--nats", url, "--cpu", "--states", "1", "--checkpoint"]);
    worker.arg(demo(QuantType::Q8_0)).args(["--log-level", "error"]);
    door.args(["--log-level", "error"]);
    door.args(arguments);
    worker.args(arguments);
    [door, worker]
}

/// Neither starts: each ends with 2 and one line, without the secrets.
pub(super) async fn neither(url: &str, arguments: &[&str]) {
    let started = both(url, arguments).map(|mut command| Process::start("who must not start", &mut command));
    for mut process in started {
        let status = process.ended(TRYING).await;
        let log = process.log();
        assert_eq!(status.code(), Some(2), "{arguments:?}: {log:?}");
        assert_eq!(log.len(), 1, "{arguments:?}: {log:?}");
        for secret in [SEED, WRONG, "s3cret"] {
            assert!(!log[0].contains(secret), "{log:?}");
        }
    }
}

/// A door and a worker with these arguments do their work.
pub(super) async fn work(url: &str, arguments: &[&str]) {
    let _worker = Worker::start(url, "worker-1", MODEL, &demo(QuantType::Q8_0), arguments).await;
    let door = Door::start(url, arguments).await;
    door.is_ready().await;
    is_answered(&mut door.client().await, json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_tls_and_keys_is_served_by_who_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = self_signed(&dir.path().join("certs")).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("user.nk"), format!("{SEED}\n")).unwrap();
    std::fs::write(path("wrong.nk"), format!("{WRONG}\n")).unwrap();
    let more = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\nauthorization {{ users = [ {{ nkey: {PUBLIC} }} ] }}",
        cert.display(),
        key.display()
    );
    let Some(cluster) = Cluster::with(&more).await else { return };
    let url = format!("tls://localhost:{}", cluster.broker.port);
    let (cert, user, wrong) = (cert.to_str().unwrap(), path("user.nk"), path("wrong.nk"));
    work(&url, &["--nats-ca", cert, "--nats-nkey", &user]).await;
    // Also where the address does not say that it is encrypted.
    work(&format!("nats://localhost:{}", cluster.broker.port), &["--nats-ca", cert, "--nats-nkey", &user])
        .await;
    neither(&url, &["--nats-ca", cert, "--nats-nkey", &wrong]).await;
    neither(&url, &["--nats-ca", cert]).await;
    neither(&url, &["--nats-nkey", &user]).await;
    neither(&url, &["--nats-ca", &path("nothing.pem"), "--nats-nkey", &user]).await;
    neither(&url, &["--nats-ca", cert, "--nats-nkey", &path("nothing.nk")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_and_a_password_may_stand_in_the_address() {
    let more = "authorization { users = [ { user: imesli, password: s3cret } ] }";
    let Some(cluster) = Cluster::with(more).await else { return };
    let port = cluster.broker.port;
    work(&format!("nats://imesli:s3cret@127.0.0.1:{port}"), &[]).await;
    neither(&format!("nats://imesli:s3cretly@127.0.0.1:{port}"), &[]).await;
    neither(&format!("nats://127.0.0.1:{port}"), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_nobody_starts() {
    // No broker is needed for that.
    neither(&format!("nats://127.0.0.1:{}", free_port()), &[]).await;
    for wrong in ["nats://", "http://127.0.0.1:4222", "nats://127.0.0.1:99999"] {
        let process = |mut command: Command| command.output().unwrap();
        for output in both(wrong, &[]).map(process) {
            let log = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{wrong}: {log}");
        }
    }
}
