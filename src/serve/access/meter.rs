//! Live audio is paid for as it comes: nobody knows before how long it will be.

use std::sync::Arc;

use super::key::Key;
use crate::serve::failure::Failure;

/// Seconds that are taken before they are paid for.
const STEP: u64 = 10;

/// Counts the audio of a stream against its key's day. What is not paid for when it is dropped is paid then.
#[derive(Debug)]
pub(in crate::serve) struct Meter {
    /// `None` where nobody counts.
    key: Option<Arc<Key>>,
    /// Samples in a second.
    rate: u32,
    received: u64,
    paid: u64,
}

impl Meter {
    /// For a stream of so many samples in a second.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED` when nothing is left of the day; `UNAUTHORIZED` for a revoked key.
    pub(in crate::serve) fn new(key: Option<&Arc<Key>>, rate: u32) -> Result<Self, Failure> {
        if let Some(key) = key {
            key.check_day()?;
        }
        Ok(Self { key: key.cloned(), rate: rate.max(1), received: 0, paid: 0 })
    }

    /// Notes that so many samples have come since the beginning.
    ///
    /// # Errors
    /// As [`Key::spend`]: no more is to be taken.
    pub(in crate::serve) fn take(&mut self, received: u64) -> Result<(), Failure> {
        self.received = received;
        let Some(key) = self.key.as_ref().filter(|_| self.unpaid() >= STEP * u64::from(self.rate)) else {
            return Ok(());
        };
        key.spend(self.unpaid() as f64 / f64::from(self.rate))?;
        self.paid = received;
        Ok(())
    }

    /// Pays for what came and is not paid for yet.
    pub(in crate::serve) fn settle(&mut self) {
        if let Some(key) = &self.key {
            key.charge(self.unpaid() as f64 / f64::from(self.rate));
        }
        self.paid = self.received;
    }

    fn unpaid(&self) -> u64 {
        self.received.saturating_sub(self.paid)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.settle();
    }
}
