//! Audio files on their way to samples: as many at a time as there are cores, and none for long while others wait.
//!
//! A small file may be a recording of hours, which nobody knows before it is decoded. So each decoder gives its place
//! away after every ten seconds of audio, rests for twice as long as it worked, and comes back at the end of the line; and the
//! memory of all that is not done yet is bounded as it grows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{Budget, Reservation};
use super::job::blocking;
use super::spool::Spool;
use crate::audio::samples::Samples;
use crate::audio::turn::Turn;
use crate::audio::{Limits, SAMPLE_RATE};
use crate::error::{Error, Result};

/// The longest rest.
const REST: Duration = Duration::from_millis(50);
/// Bytes of a sample.
const SAMPLE_BYTES: u64 = 4;

/// The places of decoders.
#[derive(Debug)]
pub(super) struct Decoders {
    places: Arc<Semaphore>,
    /// Bytes of everything in memory.
    memory: Arc<Budget>,
    /// A part of it for recordings that are not done, so that some is left for short ones.
    unfinished: Arc<Budget>,
}

/// What a decoder has.
struct Held {
    /// Given back when dropped.
    _place: Option<OwnedSemaphorePermit>,
    unfinished: Reservation,
    memory: Reservation,
}

impl Held {
    /// Whether there is memory for so many bytes.
    fn grow_to(&mut self, bytes: u64) -> bool {
        self.unfinished.grow_to(bytes) && self.memory.grow_to(bytes)
    }
}

fn no_room() -> Error {
    Error::Overloaded("too many long recordings are being read; try again later".to_owned())
}

impl Decoders {
    /// So many places, and a budget of `bytes`.
    pub(super) fn new(places: usize, memory: Arc<Budget>, bytes: u64) -> Self {
        let unfinished = Budget::new(bytes - bytes / 4);
        Self { places: Arc::new(Semaphore::new(places)), memory, unfinished }
    }

    /// The samples of a file. Their memory is accounted for until they are there.
    pub(super) async fn samples(&self, file: Spool, limits: Limits) -> Result<Samples> {
        let places = Arc::clone(&self.places);
        let nobody = |error| Error::internal_from("waiting for a decoder", error);
        let held = Held {
            _place: Some(Arc::clone(&places).acquire_owned().await.map_err(nobody)?),
            unfinished: self.unfinished.reserve(0).ok_or_else(no_room)?,
            memory: self.memory.reserve(0).ok_or_else(no_room)?,
        };
        let (held, runtime) = (Mutex::new((held, Instant::now())), Handle::current());
        // What is longer lies on disk.
        let most = u64::from(limits.memory_seconds) * u64::from(SAMPLE_RATE) * SAMPLE_BYTES;
        let turn = Turn::new(move |samples| {
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            let (held, begun) = &mut *held;
            if !held.grow_to((samples as u64 * SAMPLE_BYTES).min(most)) {
                return Err(no_room());
            }
            held._place = None;
            // Short recordings never come here.
            std::thread::sleep((2 * begun.elapsed()).min(REST));
            let place = runtime.block_on(Arc::clone(&places).acquire_owned());
            held._place = Some(place.map_err(|error| Error::internal_from("waiting for a decoder", error))?);
            *begun = Instant::now();
            Ok(())
        });
        let limits = Limits { turn, ..limits };
        blocking(move || Ok(file.recording(&limits)?.samples)).await?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    /// A WAV file of so many seconds of 16 kHz noise.
    fn wav(seconds: usize) -> Spool {
        let data = seconds * 32_000;
        let mut file = Vec::new();
        for part in [&b"RIFF"[..], &(data as u32 + 36).to_le_bytes(), b"WAVEfmt ", &16_u32.to_le_bytes()] {
            file.extend_from_slice(part);
        }
        for field in [1_u16, 1, 16_000, 0, 32_000, 0, 2, 16] {
            file.extend_from_slice(&field.to_le_bytes());
        }
        file.extend_from_slice(b"data");
        file.extend_from_slice(&(data as u32).to_le_bytes());
        file.extend((0..data).map(|i| (i * 31 % 251) as u8));
        Spool::in_memory(std::env::temp_dir(), file)
    }

    fn decoders(bytes: u64) -> Decoders {
        Decoders::new(1, Budget::new(bytes), bytes)
    }

    #[tokio::test]
    async fn a_short_file_does_not_wait_for_a_long_one() {
        let decoders = Arc::new(decoders(1 << 30));
        let long = tokio::spawn({
            let decoders = Arc::clone(&decoders);
            async move { decoders.samples(wav(3000), Limits::default()).await.map(|samples| samples.len()) }
        });
        while decoders.places.available_permits() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let begin = Instant::now();
        assert_eq!(decoders.samples(wav(1), Limits::default()).await.unwrap().len(), 16_000);
        assert!(!long.is_finished(), "it went ahead, after {:?}", begin.elapsed());
        assert_eq!(long.await.unwrap().unwrap(), 3000 * 16_000);
        assert_eq!(decoders.places.available_permits(), 1);
    }

    #[tokio::test]
    async fn the_memory_of_what_is_not_done_is_bounded_and_comes_back() {
        let decoders = decoders(4 << 20);
        let refused = decoders.samples(wav(120), Limits::default()).await;
        assert!(matches!(refused, Err(Error::Overloaded(_))), "{refused:?}");
        assert_eq!(decoders.samples(wav(20), Limits::default()).await.unwrap().len(), 20 * 16_000);
        assert!(decoders.memory.reserve(4 << 20).is_some() && decoders.unfinished.reserve(3 << 20).is_some());
        assert_eq!(decoders.places.available_permits(), 1);
    }
}
