//! Turns system errors into errors for the controller, with the failed action, its path and an error code.

use std::io;

use plumb_api::report::{AgentError, ErrorCode};
use rustix::io::Errno;

/// Result type of the agent. Its error can be sent to the controller unchanged.
pub(crate) type Result<T, E = AgentError> = std::result::Result<T, E>;

/// Returns an error with this code and message.
pub(crate) fn fail<T>(code: ErrorCode, message: impl Into<String>) -> Result<T> {
    Err(AgentError::new(code, message))
}

/// Returns the error code for a system error. Full and read-only disks have their own code.
fn code_of(errno: Option<Errno>) -> ErrorCode {
    match errno {
        Some(Errno::NOSPC | Errno::DQUOT) => ErrorCode::NoSpace,
        Some(Errno::ROFS) => ErrorCode::ReadOnly,
        Some(Errno::LOOP) => ErrorCode::UnsafePath,
        _ => ErrorCode::Io,
    }
}

/// Adds the action and the path to a system error: `can't DOING PATH: reason`.
pub(crate) trait At<T> {
    fn at(self, doing: &str, path: &str) -> Result<T>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, doing: &str, path: &str) -> Result<T> {
        self.map_err(|errno| {
            let reason = io::Error::from(errno);
            AgentError::new(
                code_of(Some(errno)),
                format!("can't {doing} {path}: {reason}"),
            )
        })
    }
}

impl<T> At<T> for Result<T, io::Error> {
    fn at(self, doing: &str, path: &str) -> Result<T> {
        self.map_err(|error| {
            let errno = Errno::from_io_error(&error);
            AgentError::new(code_of(errno), format!("can't {doing} {path}: {error}"))
        })
    }
}
