//! The rules against a literal transcription of transformers' processors on made-up logits.
#![allow(clippy::indexing_slicing)] // A test may fail by panicking.

use super::*;

const END: Token = 20;
const NO_TIMESTAMPS: Token = 23;
const BEGIN: Token = 24;
const N_VOCAB: usize = 64;

fn rules(max_initial: Option<u32>) -> Rules {
    Rules {
        end_of_text: END,
        suppress: vec![2, 9, 1000],
        begin_suppress: vec![END, 4],
        timestamps: Some(TimestampRules { no_timestamps: NO_TIMESTAMPS, begin: BEGIN, max_initial }),
        no_loops: false,
    }
}

/// `WhisperTimeStampLogitsProcessor.__call__` for one row, with every branch as it stands there.
fn reference_timestamps(generated: &[Token], scores: &mut [f32], max_initial: Option<u32>) {
    let (begin, inf) = (BEGIN as usize, f32::NEG_INFINITY);
    scores[NO_TIMESTAMPS as usize] = inf;
    let n = generated.len();
    let last_was_timestamp = n >= 1 && generated[n - 1] >= BEGIN;
    let penultimate_was_timestamp = n < 2 || generated[n - 2] >= BEGIN;
    if last_was_timestamp {
        if penultimate_was_timestamp {
            scores[begin..].fill(inf);
        } else {
            scores[..END as usize].fill(inf);
        }
    }
    let mut timestamp_last = BEGIN;
    let timestamps: Vec<Token> = generated.iter().copied().filter(|t| *t >= BEGIN).collect();
    if let Some(last) = timestamps.last() {
        timestamp_last = if last_was_timestamp && !penultimate_was_timestamp { *last } else { *last + 1 };
    }
    scores[begin..timestamp_last as usize].fill(inf);
    if n == 0 {
        scores[..begin].fill(inf);
        if let Some(max) = max_initial {
            scores[begin + max as usize + 1..].fill(inf);
        }
    }
    let total: f64 = scores.iter().map(|x| f64::from(*x).exp()).sum();
    let timestamp_prob: f64 = scores[begin..].iter().map(|x| f64::from(*x).exp() / total).sum();
    let best_text = scores[..begin].iter().map(|x| f64::from(*x).exp() / total).fold(0.0, f64::max);
    if timestamp_prob > best_text {
        scores[..begin].fill(inf);
    }
}

fn row(seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..N_VOCAB)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32 * 8.0 - 4.0
        })
        .collect()
}

#[test]
fn timestamps_follow_the_reference() {
    // Every kind of history: none, one time, text, pairs, half pairs, and the highest time.
    let histories: [&[Token]; 10] = [
        &[],
        &[24],
        &[24, 1],
        &[24, 1, 30],
        &[24, 1, 30, 30],
        &[24, 1, 30, 30, 5],
        &[24, 1, 30, 31, 5, 40],
        &[1, 2, 3],
        &[25, 26],
        &[24, 1, 63],
    ];
    for (seed, history) in (1..400).zip(histories.iter().cycle()) {
        for max_initial in [None, Some(3)] {
            let rules = Rules { suppress: Vec::new(), begin_suppress: Vec::new(), ..rules(max_initial) };
            let mut expected = row(seed);
            reference_timestamps(history, &mut expected, max_initial);
            let mut got = row(seed);
            rules.apply(history, &mut got);
            assert_eq!(got, expected, "after {history:?}");
        }
    }
}

#[test]
fn suppressed_tokens_never_come_and_unknown_ids_do_no_harm() {
    let rules = Rules { timestamps: None, ..rules(None) };
    let mut first = row(1);
    rules.apply(&[], &mut first);
    let mut later = row(1);
    rules.apply(&[7], &mut later);
    for token in 0..N_VOCAB as Token {
        let always = [2, 9].contains(&token);
        let at_begin = [END, 4].contains(&token);
        assert_eq!(first[token as usize] == f32::NEG_INFINITY, always || at_begin, "first, {token}");
        assert_eq!(later[token as usize] == f32::NEG_INFINITY, always, "later, {token}");
    }
}

#[test]
fn without_rules_nothing_changes() {
    let mut got = row(5);
    Rules::none(END).apply(&[], &mut got);
    assert_eq!(got, row(5));
}
