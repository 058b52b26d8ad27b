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
        let anchor = (Instant::now(), wall.now());
        Self { wall, anchor }
    }

    /// Returns the current time, which is never earlier than a time that it returned before.
    pub(crate) fn now(&mut self) -> Timestamp {
        let instant = Instant::now();
        let (since, at) = self.anchor;
        let passed = at.saturating_add(instant - since).unwrap_or(at);
        let now = self.wall.now().max(passed);
        self.anchor = (instant, now);
        now
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

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
