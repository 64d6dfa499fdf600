//! Clients take turns, and one alone does not fill the house.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio_tungstenite::{MaybeTlsStream, client_async_with_config};

use super::{Client, SAID, Server, Setup, audio, encoded, long_encoded};

/// A client at another address of this machine.
async fn from(address: [u8; 4], server: &Server) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::from(address), 0))).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    let url = format!("ws://{}/", server.address);
    let (stream, _) = client_async_with_config(url, MaybeTlsStream::Plain(stream), None).await.unwrap();
    let mut client = Client(stream);
    assert_eq!(client.state().await, "ready");
    client
}

#[cfg(target_os = "linux")] // Elsewhere the loopback interface has one address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_message_does_not_wait_for_all_files_of_another() {
    let server = Server::start(Setup::default()).await;
    let (done, mut finished) = mpsc::unbounded_channel();
    let file = long_encoded(30);
    for n in 0..12 {
        let mut client = from([127, 0, 0, 2], &server).await;
        client.send(audio("file", &file)).await;
        while client.state().await != "transcribing" {}
        let done = done.clone();
        tokio::spawn(async move {
            assert_eq!(client.answer().await["type"], "transcription");
            let _ = done.send(format!("file {n}"));
        });
    }
    let mut other = from([127, 0, 0, 3], &server).await;
    // What is done by now did not wait.
    let mut before = 0;
    while finished.try_recv().is_ok() {
        before += 1;
    }
    assert!(before < 6, "the files were too quick for this test: {before}");
    other.send(audio("short", &encoded(0))).await;
    assert_eq!(other.answer().await["transcription"], SAID[0].1);
    let mut ahead = 0;
    while finished.try_recv().is_ok() {
        ahead += 1;
    }
    // The one that was being heard, the one whose turn it was, and one that came in between.
    assert!(ahead <= 3, "{ahead} files went ahead of a short message");
}

#[tokio::test]
async fn one_client_leaves_places_to_others() {
    let server = Server::start(Setup::default()).await;
    let mut greedy = Vec::new();
    let mut refused = None;
    for _ in 0..4 {
        let mut client = from([127, 0, 0, 2], &server).await;
        for n in 0..16 {
            client.send(audio(&format!("{n}"), &long_encoded(20))).await;
        }
        greedy.push(client);
    }
    // Each refusal is told in its turn: the last client's come after all that it has a place for.
    let last = greedy.last_mut().unwrap();
    while refused.is_none() {
        let message = last.answer().await;
        if message["type"] == "error" {
            refused = Some(message);
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused["code"], "OVERLOADED");
    assert!(refused["retry_after"].as_u64().unwrap() >= 1, "{refused}");
    let mut other = from([127, 0, 0, 1], &server).await;
    other.send(audio("a", &encoded(0))).await;
    assert_eq!(other.answer().await["transcription"], SAID[0].1);
}
