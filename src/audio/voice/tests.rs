#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use std::f32::consts::TAU;
use std::path::Path;

use super::*;

const SECOND: usize = SAMPLE_RATE as usize;
const NONE: [Range<usize>; 0] = [];

/// What Silero's own program (silero-vad 6.2.3 from PyPI, in f32) says of the frames of
/// `tests/data/theo-7309.wav`, each of its samples twice.
#[rustfmt::skip]
const REFERENCE: [f32; 84] = [
    0.0091, 0.0189, 0.0126, 0.0130, 0.0118, 0.0108, 0.0098, 0.0205, 0.0769, 0.9062, 0.9783, 0.9952, 0.9990,
    0.9994, 0.9984, 0.9929, 0.9725, 0.9067, 0.6154, 0.2913, 0.1450, 0.0945, 0.0706, 0.0589, 0.0521, 0.0474,
    0.0425, 0.2027, 0.9964, 0.9997, 0.9998, 0.9999, 0.9998, 0.9996, 0.9979, 0.9891, 0.8012, 0.3244, 0.1169,
    0.0657, 0.0461, 0.0398, 0.0355, 0.2047, 0.6568, 0.9960, 0.9991, 0.9996, 0.9997, 0.9997, 0.9997, 0.9982,
    0.9946, 0.9613, 0.7852, 0.4844, 0.1640, 0.0498, 0.0245, 0.0186, 0.0169, 0.0158, 0.0159, 0.0163, 0.0162,
    0.0278, 0.9617, 0.9937, 0.9997, 0.9997, 0.9998, 0.9997, 0.9993, 0.9980, 0.9949, 0.9762, 0.6874, 0.2546,
    0.0765, 0.0352, 0.0227, 0.0178, 0.0157, 0.0139
];

/// The samples of a recording of 8 kHz at twice the rate, the plainest way.
fn theo() -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/theo-7309.wav");
    let bytes = std::fs::read(path).unwrap();
    let samples =
        bytes[44..].as_chunks().0.iter().map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / 32768.0);
    samples.flat_map(|sample| [sample, sample]).collect()
}

fn speech(samples: Vec<f32>) -> Vec<Range<usize>> {
    VoiceDetector::built_in().unwrap().speech(&Samples::from(samples), || Ok(())).unwrap()
}

/// A small generator of noise, uniform in -1..1.
struct Random(u64);

impl Iterator for Random {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0)
    }
}

#[test]
fn the_network_is_silero() {
    let detector = VoiceDetector::built_in().unwrap();
    let mut memory = Memory::default();
    for (frame, wanted) in theo().chunks(FRAME).zip(REFERENCE) {
        let found = memory.hear(&detector.weights, frame);
        // Kernels in f16 make the difference.
        assert!((found - wanted).abs() < 0.005, "{found} for {wanted}");
    }
}

#[test]
fn words_are_heard_however_quiet_and_whatever_is_beside_them() {
    let spoken = theo();
    let found = speech(spoken.clone());
    let all: usize = found.iter().map(Range::len).sum();
    assert!(all > SECOND && found[0].start < SECOND, "{found:?}");
    // A whole recording is levelled before: beside a bang this is speech of −40 dBFS and less.
    let mut quiet: Vec<f32> = spoken.iter().map(|sample| sample * 0.01).collect();
    quiet.extend(Random(1).take(SECOND / 100));
    quiet.extend(spoken.iter().map(|sample| sample * 0.01));
    let beside_a_bang: usize = speech(quiet).iter().map(Range::len).sum();
    assert!(beside_a_bang > all * 3 / 2, "{beside_a_bang} of twice {all}");
}

#[test]
fn what_is_no_speech_is_none() {
    let time = |n: usize| n as f32 / SECOND as f32;
    let all = 12 * SECOND;
    assert_eq!(speech(vec![0.0; all]), NONE);
    for level in [0.9, 0.03, 0.00003] {
        assert_eq!(speech(Random(2).map(|x| level * x).take(all).collect()), NONE, "white noise");
        let mut low = 0.0;
        let brown = |x: f32| {
            low += 0.02 * (x - low);
            (level * 5.0 * low).clamp(-1.0, 1.0)
        };
        assert_eq!(speech(Random(3).map(brown).take(all).collect()), NONE, "low noise");
        let hum = |n| (1..8).map(|k| (TAU * 50.0 * k as f32 * time(n)).sin() / k as f32).sum::<f32>();
        assert_eq!(speech((0..all).map(|n| level * 0.4 * hum(n)).collect()), NONE, "hum");
        let click = |(n, x): (usize, f32)| level * x * (-((n % 9_000) as f32) / 40.0).exp();
        assert_eq!(speech(Random(4).take(all).enumerate().map(click).collect()), NONE, "clicks");
        let chord = |n: usize| {
            let root = 110.0 * [1.0, 1.335, 1.498, 1.122][n / 8_000 % 4];
            let tones = [1.0, 1.26, 1.498, 4.0].map(|step| (TAU * root * step * time(n)).sin());
            level * 0.25 * tones.iter().sum::<f32>() * (-((n % 8_000) as f32) / 5_000.0).exp()
        };
        assert_eq!(speech((0..all).map(chord).collect()), NONE, "chords");
    }
}

#[test]
fn the_shortest_recordings_do_no_harm() {
    for length in [0, 1, FRAME - 1, FRAME, FRAME + 1] {
        assert_eq!(speech(vec![0.5; length]), NONE);
    }
    // Over the edge of a block, with a last frame that is not whole.
    let spoken = theo();
    let long: Vec<f32> = spoken.iter().copied().cycle().take(BLOCK_FRAMES * FRAME + 12_345).collect();
    let found = speech(long.clone());
    assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start), "{found:?}");
    assert!(found.iter().all(|span| span.start < span.end && span.end <= long.len()));
    assert!(found.iter().any(|span| span.end > BLOCK_FRAMES * FRAME), "{found:?}");
}

#[test]
fn listening_ends_when_nobody_waits_for_it() {
    let detector = VoiceDetector::built_in().unwrap();
    let samples = Samples::from(vec![0.0; 3 * BLOCK_FRAMES * FRAME]);
    let asked = std::cell::Cell::new(0);
    let result = detector.speech(&samples, || {
        asked.set(asked.get() + 1);
        if asked.get() > 1 { Err(Error::Cancelled) } else { Ok(()) }
    });
    assert!(matches!(result, Err(Error::Cancelled)) && asked.get() == 2);
}

#[test]
fn files_that_are_something_else_are_named() {
    let with = |at: usize, bytes: &[u8]| {
        let mut file = BUILT_IN.to_vec();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let tensor = |name: &str| BUILT_IN.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
    let bias = tensor("_model.encoder.0.reparam_conv.bias");
    let twice = [BUILT_IN, &BUILT_IN[bias - 16..bias + 34 + 512]].concat();
    for (file, named) in [
        (b"RIFF".to_vec(), "no GGML file"),
        (with(0, b"GGUF"), "no GGML file"),
        (with(8, b"silero-8k!"), "no Silero model"),
        (with(30, &[0, 1, 0, 0]), "frame length"),
        (with(38, &[9, 0, 0, 0]), "layers"),
        (with(42, &[128, 0, 0, 0]), "layers"),
        (with(bias - 16, &[200, 0, 0, 0]), "header"),
        (with(bias - 12, &[255, 255, 255, 255]), "header"),
        (with(bias - 8, &[7, 0, 0, 0]), "unknown type"),
        (with(bias - 4, &[127, 0, 0, 0]), "shape"),
        (with(bias, &[255]), "no text"),
        (with(bias, b"x"), "too many"),
        (with(bias + 34, &f32::NAN.to_le_bytes()), "no numbers"),
        (twice, "comes twice"),
        (BUILT_IN[..BUILT_IN.len() - 1].to_vec(), "ends early"),
        (BUILT_IN[..bias - 16].to_vec(), "missing"),
        (vec![], "ends early"),
    ] {
        let error = file::read(&file).unwrap_err();
        assert!(error.to_string().contains(named), "{error} should name {named}");
    }
}

#[test]
fn no_damage_to_a_file_does_harm() {
    let mut random = Random(5).map(|x| ((x + 1.0) * 500_000_000.0) as usize);
    for _ in 0..300 {
        let mut file = BUILT_IN.to_vec();
        let headers = random.next().unwrap() % 2 == 0;
        let at = random.next().unwrap() % if headers { 200 } else { file.len() };
        file[at] = random.next().unwrap() as u8;
        file.truncate(file.len() - random.next().unwrap() % 3);
        // Weights may be anything; what is read then works.
        if let Ok(weights) = file::read(&file) {
            let heard = Memory::default().hear(&weights, &[0.1; FRAME]);
            assert!(heard.is_nan() || (0.0..=1.0).contains(&heard));
        }
    }
}
