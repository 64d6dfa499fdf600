//! What goes over the wire, as serde types. Fields that this client does not need are left out, and
//! messages that it does not know are passed over: the protocol may grow.

use serde::{Deserialize, Serialize};

use crate::asr::segment::Timestamps;
use crate::asr::switch::Switch;
use crate::asr::timing::{TimeSource, TimedWord};
use crate::text::Orthography;

/// What the client may ask for beyond the words; the server's defaults where it is silent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Options {
    /// A language's code, or `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// `transcribe` or `translate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<&'static str>,
    /// The times of segments or of words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<Timestamps>,
    /// The spelling that the text is brought to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orthography: Option<Orthography>,
    /// Sequences that the search keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beam_size: Option<u8>,
    /// Text that the model takes for what was said before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Above 0, tokens are drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Whether stretches without speech are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vad: Option<Switch>,
}

/// From the client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Outgoing<'a> {
    Audio {
        audio_id: &'a str,
        file_name: &'a str,
        format: &'static str,
        audio_data: String,
        #[serde(flatten)]
        options: &'a Options,
    },
    UploadStart {
        upload_id: &'a str,
        file_name: &'a str,
        file_size: u64,
        total_chunks: u64,
        chunk_size: u64,
        /// Keep what is there of this upload already.
        resume: bool,
        #[serde(flatten)]
        options: &'a Options,
    },
    UploadChunk {
        upload_id: &'a str,
        chunk_index: u64,
        chunk_data: String,
        is_final_chunk: bool,
    },
    UploadComplete {
        upload_id: &'a str,
        file_name: &'a str,
    },
}

/// From the server.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Incoming {
    State {
        state: String,
        #[serde(default)]
        data: Option<StateData>,
    },
    Transcription {
        audio_id: String,
        #[serde(flatten)]
        answer: Answer,
    },
    Error {
        code: String,
        message: String,
        #[serde(default)]
        audio_id: Option<String>,
        #[serde(default)]
        upload_id: Option<String>,
    },
    UploadProgress {
        upload_id: String,
        #[serde(default)]
        received_chunks: Option<Vec<u64>>,
    },
    UploadComplete {},
    #[serde(other)]
    Other,
}

/// What a state may carry.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StateData {
    /// Percent of the audio that is decoded.
    #[serde(default)]
    pub(super) progress: Option<f64>,
}

/// A transcript, as the server tells it: of an older server the text alone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Answer {
    /// The whole text.
    #[serde(rename = "transcription")]
    pub text: String,
    /// The same as the model wrote it, where its spelling was changed.
    #[serde(default)]
    pub raw_transcription: Option<String>,
    /// The language's code.
    #[serde(default)]
    pub language: Option<String>,
    /// Where times were asked for, those that there are.
    #[serde(default)]
    pub timestamps: Option<Timestamps>,
    /// Where the times of words come from.
    #[serde(default)]
    pub word_times: Option<TimeSource>,
    /// Seconds of audio in the file.
    #[serde(default)]
    pub duration: Option<f64>,
    /// Seconds of it that were decoded.
    #[serde(default)]
    pub decoded: Option<f64>,
    /// Seconds in which somebody speaks.
    #[serde(default)]
    pub speech_duration: Option<f64>,
    /// What was not decoded.
    #[serde(default)]
    pub skipped: Option<Vec<AnswerSkipped>>,
    /// Stretches of the text with their times.
    #[serde(default)]
    pub segments: Vec<AnswerSegment>,
    /// Windows in which the model came to no end.
    #[serde(default)]
    pub unended: Option<usize>,
    /// Windows whose text loops.
    #[serde(default)]
    pub looped: Option<usize>,
    /// Seconds of waiting at the server.
    #[serde(default)]
    pub queue_seconds: Option<f64>,
    /// Seconds of its work.
    #[serde(default)]
    pub processing_seconds: Option<f64>,
}

/// A stretch that was not decoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerSkipped {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// Why.
    pub reason: String,
}

/// A stretch of text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AnswerSegment {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// The text.
    pub text: String,
    /// The same as the model wrote it, where its spelling was changed.
    #[serde(default)]
    pub raw_text: Option<String>,
    /// Its words, where their times were asked for.
    #[serde(default)]
    pub words: Vec<TimedWord>,
}
