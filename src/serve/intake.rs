//! How many bytes may come from one address: a flood, over however many connections, is read from more slowly. What is
//! within the bound is read as it comes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::access::Client;

/// So many seconds' worth may come at once.
const BURST_SECONDS: f64 = 16.0;

/// The addresses that something came from lately.
#[derive(Debug)]
pub(super) struct Intakes {
    /// Bytes in a second.
    rate: f64,
    known: Mutex<HashMap<String, Arc<Intake>>>,
}

/// What one address may still send: a token bucket.
#[derive(Debug)]
pub(super) struct Intake {
    rate: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Bytes that may come at once; below nothing when too many came.
    left: f64,
    at: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Intakes {
    /// None yet; so many bytes in a second for each address.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1) as f64, known: Mutex::default() }
    }

    /// That of an address; those of one network of IPv6 are one.
    pub(super) fn of(&self, peer: IpAddr) -> Arc<Intake> {
        let full = || {
            let bucket = Bucket { left: self.rate * BURST_SECONDS, at: Instant::now() };
            Arc::new(Intake { rate: self.rate, bucket: Mutex::new(bucket) })
        };
        Arc::clone(lock(&self.known).entry(Client { key: None, peer }.group()).or_insert_with(full))
    }

    /// Forgets those that nobody uses and that are full again.
    pub(super) fn sweep(&self, now: Instant) {
        lock(&self.known).retain(|_, intake| Arc::strong_count(intake) > 1 || !intake.is_full(now));
    }
}

impl Intake {
    /// Notes that so many bytes have come, and says how long to wait before the next are read.
    pub(super) fn take(&self, bytes: usize, now: Instant) -> Duration {
        let mut bucket = lock(&self.bucket);
        bucket.left = self.filled(&bucket, now) - bytes as f64;
        bucket.at = now;
        Duration::from_secs_f64((-bucket.left).max(0.0) / self.rate)
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + since * self.rate).min(self.rate * BURST_SECONDS)
    }

    fn is_full(&self, now: Instant) -> bool {
        self.filled(&lock(&self.bucket), now) >= self.rate * BURST_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_flood_over_many_connections_is_slowed_down() {
        let intakes = Intakes::new(1000);
        let (one, other) = (intakes.of(HERE), intakes.of(HERE));
        let mut now = Instant::now();
        assert_eq!(one.take(10_000, now), Duration::ZERO);
        assert_eq!(other.take(6_000, now), Duration::ZERO);
        assert_eq!(other.take(500, now), Duration::from_millis(500));
        assert_eq!(one.take(1_000, now), Duration::from_millis(1_500));
        now += Duration::from_millis(2_500);
        assert_eq!(one.take(1_000, now), Duration::ZERO);
        assert_eq!(intakes.of(IpAddr::from([127, 0, 0, 2])).take(16_000, now), Duration::ZERO, "another one");
    }

    #[test]
    fn who_is_gone_is_forgotten_when_the_bucket_is_full_again() {
        let intakes = Intakes::new(1000);
        let now = Instant::now();
        let one = intakes.of(HERE);
        assert_eq!(one.take(4_000, now), Duration::ZERO);
        intakes.sweep(now + Duration::from_secs(60));
        assert_eq!(lock(&intakes.known).len(), 1, "it is in use");
        drop(one);
        intakes.sweep(now + Duration::from_secs(2));
        assert_eq!(lock(&intakes.known).len(), 1, "a new connection must not bring a new burst");
        intakes.sweep(now + Duration::from_secs(5));
        assert_eq!(lock(&intakes.known).len(), 0);
    }
}
