//! Errors of the system as data: what failed, at what, and which code it has for the controller.

use std::io;

use plumb_api::report::{AgentError, ErrorCode};
use rustix::io::Errno;

/// What the agent's functions give: the error is already the controller's.
pub(crate) type Result<T, E = AgentError> = std::result::Result<T, E>;

/// An error with this code and message.
pub(crate) fn fail<T>(code: ErrorCode, message: impl Into<String>) -> Result<T> {
    Err(AgentError::new(code, message))
}

/// The code of a system error: a full or read-only disk is told from the rest, because nothing was changed then.
fn code_of(errno: Option<Errno>) -> ErrorCode {
    match errno {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => ErrorCode::NoSpace,
        Some(Errno::LOOP) => ErrorCode::UnsafePath,
        _ => ErrorCode::Io,
    }
}

/// Gives a system error its place: `can't DOING PATH: reason`.
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
