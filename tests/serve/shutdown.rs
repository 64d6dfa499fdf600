//! How it ends.

use std::time::{Duration, Instant};

use imesli::serve::limits::Limits;

use super::{PATIENCE, Server, Setup, audio, encoded, long_encoded};

async fn over(server: Server) {
    tokio::time::timeout(PATIENCE, server.done).await.expect("the server does not end").unwrap();
}

#[tokio::test]
async fn who_waits_for_nothing_is_sent_away() {
    let mut server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let begin = Instant::now();
    server.stop();
    assert_eq!(client.close_code().await, 1001);
    drop(client);
    let address = server.address;
    over(server).await;
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn running_work_is_finished_and_new_work_refused() {
    let mut server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.send(audio("running", &long_encoded(40))).await;
    client.send(audio("waiting", &encoded(0))).await;
    while client.state().await != "transcribing" {}
    client.is_alive().await;
    server.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send(audio("late", &encoded(0))).await;
    for (audio_id, kind) in [("running", "transcription"), ("waiting", "transcription"), ("late", "error")] {
        let answer = client.answer().await;
        assert_eq!((answer["audio_id"].as_str(), answer["type"].as_str()), (Some(audio_id), Some(kind)));
        assert!(kind != "error" || answer["code"] == "SHUTTING_DOWN", "{answer}");
        assert_eq!(client.state().await, "ready");
    }
    assert_eq!(client.close_code().await, 1001);
    over(server).await;
}

#[tokio::test]
async fn work_that_takes_too_long_is_given_up() {
    let limits = Limits { shutdown: Duration::from_millis(300), ..Limits::default() };
    let mut server = Server::start(Setup { limits, ..Setup::default() }).await;
    let mut client = server.client().await;
    client.send(audio("endless", &long_encoded(1200))).await;
    while client.state().await != "transcribing" {}
    server.stop();
    let answer = client.answer().await;
    assert_eq!((answer["code"].as_str(), answer["audio_id"].as_str()), (Some("CANCELLED"), Some("endless")));
    assert_eq!(client.close_code().await, 1001);
    over(server).await;
}
