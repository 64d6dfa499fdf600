//! Whisper's mel filters, computed: bit for bit those of its `mel_filters.npz`, which librosa made.

/// Frequencies of a 400-sample Fourier transform.
pub const N_BINS: usize = 201;
const SAMPLE_RATE: f64 = 16_000.0;
/// Slaney's scale is linear up to 1 kHz and logarithmic above.
const LINEAR_STEP: f64 = 200.0 / 3.0;
const LOG_START_HZ: f64 = 1000.0;
const LOG_START_MEL: f64 = LOG_START_HZ / LINEAR_STEP;

fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

fn hz_to_mel(hz: f64) -> f64 {
    if hz >= LOG_START_HZ { LOG_START_MEL + (hz / LOG_START_HZ).ln() / log_step() } else { hz / LINEAR_STEP }
}

fn mel_to_hz(mel: f64) -> f64 {
    if mel >= LOG_START_MEL {
        LOG_START_HZ * (log_step() * (mel - LOG_START_MEL)).exp()
    } else {
        LINEAR_STEP * mel
    }
}

/// `n_mels` rows of [`N_BINS`] weights, row after row.
pub fn filters(n_mels: usize) -> Vec<f32> {
    let top = hz_to_mel(SAMPLE_RATE / 2.0);
    let edge = |i: usize| mel_to_hz(i as f64 * (top / (n_mels + 1) as f64));
    let mut out = Vec::with_capacity(n_mels * N_BINS);
    for m in 0..n_mels {
        // The last edge is the end of the scale itself, not a multiple of the step.
        let right = if m + 2 == n_mels + 1 { mel_to_hz(top) } else { edge(m + 2) };
        let (left, middle) = (edge(m), edge(m + 1));
        let norm = 2.0 / (right - left);
        for bin in 0..N_BINS {
            let hz = bin as f64 * (SAMPLE_RATE / 2.0) / (N_BINS - 1) as f64;
            let rising = -(left - hz) / (middle - left);
            let falling = (right - hz) / (right - middle);
            // Rounded twice, as librosa does: the triangle to f32, then its product with the norm.
            let triangle = rising.min(falling).max(0.0) as f32;
            out.push((f64::from(triangle) * norm) as f32);
        }
    }
    // librosa's first triangle begins with −(0 − 0) = −0. Said here, for a compiler may lose the sign of a zero on
    // its way through `min` and `max`.
    if let Some(first) = out.first_mut() {
        *first = -0.0;
    }
    out
}
