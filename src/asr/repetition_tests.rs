#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use super::*;

/// Each token is a word of five letters.
fn words(tokens: &[Token]) -> String {
    tokens.iter().map(|token| format!(" w{token:04}")).collect()
}

/// Each token is a letter of a word without end.
fn letters(tokens: &[Token]) -> String {
    tokens.iter().map(|token| char::from(b'a' + (*token % 26) as u8)).collect()
}

fn repeated(phrase: &[Token], times: usize) -> Vec<Token> {
    phrase.iter().copied().cycle().take(phrase.len() * times).collect()
}

/// A text without repetition.
fn plain(count: usize) -> Vec<Token> {
    (1000..).take(count).collect()
}

#[test]
fn digits_that_somebody_can_have_said_are_no_loop() {
    // Fast: 5 a second. The same word for half a minute; a telephone number again and again; ten words by chance.
    let chance = |n: u32| (n.wrapping_mul(2_654_435_761) >> 16) % 10;
    for text in [repeated(&[1], 150), repeated(&[5, 5, 2, 1], 37), (0..150).map(chance).collect()] {
        assert!(!is_loop(&text, words, 30.0, false));
    }
    assert!(!is_loop(&repeated(&[1], 5), words, 0.4, false), "the shortest audio counts as a second");
}

#[test]
fn what_nobody_says_in_that_time_is_one() {
    assert!(is_loop(&repeated(&[1], 300), words, 30.0, false));
    assert!(is_loop(&repeated(&[1], 90), words, 10.0, false));
    let behind_text: Vec<Token> = [plain(20), repeated(&[1, 2, 3], 30), plain(5)].concat();
    assert!(is_loop(&behind_text, words, 10.0, false));
    assert!(is_loop(&repeated(&[1, 2], 210), letters, 10.0, false), "420 letters of one word");
    assert!(!is_loop(&repeated(&[1, 2], 150), letters, 10.0, false));
}

#[test]
fn much_text_without_repetition_is_none() {
    assert!(!is_loop(&plain(444), words, 5.0, true));
    // A phrase that comes three times.
    assert!(!is_loop(&repeated(&plain(20), 3), words, 1.0, true));
}

#[test]
fn a_run_into_the_limit_is_one() {
    let text: Vec<Token> = [plain(100), repeated(&plain(7), 20)].concat();
    assert!(is_loop(&text, words, 30.0, true));
    assert!(!is_loop(&text, words, 30.0, false), "240 words in 30 s, with an end");
    let cut = text[..text.len() - 3].to_vec();
    assert!(is_loop(&cut, words, 30.0, true));
    let goes_on: Vec<Token> = [text, vec![1, 2, 3]].concat();
    assert!(!is_loop(&goes_on, words, 30.0, true));
    assert!(!is_loop(&repeated(&[1], 31), words, 30.0, true), "too short to tell");
}

#[test]
fn runs_have_their_true_ends() {
    let text: Vec<Token> = [plain(10), repeated(&[1, 2, 3], 5), vec![1], plain(4)].concat();
    assert_eq!(runs(&text, 3), [Run { start: 10, end: 26, period: 3 }]);
    assert_eq!(runs(&text, 2), []);
    // Twice the phrase is a phrase, too, but comes less often.
    assert_eq!(runs(&text, 6), []);
    assert_eq!(runs(&repeated(&[7], 4), 1), [Run { start: 0, end: 4, period: 1 }]);
    assert_eq!(runs(&[7, 7, 7], 1), []);
    assert_eq!(runs(&[], 1), []);
}

#[test]
fn the_fifth_time_in_a_row_is_once_too_often() {
    let next = |tokens: &[Token]| once_too_often(tokens).collect::<Vec<_>>();
    assert!(next(&[]).is_empty());
    assert!(next(&[1, 1, 1]).is_empty());
    assert_eq!(next(&[1, 1, 1, 1]), [1]);
    assert_eq!(next(&repeated(&[1, 2, 3], 4)), [1]);
    let longer: Vec<Token> = [repeated(&[1, 2, 3], 4), vec![2]].concat();
    assert!(next(&longer).is_empty());
    assert!(next(&[repeated(&[1, 2, 3], 3), vec![1, 2]].concat()).is_empty());
}

#[test]
fn what_grows_without_it_is_never_a_loop() {
    // Whatever is preferred: the same token again, unless that would be once too often.
    let mut tokens = vec![3];
    while tokens.len() < 444 {
        let forbidden: Vec<_> = once_too_often(&tokens).collect();
        let last = tokens.len() - 1;
        let mut wanted = [tokens[last], 1, 2, 3, 4].into_iter().filter(|token| !forbidden.contains(token));
        tokens.push(wanted.next().unwrap());
    }
    for period in 1..=LONGEST_PHRASE {
        assert!(runs(&tokens, period).iter().all(|run| run.repeats() == REPEATS), "{period}: {tokens:?}");
    }
}
