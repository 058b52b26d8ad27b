//! Delays before retries, for each host and cause. They grow with each failure and have jitter.
//!
//! A failure counts only if the delay after the previous one has passed. Otherwise a burst of triggers on a
//! failing host would raise its delay to the maximum.

use std::time::Duration;

use jiff::Timestamp;
use plumb_api::report::Retry;

use super::later;
use crate::reason::ConditionReason;

/// The delays before retries.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// The delay after the first failure from a cause. It doubles with each further failure.
    pub first: Duration,
    /// The maximum delay after a transient failure.
    pub longest: Duration,
    /// The delay while something else is at work on the host, such as a package manager.
    pub waiting: Duration,
    /// The delay after a failure that lasts until somebody changes something.
    pub stalled: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_mins(15),
            waiting: Duration::from_secs(10),
            stalled: Duration::from_mins(10),
        }
    }
}

impl Waits {
    /// Returns the delay after this number of earlier failures: `first`, doubled for each of them, and at most
    /// `longest`.
    pub(super) fn grown(first: Duration, failures: u32, longest: Duration) -> Duration {
        longest.min(first * 2_u32.saturating_pow(failures.min(16)))
    }
}

#[derive(Debug, Clone, Copy)]
struct Cause {
    reason: ConditionReason,
    failures: u32,
    until: Timestamp,
}

/// One host's failures by cause.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff(Vec<Cause>);

/// The next run after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NextTry {
    /// The time of the run.
    pub(super) at: Timestamp,
    /// True if the failure was counted, because the previous delay had passed.
    pub(super) counted: bool,
}

impl Backoff {
    /// Records a failure, and returns the next run. The delay starts at `now`, the end of the failed run.
    pub(super) fn failed(
        &mut self,
        reason: ConditionReason,
        retry: Retry,
        waits: &Waits,
        now: Timestamp,
        jitter: &mut Jitter,
    ) -> NextTry {
        let known = self.0.iter().position(|cause| cause.reason == reason);
        let failures = known.map_or(0, |at| self.0[at].failures);
        let wait = match retry {
            Retry::Waiting => {
                // A run that waits for units does so on the host. The short pause between two such runs lets
                // the host get a newer target.
                let wait = match reason {
                    ConditionReason::UnitPending => waits.first,
                    _ => waits.waiting,
                };
                return NextTry {
                    at: later(now, jitter.around(wait)),
                    counted: false,
                };
            }
            Retry::Transient | Retry::Stalled => {
                if let Some(at) = known
                    && now < self.0[at].until
                {
                    return NextTry {
                        at: self.0[at].until,
                        counted: false,
                    };
                }
                match retry {
                    Retry::Stalled => waits.stalled,
                    _ => Waits::grown(waits.first, failures, waits.longest),
                }
            }
        };
        let cause = Cause {
            reason,
            failures: failures.saturating_add(1),
            until: later(now, jitter.around(wait)),
        };
        match known {
            Some(at) => self.0[at] = cause,
            None => self.0.push(cause),
        }
        NextTry {
            at: cause.until,
            counted: true,
        }
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        self.0.clear();
    }
}

/// A simple pseudorandom generator. It spreads retries, so that controllers and hosts don't act at the same
/// moment.
#[derive(Debug, Clone)]
pub(super) struct Jitter(u64);

impl Jitter {
    /// Creates a generator from this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a pseudorandom number below 2^32 (`SplitMix64`).
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 32
    }

    /// Varies a duration by at most a tenth.
    pub(super) fn around(&mut self, time: Duration) -> Duration {
        let nanos = (time / 5).as_nanos() * u128::from(self.roll()) / (1 << 32);
        let part = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        time.saturating_sub(time / 10) + part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const IO: ConditionReason = ConditionReason::IoError;

    fn wait(next: NextTry, now: Timestamp) -> Duration {
        next.at.duration_since(now).unsigned_abs()
    }

    #[test]
    fn waits_grow_per_cause_and_end_with_success() {
        let (waits, mut jitter) = (Waits::default(), Jitter::new(1));
        let mut backoff = Backoff::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut last = Duration::ZERO;
        for round in 0..14 {
            let next = backoff.failed(IO, Retry::Transient, &waits, now, &mut jitter);
            assert!(next.counted);
            let waited = wait(next, now);
            assert!(waited <= waits.longest + waits.longest / 10);
            assert!(
                round > 9 || waited > last,
                "{round}: {waited:?} after {last:?}"
            );
            (last, now) = (waited, next.at);
        }
        let other = ConditionReason::ConnectionBroken;
        let other = backoff.failed(other, Retry::Transient, &waits, now, &mut jitter);
        assert!(wait(other, now) < 2 * S, "another cause begins anew");
        backoff.reset();
        let again = backoff.failed(IO, Retry::Transient, &waits, now, &mut jitter);
        assert!(wait(again, now) < 2 * S);
    }

    #[test]
    fn a_burst_counts_once() {
        let (waits, mut jitter) = (Waits::default(), Jitter::new(2));
        let mut backoff = Backoff::default();
        let now = Timestamp::UNIX_EPOCH;
        let first = backoff.failed(IO, Retry::Transient, &waits, now, &mut jitter);
        for _ in 0..50 {
            let burst = backoff.failed(IO, Retry::Transient, &waits, now, &mut jitter);
            assert_eq!((burst.at, burst.counted), (first.at, false));
        }
    }

    #[test]
    fn waiting_is_no_failure() {
        let (waits, mut jitter) = (Waits::default(), Jitter::new(3));
        let now = Timestamp::UNIX_EPOCH;
        let reason = ConditionReason::Locked;
        let next = Backoff::default().failed(reason, Retry::Waiting, &waits, now, &mut jitter);
        assert!(!next.counted && wait(next, now) <= 11 * S);
    }

    #[test]
    fn a_pending_unit_is_looked_at_again_soon() {
        let (waits, mut jitter) = (Waits::default(), Jitter::new(5));
        let now = Timestamp::UNIX_EPOCH;
        let reason = ConditionReason::UnitPending;
        let next = Backoff::default().failed(reason, Retry::Waiting, &waits, now, &mut jitter);
        assert!(!next.counted && wait(next, now) < 2 * S);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let mut jitter = Jitter::new(4);
        let all: std::collections::BTreeSet<_> = (0..100).map(|_| jitter.around(100 * S)).collect();
        assert!(all.len() > 90 && all.iter().all(|t| (90 * S..=110 * S).contains(t)));
    }
}
