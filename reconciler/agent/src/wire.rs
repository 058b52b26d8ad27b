//! The session's two streams. Answers are sent under a lock. Requests are read on a thread of their own, so
//! that the agent notices the end of the connection while it is busy.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use plumb_api::Address;
use plumb_api::frame::{self, FrameError, Incoming, Progress, ProgressState, Request, Response};

/// The interval at which a long change reports that it is still under way.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The number of received frames that may wait to be handled.
const WAITING: usize = 2;

/// The session's output, and a flag for the end of its input.
pub(crate) struct Wire {
    output: Mutex<Box<dyn Write + Send>>,
    gone: Arc<AtomicBool>,
    current: Mutex<Option<Address>>,
    ended: Condvar,
}

impl Wire {
    /// Takes both streams and starts to read requests.
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

    /// True if the controller is gone; a run then stops after the current change.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Sends an answer. If that fails, the controller is gone, and the run stops before its next change.
    pub(crate) fn send(&self, response: &Response) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        if frame::write_message(&mut *output, response).is_err() {
            self.gone.store(true, Ordering::SeqCst);
        }
    }

    /// Reports the progress of a change.
    pub(crate) fn progress(&self, address: &Address, state: ProgressState) {
        let started = state == ProgressState::Started;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            started.then(|| address.clone());
        self.send(&Response::Progress(Progress {
            address: address.clone(),
            state,
        }));
    }

    /// Runs `work` while a second thread reports progress at intervals.
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
