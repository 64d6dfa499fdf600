//! A transcript in the formats of OpenAI's API.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::job::{Outcome, rounded};
use super::detail;
use super::params::{Format, Params};
use crate::asr::model;
use crate::asr::recognizer::Task;
use crate::asr::segment::Segment;
use crate::asr::timing::TimedWord;
use crate::asr::transcriber::Transcript;

/// What was heard, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard<'a> {
    pub(super) outcome: &'a Outcome,
    pub(super) temperature: f32,
    pub(super) task: Task,
}

impl<'a> Heard<'a> {
    pub(super) fn transcript(&self) -> &'a Transcript {
        &self.outcome.transcript
    }

    /// Whisper's English name of the language, or the code where it has none.
    pub(super) fn language(&self) -> &'a str {
        let code = self.transcript().language.as_deref().unwrap_or("en");
        model::language_name(code).unwrap_or(code)
    }

    /// `task` of a detailed answer.
    pub(super) fn task(&self) -> &'static str {
        match self.task {
            Task::Transcribe => "transcribe",
            Task::Translate => "translate",
        }
    }
}

/// Adds a field to an object.
pub(super) fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// A body of JSON.
pub(super) fn json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// The file or text of the formats that are none of JSON.
pub(super) fn plain(format: Format, heard: &Heard<'_>) -> Option<Response> {
    let file = || heard.outcome.formatted.clone().unwrap_or_default();
    let (kind, body) = match format {
        Format::Json | Format::VerboseJson => return None,
        Format::Text => ("text/plain; charset=utf-8", format!("{}\n", heard.transcript().text)),
        Format::Srt => ("application/x-subrip; charset=utf-8", file()),
        Format::Vtt => ("text/vtt; charset=utf-8", file()),
    };
    let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, kind)];
    Some((headers, body).into_response())
}

/// The answer.
pub(super) fn answer(params: &Params, heard: &Heard<'_>) -> Response {
    plain(params.format, heard).unwrap_or_else(|| match params.format {
        Format::VerboseJson => json(&verbose(params, heard)),
        _ => json(&short(heard.transcript())),
    })
}

fn short(transcript: &Transcript) -> Value {
    json!({ "text": transcript.text, "usage": usage(transcript) })
}

/// What OpenAI's customers pay for.
fn usage(transcript: &Transcript) -> Value {
    json!({ "type": "duration", "seconds": rounded(transcript.duration) })
}

fn verbose(params: &Params, heard: &Heard<'_>) -> Value {
    let transcript = heard.transcript();
    let mut answer = json!({
        "task": heard.task(),
        // A translation is English, whatever was spoken.
        "language": if heard.task == Task::Translate { "english" } else { heard.language() },
        "duration": rounded(transcript.duration),
        "text": transcript.text,
        "usage": usage(transcript),
    });
    if params.segments {
        let tokens = detail::tokens(transcript);
        let segments = transcript.segments.iter().zip(tokens).enumerate();
        put(
            &mut answer,
            "segments",
            segments.map(|(id, (one, tokens))| segment(id, one, &tokens, heard)).collect(),
        );
    }
    if params.words {
        let words = transcript.segments.iter().flat_map(|segment| &segment.words);
        put(&mut answer, "words", words.map(word).collect());
    }
    answer
}

fn segment(id: usize, segment: &Segment, tokens: &[u32], heard: &Heard<'_>) -> Value {
    let transcript = heard.transcript();
    json!({
        "id": id,
        // Where the segment begins, in steps of 10 ms: which window it was heard in is not kept.
        "seek": (segment.start * 100.0).round() as u64,
        "start": rounded(segment.start),
        "end": rounded(segment.end),
        "text": segment.text,
        "tokens": tokens,
        "temperature": rounded(f64::from(heard.temperature)),
        "avg_logprob": rounded(detail::mean_log_prob(segment, transcript)),
        "compression_ratio": rounded(detail::compression_ratio(&segment.text)),
        "no_speech_prob": rounded(detail::no_speech(segment, transcript)),
    })
}

fn word(word: &TimedWord) -> Value {
    json!({ "word": word.text.trim(), "start": rounded(word.start), "end": rounded(word.end) })
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
