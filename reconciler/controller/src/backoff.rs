//! How long to wait after a failure: per host and per cause, growing, with jitter.
//!
//! A failure counts only if its wait had passed, so that a burst of triggers on a failing host
//! doesn't push it hours away.

use std::collections::BTreeMap;
use std::time::Duration;

use plumb_api::report::Retry;
use tokio::time::Instant;

/// How waits grow.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// After the first failure of a cause.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// While something else is at work on the host.
    pub waiting: Duration,
    /// When nothing helps until somebody changes something.
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

#[derive(Debug, Clone, Copy)]
struct Cause {
    failures: u32,
    until: Instant,
}

/// One host's failures by cause.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    causes: BTreeMap<&'static str, Cause>,
}

/// What a failure came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// When to try again.
    pub(crate) at: Instant,
    /// Whether it counts as a new failure.
    pub(crate) counted: bool,
}

impl Backoff {
    /// Takes note of a failure; the wait counts from `now`, the end of the run.
    pub(crate) fn failed(
        &mut self,
        cause: &'static str,
        retry: Retry,
        waits: &Waits,
        now: Instant,
        jitter: &mut Jitter,
    ) -> Verdict {
        let wait = match retry {
            Retry::Waiting => {
                return Verdict {
                    at: now + jitter.around(waits.waiting),
                    counted: false,
                };
            }
            Retry::Transient | Retry::Stalled => {
                if let Some(old) = self.causes.get(cause).filter(|old| now < old.until) {
                    return Verdict {
                        at: old.until,
                        counted: false,
                    };
                }
                let failures = self.causes.get(cause).map_or(0, |old| old.failures);
                if retry == Retry::Stalled {
                    waits.stalled
                } else {
                    waits
                        .longest
                        .min(waits.first * 2_u32.saturating_pow(failures.min(16)))
                }
            }
        };
        let until = now + jitter.around(wait);
        let old = self.causes.get(cause).map_or(0, |old| old.failures);
        self.causes.insert(
            cause,
            Cause {
                failures: old.saturating_add(1),
                until,
            },
        );
        Verdict {
            at: until,
            counted: true,
        }
    }

    /// It went well: nothing is remembered.
    pub(crate) fn succeeded(&mut self) {
        self.causes.clear();
    }
}

/// Chance that needs no good quality, only that controllers and hosts don't march in step.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    /// Chance that begins here.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below 2^32 (`SplitMix64`).
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 32
    }

    /// A time around this one: a tenth less to a tenth more.
    pub(crate) fn around(&mut self, time: Duration) -> Duration {
        let fifth = time / 5;
        time.saturating_sub(time / 10) + self.within(fifth)
    }

    /// A time from nothing to this one.
    pub(crate) fn within(&mut self, time: Duration) -> Duration {
        let share = self.roll();
        let nanos = time.as_nanos() * u128::from(share) / (1 << 32);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn waits_grow_per_cause_and_end_with_success() {
        let (waits, mut jitter) = (Waits::default(), Jitter::new(1));
        let mut backoff = Backoff::default();
        let mut last = Duration::ZERO;
        for round in 0..14 {
            let now = Instant::now();
            let verdict = backoff.failed("Io", Retry::Transient, &waits, now, &mut jitter);
            assert!(verdict.counted);
            let wait = verdict.at - now;
            assert!(wait <= waits.longest + waits.longest / 10);
            assert!(round > 9 || wait > last, "{round}: {wait:?} after {last:?}");
            last = wait;
            tokio::time::advance(wait).await;
        }
        let now = Instant::now();
        let other = backoff.failed("Broken", Retry::Transient, &waits, now, &mut jitter);
        assert!(other.at - now < 2 * S, "another cause begins anew");
        backoff.succeeded();
        let again = backoff.failed("Io", Retry::Transient, &waits, now, &mut jitter);
        assert!(again.at - now < 2 * S);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_counts_once() {
        let (waits, mut jitter) = (Waits::default(), Jitter::new(2));
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let first = backoff.failed("Io", Retry::Transient, &waits, now, &mut jitter);
        for _ in 0..50 {
            let burst = backoff.failed("Io", Retry::Transient, &waits, now, &mut jitter);
            assert_eq!((burst.at, burst.counted), (first.at, false));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_no_failure() {
        let (waits, mut jitter) = (Waits::default(), Jitter::new(3));
        let now = Instant::now();
        let verdict = Backoff::default().failed("Lock", Retry::Waiting, &waits, now, &mut jitter);
        assert!(!verdict.counted && verdict.at - now <= 11 * S);
    }

    #[test]
    fn jitter_stays_around() {
        let mut jitter = Jitter::new(4);
        let all: std::collections::BTreeSet<_> = (0..100).map(|_| jitter.around(100 * S)).collect();
        assert!(all.len() > 90 && all.iter().all(|t| (90 * S..=110 * S).contains(t)));
    }
}
