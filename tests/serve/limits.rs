//! Bounds: each is told with a code, and whoever keeps to them notices nothing.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use imesli::asr::pool::PoolOptions;
use imesli::serve::limits::Limits;
use serde_json::json;
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, client_async};

use super::{Client, SAID, Server, Setup, audio, encoded, long_encoded};
use crate::support::ONE;

fn with(limits: Limits) -> Setup {
    Setup { limits, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_is_told_so_and_the_connection_closed() {
    let limits = Limits { message_bytes: 1 << 20, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut other = server.client().await;
    let mut client = server.client().await;
    // Far more than the buffers between here and there: it can only be sent when it is read.
    let huge = audio("a", &"A".repeat(40 << 20)).to_string();
    let _ = client.0.send(Message::text(huge)).await;
    client.code("PAYLOAD_TOO_LARGE").await;
    assert_eq!(client.close_code().await, 1009);
    other.is_alive().await;
    // The same in frames, none of which is too large.
    let mut client = server.client().await;
    let (mut sink, stream) = client.0.split();
    for index in 0..3 {
        let code = if index == 0 { OpCode::Data(Data::Text) } else { OpCode::Data(Data::Continue) };
        let frame = Frame::message(vec![b' '; 500 << 10], code, false);
        let _ = sink.send(Message::Frame(frame)).await;
    }
    client = Client(sink.reunite(stream).unwrap());
    client.code("PAYLOAD_TOO_LARGE").await;
    assert_eq!(client.close_code().await, 1009);
}

#[tokio::test]
async fn a_message_just_within_the_limit_is_taken() {
    let limits = Limits { message_bytes: 1 << 20, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut client = server.client().await;
    let mut message = audio("a", &encoded(0));
    message["padding"] = json!("");
    let padding = (1 << 20) - message.to_string().len();
    message["padding"] = json!(" ".repeat(padding));
    assert_eq!(message.to_string().len(), 1 << 20);
    client.send(message).await;
    assert_eq!(client.answer().await["transcription"], SAID[0].1);
}

#[tokio::test]
async fn audio_that_is_too_long_is_refused() {
    let limits = Limits { audio_seconds: 3, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut client = server.client().await;
    client.send(audio("a", &encoded(3))).await;
    let error = client.answer().await;
    assert_eq!(error["code"], "PAYLOAD_TOO_LARGE", "{error}");
    assert_eq!(client.state().await, "ready");
}

#[tokio::test]
async fn a_full_house_says_so_at_once() {
    let pool = PoolOptions { requests: 1, ..ONE };
    let server = Server::start(Setup { pool, ..Setup::default() }).await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    first.send(audio("a", &long_encoded(60))).await;
    while first.state().await != "transcribing" {}
    second.send(audio("b", &encoded(0))).await;
    assert_eq!(second.code("OVERLOADED").await["audio_id"], "b");
    assert_eq!(second.state().await, "ready");
    assert_eq!(first.answer().await["type"], "transcription");
    second.send(audio("c", &encoded(0))).await;
    assert_eq!(second.answer().await["transcription"], SAID[0].1);
}

#[tokio::test]
async fn one_connection_cannot_take_all_places() {
    let limits = Limits { jobs_per_connection: 2, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut client = server.client().await;
    client.send(audio("0", &long_encoded(40))).await;
    client.send(audio("1", &encoded(0))).await;
    client.send(audio("2", &encoded(0))).await;
    let mut order = Vec::new();
    while order.len() < 3 {
        let answer = client.answer().await;
        order.push((answer["audio_id"].as_str().unwrap().to_owned(), answer["type"] == "error"));
    }
    assert_eq!(order, [("2".into(), true), ("0".into(), false), ("1".into(), false)]);
}

#[tokio::test]
async fn memory_for_waiting_audio_is_bounded() {
    let limits = Limits { memory_bytes: 100_000, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut client = server.client().await;
    client.send(audio("a", &"A".repeat(200_000))).await;
    client.code("OVERLOADED").await;
    assert_eq!(client.state().await, "ready");
    // Its base64 fits, its samples don't.
    client.send(audio("b", &encoded(0))).await;
    let error = client.answer().await;
    assert_eq!((&error["code"], &error["audio_id"]), (&json!("OVERLOADED"), &json!("b")));
}

#[tokio::test]
async fn memory_for_messages_that_come_in_is_bounded() {
    const MIB: usize = 1 << 20;
    let limits = Limits { memory_bytes: 6 * MIB as u64, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    // Each sends half of its message, and waits.
    let mut halves = Vec::new();
    for _ in 0..2 {
        let mut client = server.client().await;
        let half = Frame::message(vec![b' '; 3 * MIB / 2], OpCode::Data(Data::Text), false);
        client.0.send(Message::Frame(half)).await.unwrap();
        // No other message may come in the middle of one, but a ping may.
        client.0.send(Message::Ping("x".into())).await.unwrap();
        while client.0.next().await.unwrap().unwrap() != Message::Pong("x".into()) {}
        halves.push(client);
    }
    let mut late = server.client().await;
    late.send(audio("a", &"A".repeat(MIB))).await;
    late.code("OVERLOADED").await;
    assert_eq!(late.close_code().await, 1013);
    // What is small always gets through, and what was begun is read to its end.
    let mut small = server.client().await;
    small.is_alive().await;
    // What is whole has a part of the memory that unfinished messages can't take.
    small.send(audio("b", &encoded(0))).await;
    assert_eq!(small.answer().await["transcription"], SAID[0].1);
    for client in &mut halves {
        let rest = Frame::message(vec![b'x'; MIB / 4], OpCode::Data(Data::Continue), true);
        client.0.send(Message::Frame(rest)).await.unwrap();
        client.code("INVALID_JSON").await;
    }
    // The memory is there again while they are idle.
    let mut next = server.client().await;
    next.text(&" ".repeat(3 * MIB)).await;
    next.code("INVALID_JSON").await;
}

#[tokio::test]
async fn who_goes_away_is_worked_for_no_more() {
    let pool = PoolOptions { requests: 2, ..ONE };
    let server = Server::start(Setup { pool, ..Setup::default() }).await;
    let mut gone = server.client().await;
    // Some minutes of work, and more that waits.
    gone.send(audio("a", &long_encoded(1200))).await;
    gone.send(audio("b", &long_encoded(1200))).await;
    while gone.state().await != "transcribing" {}
    drop(gone);
    let mut client = server.client().await;
    let begin = Instant::now();
    loop {
        client.send(audio("c", &encoded(0))).await;
        let answer = client.answer().await;
        assert_eq!(client.state().await, "ready");
        if answer["type"] == "transcription" {
            break;
        }
        assert_eq!(answer["code"], "OVERLOADED");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eprintln!("free again after {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn too_many_connections_are_told_so() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let (mut first, second) = (server.client().await, server.client().await);
    let url = format!("ws://{}/", server.address);
    match tokio_tungstenite::connect_async(&url).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
    first.is_alive().await;
    drop(second);
    let begin = Instant::now();
    while tokio_tungstenite::connect_async(&url).await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let limits =
        Limits { idle: Duration::from_millis(300), ping: Duration::from_millis(100), ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut idle = server.client().await;
    let mut busy = server.client().await;
    busy.send(audio("a", &long_encoded(60))).await;
    // Both are read from, or nobody would answer the pings.
    let (code, answer) = tokio::join!(idle.close_code(), busy.answer());
    assert_eq!((code, answer["type"].as_str()), (1000, Some("transcription")));
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_let_go() {
    let limits = Limits { connections: 1, ping: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let dead = server.client().await;
    // Not read from, so that no pong is sent; and not closed.
    let begin = Instant::now();
    let url = format!("ws://{}/", server.address);
    while tokio_tungstenite::connect_async(&url).await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(dead);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let limits = Limits { write: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start(with(limits)).await;
    let mut deaf = server.client().await;
    let begin = Instant::now();
    // Each is answered, until nothing more fits between here and there.
    let text = json!({ "type": "nonsense".repeat(8) }).to_string();
    while deaf.0.send(Message::text(text.clone())).await.is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the server goes on writing");
    }
    server.client().await.is_alive().await;
}

#[tokio::test]
async fn a_client_that_reads_too_late_is_told_why_it_is_let_go() {
    let limits = Limits { write: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start(with(limits)).await;
    // Little fits between here and there: a flood of messages is slowed down before it fills more.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = MaybeTlsStream::Plain(socket.connect(server.address).await.unwrap());
    let (stream, _) = client_async(format!("ws://{}/", server.address), stream).await.unwrap();
    let mut slow = Client(stream);
    assert_eq!(slow.state().await, "ready");
    // What is wrong is quoted.
    let text = json!({ "type": "audio", "audio_data": "", "task": "sing".repeat(240) }).to_string();
    let sending = async { while slow.0.send(Message::text(text.clone())).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_secs(1), sending).await.is_err(), "it was let go too soon");
    assert_eq!(slow.close_code().await, 4001);
}

#[tokio::test]
async fn what_is_no_websocket_is_told_by_a_number() {
    let server = Server::start(Setup::default()).await;
    let raw = async |payload: &[u8], code| {
        let mut client = server.client().await;
        let frame = Frame::message(payload.to_vec(), code, true);
        client.0.send(Message::Frame(frame)).await.unwrap();
        client.close_code().await
    };
    assert_eq!(raw(b"{\"type\":\"ping\xff\"}", OpCode::Data(Data::Text)).await, 1007);
    assert_eq!(raw(b"the rest of nothing", OpCode::Data(Data::Continue)).await, 1002);
    assert_eq!(raw(b"no such kind", OpCode::Data(Data::Reserved(5))).await, 1002);
    server.client().await.is_alive().await;
}
