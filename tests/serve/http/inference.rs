//! whisper.cpp's path, by what its clients send and read.

use serde_json::json;

use super::{Http, SAID, Server, Setup, form, get, post, post_body};

#[tokio::test]
async fn all_formats_are_there() {
    let server = Server::start(Setup::default()).await;
    // As in its README.
    let usual = [("temperature", "0.0"), ("temperature_inc", "0.2"), ("no_speech_thold", "0.6")];
    for format in [None, Some("json")] {
        let fields: Vec<_> =
            usual.into_iter().chain(format.map(|format| ("response_format", format))).collect();
        assert_eq!(post(&server, "/inference", &fields).await.json(), json!({ "text": SAID[0].1 }));
    }
    for (format, kind, begin) in [
        ("text", "text/plain; charset=utf-8", SAID[0].1),
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:"),
    ] {
        let answer = post(&server, "/inference", &[("response_format", format)]).await;
        assert_eq!(answer.header("content-type"), kind);
        assert!(answer.text().starts_with(begin), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_detailed_answer_has_words_within_segments() {
    let server = Server::start(Setup::default()).await;
    let fields = [("response_format", "verbose_json"), ("language", "auto")];
    let answer = post(&server, "/inference", &fields).await.json();
    assert_eq!((&answer["task"], &answer["text"]), (&json!("transcribe"), &json!(SAID[0].1)));
    assert!(answer["duration"].as_f64().unwrap() > 2.6);
    let mut words = String::new();
    for segment in answer["segments"].as_array().unwrap() {
        assert!(
            segment["start"].is_number()
                && segment["tokens"].is_array()
                && segment["avg_logprob"].is_number()
        );
        for word in segment["words"].as_array().unwrap() {
            assert!(word["probability"].as_f64().unwrap() > 0.0 && word["end"].is_number());
            words.push_str(word["word"].as_str().unwrap());
        }
        words.push(' ');
    }
    assert_eq!(words.split_whitespace().collect::<Vec<_>>().join(" "), SAID[0].1);
    // Where the model judged by itself, it says how sure it was.
    if let Some(all) = answer.get("language_probabilities") {
        let sum: f64 = all.as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
        assert!((0.5..=1.01).contains(&sum), "{answer}");
        assert!(answer["detected_language"].is_string());
    }
}

#[tokio::test]
async fn errors_are_a_sentence() {
    let server = Server::start(Setup::default()).await;
    let no_audio = post_body(&server, "/inference", &form(&[], b"no audio")).await;
    assert_eq!(no_audio.status, 400);
    assert!(no_audio.json()["error"].is_string());
    let wrong = post(&server, "/inference", &[("translate", "perhaps")]).await;
    assert_eq!(wrong.json(), json!({ "error": "translate: must be true or false" }));
    assert_eq!(get(&server, "/inference").await.status, 405);
    let mut http = Http::connect(&server).await;
    let other = http.ask("POST", "/inference", &[("Content-Type", "audio/wav")], b"x").await;
    assert_eq!((other.status, other.json()["error"].is_string()), (415, true));
}
