//! The session's two streams. A lock protects the output, so that each answer is sent as a whole. A separate
//! thread reads requests, so that the agent notices the end of the connection while a change is under way.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use plumb_api::Address;
use plumb_api::frame::{self, FrameError, Incoming, Progress, ProgressState, Request, Response};

/// Interval at which the agent reports that a long change is still under way.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Maximum number of received frames that wait to be handled.
const WAITING: usize = 2;

/// The session's output, and a flag that is set when the connection ends.
pub(crate) struct Wire {
    output: Mutex<Box<dyn Write + Send>>,
    gone: Arc<AtomicBool>,
    current: Mutex<Option<Address>>,
    ended: Condvar,
}

impl Wire {
    /// Takes the session's streams and starts the thread that reads requests. Returns the requests as a
    /// channel.
    pub(crate) fn new(
        mut input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> (Self, Receiver<Result<Incoming<Request>, FrameError>>) {
        let gone = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        let flag = Arc::clone(&gone);
        thread::spawn(move || {
            loop {
                let incoming = frame::read::<Request>(&mut input);
                let last = incoming.is_err();
                if last {
                    flag.store(true, Ordering::SeqCst);
                }
                if sender.send(incoming).is_err() || last {
                    break;
                }
            }
        });
        let wire = Self {
            output: Mutex::new(Box::new(output)),
            gone,
            current: Mutex::new(None),
            ended: Condvar::new(),
        };
        (wire, receiver)
    }

    /// True if the connection to the controller has ended. A run then stops before its next change.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Sends an answer. If that fails, the agent treats the connection as ended, and a run stops before its
    /// next change.
    pub(crate) fn send(&self, response: &Response) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        if frame::write_message(&mut *output, response).is_err() {
            self.gone.store(true, Ordering::SeqCst);
        }
    }

    /// Reports to the controller that a change has started, finished or failed.
    pub(crate) fn progress(&self, address: &Address, state: ProgressState) {
        let started = state == ProgressState::Started;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            started.then(|| address.clone());
        self.send(&Response::Progress(Progress {
            address: address.clone(),
            state,
        }));
    }

    /// Runs `work`. Meanwhile, another thread reports the current change every [`HEARTBEAT`], so that the
    /// controller sees that it is still under way.
    pub(crate) fn alive<T>(&self, work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.beat(&over));
            let outcome = work();
            let guard = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            over.store(true, Ordering::SeqCst);
            drop(guard);
            self.ended.notify_all();
            outcome
        })
    }

    fn beat(&self, over: &AtomicBool) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        while !over.load(Ordering::SeqCst) {
            let (guard, waited) = self
                .ended
                .wait_timeout(current, HEARTBEAT)
                .unwrap_or_else(PoisonError::into_inner);
            current = guard;
            let address = current.clone().filter(|_| waited.timed_out());
            if let Some(address) = address {
                drop(current);
                self.send(&Response::Progress(Progress {
                    address,
                    state: ProgressState::Working,
                }));
                current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}
