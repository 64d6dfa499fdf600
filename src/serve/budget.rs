//! A bound on something that many hold a part of: bytes in memory, bytes on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much may be held in all.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: AtomicU64,
}

/// A part of it, given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    amount: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    /// `None` when that much is not left.
    pub(super) fn reserve(self: &Arc<Self>, amount: u64) -> Option<Reservation> {
        self.take(amount).then(|| Reservation { budget: Arc::clone(self), amount })
    }

    /// How much is held.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, amount: u64) -> bool {
        let more = |used: u64| used.checked_add(amount).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl Reservation {
    /// Moves all of it into another one.
    pub(super) fn take(&mut self) -> Self {
        Self { budget: Arc::clone(&self.budget), amount: std::mem::take(&mut self.amount) }
    }

    /// Makes it so large at least. `false`, and it stays as it was, when that much is not left.
    pub(super) fn grow_to(&mut self, amount: u64) -> bool {
        let more = amount.saturating_sub(self.amount);
        let taken = self.budget.take(more);
        if taken {
            self.amount += more;
        }
        taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn what_is_given_back_can_be_had_again() {
        let budget = Budget::new(10);
        let first = budget.reserve(6);
        assert!(first.is_some());
        assert!(budget.reserve(5).is_none());
        assert!(budget.reserve(u64::MAX).is_none());
        assert!(budget.reserve(4).is_some());
        drop(first);
        assert!(budget.reserve(10).is_some());
    }

    #[test]
    fn a_part_may_grow_as_far_as_there_is_room() {
        let budget = Budget::new(10);
        let mut part = budget.reserve(0).unwrap();
        assert!(part.grow_to(6) && part.grow_to(3) && part.grow_to(10) && !part.grow_to(11));
        assert!(budget.reserve(1).is_none());
        drop(part);
        assert!(budget.reserve(10).is_some());
    }
}
