//! Any sample rate to 16 kHz, block by block. The only file that names rubato.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use super::SAMPLE_RATE;
use crate::error::{Error, Result};

/// Sample rates that we take: the lowest is below any telephone, the highest above any sound card. They
/// bound the filter's length, which grows with the rate where it has no common divisor with 16 kHz.
pub const SUPPORTED_RATES: std::ops::RangeInclusive<u32> = 1_000..=384_000;

/// The anti-alias filter is as long as a block, and the transition band of its window (Blackman-Harris,
/// squared) is about 27 bins wide, ending at the lower Nyquist frequency. 512 frames on the slower side make
/// that 5 %: flat up to 0.94, where 0.87 is asked for.
const MIN_BLOCK: usize = 512;

/// A streaming resampler of one channel to [`SAMPLE_RATE`]. What goes in at a time comes out at that time (the
/// filter's delay is taken out), and `n` samples become `round(n * 16000 / rate)`. Audio that is at 16 kHz
/// already passes untouched.
pub struct Resampler {
    rate: u32,
    /// `None` when the input is at 16 kHz.
    filter: Option<Filter>,
    taken: u64,
    given: u64,
}

struct Filter {
    fft: Fft<f32>,
    /// Input that does not fill a block yet.
    pending: Vec<f32>,
    block: Vec<f32>,
    /// Output samples still to drop, so that the filter's delay is compensated.
    skip: usize,
}

impl Resampler {
    /// A resampler from `rate` Hz.
    pub fn new(rate: u32) -> Result<Self> {
        if !SUPPORTED_RATES.contains(&rate) {
            return Err(Error::InvalidInput(format!(
                "the audio has a sample rate of {rate} Hz, which is not usable"
            )));
        }
        let filter = if rate == SAMPLE_RATE { None } else { Some(Filter::new(rate)?) };
        Ok(Self { rate, filter, taken: 0, given: 0 })
    }

    /// Takes the next samples, and appends to `out` what is ready.
    pub fn push(&mut self, input: &[f32], out: &mut Vec<f32>) -> Result<()> {
        self.taken += input.len() as u64;
        let before = out.len();
        match &mut self.filter {
            None => out.extend_from_slice(input),
            Some(filter) => filter.push(input, out)?,
        }
        self.given += (out.len() - before) as u64;
        Ok(())
    }

    /// Appends what the filter still holds.
    pub fn finish(mut self, out: &mut Vec<f32>) -> Result<()> {
        let Some(mut filter) = self.filter.take() else { return Ok(()) };
        let wanted = scaled(self.taken, self.rate);
        let silence = vec![0.0; filter.fft.input_frames_next()];
        while self.given < wanted {
            let before = out.len();
            filter.push(&silence, out)?;
            let new = (out.len() - before) as u64;
            let surplus = (self.given + new).saturating_sub(wanted);
            out.truncate(out.len() - surplus as usize);
            self.given += new - surplus;
        }
        Ok(())
    }
}

impl Filter {
    fn new(rate: u32) -> Result<Self> {
        let divisor = gcd(rate, SAMPLE_RATE);
        let unit_in = (rate / divisor) as usize;
        let unit_out = (SAMPLE_RATE / divisor) as usize;
        // An even count: the filter's centre then falls on a sample on both sides.
        let units = MIN_BLOCK.div_ceil(unit_in.min(unit_out)).next_multiple_of(2);
        let fft = Fft::new_custom(
            rate as usize,
            SAMPLE_RATE as usize,
            units * unit_in,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(|error| Error::internal_from(format!("building a resampler from {rate} Hz"), error))?;
        let block = vec![0.0; fft.output_frames_max()];
        let skip = fft.output_delay();
        Ok(Self { fft, pending: Vec::new(), block, skip })
    }

    fn push(&mut self, mut input: &[f32], out: &mut Vec<f32>) -> Result<()> {
        loop {
            let needed = self.fft.input_frames_next();
            let (now, later) = input.split_at(input.len().min(needed.saturating_sub(self.pending.len())));
            self.pending.extend_from_slice(now);
            input = later;
            if self.pending.len() < needed {
                return Ok(());
            }
            self.block(needed, out)?;
        }
    }

    fn block(&mut self, frames: usize, out: &mut Vec<f32>) -> Result<()> {
        let failed = |error: String| Error::internal(format!("resampling: {error}"));
        let capacity = self.block.len();
        let from = InterleavedSlice::new(&self.pending, 1, frames).map_err(|e| failed(e.to_string()))?;
        let mut to =
            InterleavedSlice::new_mut(&mut self.block, 1, capacity).map_err(|e| failed(e.to_string()))?;
        let (_, made) =
            self.fft.process_into_buffer(&from, &mut to, None).map_err(|e| failed(e.to_string()))?;
        self.pending.clear();
        let dropped = self.skip.min(made);
        self.skip -= dropped;
        out.extend_from_slice(self.block.get(dropped..made).unwrap_or_default());
        Ok(())
    }
}

/// `round(samples * 16000 / rate)`.
fn scaled(samples: u64, rate: u32) -> u64 {
    let (samples, rate) = (u128::from(samples), u128::from(rate));
    ((samples * u128::from(SAMPLE_RATE) * 2 + rate) / (2 * rate)) as u64
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
