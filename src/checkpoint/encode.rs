//! Turns a tensor's elements into what GGML files of one or several types hold, a chunk of rows at a time,
//! on all cores.
//!
//! Each chunk is cut into as many shares of whole rows as there are threads. Rows are encoded one by one, so
//! that the result does not depend on the cuts. A scope of plain threads does it: the shares are equal, the
//! buffers are borrowed, and the next chunk waits for the disk and not for a thread, so that a pool would
//! have nothing to balance.

use std::io::{Read, Write};
use std::path::Path;

use half::{bf16, f16};

use super::error::{Error, Result};
use super::ggml::stored_as;
use super::material::{Coding, Item};
use super::quantize::{BF16, F16, F32, QuantType, Storage, quantize_rows};

/// Elements in memory at a time: 2 M are 8 MB as f32, and at most as much again for each type written.
const CHUNK: usize = 2 << 20;
/// More threads than this wait for the disk.
const MAX_THREADS: usize = 32;

/// Why some weights can't be stored.
#[derive(Debug)]
enum Fault {
    NotFinite,
    HalfOverflow(f32),
    Sizes,
}

/// One file that is written.
#[derive(Debug)]
pub(crate) struct Sink<'a, W> {
    pub(crate) ty: QuantType,
    /// Its name, for errors.
    pub(crate) path: &'a Path,
    pub(crate) out: W,
}

/// Buffers that live over all tensors.
#[derive(Debug)]
pub(crate) struct Encoder {
    threads: usize,
    raw: Vec<u8>,
    values: Vec<f32>,
    /// For each file.
    encoded: Vec<Vec<u8>>,
}

/// How one file holds the tensor at hand.
#[derive(Debug, Clone, Copy)]
struct Target {
    ty: QuantType,
    storage: &'static Storage,
    /// Bytes of a share.
    share: usize,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(cores.min(MAX_THREADS))
    }

    fn with_threads(threads: usize) -> Self {
        Self { threads, raw: Vec::new(), values: Vec::new(), encoded: Vec::new() }
    }

    /// Reads a tensor from `input`, writes it to every sink, and calls `done` with the elements of each
    /// chunk.
    pub(crate) fn run(
        &mut self,
        item: &Item,
        from: &Path,
        mut input: impl Read,
        sinks: &mut [Sink<'_, impl Write>],
        mut done: impl FnMut(usize),
    ) -> Result<()> {
        let sizes =
            || Error::Internal { path: from.to_path_buf(), fact: "a chunk's sizes do not fit together" };
        let width = item.width();
        let per_chunk = (CHUNK / width).max(1) * width;
        let mut left = item.len();
        while left > 0 {
            let n = left.min(per_chunk);
            self.raw.resize(item.coding.size(n).ok_or_else(sizes)?, 0);
            input.read_exact(&mut self.raw).map_err(Error::read(from))?;
            let types: Vec<QuantType> = sinks.iter().map(|sink| sink.ty).collect();
            self.chunk(item, &types, n).map_err(|fault| {
                let (path, tensor) = (from.to_path_buf(), item.expected.hf.clone());
                match fault {
                    Fault::NotFinite => Error::NotFinite { path, tensor },
                    Fault::HalfOverflow(value) => Error::HalfOverflow { path, tensor, value },
                    Fault::Sizes => sizes(),
                }
            })?;
            for (sink, encoded) in sinks.iter_mut().zip(&self.encoded) {
                sink.out.write_all(encoded).map_err(Error::write(sink.path))?;
            }
            left -= n;
            done(n);
        }
        Ok(())
    }

    /// Encodes the `n` elements in `raw`, whole rows to each thread.
    fn chunk(&mut self, item: &Item, types: &[QuantType], n: usize) -> std::result::Result<(), Fault> {
        let (coding, width) = (item.coding, item.width());
        let share = (n / width).div_ceil(self.threads).max(1) * width;
        self.values.resize(n, 0.0);
        self.encoded.resize_with(types.len(), Vec::new);
        let mut targets = Vec::with_capacity(types.len());
        for (ty, encoded) in types.iter().zip(&mut self.encoded) {
            let storage = stored_as(item.expected.kind, ty.storage());
            encoded.resize(storage.size(n).ok_or(Fault::Sizes)?, 0);
            targets.push(Target { ty: *ty, storage, share: storage.size(share).ok_or(Fault::Sizes)? });
        }
        // For each share, the place in every file's buffer.
        let mut outs: Vec<_> =
            targets.iter().zip(&mut self.encoded).map(|(t, buffer)| buffer.chunks_mut(t.share)).collect();
        let raws = self.raw.chunks(coding.size(share).ok_or(Fault::Sizes)?);
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for (raw, values) in raws.zip(self.values.chunks_mut(share)) {
                let outs: Vec<_> = outs.iter_mut().filter_map(Iterator::next).collect();
                let targets = targets.as_slice();
                threads.push(scope.spawn(move || {
                    coding.decode(raw, values).ok_or(Fault::Sizes)?;
                    if !values.iter().all(|v| v.is_finite()) {
                        return Err(Fault::NotFinite);
                    }
                    for (target, out) in targets.iter().zip(outs) {
                        if coding == Coding::Blocks(target.storage) {
                            // Nothing is gained, and some is lost, by quantizing again to the same type.
                            out.copy_from_slice(raw);
                        } else {
                            encode(values, width, target, out)?;
                        }
                    }
                    Ok(())
                }));
            }
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(Fault::Sizes)))
        })
    }
}

/// Encodes whole rows of finite values. An f16 file rounds every tensor to f16 first, also those that it
/// then holds as f32: so does whisper.cpp's own converter.
fn encode(values: &[f32], width: usize, target: &Target, out: &mut [u8]) -> std::result::Result<(), Fault> {
    let half = |v: f32| match f16::from_f32(v) {
        h if h.is_finite() => Ok(h),
        _ => Err(Fault::HalfOverflow(v)),
    };
    if *target.storage == F32 {
        for (o, v) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            let v = if target.ty == QuantType::F16 { half(*v)?.to_f32() } else { *v };
            *o = v.to_le_bytes();
        }
    } else if *target.storage == F16 {
        for (o, v) in out.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            *o = half(*v)?.to_le_bytes();
        }
    } else if *target.storage == BF16 {
        for (o, v) in out.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            // Its range is f32's, but for the last half step.
            let rounded = bf16::from_f32(*v);
            *o = if rounded.is_finite() { rounded } else { bf16::MAX.copysign(rounded) }.to_le_bytes();
        }
    } else {
        quantize_rows(target.ty, values, width, out).ok_or(Fault::Sizes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::names::{Expected, Kind};
    use crate::checkpoint::read::Dtype;

    /// A matrix of 37 rows, and its bytes.
    fn matrix(columns: usize) -> (Item, Vec<u8>) {
        let expected =
            Expected { hf: "m".into(), ggml: "m".into(), shape: vec![37, columns], kind: Kind::Matrix };
        let values = (0..37 * columns).map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 1.0);
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        (Item::for_test(expected, Coding::Plain(Dtype::F32)), bytes)
    }

    fn encoded(threads: usize, types: &[QuantType]) -> Vec<Vec<u8>> {
        let (item, bytes) = matrix(256);
        let path = Path::new("test");
        let mut sinks: Vec<_> = types.iter().map(|ty| Sink { ty: *ty, path, out: Vec::new() }).collect();
        let mut seen = 0;
        Encoder::with_threads(threads)
            .run(&item, path, bytes.as_slice(), &mut sinks, |n| seen += n)
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(seen, item.len());
        sinks.into_iter().map(|sink| sink.out).collect()
    }

    #[test]
    fn the_same_bytes_on_any_number_of_threads() {
        let one = encoded(1, &QuantType::ALL);
        for (ty, bytes) in QuantType::ALL.iter().zip(&one) {
            assert_eq!(Some(bytes.len()), ty.storage().size(37 * 256), "{ty}");
        }
        assert_eq!(encoded(3, &QuantType::ALL), one, "3 threads");
        // The last takes as long as all the others.
        let quick = QuantType::ALL.get(..18).unwrap_or_default();
        for threads in [2, 36, 37, 64] {
            assert_eq!(encoded(threads, quick), one.get(..18).unwrap_or_default(), "{threads} threads");
        }
        for (ty, bytes) in quick.iter().zip(&one) {
            assert_eq!(encoded(2, &[*ty]).first(), Some(bytes), "{ty} alone");
        }
    }

    #[test]
    fn what_ends_early_is_told() {
        let (item, bytes) = matrix(32);
        let mut sinks = [Sink { ty: QuantType::Q8_0, path: Path::new("out"), out: Vec::new() }];
        let short = bytes.get(1..).unwrap_or_default();
        let result = Encoder::with_threads(2).run(&item, Path::new("in"), short, &mut sinks, |_| {});
        assert!(matches!(result, Err(Error::Read { .. })), "{result:?}");
    }
}
