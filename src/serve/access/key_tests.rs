#![allow(clippy::unwrap_used)] // A test may fail by panicking.

use std::time::Duration;

use chrono::TimeZone;

use super::*;

fn key(rules: Rules) -> Arc<Key> {
    Key::new(Entry { name: "a".to_owned(), hash: [7; 32], rules })
}

fn after<T: fmt::Debug>(result: Result<T, Failure>) -> Option<u64> {
    let failure = result.unwrap_err();
    assert_eq!(failure.code, Code::QuotaExceeded, "{failure:?}");
    failure.retry_after
}

#[test]
fn requests_are_counted_by_the_minute() {
    let key = key(Rules { requests_per_minute: NonZeroU32::new(6), ..Rules::default() });
    let start = Instant::now();
    let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
    for _ in 0..6 {
        key.begin_at(at(0.0)).unwrap();
    }
    assert_eq!(after(key.begin_at(at(0.0))), Some(10));
    assert_eq!(after(key.begin_at(at(7.5))), Some(3));
    key.begin_at(at(10.0)).unwrap();
    assert_eq!(after(key.begin_at(at(10.0))), Some(10));
    // Nothing is gained by a rest that is longer than a minute, nor by a clock that was read late.
    for _ in 0..6 {
        key.begin_at(at(1000.0)).unwrap();
    }
    assert_eq!(after(key.begin_at(at(1000.0))), Some(10));
    assert!(key.begin_at(at(900.0)).is_err());
    assert_eq!(after(key.begin_at(at(1000.0))), Some(10));
}

#[test]
fn a_place_comes_back_and_a_refusal_takes_none() {
    let rules =
        Rules { concurrent: NonZeroU32::new(2), requests_per_minute: NonZeroU32::new(3), ..Rules::default() };
    let key = key(rules);
    let now = Instant::now();
    let first = key.begin_at(now).unwrap();
    let _second = key.begin_at(now).unwrap();
    for _ in 0..5 {
        assert_eq!(after(key.begin_at(now)), Some(1));
    }
    drop(first);
    let third = key.begin_at(now).unwrap();
    drop(third);
    assert_eq!(after(key.begin_at(now)), Some(20));
}

#[test]
fn audio_is_counted_by_the_day() {
    let key = key(Rules { audio_minutes_per_day: NonZeroU32::new(2), ..Rules::default() });
    let at = |day, hour, minute| Utc.with_ymd_and_hms(2026, 2, day, hour, minute, 0).unwrap();
    let spend = |now, seconds| key.account().spend(now, seconds);
    spend(at(28, 23, 0), 100.0).unwrap();
    assert_eq!(after(spend(at(28, 23, 0), 20.5)), Some(3600), "as a whole or not at all");
    spend(at(28, 23, 0), 20.0).unwrap();
    assert_eq!(after(key.account().check_day(at(28, 23, 59))), Some(60));
    assert_eq!(after(spend(at(28, 23, 59), 0.1)), Some(60));
    assert!(key.account().check_day(Utc.with_ymd_and_hms(2026, 3, 1, 0, 0, 0).unwrap()).is_ok());
    key.account().charge(Utc.with_ymd_and_hms(2026, 3, 1, 0, 0, 0).unwrap(), 500.0);
    assert!(key.account().check_day(Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()).is_err());
}

#[test]
fn there_is_no_limit_where_none_is_set() {
    let key = key(Rules::default());
    let held: Vec<Running> = (0..1000).map(|_| key.begin().unwrap()).collect();
    assert!(key.spend(1e6).is_ok() && key.check_day().is_ok());
    drop(held);
    assert_eq!(key.account().running, 0);
}

#[test]
fn live_audio_is_paid_for_as_it_comes() {
    use crate::serve::access::Meter;
    let key = key(Rules { audio_minutes_per_day: NonZeroU32::new(1), ..Rules::default() });
    let mut meter = Meter::new(Some(&key), 8000).unwrap();
    for seconds in (5..=60).step_by(5) {
        meter.take(seconds * 8000).unwrap();
    }
    assert_eq!(key.account().seconds, 60.0);
    assert!(meter.take(65 * 8000).is_ok(), "it is looked at every ten seconds");
    assert!(meter.take(70 * 8000).is_err());
    assert!(Meter::new(Some(&key), 8000).is_err());
    drop(meter);
    assert_eq!(key.account().seconds, 70.0, "what came is paid");
    let mut free = Meter::new(None, 8000).unwrap();
    assert!(free.take(u64::MAX).is_ok());
}
