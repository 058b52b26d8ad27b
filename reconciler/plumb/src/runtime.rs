//! The async runtime of commands that wait for sockets or hosts.

use crate::report::{Failure, OrFail as _};

/// Runs a future on a new runtime, for commands that wait for sockets or hosts.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_fail(|| "cannot start the async runtime".to_owned())?
        .block_on(work)
}
