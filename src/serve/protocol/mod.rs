//! The messages of the wire protocol, as they are written: types alone.
//!
//! Field names and codes are frozen, because clients in the field know them. Fields may be added.

mod auth;
mod id;
mod live;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::auth::Auth;
pub use self::id::{Id, MAX_ID_BYTES};
pub use self::live::{Partial, StreamAudio, StreamData, StreamFlush, StreamResume, StreamStart};
use crate::asr::segment::Timestamps;
use crate::asr::switch::Switch;
use crate::asr::timing::{TimeSource, TimedWord};
use crate::asr::transcriber::SkipReason;
use crate::text::Orthography;

/// A message from a client.
#[derive(Debug, PartialEq)]
pub enum ClientMessage {
    /// Transcribe this audio.
    Audio(Audio, Options),
    /// Are you there?
    Ping,
    /// What are you doing?
    Status,
    /// What the client is; for the log.
    DeviceInfo(Map<String, Value>),
    /// A file will come in chunks.
    UploadStart(UploadStart, Options),
    /// One of them.
    UploadChunk(UploadChunk),
    /// That was the last: transcribe it.
    UploadComplete(UploadComplete, Options),
    /// The client gives an upload up.
    UploadError(UploadError),
    /// Who the client is.
    Auth(Auth),
    /// Live audio will come, or goes on.
    StreamStart(StreamStart, Options),
    /// A piece of it, by who can't send binary frames.
    StreamAudio(StreamAudio),
    /// The phrase ends here.
    StreamFlush(StreamFlush),
    /// That was all.
    StreamStop,
}

/// `audio`.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Audio {
    /// A whole audio file in base64.
    pub audio_data: String,
    /// "base64", which is also the default.
    pub format: Option<String>,
    /// A fresh one when absent.
    pub audio_id: Option<Id>,
}

/// What a message may say about decoding; the server's own settings hold where it is silent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Options {
    /// Which model, where the server has several: its id, or id@revision.
    pub model: Option<String>,
    /// A language's code, or `auto`.
    pub language: Option<String>,
    /// `transcribe` or `translate`.
    pub task: Option<TaskName>,
    /// Text that the model takes for what was said before: names, spellings.
    pub prompt: Option<String>,
    /// Which times the answer carries.
    pub timestamps: Option<Timestamps>,
    /// The spelling that the text is brought to.
    pub orthography: Option<Orthography>,
    /// Sequences that the search keeps, at most the server's own setting.
    pub beam_size: Option<usize>,
    /// 0 for the likeliest text, up to 1.
    pub temperature: Option<f32>,
    /// Whether stretches without speech are left out.
    pub vad: Option<Switch>,
    /// A subtitle file to be made of the segments, in `formatted`.
    pub response_format: Option<ResponseFormat>,
    /// Columns in a line of it.
    pub max_line_chars: Option<usize>,
    /// Lines in a cue of it.
    pub max_lines: Option<usize>,
}

/// `response_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// No file.
    Json,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
    /// Tab-separated values.
    Tsv,
}

/// `task`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskName {
    /// Write it down in its own language.
    Transcribe,
    /// Translate it to English.
    Translate,
}

/// `upload_start`.
#[derive(Debug, PartialEq, Deserialize)]
pub struct UploadStart {
    /// Its name from here on, and the `audio_id` of its transcription.
    pub upload_id: Id,
    /// The file's name; its ending must be one of audio or video.
    pub file_name: String,
    /// Bytes in all.
    pub file_size: u64,
    /// Chunks in all.
    pub total_chunks: u64,
    /// Whether to go on with an upload of this name, if there is one.
    #[serde(default)]
    pub resume: Option<bool>,
}

/// `upload_chunk`.
#[derive(Debug, PartialEq, Deserialize)]
pub struct UploadChunk {
    /// Which upload.
    pub upload_id: Id,
    /// Which chunk, from 0.
    pub chunk_index: u64,
    /// Its bytes in base64.
    pub chunk_data: String,
}

/// `upload_complete`.
#[derive(Debug, PartialEq, Deserialize)]
pub struct UploadComplete {
    /// Which upload.
    pub upload_id: Id,
    /// Looked at as in `upload_start`, when given.
    pub file_name: Option<String>,
}

/// `upload_error`.
#[derive(Debug, PartialEq, Deserialize)]
pub struct UploadError {
    /// Which upload.
    pub upload_id: Option<Id>,
    /// Why.
    pub error: Option<Value>,
}

/// A message to a client. All but `timestamp`, which is set when it is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// What the connection is doing.
    State {
        /// Its name.
        state: State,
        /// The same for people.
        message: String,
        /// `audio_id` and `progress`, where there are any.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<StateData>,
    },
    /// The text of an audio.
    Transcription(Box<Transcription>),
    /// What went wrong.
    Error {
        /// For people.
        message: String,
        /// For programs.
        code: Code,
        /// Which audio, when known.
        #[serde(skip_serializing_if = "Option::is_none")]
        audio_id: Option<Id>,
        /// Seconds after which it may be otherwise, when known.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// How far an upload is.
    UploadProgress {
        /// Which.
        upload_id: Id,
        /// 0 to 100.
        progress: f64,
        /// For people.
        message: String,
        /// The chunks that are there, when `resume` asked for them.
        #[serde(skip_serializing_if = "Option::is_none")]
        received_chunks: Option<Vec<u64>>,
    },
    /// An upload is whole; its transcription follows.
    UploadComplete {
        /// Which.
        upload_id: Id,
        /// For people.
        message: String,
    },
    /// Text of a stream, as it grows.
    Partial(Box<Partial>),
    /// A stretch of a stream's committed text.
    Segment {
        /// Which stream.
        stream_id: Id,
        /// From 0.
        index: usize,
        /// The stretch.
        #[serde(flatten)]
        segment: Segment,
    },
    /// The answer to `stream_flush`.
    StreamFlushed {
        /// Which stream.
        stream_id: Id,
        /// As it came.
        #[serde(skip_serializing_if = "Option::is_none")]
        flush_id: Option<Id>,
        /// Samples that the server has.
        received_samples: u64,
    },
}

/// The states that a connection can be in, and `pong`, which is only an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for work.
    Ready,
    /// A job has begun.
    Processing,
    /// Its audio is being decoded.
    Loading,
    /// Its text is being made.
    Transcribing,
    /// Live audio comes in.
    Streaming,
    /// The answer to `ping`.
    Pong,
}

/// `data` of a `state`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StateData {
    /// Which audio.
    pub audio_id: Id,
    /// 0 to 100, in long recordings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Of `streaming`.
    #[serde(flatten)]
    pub stream: Option<StreamData>,
}

/// `transcription`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transcription {
    /// The text.
    pub transcription: String,
    /// The same as the model wrote it, where its spelling was to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_transcription: Option<String>,
    /// Which audio.
    pub audio_id: Id,
    /// The language that was spoken or assumed.
    pub language: Option<String>,
    /// Where they were asked for, those that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<Timestamps>,
    /// Where the times of words come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word_times: Option<TimeSource>,
    /// Seconds of audio that came in.
    pub duration: f64,
    /// Seconds of it that were decoded.
    pub decoded: f64,
    /// Seconds in which somebody speaks, where that was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speech_duration: Option<f64>,
    /// What was not decoded.
    pub skipped: Vec<Skipped>,
    /// Stretches of the text with their times.
    pub segments: Vec<Segment>,
    /// The file that was asked for by `response_format`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formatted: Option<String>,
    /// Windows in which the model came to no end: their text may lack something.
    pub unended: usize,
    /// Windows whose text loops.
    pub looped: usize,
    /// Seconds of waiting: for earlier audio of this connection, and for a free state.
    pub queue_seconds: f64,
    /// Seconds of work, from the base64 to the text.
    pub processing_seconds: f64,
}

/// One of `skipped`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Skipped {
    /// Seconds from the start of the audio.
    pub start: f64,
    /// The same.
    pub end: f64,
    /// Why.
    pub reason: SkipReason,
}

/// One of `segments`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Segment {
    /// Seconds from the start of the audio.
    pub start: f64,
    /// The same.
    pub end: f64,
    /// Its text.
    pub text: String,
    /// The same as the model wrote it, where its spelling was to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_text: Option<String>,
    /// Its words, where their times were asked for; together they are the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<TimedWord>,
}

/// The codes of `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the names say it, and the README has the list")]
pub enum Code {
    InvalidJson,
    UnknownMessageType,
    MessageProcessingError,
    #[serde(rename = "BASE64_DECODE_ERROR")]
    Base64DecodeError,
    UnsupportedFormat,
    AudioLoadError,
    TranscriptionError,
    InternalError,
    MissingUploadParams,
    UnsupportedFileType,
    UploadStartError,
    MissingChunkParams,
    UploadSessionNotFound,
    ChunkDecodeError,
    ChunkAddError,
    UploadChunkError,
    MissingUploadId,
    UploadIncomplete,
    FileReassembleError,
    UploadCompleteError,
    StreamStartError,
    StreamNotFound,
    Overloaded,
    PayloadTooLarge,
    ShuttingDown,
    Cancelled,
    Unauthorized,
    QuotaExceeded,
    ForbiddenOrigin,
}
