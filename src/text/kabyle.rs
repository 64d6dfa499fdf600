//! Kabyle in Latin letters, as CLDR and the Kabyle translators of free software write it:
//! `a b c č d ḍ e ɛ f g ǧ ɣ h ḥ i j k l m n p q r ṛ s ṣ t ṭ u w x y z ẓ`.
//!
//! Two of these letters were on no keyboard for long. Texts have Greek and Cyrillic letters that look alike in
//! their place, Common Voice and Tatoeba included, so that models learn to write them; and letters of Turkish and
//! Romanian keyboards in place of the dotted ones. The rows are those that the Kabyle community's own
//! clean-up tools agree on, and what software makes of them by changing case.
//!
//! `ţ` is not among them: in older books it is a spelling of `tt`, not of `ṭ`. Nor are `š`, `ž` and `ř`, which
//! foreign names and linguists use.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// What stands in texts, and what should. Both in NFC; the left side of one or two characters.
///
/// A row whose left side is of another script holds in a word that has a Latin letter and none of other
/// scripts but these. A row whose left side is Latin holds in a word of Kabyle letters and these alone, so
/// that `Chişinău` stays as it is.
pub(super) const ROWS: [(&str, &str); 31] = [
    // Greek. Σ is the capital of ε for those who type Greek; the others are the same in another case.
    ("\u{3b5}", "ɛ"), // ε epsilon
    ("\u{3f5}", "ɛ"), // ϵ lunate epsilon
    ("\u{3c3}", "ɛ"), // σ sigma
    ("\u{3c2}", "ɛ"), // ς final sigma
    ("\u{3a3}", "Ɛ"), // Σ capital sigma
    ("\u{395}", "Ɛ"), // Ε capital epsilon
    ("\u{3b3}", "ɣ"), // γ gamma
    ("\u{393}", "Ɣ"), // Γ capital gamma
    // Cyrillic.
    ("\u{511}", "ɛ"), // ԑ reversed ze
    ("\u{510}", "Ɛ"), // Ԑ capital reversed ze
    // Latin.
    ("\u{1a9}", "Ɛ"), // Ʃ capital esh, for Σ
    ("\u{264}", "ɣ"), // ɤ ram's horn
    ("ğ", "ǧ"),
    ("Ğ", "Ǧ"),
    ("ĝ", "ǧ"),
    ("Ĝ", "Ǧ"),
    // A cedilla or a comma for the dot below.
    ("ḑ", "ḍ"),
    ("Ḑ", "Ḍ"),
    ("ḩ", "ḥ"),
    ("Ḩ", "Ḥ"),
    ("ŗ", "ṛ"),
    ("Ŗ", "Ṛ"),
    ("ş", "ṣ"),
    ("Ş", "Ṣ"),
    ("ș", "ṣ"),
    ("Ș", "Ṣ"),
    ("z\u{327}", "ẓ"),
    ("Z\u{327}", "Ẓ"),
    ("z\u{326}", "ẓ"),
    ("Z\u{326}", "Ẓ"),
    // The g of phonetic writing.
    ("\u{261}", "g"), // ɡ
];

/// The letters beyond ASCII, and `ţ`.
const LETTERS: &str = "čČḍḌɛƐǧǦɣƔḥḤṛṚṣṢṭṬẓẒţŢ";

pub(super) fn normalize(text: &str) -> String {
    let mut before: String = text.nfc().collect();
    // Nearly always one pass. A letter with several marks may need another: composing what a row has made
    // can join the next mark to it. Each such pass uses up a mark.
    loop {
        let after = pass(&before);
        if after == before {
            return after;
        }
        before = after;
    }
}

fn pass(composed: &str) -> String {
    let mut out = String::with_capacity(composed.len());
    let mut rest = composed;
    while !rest.is_empty() {
        let between = rest.find(is_word).unwrap_or(rest.len());
        let (gap, from_word) = rest.split_at(between);
        let end = from_word.find(|c| !is_word(c)).unwrap_or(from_word.len());
        let (word, behind) = from_word.split_at(end);
        out.push_str(gap);
        push_word(word, &mut out);
        rest = behind;
    }
    out.nfc().collect()
}

/// Letters, what changes them, and what joins them: clitics hang on hyphens (`i ɣ-d-yewwi`).
fn is_word(c: char) -> bool {
    c.is_alphanumeric()
        || is_combining_mark(c)
        || matches!(c, '-' | '\u{2010}' | '\u{2011}' | '\'' | '\u{2019}' | '°')
}

fn push_word(word: &str, out: &mut String) {
    let has_latin = word.chars().any(is_latin);
    let no_other_script = word.chars().all(|c| !c.is_alphabetic() || is_latin(c) || starts_row(c));
    let kabyle = word.chars().all(|c| !c.is_alphabetic() || is_kabyle(c) || starts_row(c));
    if !(has_latin && no_other_script) {
        return out.push_str(word);
    }
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let row = ROWS.iter().find(|(from, _)| rest.starts_with(from));
        let (length, to) = match row {
            Some((from, to)) if kabyle || !is_latin(first) => (from.len(), *to),
            _ => (first.len_utf8(), rest.get(..first.len_utf8()).unwrap_or_default()),
        };
        out.push_str(to);
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn starts_row(c: char) -> bool {
    ROWS.iter().any(|(from, _)| from.starts_with(c))
}

fn is_kabyle(c: char) -> bool {
    c.is_ascii_alphabetic() || LETTERS.contains(c) || is_modifier(c)
}

/// Small raised letters, such as the ʷ of `kʷ`.
fn is_modifier(c: char) -> bool {
    matches!(c, '\u{2b0}'..='\u{2b8}' | '\u{2e0}'..='\u{2e4}')
}

/// Letters of the Latin script, by Unicode's blocks.
fn is_latin(c: char) -> bool {
    c.is_alphabetic()
        && matches!(c, 'A'..='Z' | 'a'..='z' | 'ª' | 'º' | '\u{c0}'..='\u{2af}' | '\u{1d00}'..='\u{1d25}'
            | '\u{1e00}'..='\u{1eff}' | '\u{2c60}'..='\u{2c7f}' | '\u{a720}'..='\u{a7ff}' | '\u{fb00}'..='\u{fb06}')
        || is_modifier(c)
}

#[cfg(test)]
#[path = "kabyle_tests.rs"]
mod tests;
