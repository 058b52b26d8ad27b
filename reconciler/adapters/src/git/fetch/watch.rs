//! Ends a conversation that gives no sign of life.
//!
//! A pipe has no timeout: a server that stops in the middle would hold the thread for ever. The
//! watch ends the program at the other end of the pipe instead, which ends the read.

use std::io::{self, Read};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a fetch may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Without a byte from the server.
    pub idle: Duration,
    /// In all.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(1),
            total: Duration::from_mins(15),
        }
    }
}

/// Why a conversation was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// No byte for this long.
    Idle(Duration),
    /// It took this long in all.
    Total(Duration),
    /// The source is closed.
    Closed,
}

struct State {
    begin: Instant,
    // Milliseconds after `begin` at which a byte came last.
    heard: AtomicU64,
    stop: AtomicBool,
    done: AtomicBool,
    ended: Mutex<Option<Ended>>,
    child: Mutex<Option<Child>>,
}

/// One conversation under watch. Dropping it ends the watch, and the program if it still runs.
pub(crate) struct Watch {
    state: Arc<State>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    /// Watches until dropped; `closed` is set when the source is closed.
    pub(crate) fn start(patience: Patience, closed: Arc<AtomicBool>) -> io::Result<Self> {
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
            move || state.watch(patience, &closed)
        })?;
        Ok(Self {
            state,
            thread: Some(thread),
        })
    }

    /// Ends this program too when the conversation ends.
    pub(crate) fn adopt(&self, child: Child) {
        *self
            .state
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    /// A reader whose bytes count as signs of life.
    pub(crate) fn hear<R: Read>(&self, inner: R) -> Heard<R> {
        Heard {
            inner,
            state: Arc::clone(&self.state),
        }
    }

    /// Set when the conversation must end: gix looks at it between steps.
    pub(crate) fn interrupt(&self) -> &AtomicBool {
        &self.state.stop
    }

    /// Why it was ended by the watch, if it was.
    pub(crate) fn ended(&self) -> Option<Ended> {
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
            // The watching thread only sleeps and looks at clocks.
            let _ = thread.join();
        }
        self.state.kill();
    }
}

impl State {
    fn watch(&self, patience: Patience, closed: &AtomicBool) {
        while !self.done.load(Ordering::Relaxed) {
            let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
            let now = self.begin.elapsed();
            let ended = if closed.load(Ordering::Relaxed) {
                Some(Ended::Closed)
            } else if now > patience.total {
                Some(Ended::Total(patience.total))
            } else if now.saturating_sub(heard) > patience.idle {
                Some(Ended::Idle(patience.idle))
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
            // The program leads a group of its own, so that what a shell in between started ends too.
            if let Ok(Some(group)) = i32::try_from(child.id()).map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// See [`Watch::hear`].
pub(crate) struct Heard<R> {
    inner: R,
    state: Arc<State>,
}

impl<R: Read> Read for Heard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let now = u64::try_from(self.state.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.state.heard.store(now, Ordering::Relaxed);
        Ok(read)
    }
}
