//! Loudness: the whole recording is scaled to one peak.

/// The peak after [`normalise`], that of the Python server (`audio / np.abs(audio).max() * 0.9`).
pub const PEAK: f32 = 0.9;

/// Scales `samples` so that the loudest is at [`PEAK`], and returns the peak that they had. Samples that are
/// not finite become 0; silence stays silence.
pub fn normalise(samples: &mut [f32]) -> f32 {
    let mut peak = 0.0_f32;
    for sample in samples.iter_mut() {
        if !sample.is_finite() {
            *sample = 0.0;
        }
        peak = peak.max(sample.abs());
    }
    // Divided first, as the Python server did: PEAK / peak overflows for the faintest of signals.
    if peak > 0.0 {
        for sample in samples.iter_mut() {
            *sample = *sample / peak * PEAK;
        }
    }
    peak
}
