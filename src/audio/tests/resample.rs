use std::f64::consts::TAU;

use super::Random;
use crate::audio::SAMPLE_RATE;
use crate::audio::resample::Resampler;

const RATES: [u32; 8] = [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];

fn resample(input: &[f32], rate: u32) -> Vec<f32> {
    let mut out = Vec::new();
    let mut resampler = Resampler::new(rate).unwrap();
    // Blocks of odd sizes, as codecs give them.
    for block in input.chunks(1_153) {
        resampler.push(block, &mut out).unwrap();
    }
    resampler.finish(&mut out).unwrap();
    out
}

fn tone(frequency: f64, rate: u32) -> Vec<f32> {
    (0..rate).map(|n| (TAU * frequency * f64::from(n) / f64::from(rate)).sin() as f32).collect()
}

/// The level at `frequency` and the level of everything else, in dB relative to full scale, in the middle half
/// second.
fn measure(samples: &[f32], frequency: f64) -> (f64, f64) {
    let range = 4_000..12_000;
    let (mut sine, mut cosine, mut energy) = (0.0, 0.0, 0.0);
    // A least-squares fit; the sums of products are those of whole and half cycles but for the lowest tones.
    let (mut ss, mut sc, mut cc) = (0.0, 0.0, 0.0);
    for n in range.clone() {
        let (s, c) = (TAU * frequency * n as f64 / 16_000.0).sin_cos();
        let x = f64::from(samples[n]);
        sine += x * s;
        cosine += x * c;
        ss += s * s;
        sc += s * c;
        cc += c * c;
    }
    let determinant = ss * cc - sc * sc;
    let (a, b) = ((sine * cc - cosine * sc) / determinant, (cosine * ss - sine * sc) / determinant);
    for n in range.clone() {
        let (s, c) = (TAU * frequency * n as f64 / 16_000.0).sin_cos();
        energy += (f64::from(samples[n]) - a * s - b * c).powi(2);
    }
    let rest = 2.0 * energy / range.len() as f64;
    (10.0 * (a * a + b * b).log10(), 10.0 * (rest + 1e-30).log10())
}

#[test]
fn a_sweep_shows_a_flat_pass_band_and_no_aliases() {
    for rate in RATES {
        let nyquist = f64::from(rate.min(SAMPLE_RATE)) / 2.0;
        let (mut ripple, mut spurious) = (0.0_f64, f64::NEG_INFINITY);
        for step in 1..=60 {
            let frequency = nyquist * 0.995 * f64::from(step) / 60.0 + 1.234;
            let (gain, rest) = measure(&resample(&tone(frequency, rate), rate), frequency);
            spurious = spurious.max(rest);
            if frequency <= 0.87 * nyquist {
                ripple = ripple.max(gain.abs());
            }
        }
        // Above our Nyquist frequency nothing may come through.
        let mut alias = f64::NEG_INFINITY;
        for step in (0..40).take_while(|_| rate > SAMPLE_RATE) {
            let frequency =
                nyquist + 10.0 + (f64::from(rate) / 2.0 - nyquist - 20.0) * f64::from(step) / 40.0;
            let out = resample(&tone(frequency, rate), rate);
            let energy: f64 = out[4_000..12_000].iter().map(|&x| f64::from(x).powi(2)).sum();
            alias = alias.max(10.0 * (2.0 * energy / 8_000.0 + 1e-30).log10());
        }
        eprintln!("{rate} Hz: ripple {ripple:.4} dB, images {spurious:.1} dB, aliases {alias:.1} dB");
        assert!(ripple < 0.1, "{rate} Hz: the pass band strays by {ripple} dB");
        assert!(spurious < -90.0, "{rate} Hz: images at {spurious} dB");
        assert!(alias < -90.0, "{rate} Hz: aliases at {alias} dB");
    }
}

#[test]
fn a_click_stays_where_it_was() {
    for rate in RATES.into_iter().chain([44_101, 12_345, 6_000, 192_000]) {
        for at in [0.01, 0.5, 0.99] {
            let mut input = vec![0.0; rate as usize];
            input[(at * f64::from(rate)) as usize] = 1.0;
            let out = resample(&input, rate);
            let loudest = (0..out.len()).max_by(|&a, &b| out[a].abs().total_cmp(&out[b].abs())).unwrap();
            let error = loudest as f64 / 16_000.0 - at;
            assert!(
                error.abs() < 1.01 / f64::from(rate.min(SAMPLE_RATE)),
                "{rate} Hz: a click at {at} s moved by {error} s"
            );
        }
    }
}

#[test]
fn the_length_is_exact_and_the_tail_is_there() {
    for rate in RATES {
        for length in [1, 2, 441, 1_000, 100_003] {
            let input = vec![0.5; length];
            let out = resample(&input, rate);
            let exact = (length as f64 * 16_000.0 / f64::from(rate)).round() as usize;
            assert_eq!(out.len(), exact, "{length} samples at {rate} Hz");
            if length > 100_000 {
                let last = out[out.len() - 2];
                assert!((last - 0.5).abs() < 0.2, "{rate} Hz: the tail is {last}");
            }
        }
    }
    assert!(resample(&[], 48_000).is_empty());
}

#[test]
fn block_sizes_do_not_matter() {
    let mut random = Random(3);
    let input: Vec<f32> = (0..30_000).map(|_| random.noise()).collect();
    let whole = {
        let mut out = Vec::new();
        let mut resampler = Resampler::new(44_100).unwrap();
        resampler.push(&input, &mut out).unwrap();
        resampler.finish(&mut out).unwrap();
        out
    };
    assert_eq!(whole, resample(&input, 44_100));
}

#[test]
fn sixteen_kilohertz_pass_untouched() {
    let input = [1.5, f32::MIN_POSITIVE, -0.3, 1e-30];
    assert_eq!(resample(&input, SAMPLE_RATE), input);
}

#[test]
fn rates_out_of_range_are_refused() {
    for rate in [0, 999, 384_001, u32::MAX] {
        assert!(Resampler::new(rate).is_err());
    }
    // The worst of the allowed ones: no common divisor.
    assert_eq!(resample(&vec![0.1; 383_987], 383_987).len(), 16_000);
    assert_eq!(resample(&[0.1; 1_009], 1_009).len(), 16_000);
}
