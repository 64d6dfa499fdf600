//! The text of a message to what it asks for.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::json;
use super::protocol::{ClientMessage, Code, Id, Options};

/// Reads one message. The failure names the field, and the audio when that much could be read.
pub(super) fn parse(text: &str) -> Result<ClientMessage, Failure> {
    let value = json::read(text)
        .map_err(|error| Failure::new(Code::InvalidJson, format!("Invalid JSON: {error}")))?;
    let Value::Object(fields) = value else {
        return Err(Failure::new(Code::InvalidJson, "Invalid JSON: a message is an object"));
    };
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "audio" => {
            let audio_id = fields.get("audio_id").and_then(|id| Id::deserialize(id).ok());
            let wrong = |failure| Failure { audio_id: audio_id.clone(), ..failure };
            let options = options(&fields).map_err(wrong)?;
            Ok(ClientMessage::Audio(typed(fields, Code::MessageProcessingError).map_err(wrong)?, options))
        }
        "auth" => Ok(ClientMessage::Auth(typed(fields, Code::MessageProcessingError)?)),
        "ping" => Ok(ClientMessage::Ping),
        "status" => Ok(ClientMessage::Status),
        "device_info" => Ok(ClientMessage::DeviceInfo(fields)),
        "upload_start" => {
            let required = ["upload_id", "file_name", "file_size", "total_chunks"];
            has(&fields, Code::MissingUploadParams, &required)?;
            let options = options(&fields)?;
            Ok(ClientMessage::UploadStart(typed(fields, Code::UploadStartError)?, options))
        }
        "upload_chunk" => {
            has(&fields, Code::MissingChunkParams, &["upload_id", "chunk_index", "chunk_data"])?;
            Ok(ClientMessage::UploadChunk(typed(fields, Code::UploadChunkError)?))
        }
        "upload_complete" => {
            has(&fields, Code::MissingUploadId, &["upload_id"])?;
            let options = options(&fields)?;
            Ok(ClientMessage::UploadComplete(typed(fields, Code::UploadCompleteError)?, options))
        }
        "upload_error" => Ok(ClientMessage::UploadError(typed(fields, Code::MessageProcessingError)?)),
        "stream_start" => {
            let options = options(&fields)?;
            Ok(ClientMessage::StreamStart(typed(fields, Code::StreamStartError)?, options))
        }
        "stream_audio" => Ok(ClientMessage::StreamAudio(typed(fields, Code::MessageProcessingError)?)),
        "stream_flush" => Ok(ClientMessage::StreamFlush(typed(fields, Code::MessageProcessingError)?)),
        "stream_stop" => Ok(ClientMessage::StreamStop),
        "" => Err(Failure::new(Code::UnknownMessageType, "Unknown message type: `type` is missing")),
        other => {
            let name: String = other.chars().take(64).collect();
            Err(Failure::new(Code::UnknownMessageType, format!("Unknown message type: {name}")))
        }
    }
}

/// Whether all of these fields are there; `null` is as good as nothing.
fn has(fields: &Map<String, Value>, code: Code, names: &[&str]) -> Result<(), Failure> {
    let missing: Vec<_> =
        names.iter().copied().filter(|name| fields.get(*name).is_none_or(Value::is_null)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(code, format!("Missing: {}", missing.join(", "))))
}

/// The fields of [`Options`].
const OPTIONS: [&str; 12] = [
    "model",
    "language",
    "task",
    "prompt",
    "timestamps",
    "orthography",
    "beam_size",
    "temperature",
    "vad",
    "response_format",
    "max_line_chars",
    "max_lines",
];

/// Bytes of the longest name of a model.
const MAX_MODEL_BYTES: usize = 1024;
/// Bytes of the longest name of a language.
const MAX_LANGUAGE_BYTES: usize = 256;
/// Bytes of the longest prompt: of 223 tokens, as many as the model takes, each could have 293.
const MAX_PROMPT_BYTES: usize = 64 << 10;

/// The options of a message: fields of its own or, without doubt about what is one, in an object `options`, where an
/// unknown name is an error. Beside the audio it is not: who knows what else clients send.
fn options(fields: &Map<String, Value>) -> Result<Options, Failure> {
    let wrong = |message| Failure::new(Code::MessageProcessingError, message);
    let inner = match fields.get("options") {
        Some(Value::Object(inner)) => Some(inner),
        None | Some(Value::Null) => None,
        Some(_) => return Err(wrong("options: must be an object".to_owned())),
    };
    if let Some(name) = inner.into_iter().flat_map(Map::keys).find(|name| !OPTIONS.contains(&name.as_str())) {
        let name: String = name.chars().take(64).collect();
        return Err(wrong(format!(
            "options.{name}: there is no such option; there are {}",
            OPTIONS.join(", ")
        )));
    }
    // From a copy of these fields alone: the audio beside them may be long.
    let find = |name: &str| inner.and_then(|inner| inner.get(name)).or_else(|| fields.get(name)).cloned();
    let some = OPTIONS.iter().filter_map(|name| Some(((*name).to_owned(), find(name)?)));
    let options: Options = typed(some.collect(), Code::MessageProcessingError)?;
    // They are kept for as long as the audio waits.
    let is_long = |text: &Option<String>, most| text.as_ref().is_some_and(|text| text.len() > most);
    if is_long(&options.model, MAX_MODEL_BYTES) {
        return Err(wrong("model: there is none with so long a name".to_owned()));
    }
    if is_long(&options.language, MAX_LANGUAGE_BYTES) {
        return Err(wrong("language: there is none with so long a name".to_owned()));
    }
    if is_long(&options.prompt, MAX_PROMPT_BYTES) {
        return Err(wrong(format!("prompt: may have {MAX_PROMPT_BYTES} bytes at most; only its end counts")));
    }
    Ok(options)
}

fn typed<T: DeserializeOwned>(fields: Map<String, Value>, code: Code) -> Result<T, Failure> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let field = error.path().to_string();
        let inner = error.into_inner();
        let message = if field == "." { inner.to_string() } else { format!("{field}: {inner}") };
        Failure::new(code, message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;
    use crate::asr::switch::Switch;

    fn code(text: &str) -> (Code, String) {
        let failure = parse(text).unwrap_err();
        (failure.code, failure.message)
    }

    #[test]
    fn fields_that_nobody_knows_are_ignored() {
        let message = parse(r#"{"type":"audio","audio_data":"","file_name":7,"colour":"red"}"#).unwrap();
        let ClientMessage::Audio(audio, options) = message else { panic!("{message:?}") };
        assert_eq!((audio.audio_data.as_str(), audio.format, audio.audio_id), ("", None, None));
        assert_eq!(options, Options::default());
    }

    #[test]
    fn options_may_stand_in_an_object_where_names_are_checked() {
        let text = r#"{"type":"audio","audio_data":"","options":{"model":"kab"},"model":"eng"}"#;
        let ClientMessage::Audio(_, options) = parse(text).unwrap() else { panic!("{text}") };
        assert_eq!(options.model.as_deref(), Some("kab"));
        let text =
            r#"{"type":"audio","audio_data":"","beam_size":1,"options":{"beam_size":2,"temperature":0.5}}"#;
        let ClientMessage::Audio(_, options) = parse(text).unwrap() else { panic!("{text}") };
        assert_eq!((options.beam_size, options.temperature), (Some(2), Some(0.5)));
        let (code, message) = code(r#"{"type":"audio","audio_data":"","options":{"temprature":1}}"#);
        assert_eq!(code, Code::MessageProcessingError);
        assert!(message.contains("temprature"), "{message}");
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let text = r#"{"type":"audio","audio_data":"","audio_id":null,"language":null,"timestamps":null}"#;
        assert!(parse(text).is_ok());
        assert_eq!(code(r#"{"type":"upload_complete","upload_id":null}"#).0, Code::MissingUploadId);
    }

    #[test]
    fn voice_activity_is_on_or_off_in_either_way() {
        for (written, wanted) in [
            ("true", Switch::On),
            ("\"auto\"", Switch::On),
            ("\"on\"", Switch::On),
            ("false", Switch::Off),
            ("\"off\"", Switch::Off),
        ] {
            let message = parse(&format!(r#"{{"type":"audio","audio_data":"","vad":{written}}}"#)).unwrap();
            let ClientMessage::Audio(_, options) = message else { panic!("{message:?}") };
            assert_eq!(options.vad, Some(wanted), "{written}");
        }
    }

    #[test]
    fn numbers_are_names_too() {
        let message = parse(r#"{"type":"upload_complete","upload_id":7}"#).unwrap();
        let ClientMessage::UploadComplete(complete, _) = message else { panic!("{message:?}") };
        assert_eq!(complete.upload_id, Id::Number(7.into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, wanted, named) in [
            ("{", Code::InvalidJson, "line 1"),
            ("[]", Code::InvalidJson, "object"),
            ("{}", Code::UnknownMessageType, "type"),
            (r#"{"type":"fly"}"#, Code::UnknownMessageType, "fly"),
            (r#"{"type":7}"#, Code::UnknownMessageType, "type"),
            (r#"{"type":"audio"}"#, Code::MessageProcessingError, "audio_data"),
            (r#"{"type":"audio","audio_data":7}"#, Code::MessageProcessingError, "audio_data"),
            (r#"{"type":"audio","audio_data":"","task":"sing"}"#, Code::MessageProcessingError, "task"),
            (
                r#"{"type":"audio","audio_data":"","orthography":"latin"}"#,
                Code::MessageProcessingError,
                "orthography",
            ),
            (r#"{"type":"audio","audio_data":"","beam_size":-1}"#, Code::MessageProcessingError, "beam_size"),
            (
                r#"{"type":"audio","audio_data":"","temperature":"hot"}"#,
                Code::MessageProcessingError,
                "temperature",
            ),
            (r#"{"type":"audio","audio_data":"","options":7}"#, Code::MessageProcessingError, "options"),
            (r#"{"type":"audio","audio_data":"","vad":"maybe"}"#, Code::MessageProcessingError, "vad"),
            (r#"{"type":"audio","audio_data":"","vad":1}"#, Code::MessageProcessingError, "vad"),
            (r#"{"type":"stream_start","encoding":"opus"}"#, Code::StreamStartError, "encoding"),
            (r#"{"type":"stream_start","sample_rate":-1}"#, Code::StreamStartError, "sample_rate"),
            (
                r#"{"type":"stream_start","resume":{"stream_id":"a"}}"#,
                Code::StreamStartError,
                "received_samples",
            ),
            (r#"{"type":"stream_start","task":"sing"}"#, Code::MessageProcessingError, "task"),
            (r#"{"type":"auth"}"#, Code::MessageProcessingError, "key"),
            (r#"{"type":"stream_audio"}"#, Code::MessageProcessingError, "audio_data"),
            (r#"{"type":"upload_start","upload_id":"a"}"#, Code::MissingUploadParams, "file_name"),
            (
                format!(r#"{{"type":"ping","x":[{}]}}"#, ["0"; 20_000].join(",")).as_str(),
                Code::InvalidJson,
                "too many",
            ),
            (
                format!(r#"{{"type":"upload_complete","upload_id":"{}"}}"#, "x".repeat(2000)).as_str(),
                Code::UploadCompleteError,
                "1024",
            ),
            (r#"{"type":"audio","audio_data":"","model":7}"#, Code::MessageProcessingError, "model"),
            (
                format!(r#"{{"type":"stream_start","model":"{}"}}"#, "x".repeat(2000)).as_str(),
                Code::MessageProcessingError,
                "model",
            ),
            (
                format!(r#"{{"type":"stream_start","language":"{}"}}"#, "x".repeat(2000)).as_str(),
                Code::MessageProcessingError,
                "language",
            ),
            (
                format!(r#"{{"type":"stream_start","prompt":"{}"}}"#, "x".repeat(70_000)).as_str(),
                Code::MessageProcessingError,
                "prompt",
            ),
            (r#"{"type":"upload_chunk","upload_id":"a"}"#, Code::MissingChunkParams, "chunk_index"),
            (r#"{"type":"upload_complete"}"#, Code::MissingUploadId, "upload_id"),
        ] {
            let (code, message) = code(text);
            assert_eq!(code, wanted, "{text}");
            assert!(message.contains(named), "{text}: {message}");
        }
    }

    #[test]
    fn an_error_says_which_audio_when_it_knows() {
        let failure = parse(r#"{"type":"audio","audio_id":"a1"}"#).unwrap_err();
        assert_eq!(failure.audio_id, Some(Id::Text("a1".into())));
    }
}
