//! Where a tensor's elements are, and how they are put one after the other.

use std::io::{self, Read};

use super::{Tensor, count};

/// Where the bytes of a tensor begin, and in which order they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the files it is in.
    pub(super) file: usize,
    /// The compressed entry of the archive that it is in.
    pub(super) entry: Option<usize>,
    /// From the beginning of the entry, or else of the file, in bytes.
    pub(super) offset: u64,
    /// The steps of each dimension in elements, where the elements do not lie one after the other.
    pub(super) strides: Option<Vec<usize>>,
}

impl Place {
    /// The bytes from the tensor's first element to the end of its last.
    pub(super) fn span(&self, tensor: &Tensor) -> Option<usize> {
        let Some(strides) = &self.strides else { return tensor.size() };
        let width = tensor.dtype.as_ref().ok()?.size();
        span(&tensor.shape, strides)?.checked_mul(width)
    }
}

/// Whether the elements lie one after the other, the last dimension fastest.
pub(super) fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = Some(1_usize);
    for (size, stride) in shape.iter().zip(strides).rev() {
        // The stride of a dimension of one element means nothing.
        if *size > 1 && Some(*stride) != expected {
            return false;
        }
        expected = expected.and_then(|e| e.checked_mul(*size));
    }
    true
}

/// The elements from a tensor's first to its last, where that is a number. Zero for no elements.
pub(super) fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if count(shape)? == 0 {
        return Some(0);
    }
    let steps = shape.iter().zip(strides).try_fold(0_usize, |sum, (size, stride)| {
        size.checked_sub(1).and_then(|last| last.checked_mul(*stride)).and_then(|n| sum.checked_add(n))
    });
    steps?.checked_add(1)
}

/// Reads a strided tensor row after row, out of all the bytes from its first element to its last.
pub(super) struct Gather {
    bytes: Vec<u8>,
    shape: Vec<usize>,
    strides: Vec<usize>,
    /// Bytes of an element.
    width: usize,
    /// Rows that were gathered.
    rows: usize,
    row: Vec<u8>,
    /// How much of the row was read.
    read: usize,
}

impl Gather {
    /// `bytes` holds the [`span`] of the tensor.
    pub(super) fn new(bytes: Vec<u8>, shape: &[usize], strides: &[usize], width: usize) -> Self {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        Self { bytes, shape, strides, width, rows: 0, row: Vec::new(), read: 0 }
    }

    /// Gathers the next row. `None` where there is none left.
    fn next_row(&mut self) -> Option<()> {
        let (columns, outer) = self.shape.split_last()?;
        let (step, outer_strides) = self.strides.split_last()?;
        if self.rows >= count(outer)? {
            return None;
        }
        // The row's number, taken apart into one index for each outer dimension.
        let (mut number, mut start) = (self.rows, 0_usize);
        for (size, stride) in outer.iter().zip(outer_strides).rev() {
            start += (number % size) * stride;
            number /= size;
        }
        self.row.clear();
        for column in 0..*columns {
            let at = (start + column * step) * self.width;
            self.row.extend_from_slice(self.bytes.get(at..at + self.width)?);
        }
        self.rows += 1;
        self.read = 0;
        Some(())
    }
}

impl Read for Gather {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.read == self.row.len() && self.next_row().is_none() {
            return Ok(0);
        }
        let rest = self.row.get(self.read..).unwrap_or_default();
        let n = rest.len().min(out.len());
        for (o, b) in out.iter_mut().zip(rest) {
            *o = *b;
        }
        self.read += n;
        Ok(n)
    }
}
