#![allow(clippy::unwrap_used)] // A test may fail by panicking.
use super::super::{Cli, Command, ServeArgs};
use super::*;

fn serve(arguments: &[&str]) -> Result<ServeArgs, clap::Error> {
    Ok(Cli::read(["imesli"].iter().chain(arguments))?.serve)
}

fn worker(arguments: &[&str]) -> Result<WorkerArgs, clap::Error> {
    match Cli::read(["imesli", "worker"].iter().chain(arguments))?.command {
        Some(Command::Worker(args)) => Ok(args),
        other => unreachable!("asked for a worker, got {other:?}"),
    }
}

#[test]
fn a_server_has_its_model_itself_unless_it_is_told_where() {
    let args = serve(&[]).unwrap();
    assert_eq!(args.cluster.engine, EngineArg::Embedded);
    assert!(args.door().is_none());
    // What is said of the broker means nothing then, and harms nobody.
    assert!(serve(&["--engine", "embedded", "--max-pending", "2"]).unwrap().door().is_none());
}

#[test]
fn a_door_is_told_all_of_it() {
    let args = serve(&["--engine", "nats://a:4222"]).unwrap();
    let (nats, options) = args.door().unwrap();
    assert_eq!((nats.url.as_str(), nats.prefix.as_str(), nats.replicas), ("nats://a:4222", "imesli", 1));
    assert_eq!(nats.keep, Duration::from_secs(3600));
    assert_eq!((options.requests, options.max_pending, options.exact_audio), (64, 16, false));
    assert_eq!((options.window_timeout, options.model), (Duration::from_secs(300), None));
    let args = serve(&[
        "--engine",
        "tls://a:4222, nats://b",
        "--default-model",
        "kab@2",
        "--max-pending",
        "3",
        "--window-timeout",
        "7",
        "--exact-audio",
        "--max-requests",
        "5",
        "--vad-model",
        "v.bin",
        "--nats-creds",
        "c",
        "--nats-ca",
        "ca.pem",
        "--nats-prefix",
        "x_1-y",
        "--nats-replicas",
        "3",
        "--nats-keep",
        "60",
    ]);
    let (nats, options) = args.unwrap().door().unwrap();
    let broker = (nats.url.as_str(), nats.prefix.as_str(), nats.replicas);
    assert_eq!(broker, ("tls://a:4222,nats://b", "x_1-y", 3));
    assert_eq!((nats.creds, nats.ca, nats.nkey), (Some("c".into()), Some("ca.pem".into()), None));
    assert_eq!(nats.keep, Duration::from_secs(60));
    assert_eq!((options.requests, options.max_pending, options.exact_audio), (5, 3, true));
    assert_eq!(options.window_timeout, Duration::from_secs(7));
    assert_eq!((options.model.as_deref(), options.vad_model), (Some("kab@2"), Some("v.bin".into())));
}

#[test]
fn a_worker_is_told_all_of_it() {
    let args = worker(&["--nats", "nats://a", "--checkpoint", "/models/kab"]).unwrap();
    let options = args.options();
    assert_eq!(args.nats().url, "nats://a");
    assert!(options.name.ends_with(&format!("-{}", std::process::id())), "{}", options.name);
    assert_eq!((options.model.as_str(), options.deliveries, options.listen), ("kab", 3, None));
    assert_eq!((options.redeliver_after, options.drain), (Duration::from_secs(6), Duration::from_secs(30)));
    let args = worker(&[
        "--nats",
        "nats://a,nats://b",
        "--name",
        "one",
        "--model-name",
        "we/kab",
        "--redeliver-after",
        "2",
        "--max-deliveries",
        "5",
        "--health-listen",
        "127.0.0.1:0",
        "--shutdown-timeout",
        "0",
        "--states",
        "2",
        "--nats-cert",
        "c",
        "--nats-key",
        "k",
    ]);
    let args = args.unwrap();
    let (nats, options) = (args.nats(), args.options());
    assert_eq!((nats.cert, nats.key), (Some("c".into()), Some("k".into())));
    assert_eq!((options.name.as_str(), options.model.as_str()), ("one", "we/kab"));
    assert_eq!((options.redeliver_after, options.deliveries), (Duration::from_secs(2), 5));
    assert_eq!((options.listen.as_deref(), options.drain), (Some("127.0.0.1:0"), Duration::ZERO));
    assert_eq!(args.model.states(), 2);
}

#[test]
fn what_can_not_be_is_refused() {
    for good in ["nats://a", "tls://u:p@a.b:1/", "nats://[::1]:4222", "nats://[::1]"] {
        assert!(worker(&["--nats", good]).is_ok(), "{good}");
    }
    for wrong in [
        "nat",
        "http://a",
        "nats://",
        "nats://:4222",
        "nats://u:p@",
        "nats://a,",
        "nats://a b",
        "nats://a:99999",
        "nats://a:",
    ] {
        assert!(serve(&["--engine", wrong]).is_err(), "{wrong}");
        assert!(worker(&["--nats", wrong]).is_err(), "{wrong}");
    }
    for wrong in [
        &["--nats-cert", "c"][..],
        &["--nats-key", "k"],
        &["--nats-creds", "c", "--nats-nkey", "n"],
        &["--nats-prefix", "a.b"],
        &["--nats-prefix", ""],
        &["--nats-replicas", "0"],
        &["--nats-replicas", "6"],
        &["--nats-keep", "0"],
    ] {
        assert!(serve(&[&["--engine", "nats://a"][..], wrong].concat()).is_err(), "{wrong:?}");
        assert!(worker(&[&["--nats", "nats://a"][..], wrong].concat()).is_err(), "{wrong:?}");
    }
    assert!(serve(&["--engine", "nats://a", "--max-pending", "0"]).is_err());
    assert!(serve(&["--engine", "nats://a", "--window-timeout", "0"]).is_err());
    assert!(worker(&[]).is_err(), "there is no broker by default");
    assert!(worker(&["--nats", "embedded"]).is_err());
    for wrong in ["", "a b", "a@b", "a\n"] {
        assert!(worker(&["--nats", "nats://a", "--model-name", wrong]).is_err(), "{wrong:?}");
        assert!(worker(&["--nats", "nats://a", "--name", wrong]).is_err(), "{wrong:?}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let args = serve(&["--engine", "nats://me:secret@a:4222,tls://hush@b,nats://c"]).unwrap();
    let shown = format!("{args:?}");
    assert!(!shown.contains("secret") && !shown.contains("hush"), "{shown}");
    assert!(shown.contains("nats://***@a:4222,tls://***@b,nats://c"), "{shown}");
    let (nats, _) = args.door().unwrap();
    assert_eq!(nats.url, "nats://me:secret@a:4222,tls://hush@b,nats://c");
}
