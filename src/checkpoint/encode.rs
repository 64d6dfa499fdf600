//! Turns a tensor's elements into what the GGML file holds, a chunk of rows at a time, on all cores.

use std::io::{Read, Write};
use std::path::Path;

use half::{bf16, f16};

use super::error::{Error, Result};
use super::ggml::stored_as;
use super::plan::Planned;
use super::quantize::{BF16, F16, F32, QuantType, Storage, quantize_rows};

/// Elements in memory at a time: 2 M are 8 MB as f32, and at most as much again read and written.
const CHUNK: usize = 2 << 20;
/// More threads than this wait for the disk.
const MAX_THREADS: usize = 8;

/// Why some weights can't be stored.
#[derive(Debug)]
enum Fault {
    NotFinite,
    HalfOverflow(f32),
    Sizes,
}

/// Buffers that live over all tensors.
#[derive(Debug)]
pub(crate) struct Encoder {
    ty: QuantType,
    threads: usize,
    raw: Vec<u8>,
    values: Vec<f32>,
    encoded: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(ty: QuantType) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(MAX_THREADS);
        Self { ty, threads, raw: Vec::new(), values: Vec::new(), encoded: Vec::new() }
    }

    /// Reads a tensor from `input`, writes it to `out`, and calls `done` with the elements of each chunk.
    pub(crate) fn run(
        &mut self,
        planned: &Planned,
        from: &Path,
        mut input: impl Read,
        to: &Path,
        out: &mut impl Write,
        mut done: impl FnMut(usize),
    ) -> Result<()> {
        let storage = stored_as(planned.expected.kind, self.ty.storage());
        let width = planned.width();
        let per_chunk = (CHUNK / width).max(1) * width;
        let mut left = planned.len();
        while left > 0 {
            let n = left.min(per_chunk);
            self.raw.resize(n * planned.dtype.size(), 0);
            input.read_exact(&mut self.raw).map_err(Error::read(from))?;
            self.chunk(planned, storage, n).map_err(|fault| {
                let (path, tensor) = (from.to_path_buf(), planned.expected.hf.clone());
                match fault {
                    Fault::NotFinite => Error::NotFinite { path, tensor },
                    Fault::HalfOverflow(value) => Error::HalfOverflow { path, tensor, value },
                    Fault::Sizes => Error::Internal { path, fact: "a chunk's sizes do not fit together" },
                }
            })?;
            out.write_all(&self.encoded).map_err(Error::write(to))?;
            left -= n;
            done(n);
        }
        Ok(())
    }

    /// Encodes the `n` elements in `raw`, whole rows to each thread.
    fn chunk(&mut self, planned: &Planned, storage: &Storage, n: usize) -> std::result::Result<(), Fault> {
        let (dtype, width, ty) = (planned.dtype, planned.width(), self.ty);
        self.values.resize(n, 0.0);
        self.encoded.resize(storage.size(n).ok_or(Fault::Sizes)?, 0);
        let share = (n / width).div_ceil(self.threads).max(1) * width;
        let share_bytes = storage.size(share).ok_or(Fault::Sizes)?;
        let shares = self
            .raw
            .chunks(share * dtype.size())
            .zip(self.values.chunks_mut(share))
            .zip(self.encoded.chunks_mut(share_bytes));
        std::thread::scope(|scope| {
            let threads: Vec<_> = shares
                .map(|((raw, values), out)| {
                    scope.spawn(move || {
                        dtype.decode(raw, values);
                        encode(values, width, ty, storage, out)
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(Fault::Sizes)))
        })
    }
}

/// Encodes whole rows. An f16 file rounds every tensor to f16 first, also those that it then holds as
/// f32: so does whisper.cpp's own converter.
fn encode(
    values: &[f32],
    width: usize,
    ty: QuantType,
    storage: &Storage,
    out: &mut [u8],
) -> std::result::Result<(), Fault> {
    if !values.iter().all(|v| v.is_finite()) {
        return Err(Fault::NotFinite);
    }
    let half = |v: f32| match f16::from_f32(v) {
        h if h.is_finite() => Ok(h),
        _ => Err(Fault::HalfOverflow(v)),
    };
    if *storage == F32 {
        for (o, v) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            let v = if ty == QuantType::F16 { half(*v)?.to_f32() } else { *v };
            *o = v.to_le_bytes();
        }
    } else if *storage == F16 {
        for (o, v) in out.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            *o = half(*v)?.to_le_bytes();
        }
    } else if *storage == BF16 {
        for (o, v) in out.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            // Its range is f32's, but for the last half step.
            let rounded = bf16::from_f32(*v);
            *o = if rounded.is_finite() { rounded } else { bf16::MAX.copysign(rounded) }.to_le_bytes();
        }
    } else {
        quantize_rows(ty, values, width, out).ok_or(Fault::Sizes)?;
    }
    Ok(())
}
