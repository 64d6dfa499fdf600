//! What comes when: states, answers, pings in between.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{SAID, Server, Setup, audio, encoded, long_encoded};
use crate::support::ONE;

#[tokio::test]
async fn an_audio_goes_through_its_states_in_order() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.silent_client().await;
    let ready = client.next().await;
    assert_eq!((&ready["state"], &ready["message"]), (&json!("ready"), &json!("")));
    assert!(ready.get("data").is_none());
    client.send(audio("a1", &encoded(0))).await;
    for (state, message) in [
        ("processing", "Processing audio..."),
        ("loading", "Loading audio..."),
        ("transcribing", "Transcribing audio..."),
    ] {
        let found = client.next().await;
        assert_eq!((&found["state"], &found["message"]), (&json!(state), &json!(message)));
        assert_eq!(found["data"]["audio_id"], "a1");
        assert!(chrono::DateTime::parse_from_rfc3339(found["timestamp"].as_str().unwrap()).is_ok());
    }
    let found = client.next().await;
    assert_eq!(found["type"], "transcription");
    assert_eq!(found["transcription"], SAID[0].1);
    assert_eq!((&found["audio_id"], &found["language"]), (&json!("a1"), &json!("en")));
    assert_eq!(found["duration"], found["decoded"]);
    assert!(found["duration"].as_f64().unwrap() > 1.0);
    assert_eq!(found["segments"][0]["text"], SAID[0].1);
    assert!(found["queue_seconds"].is_f64() && found["processing_seconds"].as_f64().unwrap() > 0.0);
    let ready = client.next().await;
    assert_eq!((&ready["state"], &ready["message"]), (&json!("ready"), &json!("Ready for next audio")));
}

#[tokio::test]
async fn ping_status_and_device_info_are_answered_as_they_were() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.send(json!({ "type": "device_info", "device": "test", "nested": [1, { "a": null }] })).await;
    client.send(json!({ "type": "ping" })).await;
    let pong = client.next().await;
    assert_eq!((&pong["state"], &pong["message"]), (&json!("pong"), &json!("Server is alive")));
    client.send(json!({ "type": "status" })).await;
    let status = client.next().await;
    assert_eq!((&status["state"], &status["message"]), (&json!("ready"), &json!("Current status")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_is_answered_at_once_while_audio_is_transcribed() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.send(audio("long", &long_encoded(90))).await;
    while client.state().await != "transcribing" {}
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        let sent = Instant::now();
        client.send(json!({ "type": "ping" })).await;
        // Progress may come in between.
        while client.state().await != "pong" {}
        worst = worst.max(sent.elapsed());
    }
    client.send(json!({ "type": "status" })).await;
    let status = loop {
        let message = client.next().await;
        if message["message"] == "Current status" {
            break message;
        }
    };
    assert_eq!(status["state"], "transcribing", "all pings went while it worked");
    eprintln!("the slowest pong took {worst:?}");
    assert!(worst < Duration::from_millis(100), "{worst:?}");
}

#[tokio::test]
async fn long_recordings_tell_how_far_they_are() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.send(audio("long", &long_encoded(65))).await;
    let mut progress = Vec::new();
    let answer = loop {
        let message = client.next().await;
        if message["type"] != "state" {
            break message;
        }
        if let Some(percent) = message["data"]["progress"].as_f64() {
            assert_eq!(message["state"], "transcribing");
            progress.push(percent);
        }
    };
    assert_eq!(answer["type"], "transcription", "{answer}");
    assert!(progress.len() > 1 && progress.is_sorted() && progress.last() == Some(&100.0), "{progress:?}");
}

#[tokio::test]
async fn answers_come_in_the_order_in_which_they_were_asked_for() {
    let pool = imesli::asr::pool::PoolOptions { states: 2, ..ONE };
    let server = Server::start(Setup { pool, ..Setup::default() }).await;
    let mut client = server.client().await;
    // The first takes longest, the third fails at once.
    client.send(audio("0", &long_encoded(40))).await;
    client.send(audio("1", &encoded(1))).await;
    client.send(audio("2", "!?!?a")).await;
    client.send(audio("3", &encoded(2))).await;
    for wanted in ["0", "1", "2", "3"] {
        let answer = client.answer().await;
        assert_eq!(answer["audio_id"], wanted, "{answer}");
        assert_eq!(answer["type"], if wanted == "2" { "error" } else { "transcription" });
        assert_eq!(client.state().await, "ready");
    }
}

#[tokio::test]
async fn connections_do_not_wait_for_each_other() {
    let pool = imesli::asr::pool::PoolOptions { states: 2, ..ONE };
    let server = Server::start(Setup { pool, ..Setup::default() }).await;
    let (mut slow, mut quick) = (server.client().await, server.client().await);
    slow.send(audio("slow", &long_encoded(120))).await;
    while slow.state().await != "transcribing" {}
    quick.send(audio("quick", &encoded(0))).await;
    assert_eq!(quick.answer().await["transcription"], SAID[0].1);
    slow.send(json!({ "type": "status" })).await;
    let status = loop {
        let message = slow.next().await;
        if message["message"] == "Current status" {
            break message;
        }
        assert_eq!(message["type"], "state", "the slow one was done first");
    };
    assert_eq!(status["state"], "transcribing");
}

#[tokio::test]
async fn names_are_given_back_as_they_came_and_made_where_there_are_none() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    client.send(json!({ "type": "audio", "audio_data": encoded(0), "audio_id": 17 })).await;
    assert_eq!(client.answer().await["audio_id"], 17);
    assert_eq!(client.state().await, "ready");
    client.send(json!({ "type": "audio", "audio_data": encoded(0) })).await;
    let answer = client.answer().await;
    assert!(uuid::Uuid::parse_str(answer["audio_id"].as_str().unwrap()).is_ok(), "{answer}");
}

#[tokio::test]
async fn options_are_those_of_the_message() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let mut message = audio("a", &encoded(3));
    message["timestamps"] = json!("segment");
    message["beam_size"] = json!(1);
    message["language"] = json!("EN");
    message["task"] = json!("transcribe");
    message["prompt"] = json!("one two three");
    message["options"] = json!({ "temperature": 0.0 });
    message["something_new"] = json!({ "from": "the future" });
    client.send(message).await;
    let answer = client.answer().await;
    assert_eq!(answer["language"], "en", "{answer}");
    let duration = answer["duration"].as_f64().unwrap();
    let segments = answer["segments"].as_array().unwrap();
    assert!(segments.iter().all(|s| s["end"].as_f64().unwrap() <= duration), "{answer}");
}

#[tokio::test]
async fn subtitles_come_beside_the_text() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    for (format, begins) in
        [("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0"), ("tsv", "start\tend\ttext\n")]
    {
        let mut message = audio(format, &encoded(3));
        message["response_format"] = json!(format);
        message["max_line_chars"] = json!(20);
        client.send(message).await;
        let answer = client.answer().await;
        let formatted = answer["formatted"].as_str().unwrap();
        assert!(formatted.starts_with(begins), "{answer}");
        assert!(formatted.contains(SAID[3].1.split(' ').next().unwrap()));
        assert_eq!(answer["timestamps"], "word");
        if format != "tsv" {
            assert!(formatted.lines().all(|line| line.contains("-->") || line.len() <= 20), "{formatted}");
        }
    }
    let mut message = audio("json", &encoded(0));
    message["response_format"] = json!("json");
    client.send(message).await;
    assert_eq!(client.answer().await.get("formatted"), None);
}

#[tokio::test]
async fn words_come_with_their_times_when_asked_for() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let mut message = audio("a", &encoded(0));
    message["timestamps"] = json!("word");
    client.send(message).await;
    let answer = client.answer().await;
    assert_eq!(answer["transcription"], SAID[0].1, "{answer}");
    assert_eq!((&answer["timestamps"], &answer["word_times"]), (&json!("word"), &json!("attention")));
    let mut before = 0.0;
    for segment in answer["segments"].as_array().unwrap() {
        let mut text = String::new();
        for word in segment["words"].as_array().unwrap() {
            let (start, end) = (word["start"].as_f64().unwrap(), word["end"].as_f64().unwrap());
            assert!(
                before <= start && start < end && end <= answer["duration"].as_f64().unwrap(),
                "{answer}"
            );
            before = end;
            assert!((0.5..=1.0).contains(&word["probability"].as_f64().unwrap()), "{answer}");
            text.push_str(word["word"].as_str().unwrap());
        }
        assert_eq!(segment["text"], text.as_str());
    }
    assert_eq!(client.state().await, "ready");
    // The next audio is not asked for words.
    client.send(audio("b", &encoded(0))).await;
    let answer = client.answer().await;
    assert!(answer.get("word_times").is_none() && answer["segments"][0].get("words").is_none(), "{answer}");
}

#[tokio::test]
async fn base64_is_read_as_python_reads_it() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.client().await;
    let lines: Vec<String> =
        encoded(0).as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    client.send(audio("lines", &lines.join("\r\n"))).await;
    assert_eq!(client.answer().await["transcription"], SAID[0].1);
}

#[tokio::test]
async fn every_path_is_a_door_and_a_browser_is_told_what_this_is() {
    let server = Server::start(Setup::default()).await;
    for path in ["", "/", "/ws", "/a/b?c=d"] {
        let mut client = super::Client::connect(&format!("ws://{}{path}", server.address)).await;
        assert_eq!(client.state().await, "ready", "{path}");
    }
    let text = get(&server, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("<title>imesli</title>"), "{text}");
    let text = get(&server, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 405"), "{text}");
    let half = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n";
    let text = get(&server, half).await;
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
}

async fn get(server: &Server, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}
