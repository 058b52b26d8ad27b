//! Runs a program on a host, over a channel of a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use plumb_api::HostName;
use plumb_core::ports::HostError;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::{sleep, timeout};

use super::connection::Connection;
use super::handler::{ConnectionFacts, plain};
use crate::hosts::line::{Exit, ExitInfo, Incoming, Line, Outgoing};

/// Maximum wait for a server to report a program's exit status.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Delays between attempts to open a session after the host refused one.
const WAITS: [Duration; 6] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// The reason why a program can't be run.
#[derive(Debug)]
pub(super) enum NoChannel {
    /// The server refuses to open a session.
    Refused,
    /// The connection broke, or the request failed.
    Broken(String),
}

impl NoChannel {
    /// Converts to an error of the host. `what` says what couldn't be done.
    pub(super) fn host_error(self, host: HostName, what: &str) -> HostError {
        match self {
            Self::Refused => HostError::NoSession { host },
            Self::Broken(why) => HostError::AgentFailed {
                host,
                reason: format!("{what}: {why}"),
            },
        }
    }
}

/// Runs a command and returns the line to it, without waiting until it has started.
///
/// A server that allows one session at a time (`MaxSessions 1`) counts the last one for a moment after it has
/// closed, so this retries after a refusal.
pub(super) async fn run(connection: &Connection, command: &str) -> Result<Line, NoChannel> {
    let mut waits = WAITS.iter();
    loop {
        match open(connection, command).await {
            Err(NoChannel::Refused) => match waits.next() {
                Some(wait) => sleep(*wait).await,
                None => return Err(NoChannel::Refused),
            },
            done => return done,
        }
    }
}

async fn open(connection: &Connection, command: &str) -> Result<Line, NoChannel> {
    let failed = |error: russh::Error| match (connection.aside.ended(), error) {
        (Some(why), _) => NoChannel::Broken(why),
        (None, russh::Error::ChannelOpenFailure(_)) => NoChannel::Refused,
        (None, error) => NoChannel::Broken(plain(&error)),
    };
    let channel = connection
        .handle
        .channel_open_session()
        .await
        .map_err(failed)?;
    // Requests a reply without waiting for it: otherwise the server wouldn't report a refusal.
    channel.exec(true, command).await.map_err(failed)?;
    let (read, write) = channel.split();
    Ok(Line {
        to: Box::new(ChannelInput { write }),
        from: Box::new(ChannelOutput {
            read,
            aside: Arc::clone(&connection.aside),
            exit_info: ExitInfo::default(),
            closed: ClosedPart::No,
        }),
    })
}

struct ChannelInput {
    write: ChannelWriteHalf<Msg>,
}

impl Outgoing for ChannelInput {
    fn send(&mut self, bytes: Vec<u8>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let sent = if bytes.is_empty() {
                self.write.eof().await
            } else {
                self.write.data_bytes(bytes).await
            };
            sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
        })
    }
}

/// The part of a channel that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClosedPart {
    /// Nothing is closed.
    No,
    /// The program's output is closed; its exit status may still arrive.
    Output,
    /// The channel is closed.
    Wholly,
}

struct ChannelOutput {
    read: ChannelReadHalf,
    aside: Arc<ConnectionFacts>,
    exit_info: ExitInfo,
    closed: ClosedPart,
}

impl ChannelOutput {
    /// Records what a message says about the end, and returns the message if it is output.
    fn note(&mut self, message: Option<ChannelMsg>) -> Option<ChannelMsg> {
        match message {
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => self.exit_info.stderr.push(&data),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                self.exit_info.exit = Some(Exit::Status(exit_status));
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                let name = format!("{signal_name:?}");
                self.exit_info.exit = Some(Exit::Signal(name));
            }
            Some(ChannelMsg::Failure) => {
                self.exit_info.cause =
                    Some("the server doesn't let this login run programs".to_owned());
                self.closed = ClosedPart::Wholly;
            }
            Some(ChannelMsg::Eof) => self.closed = ClosedPart::Output,
            Some(ChannelMsg::Close) => self.closed = ClosedPart::Wholly,
            Some(output @ ChannelMsg::Data { .. }) => return Some(output),
            Some(_) => {}
            None => {
                self.closed = ClosedPart::Wholly;
                let ended = self.aside.ended();
                self.exit_info.cause = ended.or(self.exit_info.cause.take());
            }
        }
        None
    }
}

impl Incoming for ChannelOutput {
    fn receive<'a>(&'a mut self, into: &'a mut Vec<u8>) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(async move {
            while self.closed == ClosedPart::No {
                let message = self.read.wait().await;
                if let Some(ChannelMsg::Data { data }) = self.note(message)
                    && !data.is_empty()
                {
                    into.extend_from_slice(&data);
                    return Ok(data.len());
                }
            }
            Ok(0)
        })
    }

    fn exit_info(&mut self) -> BoxFuture<'_, ExitInfo> {
        Box::pin(async move {
            let _ = timeout(LAST_WORDS, async {
                while self.closed != ClosedPart::Wholly {
                    let message = self.read.wait().await;
                    self.note(message);
                }
            })
            .await;
            self.exit_info.clone()
        })
    }
}
