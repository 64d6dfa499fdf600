//! Audio as it is recorded, taken in whatever the connection does.

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::tail::Tail;
use crate::client::message::Sound;

/// Audio that came in so much faster than time passes is no recording that goes on.
const FASTER: f64 = 1.1;
/// Seconds that a recorder may have kept before it was read.
const HEAD_START: f64 = 2.0;

/// The source of a stream, and the end of its audio.
pub(super) struct Intake {
    source: mpsc::Receiver<Vec<u8>>,
    stop: Pin<Box<dyn Future<Output = ()>>>,
    stopped: bool,
    ended: bool,
    rate: f64,
    /// When the first audio came.
    began: Option<Instant>,
    pub(super) tail: Tail,
}

/// What a step brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// More audio, or the end of it.
    On,
    /// The last audio for which there is room, and the recorder has not stopped speaking.
    Full,
}

impl Intake {
    pub(super) fn new(
        sound: Sound,
        source: mpsc::Receiver<Vec<u8>>,
        stop: impl Future<Output = ()> + 'static,
    ) -> Self {
        Self {
            source,
            stop: Box::pin(stop),
            stopped: false,
            ended: false,
            rate: f64::from(sound.rate),
            began: None,
            tail: Tail::new(sound),
        }
    }

    /// Whether the audio has come to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes more audio in. Waits where there is no room, and for ever at the end. Nothing is lost when it is dropped.
    pub(super) async fn step(&mut self) -> Step {
        loop {
            let room = self.stopped || !self.tail.is_full();
            tokio::select! {
                biased;
                () = &mut self.stop, if !self.stopped => {
                    self.stopped = true;
                    // What was read by now still comes.
                    self.source.close();
                }
                chunk = self.source.recv(), if !self.ended && room => {
                    self.take(chunk);
                    let full = self.tail.is_full() && !self.ended && self.is_live();
                    return if full { Step::Full } else { Step::On };
                }
                else => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, chunk: Option<Vec<u8>>) {
        match chunk {
            Some(bytes) => {
                self.began.get_or_insert_with(Instant::now);
                self.tail.push(&bytes);
            }
            None => self.ended = true,
        }
    }

    /// Whether audio came no faster than it is spoken.
    fn is_live(&self) -> bool {
        let passed = self.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        self.tail.end() as f64 / self.rate <= passed * FASTER + HEAD_START
    }

    /// Waits for something else, and takes audio in meanwhile.
    pub(super) async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return done,
                _ = self.step() => {}
            }
        }
    }
}
