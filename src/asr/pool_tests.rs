#![allow(clippy::unwrap_used)] // A test may fail by panicking.

use std::collections::VecDeque;

use super::*;
use crate::asr::audio_context::AudioContext;
use crate::asr::backend::{Home, Urgency};
use crate::asr::recognizer::{Language, Task};
use crate::asr::search::SearchOptions;
use crate::audio::excerpt::Excerpt;
use crate::audio::samples::Samples;

/// What the next windows meet with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Heard,
    Panic,
    WhisperFails,
    NoMemoryForAState,
    Refused,
}

/// A recognizer that meets with the fates in a list, and says which one of those that were made it is.
struct Fated(usize, Arc<Mutex<VecDeque<Fate>>>);

impl Hear for Fated {
    fn hear(&mut self, _: &[f32], _: &DecodeOptions, _: &Cancel) -> Result<Heard> {
        let fate = self.1.lock().unwrap().pop_front().unwrap();
        match fate {
            Fate::Panic => std::panic::resume_unwind(Box::new("as it was wanted")),
            Fate::WhisperFails => Err(Error::internal("whisper.cpp, decoding: out of memory")),
            Fate::Refused => Err(Error::InvalidInput("no such language".into())),
            Fate::Heard => Ok(Heard { heard_twice: self.0, ..Heard::default() }),
            Fate::NoMemoryForAState => panic!("it was to be met with before"),
        }
    }
}

fn job() -> Job {
    Job {
        excerpt: Arc::new(Excerpt::whole(Arc::new(Samples::from(vec![0.0; 100])))),
        range: 0..100,
        options: Arc::new(DecodeOptions {
            language: Language::None,
            task: Task::Transcribe,
            timestamps: None,
            prompt: Vec::new(),
            prefix: Vec::new(),
            suppress: Vec::new(),
            begin_suppress: Vec::new(),
            search: SearchOptions::default(),
            alignment: None,
            loop_guard: true,
            audio_context: AudioContext::default(),
        }),
        cancel: Cancel::default(),
        permit: None,
        urgency: Urgency::File,
        home: Home::default(),
    }
}

/// Which recognizer heard each window, or that none did.
fn met_with(fates: &[Fate]) -> Vec<std::result::Result<usize, bool>> {
    let left: Arc<Mutex<VecDeque<Fate>>> = Arc::new(Mutex::new(fates.iter().copied().collect()));
    let (list, mut made) = (Arc::clone(&left), 0);
    let make = move || {
        if list.lock().unwrap().front() == Some(&Fate::NoMemoryForAState) {
            list.lock().unwrap().pop_front();
            return Err(Error::internal("no memory for another state of the model"));
        }
        made += 1;
        Ok(Fated(made, Arc::clone(&list)))
    };
    let mut worker = Worker { recognizer: None, make };
    let (queue, busy, observer) = Default::default();
    let shared = Shared { queue, arrived: Condvar::new(), busy, observer };
    let mut results = Vec::new();
    while !left.lock().unwrap().is_empty() {
        let (reply, mut result) = oneshot::channel();
        shared.busy.fetch_add(1, Ordering::Relaxed);
        worker.serve(Queued { job: job(), since: Instant::now(), reply }, &shared);
        let result = result.try_recv().unwrap();
        let is_internal = |error| matches!(error, Error::Internal { .. });
        results.push(result.map(|done| done.heard.heard_twice).map_err(is_internal));
    }
    assert_eq!(shared.busy.load(Ordering::Relaxed), 0);
    results
}

#[test]
fn a_fault_costs_a_job_and_its_state_and_not_the_next_one() {
    use Fate::*;
    assert_eq!(met_with(&[Heard, Heard]), [Ok(1), Ok(1)]);
    assert_eq!(met_with(&[Heard, Panic, Heard, Heard]), [Ok(1), Err(true), Ok(2), Ok(2)]);
    assert_eq!(met_with(&[WhisperFails, Panic, Heard]), [Err(true), Err(true), Ok(3)]);
    // A client's own fault leaves the state as it is.
    assert_eq!(met_with(&[Heard, Refused, Heard]), [Ok(1), Err(false), Ok(1)]);
}

#[test]
fn a_state_that_cannot_be_made_is_tried_again_for_the_next_job() {
    use Fate::*;
    let found = met_with(&[Heard, WhisperFails, NoMemoryForAState, NoMemoryForAState, Heard, Heard]);
    assert_eq!(found, [Ok(1), Err(true), Err(true), Err(true), Ok(2), Ok(2)]);
}
