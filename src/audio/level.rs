//! Loudness: the whole recording is scaled to one peak.

/// The peak after [`scale`], that of the Python server (`audio / np.abs(audio).max() * 0.9`).
pub const PEAK: f32 = 0.9;

/// The loudest sample, after those that are not finite have become 0.
pub fn peak(samples: &mut [f32]) -> f32 {
    let mut peak = 0.0_f32;
    for sample in samples {
        if !sample.is_finite() {
            *sample = 0.0;
        }
        peak = peak.max(sample.abs());
    }
    peak
}

/// Scales samples of a recording whose loudest is `peak`, so that that one is at [`PEAK`]; silence stays silence.
pub fn scale(samples: &mut [f32], peak: f32) {
    // Divided first, as the Python server did: PEAK / peak overflows for the faintest of signals.
    if peak > 0.0 {
        for sample in samples {
            *sample = *sample / peak * PEAK;
        }
    }
}
