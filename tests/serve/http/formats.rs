//! Every format of both of OpenAI's paths.

use serde_json::{Value, json};

use super::{SAID, Server, Setup, TRANSCRIPTIONS, TRANSLATIONS, form, part, post, post_body, recorded};

const VERBOSE: (&str, &str) = ("response_format", "verbose_json");

fn number(value: &Value, range: std::ops::RangeInclusive<f64>) {
    let number = value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    assert!(range.contains(&number), "{number} is not in {range:?}");
}

#[tokio::test]
async fn json_and_text_have_the_text() {
    let server = Server::start(Setup::default()).await;
    for fields in [&[][..], &[("model", "whisper-1"), ("response_format", "json")]] {
        let answer = post(&server, TRANSCRIPTIONS, fields).await;
        assert_eq!(answer.status, 200);
        let json = answer.json();
        assert_eq!(json["text"], SAID[0].1);
        assert_eq!(json["usage"]["type"], "duration");
        number(&json["usage"]["seconds"], 2.6..=2.7);
    }
    let answer = post(&server, TRANSCRIPTIONS, &[("response_format", "text")]).await;
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.text(), format!("{}\n", SAID[0].1));
}

#[tokio::test]
async fn subtitles_are_files() {
    let server = Server::start(Setup::default()).await;
    let srt = post(&server, TRANSCRIPTIONS, &[("response_format", "srt")]).await;
    assert_eq!(srt.header("content-type"), "application/x-subrip; charset=utf-8");
    assert!(srt.text().starts_with("1\n00:00:0") && srt.text().contains(" --> "), "{}", srt.text());
    let vtt = post(&server, TRANSCRIPTIONS, &[("response_format", "vtt"), ("max_line_chars", "12")]).await;
    assert_eq!(vtt.header("content-type"), "text/vtt; charset=utf-8");
    assert!(vtt.text().starts_with("WEBVTT\n"));
    let words = |text: &str| {
        let lines = text.lines().filter(|line| line.chars().all(|c| c.is_ascii_lowercase() || c == ' '));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((words(srt.text()), words(vtt.text())), (SAID[0].1.to_owned(), SAID[0].1.to_owned()));
    assert!(vtt.text().lines().all(|line| line.contains("-->") || line.len() <= 12), "{}", vtt.text());
}

#[tokio::test]
async fn a_detailed_answer_has_what_was_asked_for() {
    let server = Server::start(Setup::default()).await;
    let granularity = |name| ("timestamp_granularities[]", name);
    for (fields, segments, words) in [
        (&[VERBOSE][..], true, false),
        (&[VERBOSE, granularity("segment")], true, false),
        (&[granularity("word"), VERBOSE], false, true),
        (&[VERBOSE, granularity("word"), granularity("segment"), ("temperature", "0.0")], true, true),
        (&[VERBOSE, ("timestamp_granularities", "word")], false, true),
    ] {
        let answer = post(&server, TRANSCRIPTIONS, fields).await.json();
        assert_eq!(answer["text"], SAID[0].1);
        assert_eq!((&answer["task"], &answer["language"]), (&json!("transcribe"), &json!("english")));
        number(&answer["duration"], 2.6..=2.7);
        assert_eq!(answer.get("segments").is_some(), segments, "{fields:?}");
        assert_eq!(answer.get("words").is_some(), words, "{fields:?}");
        if words {
            let words: Vec<&str> =
                answer["words"].as_array().unwrap().iter().map(|w| w["word"].as_str().unwrap()).collect();
            assert_eq!(words.join(" "), SAID[0].1);
            for word in answer["words"].as_array().unwrap() {
                number(&word["end"], word["start"].as_f64().unwrap()..=2.7);
            }
        }
        let mut tokens = 0;
        for (id, segment) in
            answer.get("segments").and_then(Value::as_array).into_iter().flatten().enumerate()
        {
            assert_eq!(segment["id"], id);
            number(&segment["end"], segment["start"].as_f64().unwrap()..=2.7);
            number(&segment["seek"], 0.0..=270.0);
            number(&segment["avg_logprob"], -1.0..=0.0);
            number(&segment["no_speech_prob"], 0.0..=1.0);
            number(&segment["compression_ratio"], 0.1..=2.0);
            number(&segment["temperature"], 0.0..=0.0);
            assert!(segment["text"].is_string());
            tokens += segment["tokens"].as_array().unwrap().len();
        }
        assert_eq!(tokens >= 4, segments, "{answer}");
    }
}

#[tokio::test]
async fn a_translation_is_one_or_says_why_not() {
    let server = Server::start(Setup::default()).await;
    let fields: [&[(&str, &str)]; 3] = [&[], &[VERBOSE], &[("response_format", "srt")]];
    for fields in fields {
        let answer = post(&server, TRANSLATIONS, fields).await;
        // The demo model never learned to translate; what it makes of the task is its own affair.
        match answer.status {
            200 if fields.contains(&VERBOSE) => assert_eq!(answer.json()["task"], "translate"),
            200 => {}
            _ => assert_eq!(answer.error(400).0, "transcription_error"),
        }
    }
}

#[tokio::test]
async fn fields_may_come_in_any_order_and_of_any_kind() {
    let server = Server::start(Setup::default()).await;
    let body = [
        part("file", Some("speech"), &recorded(0)),
        part("model", None, b"gpt-4o-transcribe"),
        part("include[]", None, b"logprobs"),
        part("chunking_strategy", None, b"auto"),
        part("binary", None, b"\xff\xfe"),
        part("response_format", None, b"text"),
        super::end(),
    ]
    .concat();
    assert_eq!(post_body(&server, TRANSCRIPTIONS, &body).await.text(), format!("{}\n", SAID[0].1));
}

#[tokio::test]
async fn all_formats_of_audio_are_taken() {
    let server = Server::start(Setup::default()).await;
    for name in ["theo-7309-44k-stereo.mp3", "theo-7309-44k.m4a", "theo-7309-voip.ogg", "theo-7309-opus.webm"]
    {
        let file = std::fs::read(crate::support::root("tests/data").join(name)).unwrap();
        let answer = post_body(&server, TRANSCRIPTIONS, &form(&[], &file)).await;
        assert_eq!(answer.json()["text"], SAID[0].1, "{name}");
    }
}

#[tokio::test]
async fn a_file_beyond_the_memory_for_small_ones_goes_to_disk_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let limits = imesli::serve::limits::Limits { spool_dir: dir.path().to_owned(), ..Default::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    let wav = super::super::long_wav(60);
    assert!(wav.len() > 1 << 20);
    let answer = post_body(&server, TRANSCRIPTIONS, &form(&[VERBOSE], &wav)).await.json();
    number(&answer["duration"], 60.0..=60.0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
