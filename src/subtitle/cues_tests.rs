#![allow(clippy::indexing_slicing)] // A test may fail by panicking.

use proptest::prelude::*;

use super::*;

fn passage(start: f64, end: f64, text: &str) -> Passage {
    Passage { start, end, text: text.to_owned(), words: Vec::new() }
}

fn timed(words: &[(f64, f64, &str)]) -> Passage {
    let words: Vec<_> =
        words.iter().map(|&(start, end, text)| Word { start, end, text: text.to_owned() }).collect();
    let text = words.iter().map(|word| word.text.as_str()).collect::<String>().trim().to_owned();
    Passage { start: words[0].start, end: words[words.len() - 1].end, text, words }
}

#[test]
fn a_short_passage_is_one_line() {
    let cues = cues(&[passage(1.0, 3.0, "seven three zero nine")], Layout::default());
    assert_eq!(cues, [Cue { start: 1.0, end: 3.0, lines: vec!["seven three zero nine".into()] }]);
}

#[test]
fn the_lines_of_a_cue_are_about_equally_long() {
    let text = "the quick brown fox jumps over the lazy dog again";
    let cues = cues(&[passage(0.0, 4.0, text)], Layout::default());
    assert_eq!(cues[0].lines, ["the quick brown fox jumps", "over the lazy dog again"]);
}

#[test]
fn what_does_not_fit_goes_on_in_the_next_cue_with_its_share_of_the_time() {
    let text = "one two three four five six seven eight";
    let cues = cues(&[passage(0.0, 8.0, text)], Layout { max_line_chars: 10, max_lines: 2 });
    let lines: Vec<_> = cues.iter().map(|cue| cue.lines.join("/")).collect();
    assert_eq!(lines, ["one two/three four", "five six/seven", "eight"]);
    assert!((cues[1].start - 8.0 * 19.0 / 40.0).abs() < 1e-9, "{cues:?}");
    assert_eq!(cues[0].end, cues[1].start);
}

#[test]
fn pauses_long_cues_and_sentences_end_a_cue() {
    let pause = timed(&[(0.0, 0.5, " one"), (2.0, 2.5, " two")]);
    assert_eq!(cues(&[pause], Layout::default()).len(), 2);
    let slow = timed(&[(0.0, 3.0, " one"), (3.5, 6.5, " two"), (7.0, 9.0, " three")]);
    let found = cues(&[slow], Layout::default());
    assert_eq!(found.iter().map(|cue| cue.lines.join("/")).collect::<Vec<_>>(), ["one two", "three"]);
    let text = "A sentence that is about half as long as a cue. Another one begins";
    assert_eq!(cues(&[passage(0.0, 5.0, text)], Layout::default()).len(), 2);
    assert_eq!(cues(&[passage(0.0, 2.0, "No. Yes. So.")], Layout::default()).len(), 1);
}

#[test]
fn short_cues_are_held_as_long_as_there_is_room() {
    let found = cues(&[passage(1.0, 1.1, "no"), passage(1.5, 1.6, "yes")], Layout::default());
    assert_eq!((found[0].end, found[1].end), (1.5, 2.3));
}

#[test]
fn words_without_spaces_are_cut_by_their_width() {
    let found =
        cues(&[passage(0.0, 4.0, "東京タワーへ行きます")], Layout { max_line_chars: 8, max_lines: 1 });
    let lines: Vec<_> = found.iter().map(|cue| cue.lines.join("/")).collect();
    assert_eq!(lines, ["東京タワ", "ーへ行き", "ます"]);
    let glued = timed(&[(0.0, 1.0, " don"), (1.0, 1.2, "'t")]);
    assert_eq!(cues(&[glued], Layout::default())[0].lines, ["don't"]);
}

proptest! {
    /// Every word is shown once, in order, within the lines and the times.
    #[test]
    fn nothing_is_lost_and_nothing_overflows(
        texts in prop::collection::vec("[a-zɛɣ.?東 ]{0,60}", 0..8),
        most in 4usize..50,
        max_lines in 1usize..4,
    ) {
        let passages: Vec<_> =
            texts.iter().enumerate().map(|(i, text)| passage(3.0 * i as f64, 3.0 * i as f64 + 2.5, text)).collect();
        let found = cues(&passages, Layout { max_line_chars: most, max_lines });
        let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        let shown: String = found.iter().flat_map(|cue| &cue.lines).map(|line| letters(line)).collect();
        prop_assert_eq!(shown, letters(&texts.concat()));
        for cue in &found {
            prop_assert!(cue.lines.len() <= max_lines && cue.lines.iter().all(|line| !line.is_empty()));
            prop_assert!(cue.lines.iter().all(|line| line.width() <= most.max(2)), "{:?}", cue);
            prop_assert!(cue.end >= cue.start);
        }
        prop_assert!(found.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }
}
