use proptest::prelude::*;

use super::*;

/// For each row a word with its left side in it, or one that is made of it, and how it is spelled.
const WORDS: [(&str, &str); ROWS.len()] = [
    ("teεyiḍ", "teɛyiḍ"),
    ("teϵyiḍ", "teɛyiḍ"),
    ("σli", "ɛli"),
    ("yerfaς", "yerfaɛ"),
    ("Σli", "Ɛli"),
    ("Εli", "Ɛli"),
    ("aγrum", "aɣrum"),
    ("Γur-s", "Ɣur-s"),
    ("taԑlamt", "taɛlamt"),
    ("Ԑli", "Ɛli"),
    ("Ʃli", "Ɛli"),
    ("aɤrum", "aɣrum"),
    ("leğdud", "leǧdud"),
    ("Ğaɛfar", "Ǧaɛfar"),
    ("leĝdud", "leǧdud"),
    ("Ĝaɛfar", "Ǧaɛfar"),
    ("aḑar", "aḍar"),
    ("Ḑar", "Ḍar"),
    ("aḩbib", "aḥbib"),
    ("Ḩbib", "Ḥbib"),
    ("taŗwiḥt", "taṛwiḥt"),
    ("Ŗebbi", "Ṛebbi"),
    ("aşeggas", "aṣeggas"),
    ("Şşabun", "Ṣṣabun"),
    ("așurdi", "aṣurdi"),
    ("Șșabun", "Ṣṣabun"),
    ("taz\u{327}allit", "taẓallit"),
    ("Z\u{327}ra", "Ẓra"),
    ("taz\u{326}allit", "taẓallit"),
    ("Z\u{326}ra", "Ẓra"),
    ("a\u{261}ellid", "agellid"),
];

#[test]
fn every_row_is_applied() {
    for ((from, to), (written, standard)) in ROWS.iter().zip(WORDS) {
        assert!(written.contains(from), "{written} has no {from}");
        assert!(!standard.contains(from) && standard.contains(to), "{standard} should have {to}");
        assert_eq!(normalize(written), standard);
    }
}

#[test]
fn both_sides_of_a_row_are_composed_and_no_result_is_a_source() {
    for (from, to) in ROWS {
        assert_eq!(from, from.nfc().collect::<String>());
        assert_eq!(to, to.nfc().collect::<String>());
        assert!(to.chars().all(is_kabyle), "{to}");
        assert!(ROWS.iter().all(|(source, _)| !to.contains(source)), "{to}");
    }
}

#[test]
fn decomposed_letters_become_composed_ones() {
    for (base, mark, composed) in [
        ('d', '\u{323}', "ḍ"),
        ('h', '\u{323}', "ḥ"),
        ('r', '\u{323}', "ṛ"),
        ('s', '\u{323}', "ṣ"),
        ('t', '\u{323}', "ṭ"),
        ('z', '\u{323}', "ẓ"),
        ('D', '\u{323}', "Ḍ"),
        ('c', '\u{30c}', "č"),
        ('g', '\u{30c}', "ǧ"),
        ('G', '\u{30c}', "Ǧ"),
        ('s', '\u{327}', "ṣ"),
        ('g', '\u{306}', "ǧ"),
    ] {
        assert_eq!(normalize(&format!("a{base}{mark}a")), format!("a{composed}a"));
    }
}

#[test]
fn standard_kabyle_stays_as_it_is() {
    let text = "Ɣas ulamma — mačči d ayen i ɣ-d-yenna Ɛli; aɛeqqa n uẓar, «iḍ-a» ad d-tṛuḥeḍ ɣer ǧeddi.";
    assert_eq!(normalize(text), text);
}

#[test]
fn clitics_count_as_part_of_their_word() {
    assert_eq!(normalize("ayen i γ-d-yewwi"), "ayen i ɣ-d-yewwi");
    assert_eq!(normalize("AD D-ΣEDDIΓ"), "AD D-ƐEDDIƔ");
    assert_eq!(normalize("ak°γ"), "ak°ɣ");
}

#[test]
fn other_scripts_are_left_alone() {
    for text in [
        "Γειά σου, Ελλάδα. Η γάτα, ε, σε γη — ΣΕΓ",
        "ε > 0, γ = 2, Σ x",
        "Ԑ ԑлен",
        "γιaγιά", // A Latin letter slipped into a Greek word.
        "نεma",
    ] {
        assert_eq!(normalize(text), text, "{text}");
    }
    assert_eq!(normalize("yenna-d γιαγιά aγrum"), "yenna-d γιαγιά aɣrum");
}

#[test]
fn letters_with_a_meaning_of_their_own_are_left_alone() {
    for text in ["neţţa", "Ţxil-k", "Chişinău", "Škoda", "Žižek", "Dvořák", "garçon", "Aéroport"]
    {
        assert_eq!(normalize(text), text, "{text}");
    }
    // The old spelling of tt does not keep the rest of a word from being repaired.
    assert_eq!(normalize("yeţwaṛfaε"), "yeţwaṛfaɛ");
    // Nor does a French letter.
    assert_eq!(normalize("téléphone-γef"), "téléphone-ɣef");
}

/// Words of letters that the rules are about, marks, joiners and foreign ones.
fn nasty() -> impl Strategy<Value = String> {
    let sources: String = ROWS.iter().map(|(from, _)| *from).collect();
    let all: Vec<char> = sources
        .chars()
        .chain(
            "abdghrstzDGZɛɣṣǧéăñţαωЖش°-' .9\u{301}\u{306}\u{307}\u{323}\u{326}\u{327}\u{30c}\u{345}".chars(),
        )
        .collect();
    prop::collection::vec(prop::sample::select(all), 0..24).prop_map(String::from_iter)
}

fn is_nfc(text: &str) -> bool {
    text.nfc().eq(text.chars())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn twice_is_the_same_as_once_and_the_result_is_nfc(text in prop_oneof![nasty(), ".*"]) {
        let once = normalize(&text);
        prop_assert!(is_nfc(&once));
        prop_assert_eq!(normalize(&once), once);
    }

    #[test]
    fn greek_and_cyrillic_paragraphs_stay_as_they_are(text in "([Α-ΡΣ-Ωα-ωά-ώ]{1,12}[ ,.;·!\\-’]{1,2}){0,12}|([А-яԐԑѐ-џ0-9]{1,12}[ ,.\n]){0,12}") {
        let composed: String = text.nfc().collect();
        prop_assert_eq!(normalize(&text), composed);
    }

    #[test]
    fn what_is_no_source_is_never_changed(text in "[a-zA-Zčḍɛǧɣḥṛṣṭẓţéàç0-9 .,?!'-]{0,60}") {
        prop_assert_eq!(normalize(&text), text);
    }
}
