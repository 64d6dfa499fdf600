use crate::audio::level::{PEAK, peak, scale};

fn normalise(samples: &mut [f32]) -> f32 {
    let peak = peak(samples);
    scale(samples, peak);
    peak
}

#[test]
fn the_peak_becomes_nine_tenths() {
    let mut samples = [0.1, -0.25, 0.0];
    assert_eq!(normalise(&mut samples), 0.25);
    assert_eq!(samples, [0.1 / 0.25 * PEAK, -PEAK, 0.0]);
}

#[test]
fn silence_stays_and_what_is_no_number_becomes_silence() {
    let mut samples = [0.0; 4];
    assert_eq!(normalise(&mut samples), 0.0);
    assert_eq!(samples, [0.0; 4]);
    let mut samples = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.5];
    normalise(&mut samples);
    assert_eq!(samples, [0.0, 0.0, 0.0, PEAK]);
}

#[test]
fn extremes_stay_finite() {
    for peak in [f32::MIN_POSITIVE / 4.0, f32::MAX] {
        let mut samples = [peak, -peak / 2.0];
        normalise(&mut samples);
        assert!(samples.iter().all(|sample| sample.abs() <= PEAK * 1.000_001), "{samples:?}");
    }
}
