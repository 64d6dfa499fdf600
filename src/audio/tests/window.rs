use super::Random;
use std::sync::Arc;

use crate::audio::excerpt::Excerpt;
use crate::audio::samples::Samples;
use crate::audio::window::{OVERLAP_SAMPLES, WINDOW_SAMPLES, Window, windows};

const SECOND: usize = 16_000;

/// Speech-like noise: syllables of 5 per second whose valleys are 15 dB deep.
fn speech(seconds: f64, random: &mut Random) -> Vec<f32> {
    let mut low = 0.0;
    (0..(seconds * SECOND as f64) as usize)
        .map(|n| {
            low += 0.3 * (random.noise() - low);
            let phase = n as f32 / SECOND as f32 * 5.0 * std::f32::consts::TAU;
            low * (0.59 + 0.41 * phase.sin())
        })
        .collect()
}

fn add_noise(samples: &mut [f32], level: f32, random: &mut Random) {
    for sample in samples {
        *sample += level * random.noise();
    }
}

/// Nothing is left out, nothing goes backwards, nothing is longer than the model takes.
fn check(samples: &[f32]) -> Vec<Window> {
    let recording = Excerpt::whole(Arc::new(Samples::from(samples.to_vec())));
    let windows: Vec<_> = windows(&recording).collect::<Result<_, _>>().unwrap();
    let mut covered = 0;
    for (index, window) in windows.iter().enumerate() {
        assert!(!window.range.is_empty() && window.range.len() <= WINDOW_SAMPLES, "{window:?}");
        assert_eq!(window.range.start + window.overlap, covered, "{window:?} behind {covered}");
        assert!(window.overlap == 0 || (index > 0 && window.overlap == OVERLAP_SAMPLES));
        if index + 1 < windows.len() {
            assert!(window.range.len() >= 24 * SECOND, "{window:?} wastes more than the search");
        }
        assert!(window.speech <= window.range.len());
        covered = window.range.end;
    }
    assert_eq!(covered, samples.len());
    windows
}

#[test]
fn what_fits_is_one_window() {
    assert!(check(&[]).is_empty());
    for length in [1, SECOND, WINDOW_SAMPLES] {
        assert_eq!(check(&vec![0.1; length]), [Window { range: 0..length, overlap: 0, speech: length }]);
    }
    assert_eq!(check(&vec![0.1; WINDOW_SAMPLES + 1]).len(), 2);
}

#[test]
fn a_window_ends_in_the_pause_near_its_end() {
    // Clean, and with noise 40, 20 and 14 dB below the speech.
    for level in [0.0, 0.003, 0.03, 0.06] {
        for length in [0.3, 0.5, 1.0] {
            let mut random = Random(11);
            let mut samples = speech(27.0, &mut random);
            samples.resize(samples.len() + (length * SECOND as f64) as usize, 0.0);
            let end = samples.len();
            samples.extend(speech(20.0, &mut random));
            add_noise(&mut samples, level, &mut random);
            let windows = check(&samples);
            let cut = windows[1].range.start;
            assert_eq!(windows[1].overlap, 0, "noise {level}, pause {length}: no pause found");
            assert!((27 * SECOND..end).contains(&cut), "noise {level}, pause {length}: cut at {cut}");
            assert!(end - cut >= SECOND / 20, "the next window begins too close to the speech");
        }
    }
}

#[test]
fn pauses_do_not_count_as_speech() {
    let mut random = Random(13);
    let mut samples = vec![0.0; 10 * SECOND];
    samples.extend(speech(15.0, &mut random));
    let speech = check(&samples)[0].speech;
    assert!((14 * SECOND..=16 * SECOND).contains(&speech), "{speech}");
}

#[test]
fn of_several_pauses_the_long_and_late_one_is_taken() {
    let mut random = Random(5);
    let mut samples = speech(25.0, &mut random);
    for (pause, run) in [(0.25, 1.0), (0.6, 1.0), (0.22, 20.0)] {
        samples.resize(samples.len() + (pause * SECOND as f64) as usize, 0.0);
        samples.extend(speech(run, &mut random));
    }
    let cut = check(&samples)[1].range.start as f64 / SECOND as f64;
    assert!((26.25..26.85).contains(&cut), "cut at {cut}");
}

#[test]
fn speech_without_a_pause_is_cut_with_an_overlap() {
    for level in [0.0, 0.003, 0.03, 0.1] {
        let mut random = Random(23);
        let mut samples = speech(95.0, &mut random);
        add_noise(&mut samples, level, &mut random);
        let windows = check(&samples);
        assert!(
            windows[1..].iter().all(|window| window.overlap == OVERLAP_SAMPLES),
            "noise {level}: {windows:?}"
        );
    }
}

#[test]
fn a_stop_consonant_is_no_pause() {
    let mut random = Random(29);
    let mut samples = speech(60.0, &mut random);
    for start in (0..60).map(|second| second * SECOND + 5_000) {
        samples[start..start + SECOND * 15 / 100].fill(0.0);
    }
    assert_eq!(check(&samples)[1].overlap, OVERLAP_SAMPLES);
}

#[test]
fn any_signal_is_covered() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut samples = Vec::new();
        let parts = random.between(1.0, 12.0) as usize;
        for _ in 0..parts {
            let seconds = f64::from(random.between(0.01, 20.0));
            let loud = 10_f32.powf(random.between(-6.0, 0.0));
            let part = if random.noise() > 0.0 {
                speech(seconds, &mut random)
            } else {
                vec![0.0; (seconds * SECOND as f64) as usize]
            };
            samples.extend(part.iter().map(|sample| sample * loud));
        }
        check(&samples);
    }
}
