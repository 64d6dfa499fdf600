//! Bytes in, windows of samples out.
pub const SAMPLE_RATE: u32 = 16_000;
