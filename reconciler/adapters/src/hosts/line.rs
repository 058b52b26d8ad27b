//! A line to an agent: bytes both ways, and what is left when it has ended.

use std::fmt;
use std::io;

use futures::future::BoxFuture;

/// Bytes towards an agent's standard input.
pub(super) trait Outgoing: Send {
    /// Sends these; done when they are handed over, not when they have arrived.
    fn send(&mut self, bytes: Vec<u8>) -> BoxFuture<'_, io::Result<()>>;
}

/// Bytes from an agent's standard output.
pub(super) trait Incoming: Send {
    /// Appends what comes next and says how many bytes; none when the agent has closed it.
    /// Dropping the future loses nothing.
    fn receive<'a>(&'a mut self, into: &'a mut Vec<u8>) -> BoxFuture<'a, io::Result<usize>>;

    /// What is known of the end, after [`receive`](Self::receive) said that it came.
    fn epitaph(&mut self) -> BoxFuture<'_, Epitaph>;
}

/// Both ways together.
pub(super) struct Line {
    /// To the agent.
    pub(super) to: Box<dyn Outgoing>,
    /// From the agent.
    pub(super) from: Box<dyn Incoming>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exit {
    /// With this status.
    Status(u32),
    /// By this signal.
    Signal(String),
}

/// What is known of an agent that has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Epitaph {
    /// How it ended, if that was told.
    pub(super) exit: Option<Exit>,
    /// What it wrote on standard error.
    pub(super) stderr: Tail,
    /// What else is known: why the connection ended.
    pub(super) cause: Option<String>,
}

impl fmt::Display for Epitaph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.exit, &self.cause) {
            (Some(Exit::Status(status)), _) => write!(f, "it ended with status {status}")?,
            (Some(Exit::Signal(signal)), _) => write!(f, "it was killed by signal {signal}")?,
            (None, Some(cause)) => f.write_str(cause)?,
            (None, None) => f.write_str("it ended without a word")?,
        }
        let said = self.stderr.text();
        if said.is_empty() {
            Ok(())
        } else {
            write!(f, ": {said}")
        }
    }
}

/// The last of what a program wrote: as much as fits a message.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Vec<u8>);

/// How much of it is kept, in bytes.
const TAIL: usize = 2048;

impl Tail {
    /// Adds what was written; the oldest of it goes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let excess = self.0.len().saturating_sub(TAIL);
        self.0.drain(..excess);
    }

    /// As text fit for a message.
    pub(super) fn text(&self) -> String {
        super::untrusted::printable(String::from_utf8_lossy(&self.0).trim(), TAIL)
    }

    /// The rest of the line that begins so.
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
        let mut epitaph = Epitaph {
            exit: Some(Exit::Status(101)),
            ..Epitaph::default()
        };
        epitaph.stderr.push(b"\x1b[31mpanicked\n");
        assert_eq!(
            epitaph.to_string(),
            "it ended with status 101: \u{fffd}[31mpanicked"
        );
        assert_eq!(Epitaph::default().to_string(), "it ended without a word");
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
