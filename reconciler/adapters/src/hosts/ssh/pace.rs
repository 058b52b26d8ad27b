//! Limits the rate of connecting, so that a fleet that comes back at once doesn't cause a thundering herd.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// The bounds on connecting, over all hosts.
#[derive(Debug, Clone, Copy)]
pub struct ConnectLimits {
    /// The maximum number of TCP connects in any second.
    pub per_second: usize,
    /// The maximum number of handshakes at the same time, including the logins that follow them.
    pub handshakes: usize,
}

impl Default for ConnectLimits {
    fn default() -> Self {
        Self {
            per_second: 50,
            handshakes: 64,
        }
    }
}

/// Limits the rate of connects and the number of handshakes.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: usize,
    /// The times of the last connects, oldest first.
    recent: Mutex<VecDeque<Instant>>,
    handshakes: Arc<Semaphore>,
}

impl Pace {
    pub(super) fn new(limits: ConnectLimits) -> Self {
        Self {
            per_second: limits.per_second.max(1),
            recent: Mutex::default(),
            handshakes: Arc::new(Semaphore::new(limits.handshakes.max(1))),
        }
    }

    /// Waits until a connect is allowed.
    pub(super) async fn connect(&self) {
        // Keeps the lock while it waits, so that callers proceed in order.
        let mut recent = self.recent.lock().await;
        if recent.len() >= self.per_second
            && let Some(oldest) = recent.pop_front()
        {
            sleep_until(oldest + Duration::from_secs(1)).await;
        }
        recent.push_back(Instant::now());
    }

    /// Waits until a handshake is allowed. It counts as running until the permit is dropped.
    pub(super) async fn handshake(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.handshakes).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_second_sees_more_connects_than_allowed() {
        let pace = Arc::new(Pace::new(ConnectLimits {
            per_second: 50,
            handshakes: 1,
        }));
        let start = Instant::now();
        let mut at = Vec::new();
        for _ in 0..175 {
            pace.connect().await;
            at.push(start.elapsed());
        }
        assert!(
            at[49] < Duration::from_millis(1),
            "the first ones don't wait"
        );
        for window in at.windows(51) {
            assert!(window[50].checked_sub(window[0]).unwrap() >= Duration::from_secs(1));
        }
        assert!(at[174] < Duration::from_secs(4));
    }
}
