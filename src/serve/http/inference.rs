//! A transcript in the formats of whisper.cpp's server, version 1.8 (`examples/server/server.cpp`).

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::job::rounded;
use super::answer::{self, Heard, put};
use super::detail;
use super::params::{Format, Params};
use crate::asr::model;
use crate::asr::segment::Segment;
use crate::asr::timing::TimedWord;

/// Languages that are less likely are not named.
const LIKELY: f32 = 0.001;

/// The answer.
pub(super) fn answer(params: &Params, heard: &Heard<'_>) -> Response {
    answer::plain(params.format, heard).unwrap_or_else(|| match params.format {
        Format::VerboseJson => answer::json(&verbose(heard)),
        _ => answer::json(&json!({ "text": heard.transcript().text })),
    })
}

fn verbose(heard: &Heard<'_>) -> Value {
    let transcript = heard.transcript();
    let tokens = detail::tokens(transcript);
    let segments = transcript.segments.iter().zip(tokens).enumerate();
    let segments: Vec<Value> = segments.map(|(id, (one, tokens))| segment(id, one, &tokens, heard)).collect();
    let mut answer = json!({
        "task": heard.task(),
        "language": heard.language(),
        "duration": rounded(transcript.duration),
        "text": transcript.text,
        "segments": segments,
    });
    if let Some((code, probability)) = transcript.languages.first() {
        let all = transcript.languages.iter().filter(|(_, p)| *p > LIKELY);
        let all = all.map(|(code, p)| (code.clone(), json!(probable(*p))));
        put(&mut answer, "detected_language", json!(model::language_name(code).unwrap_or(code)));
        put(&mut answer, "detected_language_probability", json!(probable(*probability)));
        put(&mut answer, "language_probabilities", Value::Object(all.collect::<Map<String, Value>>()));
    }
    answer
}

fn segment(id: usize, segment: &Segment, tokens: &[u32], heard: &Heard<'_>) -> Value {
    let transcript = heard.transcript();
    json!({
        "id": id,
        "text": segment.text,
        "start": rounded(segment.start),
        "end": rounded(segment.end),
        "tokens": tokens,
        "words": segment.words.iter().map(word).collect::<Vec<Value>>(),
        "temperature": rounded(f64::from(heard.temperature)),
        "avg_logprob": rounded(detail::mean_log_prob(segment, transcript)),
        "no_speech_prob": rounded(detail::no_speech(segment, transcript)),
    })
}

/// A word; there it is a token.
fn word(word: &TimedWord) -> Value {
    json!({
        "word": word.text,
        "start": rounded(word.start),
        "end": rounded(word.end),
        "probability": probable(word.probability),
    })
}

fn probable(probability: f32) -> f64 {
    rounded(f64::from(probability))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)] // A test may fail by panicking.
    use std::time::Duration;

    use super::super::super::job::Outcome;
    use super::*;
    use crate::asr::recognizer::Task;
    use crate::asr::transcriber::Transcript;

    #[test]
    fn a_language_that_was_judged_is_named_with_those_that_are_likely() {
        let languages =
            [("kab", 0.75), ("fr", 0.2495), ("en", 0.0005)].map(|(code, p)| (code.to_owned(), p)).to_vec();
        let word = TimedWord { text: " azul".to_owned(), start: 0.0, end: 0.5, probability: 0.25 };
        let one = Segment { start: 0.0, end: 0.5, text: "azul".to_owned(), words: vec![word] };
        let language = Some("kab".to_owned());
        let transcript = Transcript { language, languages, segments: vec![one], ..Transcript::default() };
        let (load, waited, took) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let outcome = Outcome { transcript, formatted: None, load, waited, took };
        let answer = verbose(&Heard { outcome: &outcome, temperature: 0.0, task: Task::Translate });
        assert_eq!((&answer["task"], &answer["language"]), (&json!("translate"), &json!("kab")));
        assert_eq!(answer["detected_language"], "kab");
        assert_eq!(answer["language_probabilities"], json!({ "kab": 0.75, "fr": 0.25 }));
        let word = json!({ "word": " azul", "start": 0.0, "end": 0.5, "probability": 0.25 });
        assert_eq!(answer["segments"][0]["words"], json!([word]));
        let outcome = Outcome { transcript: Transcript::default(), formatted: None, load, waited, took };
        let answer = verbose(&Heard { outcome: &outcome, temperature: 0.0, task: Task::Transcribe });
        assert!(answer.get("detected_language").is_none());
    }
}
