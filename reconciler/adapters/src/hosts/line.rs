//! A line to an agent: a byte stream in each direction, and how the agent ended.

use std::fmt;
use std::io;

use futures::future::BoxFuture;

/// The stream to an agent's standard input.
pub(super) trait Outgoing: Send {
    /// Sends bytes. It returns when they are handed over, not when they have arrived.
    fn send(&mut self, bytes: Vec<u8>) -> BoxFuture<'_, io::Result<()>>;
}

/// The stream from an agent's standard output.
pub(super) trait Incoming: Send {
    /// Appends the next bytes to `into` and returns their number; 0 means that the agent closed the stream.
    /// Cancel-safe: dropping the future loses no bytes.
    fn receive<'a>(&'a mut self, into: &'a mut Vec<u8>) -> BoxFuture<'a, io::Result<usize>>;

    /// Returns how the agent ended. Call it after [`receive`](Self::receive) returned 0 or an error.
    fn exit_info(&mut self) -> BoxFuture<'_, ExitInfo>;
}

/// Both directions of a line.
pub(super) struct Line {
    /// The stream to the agent.
    pub(super) to: Box<dyn Outgoing>,
    /// The stream from the agent.
    pub(super) from: Box<dyn Incoming>,
}

/// The way in which a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exit {
    /// It exited with this status.
    Status(u32),
    /// This signal killed it.
    Signal(String),
}

/// How an agent ended.
#[derive(Debug, Clone, Default)]
pub(super) struct ExitInfo {
    /// The exit status or signal, if known.
    pub(super) exit: Option<Exit>,
    /// The last bytes of its standard error.
    pub(super) stderr: Tail,
    /// Another cause of the end, such as the loss of the connection.
    pub(super) cause: Option<String>,
}

impl fmt::Display for ExitInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.exit, &self.cause) {
            (Some(Exit::Status(status)), _) => write!(f, "it ended with status {status}")?,
            (Some(Exit::Signal(signal)), _) => write!(f, "it was killed by signal {signal}")?,
            (None, Some(cause)) => f.write_str(cause)?,
            (None, None) => f.write_str("it ended without any output")?,
        }
        let said = self.stderr.text();
        if said.is_empty() {
            Ok(())
        } else {
            write!(f, ": {said}")
        }
    }
}

/// The last bytes that a program wrote, as many as fit a message.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Vec<u8>);

/// The maximum number of bytes that are kept.
const TAIL: usize = 2048;

impl Tail {
    /// Appends bytes and drops the oldest ones over the limit.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let excess = self.0.len().saturating_sub(TAIL);
        self.0.drain(..excess);
    }

    /// Returns the bytes as printable text.
    pub(super) fn text(&self) -> String {
        super::untrusted::printable(String::from_utf8_lossy(&self.0).trim(), TAIL)
    }

    /// Returns the rest of the first line that begins with `start`.
    pub(super) fn line_after(&self, start: &str) -> Option<String> {
        String::from_utf8_lossy(&self.0)
            .lines()
            .find_map(|line| line.strip_prefix(start).map(|rest| rest.trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_with_the_last_words() {
        let mut exit_info = ExitInfo {
            exit: Some(Exit::Status(101)),
            ..ExitInfo::default()
        };
        exit_info.stderr.push(b"\x1b[31mpanicked\n");
        assert_eq!(
            exit_info.to_string(),
            "it ended with status 101: \u{fffd}[31mpanicked"
        );
        assert_eq!(
            ExitInfo::default().to_string(),
            "it ended without any output"
        );
    }

    #[test]
    fn only_the_last_of_a_flood_is_kept() {
        let mut tail = Tail::default();
        for _ in 0..10_000 {
            tail.push(b"0123456789");
        }
        tail.push(b"\nplumb-missing x86_64\n");
        assert!(tail.0.len() <= TAIL);
        assert_eq!(tail.line_after("plumb-missing ").as_deref(), Some("x86_64"));
    }
}
