//! The few types of the engine that messages name, as they are there: the engine itself needs whisper.cpp.

#[path = "../../src/asr/switch.rs"]
pub mod switch;

pub mod segment {
    use clap::ValueEnum;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Timestamps {
        #[default]
        None,
        Segment,
        Word,
    }
}

pub mod timing {
    use serde::Serialize;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
    pub enum TimeSource {}

    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub enum TimedWord {}
}

pub mod transcriber {
    use serde::Serialize;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
    pub enum SkipReason {}
}
