#![allow(clippy::single_range_in_vec_init, reason = "lists of ranges are what is compared")]

use std::ops::Range;
use std::sync::Arc;

use super::Random;
use crate::audio::excerpt::{Excerpt, MARGIN, SHORTEST_GAP};
use crate::audio::samples::Samples;

const SECOND: usize = 16_000;

/// A recording in which each sample tells where it is.
fn recording(length: usize) -> Arc<Samples> {
    Arc::new(Samples::from((0..length).map(|n| n as f32).collect::<Vec<_>>()))
}

fn gaps(seconds: usize, speech: &[Range<usize>]) -> Vec<Range<usize>> {
    let speech: Vec<_> = speech.iter().map(|span| span.start * SECOND..span.end * SECOND).collect();
    let gaps = Excerpt::around(recording(seconds * SECOND), &speech).gaps();
    gaps.into_iter().map(|gap| gap.start / SECOND..gap.end / SECOND).collect()
}

#[test]
fn long_silence_goes_and_a_margin_stays() {
    assert_eq!(gaps(30, &[10..12]), [0..9, 13..30]);
    assert_eq!(gaps(30, &[0..1, 20..30]), [2..19]);
}

#[test]
fn short_silence_stays() {
    assert!(gaps(10, &[2..8]).is_empty());
    assert!(gaps(10, &[2..4, 7..8]).is_empty());
    assert_eq!(gaps(10, &[3..4, 8..9]), [0..2, 5..7]);
}

#[test]
fn without_speech_nothing_is_left() {
    let excerpt = Excerpt::around(recording(5 * SECOND), &[]);
    assert!(excerpt.is_empty());
    assert_eq!((excerpt.len(), excerpt.gaps()), (0, vec![0..5 * SECOND]));
    assert!(excerpt.read(0..100).unwrap().is_empty());
}

#[test]
fn the_whole_is_the_recording() {
    let excerpt = Excerpt::whole(recording(50_000));
    assert_eq!(excerpt.len(), 50_000);
    assert!(excerpt.gaps().is_empty());
    assert_eq!(excerpt.read(49_999..60_000).unwrap().as_ref(), [49_999.0]);
    assert_eq!((excerpt.start_in_recording(123), excerpt.end_in_recording(50_000)), (123, 50_000));
    assert!(Excerpt::whole(recording(0)).is_empty());
}

#[test]
fn whatever_is_said_is_kept_and_keeps_its_place() {
    let mut random = Random(23);
    for _ in 0..200 {
        let mut between = |low: usize, high: usize| random.between(low as f32, high as f32) as usize;
        let length = between(1, 120 * SECOND);
        let (mut speech, mut at) = (Vec::new(), 0);
        loop {
            let start = at + between(0, 12 * SECOND);
            at = start + between(1, 5 * SECOND);
            if at > length {
                break;
            }
            speech.push(start..at);
            at += 1;
        }
        let excerpt = Excerpt::around(recording(length), &speech);
        let gaps = excerpt.gaps();
        assert_eq!(excerpt.len() + gaps.iter().map(Range::len).sum::<usize>(), length);
        for gap in &gaps {
            let margin =
                |span: &Range<usize>| span.end + MARGIN <= gap.start || gap.end + MARGIN <= span.start;
            assert!(speech.iter().all(margin), "{gap:?} in {speech:?}");
            assert!(gap.len() >= SHORTEST_GAP || speech.is_empty());
        }
        // Every sample that is left says itself where it was.
        let kept = excerpt.read(0..length).unwrap();
        assert_eq!(kept.len(), excerpt.len());
        for position in (0..kept.len()).step_by(997) {
            assert_eq!(excerpt.start_in_recording(position), kept[position] as usize);
            assert_eq!(excerpt.end_in_recording(position + 1), kept[position] as usize + 1);
        }
        let (low, high) = (kept.len() / 3, kept.len() / 2);
        assert_eq!(excerpt.read(low..high).unwrap().as_ref(), &kept[low..high]);
    }
}
