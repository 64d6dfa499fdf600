//! Looks at every weight of a tensor.

use std::io::Read;
use std::path::Path;

use half::f16;

use super::super::error::{Error, Result};
use super::super::material::Coding;

/// Elements in memory at a time. All block sizes divide it.
const CHUNK: usize = 1 << 20;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Values that are infinite or not a number.
    pub(super) not_finite: u64,
    /// The largest value without its sign.
    pub(super) largest: f32,
}

impl Values {
    /// Reads `n` elements.
    pub(super) fn read(path: &Path, coding: Coding, mut input: impl Read, n: usize) -> Result<Self> {
        let sizes =
            || Error::Internal { path: path.to_path_buf(), fact: "a chunk's sizes do not fit together" };
        let (mut raw, mut values, mut seen) = (Vec::new(), Vec::new(), Self::default());
        let mut left = n;
        while left > 0 {
            let n = left.min(CHUNK);
            raw.resize(coding.size(n).ok_or_else(sizes)?, 0);
            values.resize(n, 0.0);
            input.read_exact(&mut raw).map_err(Error::read(path))?;
            coding.decode(&raw, &mut values).ok_or_else(sizes)?;
            for value in &values {
                match value.is_finite() {
                    true => seen.largest = seen.largest.max(value.abs()),
                    false => seen.not_finite += 1,
                }
            }
            left -= n;
        }
        Ok(seen)
    }

    /// What is wrong with a tensor of these values.
    pub(super) fn finding(&self, tensor: &str) -> Option<String> {
        let n = self.not_finite;
        (n > 0).then(|| format!("tensor `{tensor}` holds {n} values that are not finite"))
    }

    /// What is good to know before it is converted.
    pub(super) fn note(&self, tensor: &str) -> Option<String> {
        let (largest, limit) = (self.largest, f16::MAX);
        (largest > limit.to_f32()).then(|| {
            format!("tensor `{tensor}` holds {largest}, more than f16 can: convert with --quantize f32")
        })
    }
}
