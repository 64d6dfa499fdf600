use std::sync::Arc;

use imesli::audio::excerpt::Excerpt;
use imesli::audio::samples::Samples;
use imesli::audio::window::{OVERLAP_SAMPLES, Window, windows};

use super::open;

fn cut(samples: &[f32]) -> Vec<Window> {
    windows(&Excerpt::whole(Arc::new(Samples::from(samples.to_vec())))).collect::<Result<_, _>>().unwrap()
}

/// Digit strings of four people, one after the other, for about two minutes.
fn digits_with_pauses() -> Vec<f32> {
    let names = ["jackson-4815162390.wav", "nicolas-5521.wav", "yweweler-600142.wav", "theo-7309.wav"];
    let strings: Vec<Vec<f32>> = names.iter().map(|name| open(name).samples).collect();
    (0..24).flat_map(|n| strings[(n * n + n / 3) % strings.len()].clone()).collect()
}

fn decibels(samples: &[f32]) -> f32 {
    10.0 * (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).log10()
}

#[test]
fn human_speech_with_pauses_is_cut_in_them() {
    let clean = digits_with_pauses();
    // 40 and 20 dB below the speech.
    for noise in [0.0, 0.001, 0.01] {
        let mut state = 1_u32;
        let samples: Vec<f32> = clean
            .iter()
            .map(|sample| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                sample + noise * (state as f32 / 2_147_483_648.0 - 1.0)
            })
            .collect();
        let windows = cut(&samples);
        assert!(windows.len() >= 4);
        for window in &windows[1..] {
            let cut = window.range.start;
            // 100 ms around the cut.
            let level = decibels(&clean[cut - 800..cut + 800]);
            assert_eq!(window.overlap, 0, "noise {noise}: no pause found");
            assert!(level < -40.0, "noise {noise}: cut at {cut} where it is at {level} dB");
        }
    }
}

#[test]
fn human_speech_without_pauses_is_cut_with_an_overlap() {
    // What is quieter than the digits goes, and the digits are moved together.
    let samples: Vec<f32> =
        digits_with_pauses().chunks(320).filter(|frame| decibels(frame) > -45.0).flatten().copied().collect();
    let windows = cut(&samples);
    assert!(windows.len() >= 2);
    assert!(windows[1..].iter().all(|window| window.overlap == OVERLAP_SAMPLES), "{windows:?}");
}
