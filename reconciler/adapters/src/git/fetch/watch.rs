//! Ends a fetch that stalls.
//!
//! A pipe has no timeout: a server that stops in the middle would block the thread for ever. The watch kills
//! the program at the other end of the pipe instead, which ends the read.

use std::io::{self, Read};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The time limits of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchTimeouts {
    /// The maximum time without a byte from the server.
    pub idle: Duration,
    /// The maximum time in total.
    pub total: Duration,
}

impl Default for FetchTimeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(1),
            total: Duration::from_mins(15),
        }
    }
}

/// The reason why the watch ended a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchEnd {
    /// No byte arrived for this long.
    Idle(Duration),
    /// The fetch took longer than this in total.
    Total(Duration),
    /// The source was closed.
    Closed,
}

struct State {
    begin: Instant,
    // Milliseconds from `begin` to the last received byte.
    heard: AtomicU64,
    stop: AtomicBool,
    done: AtomicBool,
    ended: Mutex<Option<FetchEnd>>,
    child: Mutex<Option<Child>>,
}

/// Watches one fetch. Dropping it stops the watch and kills the program if it still runs.
pub(crate) struct Watch {
    state: Arc<State>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    /// Watches until dropped; `closed` is set when the source is closed.
    pub(crate) fn start(timeouts: FetchTimeouts, closed: Arc<AtomicBool>) -> io::Result<Self> {
        let state = Arc::new(State {
            begin: Instant::now(),
            heard: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            done: AtomicBool::new(false),
            ended: Mutex::new(None),
            child: Mutex::new(None),
        });
        let thread = thread::Builder::new().name("git-watch".to_owned()).spawn({
            let state = Arc::clone(&state);
            move || state.watch(timeouts, &closed)
        })?;
        Ok(Self {
            state,
            thread: Some(thread),
        })
    }

    /// Takes over the program, to kill it when the fetch ends.
    pub(crate) fn adopt(&self, child: Child) {
        *self
            .state
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    /// Wraps a reader, each read of which resets the idle timeout.
    pub(crate) fn hear<R: Read>(&self, inner: R) -> WatchedReader<R> {
        WatchedReader {
            inner,
            state: Arc::clone(&self.state),
        }
    }

    /// The flag that is set when the fetch must end; gix checks it between steps.
    pub(crate) fn interrupt(&self) -> &AtomicBool {
        &self.state.stop
    }

    /// Returns the reason why the watch ended the fetch, if it did.
    pub(crate) fn ended(&self) -> Option<FetchEnd> {
        *self
            .state
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.state.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Joining is quick: the thread only sleeps and reads clocks.
            let _ = thread.join();
        }
        self.state.kill();
    }
}

impl State {
    fn watch(&self, timeouts: FetchTimeouts, closed: &AtomicBool) {
        while !self.done.load(Ordering::Relaxed) {
            let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
            let now = self.begin.elapsed();
            let ended = if closed.load(Ordering::Relaxed) {
                Some(FetchEnd::Closed)
            } else if now > timeouts.total {
                Some(FetchEnd::Total(timeouts.total))
            } else if now.saturating_sub(heard) > timeouts.idle {
                Some(FetchEnd::Idle(timeouts.idle))
            } else {
                None
            };
            if let Some(ended) = ended {
                *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
                self.stop.store(true, Ordering::Relaxed);
                self.kill();
                return;
            }
            thread::park_timeout(Duration::from_millis(100));
        }
    }

    fn kill(&self) {
        let child = self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut child) = child {
            // The program leads a process group, so that the children of a shell in between are killed too.
            if let Ok(Some(group)) = i32::try_from(child.id()).map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The reader that [`Watch::hear`] returns.
pub(crate) struct WatchedReader<R> {
    inner: R,
    state: Arc<State>,
}

impl<R: Read> Read for WatchedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let now = u64::try_from(self.state.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.state.heard.store(now, Ordering::Relaxed);
        Ok(read)
    }
}
