//! What the messages of live audio hold. docs/live.md has the whole of it.

use serde::{Deserialize, Serialize};

use super::Id;
use crate::audio::pcm::Encoding;

/// `stream_start`.
#[derive(Debug, PartialEq, Default, Deserialize)]
pub struct StreamStart {
    /// A fresh one when absent.
    pub stream_id: Option<Id>,
    /// How a sample is written.
    pub encoding: Option<Encoding>,
    /// Hz.
    pub sample_rate: Option<u32>,
    /// Channels, interleaved.
    pub channels: Option<usize>,
    /// Whether there is text while a phrase goes on.
    pub partials: Option<bool>,
    /// The silence that ends a phrase.
    pub silence_ms: Option<u32>,
    /// No silence ends a phrase before it is so long.
    pub min_phrase_ms: Option<u32>,
    /// A longer phrase is ended between two words.
    pub max_phrase_ms: Option<u32>,
    /// A stream to go on with, instead of all these.
    pub resume: Option<StreamResume>,
}

/// `resume` of `stream_start`.
#[derive(Debug, PartialEq, Deserialize)]
pub struct StreamResume {
    /// Which stream.
    pub stream_id: Id,
    /// The client has the audio from this sample on.
    pub received_samples: u64,
    /// The client has so many segments. All, when absent.
    pub received_segments: Option<usize>,
}

/// `stream_audio`.
#[derive(Debug, PartialEq, Deserialize)]
pub struct StreamAudio {
    /// What a binary frame would hold, in base64.
    pub audio_data: String,
}

/// `stream_flush`.
#[derive(Debug, PartialEq, Deserialize)]
pub struct StreamFlush {
    /// Comes back with the answer.
    pub flush_id: Option<Id>,
}

/// What `data` says of a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamData {
    /// Which: the `audio_id`.
    pub stream_id: Id,
    /// Audio is wanted from this sample on.
    pub next_sample: u64,
    /// Whether it goes on after a broken connection.
    pub resumed: bool,
}

/// `partial`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Partial {
    /// Which stream.
    pub stream_id: Id,
    /// 1, 2, 3, … over the whole stream.
    pub seq: u64,
    /// Text that is new and stays.
    pub committed: String,
    /// What may follow, for now.
    pub volatile: String,
    /// Where the phrase begins, in seconds from the start of the stream.
    pub start: f64,
    /// Up to where text is committed.
    pub committed_end: f64,
    /// Up to where audio was looked at.
    pub end: f64,
    /// Samples that the server has, at the stream's own rate.
    pub received_samples: u64,
    /// Whether `committed` is all of it from the start of the stream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_start: bool,
}
