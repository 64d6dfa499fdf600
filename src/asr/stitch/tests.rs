#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use super::super::word::text;
use super::*;
use crate::audio::SAMPLE_RATE;

/// Two windows of 30 s with a second in common, as their texts.
fn join(left: &str, right: &str) -> String {
    join_all(&[left, right], 1.0)
}

fn join_all(texts: &[&str], overlap: f64) -> String {
    let seconds = vec![30.0; texts.len()];
    join_speech(texts, overlap, &seconds)
}

/// The same, with the seconds of speech in each window.
fn join_speech(texts: &[&str], overlap: f64, speech: &[f64]) -> String {
    let samples = |seconds: f64| (seconds * f64::from(SAMPLE_RATE)) as usize;
    let parts: Vec<WindowText> = texts
        .iter()
        .zip(speech)
        .enumerate()
        .map(|(index, (text, &speech))| {
            let start = samples(index as f64 * (30.0 - overlap));
            let overlap = if index == 0 { 0 } else { samples(overlap) };
            let range = start..start + samples(30.0);
            WindowText {
                window: Window { range, overlap, speech: samples(speech) },
                text: (*text).to_owned(),
            }
        })
        .collect();
    text(&stitch(&parts))
}

const LONG_LEFT: &str = "nine zero two five one seven three eight four six zero one nine nine two four \
    eight seven three one five two six zero four nine eight three two seven five one six four three zero eight \
    two nine one five six zero seven four two eight three nine six one four five zero seven";

#[test]
fn without_an_overlap_texts_are_joined_by_one_space() {
    assert_eq!(join_all(&[" One two. ", "", "two three "], 0.0), "One two. two three");
    assert_eq!(text(&stitch(&[])), "");
}

#[test]
fn words_of_the_overlap_come_once() {
    assert_eq!(
        join(&format!("{LONG_LEFT} two three"), &format!("two three {LONG_LEFT}")),
        format!("{LONG_LEFT} two three {LONG_LEFT}")
    );
}

#[test]
fn case_and_punctuation_do_not_matter_and_the_seam_has_none_of_the_cut() {
    let left = format!("{LONG_LEFT} and then two, three.");
    let right = format!("Two, three more, {LONG_LEFT}");
    assert_eq!(join(&left, &right), format!("{LONG_LEFT} and then two, three more, {LONG_LEFT}"));
}

#[test]
fn a_maimed_word_at_either_edge_goes() {
    let whole = format!("{LONG_LEFT} five seven eight {LONG_LEFT}");
    // Cut at the left window's end.
    assert_eq!(join(&format!("{LONG_LEFT} five sev"), &format!("five seven eight {LONG_LEFT}")), whole);
    assert_eq!(join(&format!("{LONG_LEFT} five six"), &format!("five seven eight {LONG_LEFT}")), whole);
    // Cut at the right window's beginning.
    assert_eq!(join(&format!("{LONG_LEFT} five seven"), &format!("ive seven eight {LONG_LEFT}")), whole);
    // Nothing else in common.
    assert_eq!(join(&format!("{LONG_LEFT} five sev"), &format!("seven eight {LONG_LEFT}")), whole);
}

#[test]
fn in_a_run_of_one_word_the_speaking_rate_decides() {
    // 60 words in 30 s: two in the overlap.
    let run = vec!["one"; 60].join(" ");
    assert_eq!(join(&run, &run).split(' ').count(), 118);
    // The run begins or ends in the overlap.
    let left = format!("{LONG_LEFT} five one one one");
    let right = format!("one one six {LONG_LEFT}");
    assert_eq!(join(&left, &right), format!("{LONG_LEFT} five one one one six {LONG_LEFT}"));
}

#[test]
fn scripts_without_spaces_are_compared_by_characters() {
    let left = "今日は天気がとてもいいですから散歩に行きたいと思いますが少し寒いので上着を着て出かけます。"
        .repeat(2);
    let joined = join(&format!("{left}公園で友"), "園で友達に会って、一緒にコーヒーを飲みました。");
    assert_eq!(joined, format!("{left}公園で友達に会って、一緒にコーヒーを飲みました。"));
}

#[test]
fn three_windows_and_empty_ones() {
    assert_eq!(join_all(&["", "one", ""], 1.0), "one");
    let texts =
        [format!("{LONG_LEFT} one two"), format!("one two {LONG_LEFT} six"), format!("six {LONG_LEFT}")];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(join_all(&texts, 1.0), format!("{LONG_LEFT} one two {LONG_LEFT} six {LONG_LEFT}"));
}

/// A small generator, so that failures repeat.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() * bound as f64) as usize
    }
}

/// What a window hears of `spoken` (word, start, end): a word that an edge cuts is whole if most of it is in,
/// missing if little is, and often maimed in between.
fn heard(spoken: &[(String, f64, f64)], from: f64, to: f64, random: &mut Random) -> Vec<String> {
    let mut texts = Vec::new();
    for (word, start, end) in spoken {
        let inside = (end.min(to) - start.max(from)) / (end - start);
        if inside >= 0.8 {
            texts.push(word.clone());
        } else if inside > 0.3 {
            let half = word.len().div_ceil(2);
            match random.below(4) {
                0 => texts.push(word.clone()),
                1 => {}
                2 if *start < from => texts.push(word[word.len() - half..].to_owned()),
                2 => texts.push(word[..half].to_owned()),
                _ => texts.push(["six", "eight", "oh"][random.below(3)].to_owned()),
            }
        }
    }
    texts
}

fn distance(a: &[&str], b: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Joins per hundred that lose, double or change a word, over made-up speech with known truth.
fn errors_per_hundred_joins(words_per_second: f64, repeat: f64, silence: f64, vocabulary: &[String]) -> f64 {
    let mut random = Random(7);
    let (mut errors, joins) = (0, 1_000);
    for _ in 0..joins {
        let mut spoken: Vec<(String, f64, f64)> = Vec::new();
        let mut time = silence;
        while time < 59.0 {
            let length = (0.7 + 0.6 * random.next()) / words_per_second;
            let word = match spoken.last() {
                Some((last, ..)) if random.next() < repeat => last.clone(),
                _ => vocabulary[random.below(vocabulary.len())].clone(),
            };
            spoken.push((word, time, (time + length).min(59.0)));
            time += length;
        }
        let left = heard(&spoken, 0.0, 30.0, &mut random).join(" ");
        let right = heard(&spoken, 29.0, 59.0, &mut random).join(" ");
        let truth: Vec<&str> = spoken.iter().map(|(word, ..)| word.as_str()).collect();
        let joined = join_speech(&[&left, &right], 1.0, &[30.0 - silence, 30.0]);
        errors += distance(&truth, &joined.split(' ').collect::<Vec<_>>());
    }
    errors as f64 * 100.0 / f64::from(joins)
}

#[test]
fn made_up_speech_is_joined_with_few_errors() {
    let digits: Vec<String> =
        "zero one two three four five six seven eight nine".split(' ').map(str::to_owned).collect();
    let many: Vec<String> = (0..500).map(|n| format!("{}{}ra", ["ba", "ke", "mi", "tu"][n % 4], n)).collect();
    // Plain joining has as many errors as there are words in a second, times a hundred. Silence at the beginning
    // makes for fewer words by which to tell the rate.
    for (name, words, repeat, silence, vocabulary, most) in [
        ("digits, 2/s", 2.0, 0.0, 0.0, &digits, 12.0),
        ("digits, 3/s", 3.0, 0.0, 0.0, &digits, 6.0),
        ("digits in runs, 2/s", 2.0, 0.6, 0.0, &digits, 25.0),
        ("digits behind silence, 2/s", 2.0, 0.0, 20.0, &digits, 15.0),
        ("digits in runs behind silence, 2/s", 2.0, 0.6, 20.0, &digits, 40.0),
        ("500 words, 3/s", 3.0, 0.0, 0.0, &many, 4.0),
    ] {
        let errors = errors_per_hundred_joins(words, repeat, silence, vocabulary);
        eprintln!("{name}: {errors:.1} errors in 100 joins");
        assert!(errors <= most, "{name}: {errors} errors in 100 joins");
    }
}
