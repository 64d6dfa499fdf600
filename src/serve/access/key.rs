//! One API key: its name, its limits, and what is used of them.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, NaiveDate, Timelike, Utc};

use super::file::Entry;
use crate::serve::failure::Failure;
use crate::serve::protocol::Code;

const MINUTE: f64 = 60.0;
const DAY_SECONDS: u64 = 24 * 3600;
/// What may be missing of a whole request for want of digits.
const ROUNDING: f64 = 1e-6;

/// What a key may do. Where a limit is `None` there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Jobs that may be begun: so many at once, and then so many a minute.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Jobs that may run or wait at the same time.
    pub concurrent: Option<NonZeroU32>,
    /// Minutes of audio from midnight to midnight, UTC.
    pub audio_minutes_per_day: Option<NonZeroU32>,
    /// Whether what concerns the whole server may be asked for.
    pub admin: bool,
}

/// A key. Its hash is not shown.
pub(in crate::serve) struct Key {
    name: Arc<str>,
    hash: [u8; 32],
    revoked: AtomicBool,
    account: Arc<Mutex<Account>>,
}

/// What belongs to a name, also when its key is replaced by another one.
struct Account {
    rules: Rules,
    /// Jobs that may begin at once, when they were counted last. More than is allowed is as good as all of it.
    tokens: f64,
    counted: Instant,
    running: u32,
    /// Seconds of audio of this day.
    seconds: f64,
    day: NaiveDate,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

impl Key {
    /// A key of which nothing is used yet.
    pub(super) fn new(entry: Entry) -> Arc<Self> {
        let account = Account {
            rules: entry.rules,
            tokens: f64::INFINITY,
            counted: Instant::now(),
            running: 0,
            seconds: 0.0,
            day: Utc::now().date_naive(),
        };
        Self::of(entry, Arc::new(Mutex::new(account)))
    }

    fn of(entry: Entry, account: Arc<Mutex<Account>>) -> Arc<Self> {
        let (name, hash) = (entry.name.into(), entry.hash);
        Arc::new(Self { name, hash, revoked: AtomicBool::new(false), account })
    }

    /// What a key has become: itself under new rules, or revoked in favour of another one of its name.
    pub(super) fn renewed(key: &Arc<Self>, entry: Entry) -> Arc<Self> {
        key.account().rules = entry.rules;
        if key.hash == entry.hash {
            return Arc::clone(key);
        }
        key.revoke();
        Self::of(entry, Arc::clone(&key.account))
    }

    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }

    pub(super) fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is called in its file.
    pub(in crate::serve) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Whether what concerns the whole server may be asked for.
    pub(in crate::serve) fn is_admin(&self) -> bool {
        self.account().rules.admin
    }

    /// Counts a request, and a job until what is given is dropped.
    ///
    /// # Errors
    /// `UNAUTHORIZED` once it is revoked; `QUOTA_EXCEEDED` over a limit, with the time after which to try again.
    pub(in crate::serve) fn begin(self: &Arc<Self>) -> Result<Running, Failure> {
        self.begin_at(Instant::now())
    }

    fn begin_at(self: &Arc<Self>, now: Instant) -> Result<Running, Failure> {
        self.check_valid()?;
        self.account().begin(now)?;
        Ok(Running(Arc::clone(self)))
    }

    /// Counts audio of today, as a whole or not at all.
    ///
    /// # Errors
    /// `UNAUTHORIZED` once it is revoked; `QUOTA_EXCEEDED` when it does not fit, with the time to the next day.
    pub(in crate::serve) fn spend(&self, seconds: f64) -> Result<(), Failure> {
        self.check_valid()?;
        self.account().spend(Utc::now(), seconds)
    }

    /// Counts audio of today that has been taken already, also when it is more than is allowed.
    pub(super) fn charge(&self, seconds: f64) {
        self.account().charge(Utc::now(), seconds);
    }

    /// Whether there is anything left of today's audio.
    ///
    /// # Errors
    /// As [`Key::spend`].
    pub(super) fn check_day(&self) -> Result<(), Failure> {
        self.check_valid()?;
        self.account().check_day(Utc::now())
    }

    fn check_valid(&self) -> Result<(), Failure> {
        if self.is_revoked() {
            return Err(Failure::new(Code::Unauthorized, "this key is valid no more"));
        }
        Ok(())
    }
}

impl Account {
    fn begin(&mut self, now: Instant) -> Result<(), Failure> {
        if let Some(most) = self.rules.concurrent
            && self.running >= most.get()
        {
            let message = format!("{most} jobs of this key run or wait already; try again when one is done");
            return Err(over(message, 1));
        }
        if let Some(most) = self.rules.requests_per_minute {
            let per_second = f64::from(most.get()) / MINUTE;
            let since = now.saturating_duration_since(self.counted).as_secs_f64();
            self.tokens = (self.tokens + since * per_second).min(f64::from(most.get()));
            self.counted = self.counted.max(now);
            if self.tokens < 1.0 - ROUNDING {
                let seconds = ((1.0 - self.tokens) / per_second - ROUNDING).ceil() as u64;
                return Err(over(format!("this key may begin {most} jobs a minute"), seconds));
            }
            self.tokens -= 1.0;
        }
        self.running = self.running.saturating_add(1);
        Ok(())
    }

    fn spend(&mut self, now: DateTime<Utc>, seconds: f64) -> Result<(), Failure> {
        self.turn(now);
        if let Some(most) = self.rules.audio_minutes_per_day {
            let left = f64::from(most.get()) * MINUTE - self.seconds;
            if seconds > left + ROUNDING {
                let message = format!(
                    "this key may send {most} minutes of audio a day (UTC), of which {:.1} are left; this is {:.1}",
                    left.max(0.0) / MINUTE,
                    seconds / MINUTE
                );
                return Err(over(message, until_midnight(now)));
            }
        }
        self.seconds += seconds.max(0.0);
        Ok(())
    }

    fn charge(&mut self, now: DateTime<Utc>, seconds: f64) {
        self.turn(now);
        self.seconds += seconds.max(0.0);
    }

    fn check_day(&mut self, now: DateTime<Utc>) -> Result<(), Failure> {
        self.turn(now);
        match self.rules.audio_minutes_per_day {
            Some(most) if self.seconds >= f64::from(most.get()) * MINUTE - ROUNDING => {
                let message =
                    format!("this key may send {most} minutes of audio a day (UTC), and has done so");
                Err(over(message, until_midnight(now)))
            }
            _ => Ok(()),
        }
    }

    /// Nothing is used of a new day.
    fn turn(&mut self, now: DateTime<Utc>) {
        if now.date_naive() != self.day {
            (self.day, self.seconds) = (now.date_naive(), 0.0);
        }
    }
}

fn over(message: String, retry_after: u64) -> Failure {
    Failure::new(Code::QuotaExceeded, message).after(retry_after.max(1))
}

fn until_midnight(now: DateTime<Utc>) -> u64 {
    DAY_SECONDS.saturating_sub(u64::from(now.num_seconds_from_midnight()))
}

/// A job's place among those of its key, given back when dropped.
#[derive(Debug)]
pub(in crate::serve) struct Running(Arc<Key>);

impl Running {
    /// As [`Key::spend`].
    pub(in crate::serve) fn spend(&self, seconds: f64) -> Result<(), Failure> {
        self.0.spend(seconds)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut account = self.0.account();
        account.running = account.running.saturating_sub(1);
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
