#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod excerpt;
mod level;
mod pause;
mod resample;
mod riff;
mod samples;
mod window;

/// A small generator, so that failures repeat.
struct Random(u64);

impl Random {
    /// Uniform in -1..1.
    fn noise(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1_u64 << 23) as f32) - 1.0
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.noise() + 1.0) / 2.0
    }
}
