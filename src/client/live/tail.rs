//! The end of a stream's audio: what the server has not said that it has. Pure.

use std::collections::VecDeque;

use crate::client::message::Sound;

/// The most that is kept, in seconds: as long as a stream outlives its connection at the server.
const KEPT_SECONDS: u64 = 60;
/// The most that is kept, in bytes, of audio that takes many.
const KEPT_BYTES: usize = 64 << 20;
/// The largest message.
const MESSAGE: usize = 32 << 10;

/// Audio that may have to be sent (again). Positions are counted in samples of one channel, from the stream's start.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    /// Bytes of one sample of all channels.
    frame: usize,
    /// The most bytes that are kept.
    most: usize,
    /// Where `bytes` begin.
    start: u64,
    /// Up to where they were sent over this connection.
    sent: u64,
}

impl Tail {
    pub(super) fn new(sound: Sound) -> Self {
        let frame = sound.frame();
        let wanted = u64::from(sound.rate) * KEPT_SECONDS;
        let most = usize::try_from(wanted).unwrap_or(usize::MAX).saturating_mul(frame).min(KEPT_BYTES);
        Self { bytes: VecDeque::new(), frame, most, start: 0, sent: 0 }
    }

    /// Whether more has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= self.most
    }

    /// Takes what was recorded; a sample may be split over two calls.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// The first sample that is still here.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The sample behind the last whole one.
    pub(super) fn end(&self) -> u64 {
        self.start + (self.bytes.len() / self.frame) as u64
    }

    /// Whether all is sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.end()
    }

    /// Whether something can be sent without passing `limit`.
    pub(super) fn is_waiting(&self, limit: u64) -> bool {
        self.sent < self.end().min(limit)
    }

    /// The next message, which does not pass `limit`.
    pub(super) fn next(&mut self, limit: u64) -> Vec<u8> {
        let samples = self.end().min(limit).saturating_sub(self.sent);
        let samples = (samples as usize).min((MESSAGE / self.frame).max(1));
        let from = (self.sent - self.start) as usize * self.frame;
        self.sent += samples as u64;
        self.bytes.range(from..from + samples * self.frame).copied().collect()
    }

    /// Forgets what the server has: all before this sample.
    pub(super) fn forget(&mut self, before: u64) {
        let samples = before.min(self.sent).saturating_sub(self.start);
        self.bytes.drain(..samples as usize * self.frame);
        self.start += samples;
    }

    /// Goes on from this sample over another connection. `false` when it is not here.
    pub(super) fn go_on_from(&mut self, sample: u64) -> bool {
        let here = (self.start..=self.end()).contains(&sample);
        if here {
            self.sent = sample;
            self.forget(sample);
        }
        here
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)] // A test may fail by panicking.
    use super::*;
    use crate::audio::pcm::Encoding;

    fn tail() -> Tail {
        Tail::new(Sound { encoding: Encoding::PcmS16le, rate: 1000, channels: 2 })
    }

    #[test]
    fn whole_samples_go_out_once_and_not_past_the_limit() {
        let mut tail = tail();
        tail.push(&[1, 2, 3]);
        assert!(!tail.is_waiting(10));
        assert!(tail.is_sent(), "half a sample is nothing");
        tail.push(&[4, 5, 6, 7, 8, 9]);
        assert!(tail.is_waiting(10) && !tail.is_waiting(0));
        assert_eq!(tail.next(1), [1, 2, 3, 4]);
        assert!(!tail.is_waiting(1));
        assert_eq!(tail.next(10), [5, 6, 7, 8]);
        assert!(tail.is_sent());
        assert!(tail.next(10).is_empty());
    }

    #[test]
    fn another_connection_gets_the_very_bytes_that_the_server_lacks() {
        let mut tail = tail();
        let all: Vec<u8> = (0..80).collect();
        tail.push(&all);
        assert_eq!(tail.next(20), all);
        tail.forget(5);
        assert_eq!((tail.start(), tail.end()), (5, 20));
        assert!(!tail.go_on_from(4), "that is gone");
        assert!(!tail.go_on_from(21), "that was never said");
        assert!(tail.go_on_from(7));
        assert_eq!(tail.start(), 7);
        assert_eq!(tail.next(20), all[28..]);
    }

    #[test]
    fn what_was_not_sent_is_not_forgotten() {
        let mut tail = tail();
        tail.push(&[0; 40]);
        tail.forget(9);
        assert_eq!(tail.start(), 0);
    }

    #[test]
    fn it_is_full_after_a_minute() {
        let mut tail = tail();
        tail.push(&vec![0; 60 * 1000 * 4 - 1]);
        assert!(!tail.is_full());
        tail.push(&[0]);
        assert!(tail.is_full());
        let wide = Tail::new(Sound { encoding: Encoding::PcmF32le, rate: 384_000, channels: 8 });
        assert_eq!(wide.most, KEPT_BYTES);
    }

    #[test]
    fn messages_are_small() {
        let mut tail = tail();
        tail.push(&vec![0; 3 * MESSAGE]);
        assert_eq!(tail.next(u64::MAX).len(), MESSAGE);
    }
}
