//! What goes over the broker: windows, and what was heard in them. MessagePack, with names. Pure.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::audio::Encoding;
use crate::asr::backend::Urgency;
use crate::asr::recognizer::{DecodeOptions, Heard};
use crate::error::{Error, Result};

/// A window that is to be heard.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JobMessage {
    /// Its own; a repeat has the same.
    pub(super) id: String,
    /// Who waits for it.
    pub(super) door: String,
    /// How long it can wait.
    pub(super) urgency: Urgency,
    /// How to decode it.
    pub(super) options: DecodeOptions,
    /// How many samples it has, 16 kHz mono.
    pub(super) samples: usize,
    /// How they are written down.
    pub(super) encoding: Encoding,
    /// Where they are.
    pub(super) audio: Audio,
}

/// Where the samples of a window are.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Audio {
    /// In the message.
    Here(#[serde(with = "serde_bytes")] Vec<u8>),
    /// In the bucket of audio, under the job's id: too large for a message.
    Stored,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ResultMessage {
    /// That of the job.
    pub(super) id: String,
    /// Who heard it.
    pub(super) worker: String,
    /// What was heard, or why nothing was.
    pub(super) outcome: std::result::Result<Heard, Fault>,
}

/// An [`Error`] on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    InvalidInput,
    TooLarge,
    Unsupported,
    Overloaded,
    Unavailable,
    Cancelled,
    Internal,
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let kind = match error {
            Error::InvalidInput(_) => Kind::InvalidInput,
            Error::TooLarge(_) => Kind::TooLarge,
            Error::Unsupported(_) => Kind::Unsupported,
            Error::Overloaded(_) => Kind::Overloaded,
            Error::Unavailable(_) => Kind::Unavailable,
            Error::Cancelled => Kind::Cancelled,
            Error::Internal { .. } => Kind::Internal,
        };
        Self { kind, message: error.to_string() }
    }
}

impl Fault {
    /// The error again, as seen from here: a worker that goes away is no server that does.
    pub(super) fn error(self, worker: &str) -> Error {
        match self.kind {
            Kind::InvalidInput => Error::InvalidInput(self.message),
            Kind::TooLarge => Error::TooLarge(self.message),
            Kind::Unsupported => Error::Unsupported(self.message),
            Kind::Overloaded | Kind::Unavailable => Error::Overloaded(self.message),
            Kind::Cancelled => Error::Cancelled,
            Kind::Internal => Error::internal(format!("at worker {worker}: {}", self.message)),
        }
    }

    /// What it says.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Whether another try may do better.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Overloaded | Kind::Unavailable | Kind::Internal)
    }
}

/// A job that nobody could do: what is kept of it, which is neither audio nor text. JSON, for people.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeadLetter {
    pub(super) job: Option<String>,
    pub(super) door: Option<String>,
    pub(super) model: String,
    pub(super) reason: String,
    /// How often it was begun.
    pub(super) deliveries: i64,
    /// Who gave it up.
    pub(super) worker: String,
    /// Seconds of audio, where they are known.
    pub(super) seconds: Option<f64>,
}

/// A message's bytes.
///
/// # Errors
/// [`Error::Internal`], for types that have no such form.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(message).map_err(|error| Error::internal_from("writing a message", error))
}

/// A message of its bytes.
///
/// # Errors
/// [`Error::InvalidInput`] for what is none: broken, or of another version.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    rmp_serde::from_slice(bytes).map_err(|error| Error::InvalidInput(format!("a broken message: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use std::time::Duration;

    use super::*;
    use crate::asr::audio_context::{AudioContext, Margin};
    use crate::asr::model::Head;
    use crate::asr::recognizer::{Language, Piece, Task, TokenTimes};
    use crate::asr::search::{Hypothesis, SearchOptions};
    use crate::asr::timing::TimeSource;

    #[test]
    fn a_job_arrives_as_it_was_sent() {
        let options = DecodeOptions {
            language: Language::Token(50_300),
            task: Task::Translate,
            timestamps: Some(None),
            prompt: vec![1, 2],
            prefix: vec![3],
            suppress: vec![4],
            begin_suppress: vec![],
            search: SearchOptions::default(),
            alignment: Some([Head { layer: 1, head: 2 }].into()),
            loop_guard: true,
            audio_context: AudioContext::Margin(Margin { seconds: 0.1, min_log_prob: Some(-0.3) }),
        };
        let audio = vec![0, 255, 128];
        let job = JobMessage {
            id: "i".into(),
            door: "d".into(),
            urgency: Urgency::Phrase,
            options: options.clone(),
            samples: 3,
            encoding: Encoding::S16 { step: 0.3 },
            audio: Audio::Here(audio.clone()),
        };
        let back: JobMessage = decode(&encode(&job).unwrap()).unwrap();
        assert_eq!((back.options, back.encoding, back.urgency), (options, job.encoding, Urgency::Phrase));
        assert!(matches!(back.audio, Audio::Here(bytes) if bytes == audio));
    }

    #[test]
    fn what_was_heard_arrives_to_the_last_bit() {
        let hypothesis = Hypothesis {
            tokens: vec![1],
            log_probs: vec![-0.123_456_79, f32::NEG_INFINITY],
            sum_log_prob: f32::MIN_POSITIVE,
            ended: true,
        };
        let times = TokenTimes { times: vec![0.1..0.300_000_000_000_000_04], source: TimeSource::Estimate };
        let heard = Heard {
            pieces: vec![Piece { range: 0..5, hypothesis, looped: false, times: Some(times) }],
            language: Some(7),
            languages: vec![(7, 0.1 + 0.2)],
            encode: Duration::from_nanos(12_345_678_901),
            pauses: vec![1..2, 4..5],
            decode: Duration::ZERO,
            align: Duration::ZERO,
            heard_twice: 1,
        };
        let sent = ResultMessage { id: "i".into(), worker: "w".into(), outcome: Ok(heard.clone()) };
        let back: ResultMessage = decode(&encode(&sent).unwrap()).unwrap();
        assert_eq!(back.outcome, Ok(heard));
    }

    #[test]
    fn errors_arrive_as_what_they_are() {
        for (error, transient) in [
            (Error::InvalidInput("no such language".into()), false),
            (Error::TooLarge("too long".into()), false),
            (Error::Cancelled, false),
            (Error::internal("out of memory"), true),
        ] {
            let fault = Fault::from(&error);
            assert_eq!(fault.is_transient(), transient);
            let back = fault.error("w");
            assert_eq!(std::mem::discriminant(&back), std::mem::discriminant(&error));
        }
        // The door goes on, so its clients are not told that the server shuts down.
        let leaving = Fault::from(&Error::Unavailable("shutting down".into())).error("w");
        assert!(matches!(leaving, Error::Overloaded(_)));
    }

    #[test]
    fn what_is_broken_is_refused() {
        for bytes in [&b""[..], b"\x81", b"{}", b"\xdf\xff\xff\xff\xff", &[0x91; 2000]] {
            assert!(matches!(decode::<JobMessage>(bytes), Err(Error::InvalidInput(_))));
        }
    }
}
