//! What goes over the wire, as serde types. Fields that this client does not need are left out, and
//! messages that it does not know are passed over: the protocol may grow.

use serde::{Deserialize, Serialize};

use crate::asr::segment::Timestamps;
use crate::asr::switch::Switch;
use crate::asr::timing::{TimeSource, TimedWord};
use crate::audio::pcm::Encoding;
use crate::text::Orthography;

/// What the client may ask for beyond the words; the server's defaults where it is silent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Options {
    /// Which of the server's models, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
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
    StreamStart {
        stream_id: &'a str,
        #[serde(flatten)]
        sound: Sound,
        /// Text before the end of a phrase.
        partials: bool,
        /// The server's own default where it is absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        silence_ms: Option<u32>,
        #[serde(flatten)]
        options: &'a Options,
    },
    #[serde(rename = "stream_start")]
    StreamResume {
        resume: Resume<'a>,
    },
    StreamStop {},
}

/// What live audio is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sound {
    /// How the samples are written.
    pub encoding: Encoding,
    /// Samples of each channel in a second.
    #[serde(rename = "sample_rate")]
    pub rate: u32,
    /// Channels, whose samples take turns.
    pub channels: u8,
}

impl Sound {
    /// Bytes of one sample of all channels.
    pub(super) fn frame(self) -> usize {
        self.encoding.bytes() * usize::from(self.channels).max(1)
    }
}

/// Where a stream goes on that lost its connection.
#[derive(Debug, Serialize)]
pub(super) struct Resume<'a> {
    pub(super) stream_id: &'a str,
    /// Audio can be sent again from this sample on.
    pub(super) received_samples: u64,
    pub(super) received_segments: u64,
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
    Partial(Partial),
    Segment {
        stream_id: String,
        index: u64,
        #[serde(flatten)]
        segment: AnswerSegment,
    },
    #[serde(other)]
    Other,
}

/// What a state may carry.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StateData {
    /// Percent of the audio that is decoded.
    #[serde(default)]
    pub(super) progress: Option<f64>,
    /// The stream that is open.
    #[serde(default)]
    pub(super) stream_id: Option<String>,
    /// From which sample on its audio is wanted.
    #[serde(default)]
    pub(super) next_sample: Option<u64>,
}

/// What is new of a stream's text.
#[derive(Debug, Deserialize)]
pub(super) struct Partial {
    pub(super) stream_id: String,
    #[serde(default)]
    pub(super) committed: String,
    #[serde(default)]
    pub(super) volatile: String,
    #[serde(default)]
    pub(super) start: f64,
    #[serde(default)]
    pub(super) committed_end: f64,
    /// Up to where audio was looked at, in seconds.
    #[serde(default)]
    pub(super) end: f64,
    /// Samples that the server does not need again.
    #[serde(default)]
    pub(super) received_samples: u64,
    /// `committed` is all of it.
    #[serde(default)]
    pub(super) from_start: bool,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerSegment {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// The text.
    pub text: String,
    /// The same as the model wrote it, where its spelling was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_text: Option<String>,
    /// Its words, where their times were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<TimedWord>,
}
