//! What is left out because nobody speaks, through the whole engine.

use std::f32::consts::TAU;

use imesli::asr::search::SearchOptions;
use imesli::asr::segment::Timestamps;
use imesli::asr::switch::Switch;
use imesli::asr::transcriber::{Request, SkipReason, Transcript};
use imesli::checkpoint::QuantType;

use super::SAID;
use crate::support::{ONE, samples, transcribe, transcriber};

const SECOND: usize = 16_000;

fn heard(samples: Vec<f32>, request: &Request) -> Transcript {
    transcribe(&transcriber(QuantType::Q8_0, ONE), samples, request)
}

fn greedy(vad: Switch) -> Request {
    Request { vad, search: SearchOptions { beams: 1, ..SearchOptions::default() }, ..Request::default() }
}

#[test]
fn without_speech_there_is_no_text_and_the_reason_is_given() {
    let hum = |n: usize| 0.5 * (TAU * 50.0 * n as f32 / SECOND as f32).sin();
    for recording in [vec![0.0; 40 * SECOND], (0..40 * SECOND).map(hum).collect()] {
        let found = heard(recording, &Request::default());
        assert_eq!((found.text.as_str(), found.segments.len(), found.tokens.len()), ("", 0, 0));
        assert_eq!((found.duration, found.decoded, found.speech_duration()), (40.0, 0.0, Some(0.0)));
        assert!(found.speech_duration().is_some_and(f64::is_sign_positive), "no minus in the answer");
        assert_eq!(found.skipped.len(), 1);
        let skipped = &found.skipped[0];
        assert_eq!((skipped.start, skipped.end, skipped.reason), (0.0, 40.0, SkipReason::NoSpeech));
    }
}

/// 70 s of silence, in which two strings are said from 15 and 50 s on.
fn far_apart() -> (Vec<f32>, [Vec<f32>; 2]) {
    let [first, second] = [0, 1].map(|index| samples(SAID[index].0));
    let mut long = vec![0.0; 15 * SECOND];
    long.extend(&first);
    long.resize(50 * SECOND, 0.0);
    long.extend(&second);
    long.resize(70 * SECOND, 0.0);
    (long, [first, second])
}

#[test]
fn what_is_said_far_apart_comes_together_and_keeps_its_times() {
    let (long, [first, second]) = far_apart();
    let found = heard(long.clone(), &Request { timestamps: Timestamps::Segment, ..greedy(Switch::On) });
    assert_eq!(found.text, format!("{} {}", SAID[0].1, SAID[1].1));
    // One window where there were three.
    assert_eq!((found.tokens.len(), found.skipped.len()), (1, 3));
    assert!(found.decoded < 13.0 && found.duration == 70.0, "{} of {}", found.decoded, found.duration);
    let skipped: f64 = found.skipped.iter().map(|part| part.end - part.start).sum();
    assert!((found.decoded + skipped - found.duration).abs() < 1e-6);
    // Nothing that was said is in what was skipped, and the segments lie where it was said.
    let seconds = |samples: usize| samples as f64 / SECOND as f64;
    for (start, said) in [(15 * SECOND, &first), (50 * SECOND, &second)] {
        let (start, end) = (seconds(start), seconds(start + said.len()));
        assert!(found.skipped.iter().all(|part| part.end <= start + 0.3 || end - 0.3 <= part.start));
        let here =
            found.segments.iter().filter(|segment| start - 1.2 < segment.start && segment.end < end + 1.2);
        let text: Vec<_> = here.map(|segment| segment.text.as_str()).collect();
        assert!([SAID[0].1, SAID[1].1].contains(&text.join(" ").as_str()), "{:?}", found.segments);
    }
}

#[test]
fn words_far_apart_keep_their_times() {
    let (long, [first, second]) = far_apart();
    let found = heard(long, &Request { timestamps: Timestamps::Word, ..greedy(Switch::On) });
    let words: Vec<_> = found.segments.iter().flat_map(|segment| &segment.words).collect();
    assert_eq!(words.len(), 8, "{:?}", found.segments);
    for (index, word) in words.iter().enumerate() {
        let (start, said) = if index < 4 { (15.0, &first) } else { (50.0, &second) };
        let end = start + said.len() as f64 / SECOND as f64;
        assert!(start - 0.5 < word.start && word.start < word.end && word.end < end + 0.5, "{word:?}");
    }
}

#[test]
fn where_nothing_is_left_out_nothing_changes() {
    for (file, said) in SAID {
        let on = heard(samples(file), &Request::default());
        let off = heard(samples(file), &Request { vad: Switch::Off, ..Request::default() });
        assert_eq!((on.text.as_str(), &on.tokens), (said, &off.tokens));
        assert_eq!((on.decoded, &on.segments), (on.duration, &off.segments));
        assert!(on.skipped.is_empty() && off.skipped.is_empty());
        let speech = on.speech_duration().unwrap();
        assert!(0.4 < speech && speech < on.duration, "{speech} of {}", on.duration);
        assert_eq!(off.speech_duration(), None);
    }
}

#[test]
fn without_detection_all_is_decoded() {
    let found = heard(vec![0.0; 2 * SECOND], &greedy(Switch::Off));
    assert_eq!((found.decoded, found.duration, found.tokens.len()), (2.0, 2.0, 1));
    assert!(found.skipped.is_empty());
}
