#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use super::super::word::words;
use super::*;

/// A text whose tokens are given with their times.
fn part(tokens: &[(&str, f64, f64)]) -> TimedText {
    let mut part = TimedText::default();
    for (text, start, end) in tokens {
        let range = part.text.len()..part.text.len() + text.len();
        part.text.push_str(text);
        part.tokens.push(TimedToken { range, time: *start..*end, probability: 0.5 });
    }
    part
}

fn timed(part: &TimedText, pauses: &[Range<f64>], duration: f64) -> Vec<Segment> {
    segments(&words(&part.text, 0), std::slice::from_ref(part), pauses, duration)
}

/// Words as (text, start, end), times in hundredths.
fn flat(segments: &[Segment]) -> Vec<(&str, i64, i64)> {
    let hundredths = |time: f64| (time * 100.0).round() as i64;
    let words = segments.iter().flat_map(|segment| &segment.words);
    words.map(|word| (word.text.as_str(), hundredths(word.start), hundredths(word.end))).collect()
}

#[test]
fn a_words_time_is_that_of_its_tokens() {
    let part = part(&[(" az", 0.5, 0.7), ("ul", 0.7, 0.9), (" fell", 0.9, 1.3), ("-awen", 1.3, 1.5)]);
    let found = timed(&part, &[], 2.0);
    assert_eq!(flat(&found), [("azul", 50, 90), (" fell-awen", 90, 150)]);
    assert_eq!((found[0].text.as_str(), found[0].start, found[0].end), ("azul fell-awen", 0.5, 1.5));
    assert_eq!(found[0].words[0].probability, 0.5);
}

#[test]
fn punctuation_has_no_time_of_its_own() {
    let part =
        part(&[(" \"", 0.0, 0.2), ("ih", 0.2, 0.4), (".\"", 0.4, 1.4), (" ala", 1.4, 1.6), (" !", 1.6, 1.8)]);
    assert_eq!(flat(&timed(&part, &[], 2.0)), [("\"ih.\"", 20, 40), ("ala !", 140, 160)]);
}

#[test]
fn boundaries_move_to_the_ends_of_pauses() {
    let pauses = [0.0..0.3, 0.9..1.2, 2.05..2.4];
    // The first boundary is in a pause, the second close to one, the third in none.
    let part = part(&[(" one", 0.0, 1.1), (" two", 1.1, 1.6), (" three", 1.6, 2.0), (" four", 2.0, 2.8)]);
    assert_eq!(
        flat(&timed(&part, &pauses, 3.0)),
        [("one", 30, 90), (" two", 120, 160), (" three", 160, 205), (" four", 240, 280)]
    );
}

#[test]
fn a_word_within_a_pause_stays_a_word() {
    // Too quiet to be heard as speech.
    let part = part(&[(" one", 0.5, 0.8), (" two", 0.8, 1.1)]);
    for pauses in [&[0.2..1.6][..], &[0.0..0.6, 0.61..0.8], &[0.45..0.85]] {
        for (word, start, end) in flat(&timed(&part, pauses, 2.0)) {
            assert!(start < end, "{word}: {start} to {end} with {pauses:?}");
        }
    }
}

#[test]
fn long_words_at_the_edges_are_cut_but_for_pauses() {
    let part = part(&[(" one", 0.0, 5.0), (" two", 5.0, 5.4), (" three", 5.4, 5.8), (" four", 5.8, 9.0)]);
    // The median is 0.4 s or more.
    let found = timed(&part, &[], 10.0);
    assert_eq!(
        flat(&found),
        [("one", 360, 500), (" two", 500, 540), (" three", 540, 580), (" four", 580, 720)]
    );
    let found = timed(&part, &[0.0..2.0, 8.0..10.0], 10.0);
    assert_eq!(
        flat(&found),
        [("one", 200, 500), (" two", 500, 540), (" three", 540, 580), (" four", 580, 800)]
    );
}

#[test]
fn segments_end_in_long_pauses_and_behind_sentences() {
    let part = part(&[
        (" one", 0.0, 0.4),
        (" two.", 0.4, 0.8),
        (" three", 1.1, 1.5),
        (" four", 1.5, 1.9),
        (" five", 2.6, 3.0),
        (" six.", 3.0, 3.4),
        (" seven", 3.4, 3.8),
    ]);
    let pauses = [0.8..1.1, 1.9..2.6];
    let found = timed(&part, &pauses, 4.0);
    let texts: Vec<&str> = found.iter().map(|segment| segment.text.as_str()).collect();
    assert_eq!(texts, ["one two.", "three four", "five six. seven"]);
    for segment in &found {
        assert_eq!(segment.words.iter().map(|word| word.text.as_str()).collect::<String>(), segment.text);
        assert_eq!(segment.start, segment.words.first().unwrap().start);
        assert_eq!(segment.end, segment.words.last().unwrap().end);
    }
}

#[test]
fn no_segment_is_longer_than_a_window() {
    let tokens: Vec<(&str, f64, f64)> =
        (0..400).map(|i| (" la", f64::from(i) * 0.25, f64::from(i + 1) * 0.25)).collect();
    let found = timed(&part(&tokens), &[], 100.0);
    assert!(found.iter().all(|segment| segment.end - segment.start <= 30.0), "{found:?}");
    assert_eq!(found.iter().map(|segment| segment.words.len()).sum::<usize>(), 400);
}

#[test]
fn characters_of_one_token_are_one_word() {
    let part = part(&[("\u{4eca}\u{65e5}", 0.0, 0.4), ("\u{306f}", 0.4, 0.6), ("\u{3002}", 0.6, 1.0)]);
    assert_eq!(flat(&timed(&part, &[], 1.0)), [("\u{4eca}\u{65e5}", 0, 40), ("\u{306f}\u{3002}", 40, 60)]);
}

#[test]
fn a_character_of_several_tokens_has_the_time_of_all() {
    let mut part = part(&[("\u{4eca}\u{65e5}", 0.0, 0.4)]);
    let token = |range, time| TimedToken { range, time, probability: 1.0 };
    part.tokens = vec![token(0..3, 0.0..0.1), token(0..3, 0.1..0.2), token(3..6, 0.2..0.4)];
    assert_eq!(flat(&timed(&part, &[], 1.0)), [("\u{4eca}", 0, 20), ("\u{65e5}", 20, 40)]);
}

#[test]
fn words_of_two_windows_are_in_order_and_within_the_recording() {
    let left = part(&[(" one", 0.0, 1.0), (" two", 1.0, 2.3)]);
    let right = part(&[(" three", 2.1, 2.6), (" four", 2.5, 3.7)]);
    let joined = [words(&left.text, 0), words(&right.text, 1)].concat();
    let found = segments(&joined, &[left, right], &[], 3.5);
    assert_eq!(
        flat(&found),
        [("one", 0, 100), (" two", 100, 210), (" three", 210, 250), (" four", 250, 350)]
    );
}

#[test]
fn an_estimate_leaves_pauses_out() {
    let times = estimate(&[2, 2, 4], &[0.0..1.0, 2.0..3.0], 6.0);
    // Four seconds of speech: 1 to 2 and 3 to 6.
    assert_eq!(times, [1.0..2.0, 3.0..4.0, 4.0..6.0]);
    assert_eq!(estimate(&[1, 1], &[], 2.0), [0.0..1.0, 1.0..2.0]);
    assert_eq!(estimate(&[1, 1], &[0.0..2.0], 2.0), [0.0..1.0, 1.0..2.0]);
    assert_eq!(estimate(&[], &[], 2.0), []);
    assert_eq!(estimate(&[0, 0], &[], 2.0).len(), 2);
}

#[test]
fn nothing_said_has_no_segment() {
    assert_eq!(segments(&[], &[], &[], 1.0), []);
    assert_eq!(timed(&TimedText::default(), &[0.0..1.0], 1.0), []);
}
