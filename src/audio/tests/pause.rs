use super::super::pause::pauses;

/// A voice-like tone of `seconds`, its loudness given for each stretch.
fn sound(stretches: &[(f64, f32)]) -> Vec<f32> {
    let mut samples = Vec::new();
    for (seconds, level) in stretches {
        for _ in 0..(seconds * 16_000.0) as usize {
            let t = samples.len() as f32 / 16_000.0;
            samples.push(level * (t * 150.0 * std::f32::consts::TAU).sin());
        }
    }
    samples
}

#[test]
fn pauses_are_found_within_10_ms() {
    let found = pauses(&sound(&[
        (0.3, 0.0),
        (0.5, 0.5),
        (0.1, 0.0),
        (0.5, 0.3),
        (0.4, 0.0001),
        (0.5, 0.5),
        (0.2, 0.0),
    ]));
    let wanted = [(0.0, 0.3), (0.8, 0.9), (1.4, 1.8), (2.3, 2.5)];
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for (pause, (start, end)) in found.iter().zip(wanted) {
        let near = |at: usize, seconds: f64| (at as f64 / 16_000.0 - seconds).abs() <= 0.0101;
        assert!(near(pause.start, start) && near(pause.end, end), "{found:?}");
    }
}

#[test]
fn a_closure_of_60_ms_is_no_pause() {
    assert!(pauses(&sound(&[(0.5, 0.5), (0.06, 0.0), (0.5, 0.5)])).is_empty());
}

#[test]
fn where_loud_and_quiet_are_alike_there_is_none() {
    assert!(pauses(&sound(&[(2.0, 0.5)])).is_empty());
    assert!(pauses(&vec![0.0; 16_000]).is_empty());
    assert!(pauses(&[]).is_empty());
    assert!(pauses(&[0.1; 100]).is_empty());
}
