//! Streams of made-up speech, heard by a made-up model that is as late and as unsure as it pleases.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::schedule::Task;
use super::stream::Stream;
use super::{LiveOptions, Update};
use crate::asr::audio_context::AudioContext;
use crate::asr::backend::{Done, Urgency};
use crate::asr::recognizer::{DecodeOptions, Heard, Language, Piece, Task as TaskToken, TokenTimes};
use crate::asr::search::{Hypothesis, SearchOptions};
use crate::asr::timing::TimeSource;
use crate::asr::transcriber::Transcript;
use crate::asr::vocabulary::Vocabulary;
use crate::audio::SAMPLE_RATE;
use crate::audio::voice::live::{Ears, FRAME_SAMPLES};

const RATE: usize = SAMPLE_RATE as usize;
const WORDS: u32 = 500;

/// Each token is a word: " w0", " w1", …
fn vocabulary() -> Arc<Vocabulary> {
    Arc::new(Vocabulary::of_text((0..WORDS).map(|n| format!(" w{n}").into_bytes()).collect()))
}

fn decode() -> DecodeOptions {
    DecodeOptions {
        language: Language::None,
        task: TaskToken::Transcribe,
        timestamps: None,
        prompt: Vec::new(),
        prefix: Vec::new(),
        suppress: Vec::new(),
        begin_suppress: Vec::new(),
        search: SearchOptions::default(),
        alignment: None,
        loop_guard: true,
        audio_context: AudioContext::Full,
    }
}

/// Hears a voice in every loud sample.
#[derive(Debug, Default)]
struct Loud {
    pending: Vec<f32>,
}

impl Ears for Loud {
    fn push(&mut self, samples: &[f32], tell: &mut dyn FnMut(f32)) {
        self.pending.extend_from_slice(samples);
        while self.pending.len() >= FRAME_SAMPLES {
            let rest = self.pending.split_off(FRAME_SAMPLES);
            let frame = std::mem::replace(&mut self.pending, rest);
            tell(if frame.iter().any(|s| s.abs() > 0.1) { 1.0 } else { 0.0 });
        }
    }

    fn speech(self: Box<Self>) -> Option<Vec<Range<usize>>> {
        Some(Vec::new())
    }
}

/// Speech: words, each a stretch of samples at a level of its own, which is its number.
#[derive(Debug, Clone)]
struct Speech {
    words: Vec<Range<usize>>,
    samples: Vec<f32>,
}

impl Speech {
    /// From (pause, length) of each word, in milliseconds.
    fn of(words: &[(usize, usize)]) -> Self {
        let mut speech = Self { words: Vec::new(), samples: Vec::new() };
        for (number, (pause, length)) in words.iter().enumerate() {
            speech.samples.resize(speech.samples.len() + pause * RATE / 1000, 0.0);
            let start = speech.samples.len();
            speech.samples.resize(start + length * RATE / 1000, level(number));
            speech.samples[start] = PEAK;
            speech.words.push(start..speech.samples.len());
        }
        speech.samples.resize(speech.samples.len() + RATE / 3, 0.0);
        speech
    }

    fn text(&self) -> String {
        (0..self.words.len()).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ")
    }
}

/// Each word begins with one sample of it: the levelling then changes nothing.
const PEAK: f32 = 0.9;

/// The level of a word's samples.
fn level(number: usize) -> f32 {
    0.85 - number as f32 * 0.001
}

/// What the made-up model hears: the words that are in the samples by half. Of the last word, unless it is followed by
/// silence, it may hear something else.
fn hear(task: &Task, mishears: bool) -> Done {
    let mut said: Vec<(u32, Range<f64>)> = Vec::new();
    let mut index = 0;
    while index < task.samples.len() {
        let sample = task.samples[index];
        let length = task.samples[index..].iter().take_while(|s| (*s - sample).abs() < 1e-5).count();
        if sample > 0.1 && length >= RATE / 20 {
            let number = ((0.85 - sample) / 0.001).round() as u32;
            said.push((number, index as f64 / RATE as f64..(index + length) as f64 / RATE as f64));
        }
        index += length;
    }
    let seconds = task.samples.len() as f64 / RATE as f64;
    if let Some(last) = said.last_mut().filter(|last| mishears && last.1.end > seconds - 0.15) {
        last.0 = WORDS - 1 - last.0;
    }
    // The prefix is what it is, also where it was misheard.
    let prefix = task.options.prefix.len();
    let times = said.iter().map(|(_, time)| time.clone()).collect();
    let tokens: Vec<u32> = said.iter().skip(prefix).map(|(token, _)| *token).collect();
    let log_probs = vec![-0.1; tokens.len()];
    let hypothesis = Hypothesis { tokens, log_probs, sum_log_prob: -0.1, ended: true };
    let times = Some(TokenTimes { times, source: TimeSource::Attention });
    let piece = Piece { range: 0..task.samples.len(), hypothesis, looped: false, times };
    Done { heard: Heard { pieces: vec![piece], ..Heard::default() }, queued: Duration::ZERO }
}

/// What became of a stream.
struct Run {
    transcript: Transcript,
    updates: Vec<Update>,
    backlog: usize,
    partials: usize,
}

impl Run {
    fn committed(&self) -> String {
        let texts = self.updates.iter().filter_map(|update| match update {
            Update::Text { committed, .. } => Some(committed.as_str()),
            _ => None,
        });
        texts.collect()
    }

    fn segments(&self) -> String {
        let texts = self.updates.iter().filter_map(|update| match update {
            Update::Segment { segment, .. } => Some(segment.text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join(" ")
    }
}

/// Plays speech in frames of these sizes (in ms, repeated); each window takes as many frames as `late` says (repeated);
/// after each frame whose number is among `flushes` the phrase is ended.
fn play(options: LiveOptions, speech: &Speech, frames: &[usize], late: &[usize], flushes: &[usize]) -> Run {
    let mut stream = Stream::new(vocabulary(), options, decode(), Box::new(Loud::default()));
    let mut run = Run { transcript: Transcript::default(), updates: vec![], backlog: 0, partials: 0 };
    let mut running: Option<(Task, usize)> = None;
    let mut late = late.iter().cycle();
    let mut rest = speech.samples.as_slice();
    for (count, size) in frames.iter().cycle().enumerate() {
        let (now, later) = rest.split_at(rest.len().min((size * RATE / 1000).max(1)));
        rest = later;
        stream.push(now);
        if flushes.contains(&count) {
            stream.flush(count as u64);
        }
        if rest.is_empty() {
            stream.stop();
        }
        loop {
            if let Some(task) = stream.next() {
                run.partials += usize::from(task.urgency == Urgency::Partial);
                running = Some((task, *late.next().unwrap()));
            }
            run.updates.extend(stream.updates());
            run.backlog = run.backlog.max(stream.backlog());
            // When no more audio comes, the model has all the time that it needs.
            match &mut running {
                Some((_, left)) if *left > 0 && !rest.is_empty() => {
                    *left -= 1;
                    break;
                }
                Some(_) => {
                    let (task, _) = running.take().unwrap();
                    stream.heard(Some(hear(&task, task.urgency == Urgency::Partial)));
                }
                None => break,
            }
        }
        if stream.is_over() {
            break;
        }
    }
    run.updates.extend(stream.updates());
    run.transcript = stream.transcript();
    run
}

fn check(run: &Run, speech: &Speech) {
    assert_eq!(run.committed(), run.transcript.text, "what was committed is the text");
    assert_eq!(run.transcript.text, speech.text(), "no word is lost, none comes twice");
    assert_eq!(run.segments(), run.transcript.text);
    let segments = &run.transcript.segments;
    assert!(segments.windows(2).all(|pair| pair[0].end <= pair[1].start + 1e-6), "{segments:?}");
    let skipped: f64 = run.transcript.skipped.iter().map(|gap| gap.end - gap.start).sum();
    let all = run.transcript.decoded + skipped;
    assert!((all - run.transcript.duration).abs() < 1e-6, "{all} of {}", run.transcript.duration);
    assert!((run.transcript.duration - speech.samples.len() as f64 / RATE as f64).abs() < 1e-9);
    for update in &run.updates {
        if let Update::Text { start, committed_end, end, .. } = update {
            assert!(start <= committed_end && committed_end <= end, "{update:?}");
        }
    }
}

fn words(count: usize, pause: usize, length: usize) -> Speech {
    Speech::of(&vec![(pause, length); count])
}

#[test]
fn words_are_committed_while_the_phrase_goes_on() {
    let speech = words(20, 150, 350);
    let run = play(LiveOptions::default(), &speech, &[100], &[1], &[]);
    check(&run, &speech);
    // The first word ends at 0.5 s.
    let first = run.updates.iter().find_map(|update| match update {
        Update::Text { committed, end, .. } if !committed.is_empty() => Some(*end),
        _ => None,
    });
    assert!(first.unwrap() <= 1.5, "{first:?}");
    assert!(run.partials >= 15, "{}", run.partials);
}

#[test]
fn without_partials_each_phrase_is_heard_once() {
    let speech = words(6, 1000, 300);
    let options = LiveOptions { partials: false, ..LiveOptions::default() };
    let run = play(options, &speech, &[100], &[1], &[]);
    check(&run, &speech);
    assert_eq!(run.partials, 0);
    assert_eq!(run.transcript.tokens.len(), 6);
}

#[test]
fn a_phrase_without_an_end_is_cut_between_words() {
    let speech = words(200, 60, 240);
    let options = LiveOptions { max_phrase_ms: 10_000, ..LiveOptions::default() };
    let run = play(options, &speech, &[100], &[2], &[]);
    check(&run, &speech);
    assert!(run.transcript.tokens.len() >= 6, "{}", run.transcript.tokens.len());
}

#[test]
fn a_model_that_is_late_catches_up_by_joining_phrases() {
    let speech = words(60, 800, 400);
    // Four seconds for each window, and a phrase every 1.2 s.
    let run = play(LiveOptions::default(), &speech, &[100], &[40], &[]);
    check(&run, &speech);
    assert!(run.backlog < 20 * RATE, "{}", run.backlog);
}

#[test]
fn a_flush_ends_the_phrase_and_is_answered_once() {
    let speech = words(10, 100, 400);
    let run = play(LiveOptions::default(), &speech, &[100], &[3], &[19, 20]);
    check(&run, &speech);
    let flushed: Vec<u64> = run
        .updates
        .iter()
        .filter_map(|update| match update {
            Update::Flushed(id) => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(flushed, [19, 20]);
    // All that came before the flush is committed when it is answered: 2 s, so four words.
    let before = run.updates.iter().take_while(|update| !matches!(update, Update::Flushed(_)));
    let text: String = before
        .filter_map(|update| match update {
            Update::Text { committed, .. } => Some(committed.as_str()),
            _ => None,
        })
        .collect();
    assert!(text.starts_with("w0 w1 w2 w3"), "{text}");
}

#[test]
fn silence_alone_has_no_text_and_little_memory() {
    let speech = Speech { words: vec![], samples: vec![0.0; 100 * RATE] };
    let run = play(LiveOptions::default(), &speech, &[500], &[1], &[]);
    assert_eq!((run.transcript.text.as_str(), run.partials), ("", 0));
    assert_eq!(run.transcript.skipped.len(), 1);
    // A sign of life comes now and then.
    assert!((15..=25).contains(&run.updates.len()), "{}", run.updates.len());
}

#[test]
fn who_sends_faster_than_it_is_heard_is_told_when_nothing_waits() {
    // Two phrases and the beginning of a third come at once.
    let mut stream = Stream::new(vocabulary(), LiveOptions::default(), decode(), Box::new(Loud::default()));
    stream.push(&Speech::of(&[(100, 400), (1500, 400), (1500, 3000)]).samples);
    let mut ends = Vec::new();
    // No more comes, and the third phrase is heard as far as there is something new.
    while let Some(task) = stream.next() {
        stream.heard(Some(hear(&task, false)));
        ends.extend(stream.updates().into_iter().filter_map(|update| match update {
            Update::Text { start, .. } => Some(start),
            _ => None,
        }));
    }
    // The third begins one second before its voice, or where the second ended.
    assert!(ends.last().is_some_and(|start| *start >= 2.9), "{ends:?}");
}

#[test]
fn a_failure_is_heard_again() {
    let mut stream = Stream::new(vocabulary(), LiveOptions::default(), decode(), Box::new(Loud::default()));
    stream.push(&words(2, 100, 400).samples);
    stream.stop();
    let first = stream.next().unwrap();
    assert!(stream.next().is_none());
    stream.heard(None);
    let again = stream.next().unwrap();
    assert_eq!(first.samples, again.samples);
    stream.heard(Some(hear(&again, false)));
    assert!(stream.is_over());
    assert_eq!(stream.transcript().text, "w0 w1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_timing_what_is_committed_is_the_text(
        words in prop::collection::vec((prop_oneof![20_usize..200, 200_usize..1500], 120_usize..700), 1..60),
        frames in prop::collection::vec(prop_oneof![1_usize..40, 20_usize..1500], 1..20),
        late in prop::collection::vec(0_usize..40, 1..10),
        flushes in prop::collection::vec(0_usize..200, 0..4),
        silence_ms in 200_u32..1500,
        min_phrase_ms in 0_u32..3000,
        max_phrase_ms in 5_000_u32..28_000,
        partials in any::<bool>(),
    ) {
        let options = LiveOptions { partials, silence_ms, min_phrase_ms, max_phrase_ms, ..LiveOptions::default() };
        let speech = Speech::of(&words);
        let run = play(options, &speech, &frames, &late, &flushes);
        assert_eq!(run.committed(), run.transcript.text);
        assert_eq!(run.segments(), run.transcript.text);
        // A flush in the middle of a word cuts it, and this model then hears it twice or not at all.
        if flushes.is_empty() {
            check(&run, &speech);
        }
    }
}
