//! How many messages a connection may send: one that floods the server with tiny ones is read from more slowly, and
//! notices nothing but that. Nobody who has something to say comes near it.

use std::time::{Duration, Instant};

/// Messages in a row that are read as they come: pings and binary frames count as others do.
const BURST: f64 = 2000.0;
/// How many are read in a second from then on. A minute of live audio in frames of 20 ms has three seconds' worth.
const PER_SECOND: f64 = 1000.0;

/// A bucket of messages that may be read.
#[derive(Debug)]
pub(super) struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
    /// A full one.
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, at: now }
    }

    /// Notes a message, and waits until the next one may be read.
    pub(super) async fn wait(&mut self) {
        let wait = self.next(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn next(&mut self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * PER_SECOND).min(BURST) - 1.0;
        self.at = now;
        Duration::from_secs_f64((-self.left).max(0.0) / PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_through_and_a_flood_is_slowed_down() {
        let mut now = Instant::now();
        let begin = now;
        let mut pace = Pace::new(now);
        for _ in 0..2000 {
            assert_eq!(pace.next(now), Duration::ZERO);
        }
        for _ in 0..3000 {
            now += pace.next(now);
        }
        let took = (now - begin).as_secs_f64();
        assert!((2.9..3.1).contains(&took), "{took}");
        // Who was quiet for a while has a burst again.
        now += Duration::from_secs(10);
        assert!((0..2000).all(|_| pace.next(now).is_zero()));
        assert!(!pace.next(now).is_zero());
    }
}
