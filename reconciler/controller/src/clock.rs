//! The clock of the loop.

use std::sync::Arc;

use jiff::Timestamp;
use plumb_core::ports::Clock;
use tokio::time::Instant;

/// A clock for the loop that never goes back. It follows the wall clock forward, and advances by itself while
/// the wall clock is behind. Otherwise polls, retries and alerts would stop after the wall clock is set back.
pub(crate) struct LoopClock {
    wall: Arc<dyn Clock>,
    anchor: (Instant, Timestamp),
}

impl LoopClock {
    pub(crate) fn new(wall: Arc<dyn Clock>) -> Self {
        let (at, instant) = read(&*wall);
        Self {
            wall,
            anchor: (instant, at),
        }
    }

    /// Returns the current time, which is never earlier than a time that it returned before.
    pub(crate) fn now(&mut self) -> Timestamp {
        let (wall, instant) = read(&*self.wall);
        let (since, at) = self.anchor;
        let passed = at.saturating_add(instant - since).unwrap_or(at);
        let now = wall.max(passed);
        self.anchor = (instant, now);
        now
    }
}

/// Reads the wall clock, and after it the monotonic clock. A thread that loses its processor between the two
/// leaves the loop's clock late, which the next reading corrects. In the other order, the loop's clock would be
/// ahead of the wall clock for ever, and an Alertmanager would see alerts that end in the future.
fn read(wall: &dyn Clock) -> (Timestamp, Instant) {
    let at = wall.now();
    (at, Instant::now())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    /// A wall clock whose first readings are slow: the thread sleeps before or after it reads the time.
    struct Slow(AtomicU32);

    impl Clock for Slow {
        fn now(&self) -> Timestamp {
            let reading = self.0.fetch_add(1, Ordering::Relaxed);
            let nap = || std::thread::sleep(Duration::from_millis(20));
            if reading == 1 {
                nap();
            }
            let now = Timestamp::now();
            if reading == 2 {
                nap();
            }
            now
        }
    }

    #[tokio::test]
    async fn is_never_ahead_of_a_wall_clock_that_is_read_slowly() {
        let wall = Arc::new(Slow(AtomicU32::new(0)));
        let mut clock = LoopClock::new(wall);
        for reading in 0..4 {
            let now = clock.now();
            assert!(now <= Timestamp::now(), "reading {reading}");
        }
    }

    struct Wall(Mutex<Timestamp>);

    impl Clock for Wall {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_while_the_wall_clock_is_set_back() {
        let wall = Arc::new(Wall(Mutex::new("2026-01-02T00:00:00Z".parse().unwrap())));
        let mut clock = LoopClock::new(wall.clone());
        let first = clock.now();
        *wall.0.lock().unwrap() = "2026-01-01T00:00:00Z".parse().unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), first + Duration::from_secs(5));
        *wall.0.lock().unwrap() = "2026-01-03T00:00:00Z".parse().unwrap();
        assert_eq!(clock.now(), wall.now());
    }
}
