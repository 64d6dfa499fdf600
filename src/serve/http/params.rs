//! What a form asks for: its fields, checked, as the options that all fronts share.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::protocol::{Options, ResponseFormat, TaskName};
use super::refusal::Refusal;
use crate::asr::segment::Timestamps;

/// Which API was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// `/v1/audio/transcriptions`
    Transcriptions,
    /// `/v1/audio/translations`
    Translations,
    /// `/inference`
    Inference,
}

/// `response_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Text,
    Srt,
    VerboseJson,
    Vtt,
}

/// What a form asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Params {
    pub(super) format: Format,
    /// Server-sent events.
    pub(super) stream: bool,
    /// Whether a detailed answer has the segments.
    pub(super) segments: bool,
    /// Whether it has the words.
    pub(super) words: bool,
    pub(super) options: Options,
}

/// The granularities of times, as OpenAI's clients send them, which may do so more than once.
const GRANULARITIES: &str = "timestamp_granularities[]";

/// The fields that mean something; all others are passed over.
const KNOWN: &[&str] = &[
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    GRANULARITIES,
    "stream",
    "translate",
    "orthography",
    "vad",
    "beam_size",
    "max_line_chars",
    "max_lines",
];

/// The field's name, where it is one of [`KNOWN`].
pub(super) fn known(name: &str) -> Option<&'static str> {
    let name = if name == "timestamp_granularities" { GRANULARITIES } else { name };
    KNOWN.iter().copied().find(|known| *known == name)
}

/// Fields by name. Empty ones are as good as absent: forms of web pages send them all.
struct Fields<'a>(&'a [(String, String)]);

impl Fields<'_> {
    /// All values.
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let own = self.0.iter().filter(move |(other, value)| other == name && !value.trim().is_empty());
        own.map(|(_, value)| value.as_str())
    }

    /// The last value.
    fn get(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn number<T: std::str::FromStr>(&self, name: &'static str, what: &str) -> Result<Option<T>, Refusal> {
        let parsed = |text: &str| {
            text.trim().parse().map_err(|_| Refusal::of_field(name, format!("{name}: must be {what}")))
        };
        self.get(name).map(parsed).transpose()
    }

    fn switch(&self, name: &'static str) -> Result<Option<bool>, Refusal> {
        let parsed = |text: &str| match text.trim().to_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Ok(true),
            "false" | "0" | "off" | "no" => Ok(false),
            _ => Err(Refusal::of_field(name, format!("{name}: must be true or false"))),
        };
        self.get(name).map(parsed).transpose()
    }

    /// A word of those that the protocol knows.
    fn word<T: DeserializeOwned>(&self, name: &'static str, words: &str) -> Result<Option<T>, Refusal> {
        let parsed = |text: &str| {
            serde_json::from_value(Value::from(text.trim()))
                .map_err(|_| Refusal::of_field(name, format!("{name}: must be {words}")))
        };
        self.get(name).map(parsed).transpose()
    }
}

/// What the fields ask for; `default` is the server's own setting of the times.
pub(super) fn params(fields: &[(String, String)], api: Api, default: Timestamps) -> Result<Params, Refusal> {
    let fields = Fields(fields);
    let format = format(&fields)?;
    let stream = api != Api::Inference && fields.switch("stream")?.unwrap_or(false);
    if stream && !matches!(format, Format::Json | Format::Text) {
        return Err(Refusal::of_field("stream", "stream: goes with the formats json and text alone"));
    }
    let (segments, words) = match api {
        Api::Transcriptions => granularities(&fields, format)?,
        Api::Translations => (true, false),
        Api::Inference => (true, true),
    };
    let timestamps = match format {
        Format::VerboseJson if words || default == Timestamps::None => Some(Timestamps::Word),
        _ => None,
    };
    let translate = match api {
        Api::Transcriptions => false,
        Api::Translations => true,
        Api::Inference => fields.switch("translate")?.unwrap_or(false),
    };
    let options = Options {
        model: fields.text("model").map(|name| name.trim().to_owned()),
        language: fields
            .text("language")
            .filter(|_| api != Api::Translations)
            .map(|code| code.trim().to_owned()),
        // Said in any case: the checkpoint's own default may be another.
        task: Some(if translate { TaskName::Translate } else { TaskName::Transcribe }),
        prompt: fields.text("prompt"),
        timestamps,
        orthography: fields.word("orthography", "none or kabyle")?,
        beam_size: fields.number("beam_size", "a whole number")?,
        temperature: fields.number("temperature", "a number from 0 to 1")?,
        vad: fields.switch("vad")?.map(Into::into),
        response_format: match format {
            Format::Srt => Some(ResponseFormat::Srt),
            Format::Vtt => Some(ResponseFormat::Vtt),
            Format::Json | Format::Text | Format::VerboseJson => None,
        },
        max_line_chars: fields.number("max_line_chars", "a whole number")?,
        max_lines: fields.number("max_lines", "a whole number")?,
    };
    Ok(Params { format, stream, segments, words, options })
}

fn format(fields: &Fields<'_>) -> Result<Format, Refusal> {
    match fields.get("response_format").map(str::trim) {
        None | Some("json") => Ok(Format::Json),
        Some("text") => Ok(Format::Text),
        Some("srt") => Ok(Format::Srt),
        Some("verbose_json") => Ok(Format::VerboseJson),
        Some("vtt") => Ok(Format::Vtt),
        Some(_) => {
            let message = "response_format: must be json, text, srt, verbose_json or vtt";
            Err(Refusal::of_field("response_format", message))
        }
    }
}

/// Whether segments, and whether words are asked for.
fn granularities(fields: &Fields<'_>, format: Format) -> Result<(bool, bool), Refusal> {
    let wrong = |message: &str| Err(Refusal::of_field(GRANULARITIES, format!("{GRANULARITIES}: {message}")));
    let (mut segments, mut words) = (false, false);
    for value in fields.all(GRANULARITIES) {
        match value.trim() {
            "segment" => segments = true,
            "word" => words = true,
            _ => return wrong("must be word or segment"),
        }
    }
    match (segments || words, format) {
        (false, _) => Ok((true, false)),
        (true, Format::VerboseJson) => Ok((segments, words)),
        (true, _) => wrong("goes with the format verbose_json alone"),
    }
}

#[cfg(test)]
#[path = "params_tests.rs"]
mod tests;
