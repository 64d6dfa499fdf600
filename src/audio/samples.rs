//! The samples of a recording: in memory while they are few, then in a file that nobody else sees.
//!
//! Half an hour of 16 kHz mono takes 115 MB, and a model looks at 30 s of it at a time. So what is long lies on
//! disk, in the same 32-bit floats, and the text does not depend on where it lay.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::level;
use super::{Limits, SAMPLE_RATE};
use crate::error::{Error, Result};

/// Bytes of a sample on disk.
const SAMPLE_BYTES: usize = size_of::<f32>();

/// 16 kHz mono samples, levelled.
#[derive(Debug)]
pub struct Samples {
    place: Place,
    len: usize,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<f32>),
    File(Spooled),
}

#[derive(Debug)]
struct Spooled {
    /// Without a name, so that it is gone with the last handle. Held for one read at a time.
    file: Mutex<File>,
    /// The peak of the whole, known only when all was written: they are levelled when they are read.
    peak: f32,
}

impl From<Vec<f32>> for Samples {
    /// These samples as they are.
    fn from(samples: Vec<f32>) -> Self {
        Self { len: samples.len(), place: Place::Memory(samples) }
    }
}

impl Samples {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How long they last, in seconds.
    pub fn seconds(&self) -> f64 {
        self.len as f64 / f64::from(SAMPLE_RATE)
    }

    /// Bytes that they take in memory.
    pub fn memory_bytes(&self) -> u64 {
        match &self.place {
            Place::Memory(samples) => size_of_val(samples.as_slice()) as u64,
            Place::File(_) => 0,
        }
    }

    /// Bytes that they take on disk.
    pub fn disk_bytes(&self) -> u64 {
        match &self.place {
            Place::Memory(_) => 0,
            Place::File(_) => (self.len * SAMPLE_BYTES) as u64,
        }
    }

    /// The samples of a range, as far as there are any.
    ///
    /// # Errors
    /// [`Error::Internal`] when the file can't be read.
    pub fn read(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>> {
        let range = range.start.min(self.len)..range.end.min(self.len);
        match &self.place {
            Place::Memory(samples) => Ok(Cow::Borrowed(samples.get(range).unwrap_or_default())),
            Place::File(spooled) => spooled.read(range).map(Cow::Owned),
        }
    }

    /// All of them, for whoever is sure to have the memory.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn into_vec(self) -> Result<Vec<f32>> {
        match self.place {
            Place::Memory(samples) => Ok(samples),
            Place::File(spooled) => spooled.read(0..self.len),
        }
    }
}

impl Spooled {
    fn read(&self, range: Range<usize>) -> Result<Vec<f32>> {
        let mut bytes = vec![0; range.len() * SAMPLE_BYTES];
        let mut fill = || {
            // A panic between seek and read leaves nothing that the next seek does not set right.
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start((range.start * SAMPLE_BYTES) as u64))?;
            file.read_exact(&mut bytes)
        };
        fill().map_err(|error| Error::internal_from("reading a spooled recording", error))?;
        let (samples, _) = bytes.as_chunks::<SAMPLE_BYTES>();
        let mut samples: Vec<f32> = samples.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect();
        level::scale(&mut samples, self.peak);
        Ok(samples)
    }
}

/// Takes samples as they come.
pub(super) struct Writer {
    memory: Vec<f32>,
    file: Option<File>,
    len: usize,
    peak: f32,
    /// So many stay in memory.
    most_in_memory: usize,
    dir: PathBuf,
}

impl Writer {
    pub(super) fn new(limits: &Limits) -> Self {
        let most_in_memory = limits.memory_seconds as usize * SAMPLE_RATE as usize;
        let dir = limits.spool_dir.clone();
        Self { memory: Vec::new(), file: None, len: 0, peak: 0.0, most_in_memory, dir }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes the next samples; those that are not finite become 0.
    pub(super) fn push(&mut self, block: &mut [f32]) -> Result<()> {
        self.peak = self.peak.max(level::peak(block));
        self.len += block.len();
        if self.file.is_none() && self.len > self.most_in_memory {
            let mut file = tempfile::tempfile_in(&self.dir).map_err(|error| no_room(&error))?;
            append(&mut file, &self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => append(file, block),
            None => {
                self.memory.extend_from_slice(block);
                Ok(())
            }
        }
    }

    /// All that came, levelled, and the peak that it had.
    pub(super) fn finish(mut self) -> (Samples, f32) {
        let place = match self.file {
            Some(file) => Place::File(Spooled { file: Mutex::new(file), peak: self.peak }),
            None => {
                level::scale(&mut self.memory, self.peak);
                self.memory.shrink_to_fit();
                Place::Memory(self.memory)
            }
        };
        (Samples { place, len: self.len }, self.peak)
    }
}

fn append(file: &mut File, samples: &[f32]) -> Result<()> {
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect();
    file.write_all(&bytes).map_err(|error| no_room(&error))
}

fn no_room(error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::Overloaded("the disk has no room left for a recording of this length".to_owned())
        }
        _ => Error::internal(format!("spooling a recording: {error}")),
    }
}
