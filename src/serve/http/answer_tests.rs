#![allow(clippy::indexing_slicing)] // A test may fail by panicking.
use std::time::Duration;

use super::*;
use crate::serve::protocol::Options;

fn outcome() -> Outcome {
    let word = |text: &str, start, end| TimedWord { text: text.to_owned(), start, end, probability: 0.5 };
    let segments = vec![Segment {
        start: 0.25,
        end: 1.75,
        text: "seven three".to_owned(),
        words: vec![word("seven", 0.25, 0.9), word(" three", 1.0, 1.75)],
    }];
    let transcript = Transcript {
        text: "seven three".to_owned(),
        language: Some("en".to_owned()),
        duration: 2.00049,
        segments,
        tokens: vec![vec![7, 3]],
        token_times: vec![vec![0.25..0.9, 1.0..1.75]],
        languages: vec![("en".to_owned(), 0.75), ("fr".to_owned(), 0.25)],
        speech: Some(vec![std::ops::Range { start: 0.25, end: 1.75 }]),
        ..Transcript::default()
    };
    let (load, waited, took) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    Outcome { transcript, formatted: Some("1\n".to_owned()), load, waited, took }
}

fn asked(segments: bool, words: bool) -> Params {
    Params { format: Format::VerboseJson, stream: false, segments, words, options: Options::default() }
}

#[test]
fn a_short_answer_has_text_and_usage() {
    let expected = json!({ "text": "seven three", "usage": { "type": "duration", "seconds": 2.0 } });
    assert_eq!(short(&outcome().transcript), expected);
}

#[test]
fn a_detailed_answer_has_all_that_openai_s_clients_read() {
    let outcome = outcome();
    let heard = Heard { outcome: &outcome, temperature: 0.2, task: Task::Transcribe };
    let mut answer = verbose(&asked(true, true), &heard);
    let segment = answer["segments"][0].take();
    let expected = json!({
        "task": "transcribe", "language": "english", "duration": 2.0, "text": "seven three",
        "usage": { "type": "duration", "seconds": 2.0 },
        "segments": [null],
        "words": [{ "word": "seven", "start": 0.25, "end": 0.9 }, { "word": "three", "start": 1.0, "end": 1.75 }],
    });
    assert_eq!(answer, expected);
    let expected = json!({
        "id": 0, "seek": 25, "start": 0.25, "end": 1.75, "text": "seven three", "tokens": [7, 3],
        "temperature": 0.2, "avg_logprob": -0.693, "compression_ratio": 0.579, "no_speech_prob": 0.0,
    });
    assert_eq!(segment, expected);
}

#[test]
fn only_what_was_asked_for_is_there() {
    let outcome = outcome();
    let heard = Heard { outcome: &outcome, temperature: 0.0, task: Task::Translate };
    let has = |segments, words| {
        let answer = verbose(&asked(segments, words), &heard);
        assert_eq!((&answer["task"], &answer["language"]), (&json!("translate"), &json!("english")));
        (answer.get("segments").is_some(), answer.get("words").is_some())
    };
    for wanted in [(true, false), (false, true), (true, true)] {
        assert_eq!(has(wanted.0, wanted.1), wanted);
    }
}

#[test]
fn a_language_without_a_name_goes_by_its_code() {
    let mut outcome = outcome();
    for (code, name) in [(Some("kab"), "kab"), (Some("fr"), "french"), (None, "english")] {
        outcome.transcript.language = code.map(str::to_owned);
        let heard = Heard { outcome: &outcome, temperature: 0.0, task: Task::Transcribe };
        assert_eq!(heard.language(), name);
    }
}
