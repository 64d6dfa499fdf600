//! A matrix with a low-rank update added to it: W + scale · B·A.

use std::io::{self, Read};

use super::super::error::{Error, Result};
use super::{Dtype, Place, Source, Tensor, Weights};

/// A matrix of the base, and the two of the adapter.
#[derive(Debug, Clone)]
pub(crate) struct Merged {
    base: Tensor,
    /// Of shape `[rank, columns]`.
    a: Tensor,
    /// Of shape `[rows, rank]`.
    b: Tensor,
    scale: f32,
}

impl PartialEq for Merged {
    fn eq(&self, other: &Self) -> bool {
        let same = |x: &Tensor, y: &Tensor| x.is_same_as(y);
        same(&self.base, &other.base)
            && same(&self.a, &other.a)
            && same(&self.b, &other.b)
            && self.scale == other.scale
    }
}

impl Source {
    /// The files have moved up by so many.
    pub(super) fn move_files(&mut self, by: usize) {
        match self {
            Self::Stored(place) => place.file += by,
            Self::Merged(merged) => {
                for tensor in [&mut merged.base, &mut merged.a, &mut merged.b] {
                    tensor.source.move_files(by);
                }
            }
        }
    }
}

impl Weights {
    /// Takes the files of an adapter in; its tensors can then stand among ours.
    pub(crate) fn take_in(&mut self, mut adapter: Self) -> std::collections::BTreeMap<String, Tensor> {
        let first = self.take_files(std::mem::take(&mut adapter.files));
        adapter.tensors.values_mut().for_each(|tensor| tensor.source.move_files(first));
        adapter.tensors
    }
}

impl Tensor {
    /// This matrix with `scale · B·A` added: of f32, so that a base of 16 bits is not rounded again.
    /// `None` where the shapes do not fit, or a type is not read.
    pub(crate) fn merged(self, a: Tensor, b: Tensor, scale: f32) -> Option<Tensor> {
        let ([rows, columns], [rank, width], [height, inner]) =
            (self.shape.as_slice(), a.shape.as_slice(), b.shape.as_slice())
        else {
            return None;
        };
        let fits = rows == height && columns == width && rank == inner && *rank > 0 && *columns > 0;
        let known = [&self, &a, &b].into_iter().all(|t| t.dtype.is_ok());
        if !fits || !known {
            return None;
        }
        let (dtype, shape) = (Ok(Dtype::F32), self.shape.clone());
        let source = Source::Merged(Box::new(Merged { base: self, a, b, scale }));
        Some(Tensor { dtype, shape, source })
    }
}

impl Merged {
    /// Where the base's matrix is.
    pub(super) fn place(&self) -> &Place {
        match &self.base.source {
            Source::Stored(place) => place,
            Source::Merged(inner) => inner.place(),
        }
    }

    pub(super) fn is_spread(&self) -> bool {
        [&self.base, &self.a, &self.b].into_iter().any(Tensor::is_spread)
    }

    /// The sum, computed row by row: only the adapter's two matrices are in memory.
    pub(super) fn bytes<'a>(&self, weights: &'a mut Weights) -> Result<Box<dyn Read + 'a>> {
        let (a, b) = (weights.values(&self.a)?, weights.values(&self.b)?);
        let path = weights.path.clone();
        let (Ok(dtype), [_, columns]) = (&self.base.dtype, self.base.shape.as_slice()) else {
            return Err(Error::Internal { path, fact: "a merged matrix without a type" });
        };
        let rank = a.len() / columns;
        let (dtype, columns) = (*dtype, *columns);
        let base = weights.bytes(&self.base)?;
        let (raw, out) = (vec![0; columns * dtype.size()], Vec::new());
        let (sum, row) = (vec![0.0; columns], vec![0.0; columns]);
        Ok(Box::new(Sum {
            base,
            dtype,
            a,
            b: b.into_iter(),
            rank,
            columns,
            scale: self.scale,
            raw,
            sum,
            row,
            out,
            read: 0,
        }))
    }
}

/// The reader of such a matrix.
struct Sum<'a> {
    base: Box<dyn Read + 'a>,
    dtype: Dtype,
    a: Vec<f32>,
    /// What is left of B, a row at a time.
    b: std::vec::IntoIter<f32>,
    rank: usize,
    columns: usize,
    scale: f32,
    raw: Vec<u8>,
    /// A row of B·A.
    sum: Vec<f32>,
    /// A row of the base.
    row: Vec<f32>,
    /// The row as bytes.
    out: Vec<u8>,
    read: usize,
}

impl Sum<'_> {
    fn next_row(&mut self) -> io::Result<bool> {
        if self.b.as_slice().is_empty() {
            return Ok(false);
        }
        self.base.read_exact(&mut self.raw)?;
        self.dtype.decode(&self.raw, &mut self.row);
        self.sum.fill(0.0);
        for (factor, a) in self.b.by_ref().take(self.rank).zip(self.a.chunks_exact(self.columns)) {
            self.sum.iter_mut().zip(a).for_each(|(sum, a)| *sum += factor * a);
        }
        self.out.clear();
        for (w, sum) in self.row.iter().zip(&self.sum) {
            self.out.extend_from_slice(&(w + sum * self.scale).to_le_bytes());
        }
        self.read = 0;
        Ok(true)
    }
}

impl Read for Sum<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.read == self.out.len() && !self.next_row()? {
            return Ok(0);
        }
        let rest = self.out.get(self.read..).unwrap_or_default();
        let n = rest.len().min(out.len());
        for (o, b) in out.iter_mut().zip(rest) {
            *o = *b;
        }
        self.read += n;
        Ok(n)
    }
}
