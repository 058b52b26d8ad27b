//! Runs a program on a host, over a channel of a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::timeout;

use super::connection::{Aside, Connection, plain};
use crate::hosts::line::{Epitaph, Exit, Incoming, Line, Outgoing};

/// The time limit for a server to report a program's exit status.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs a command and returns the line to it, without waiting until it has started.
pub(super) async fn run(connection: &Connection, command: &str) -> Result<Line, String> {
    let failed = |error: russh::Error| match connection.aside.ended() {
        Some(why) => why,
        None => match error {
            russh::Error::ChannelOpenFailure(_) => {
                "the server refuses to open a session; check MaxSessions in its sshd_config"
                    .to_owned()
            }
            error => plain(&error),
        },
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
        to: Box::new(Input { write }),
        from: Box::new(Output {
            read,
            aside: Arc::clone(&connection.aside),
            epitaph: Epitaph::default(),
            closed: Closed::No,
        }),
    })
}

struct Input {
    write: ChannelWriteHalf<Msg>,
}

impl Outgoing for Input {
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
enum Closed {
    /// Nothing is closed.
    No,
    /// The program's output is closed; its exit status may still arrive.
    Output,
    /// The channel is closed.
    Wholly,
}

struct Output {
    read: ChannelReadHalf,
    aside: Arc<Aside>,
    epitaph: Epitaph,
    closed: Closed,
}

impl Output {
    /// Records what a message says about the end, and returns the message if it is output.
    fn note(&mut self, message: Option<ChannelMsg>) -> Option<ChannelMsg> {
        match message {
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => self.epitaph.stderr.push(&data),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                self.epitaph.exit = Some(Exit::Status(exit_status));
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                let name = format!("{signal_name:?}");
                self.epitaph.exit = Some(Exit::Signal(name));
            }
            Some(ChannelMsg::Failure) => {
                self.epitaph.cause =
                    Some("the server doesn't let this login run programs".to_owned());
                self.closed = Closed::Wholly;
            }
            Some(ChannelMsg::Eof) => self.closed = Closed::Output,
            Some(ChannelMsg::Close) => self.closed = Closed::Wholly,
            Some(output @ ChannelMsg::Data { .. }) => return Some(output),
            Some(_) => {}
            None => {
                self.closed = Closed::Wholly;
                let ended = self.aside.ended();
                self.epitaph.cause = ended.or(self.epitaph.cause.take());
            }
        }
        None
    }
}

impl Incoming for Output {
    fn receive<'a>(&'a mut self, into: &'a mut Vec<u8>) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(async move {
            while self.closed == Closed::No {
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

    fn epitaph(&mut self) -> BoxFuture<'_, Epitaph> {
        Box::pin(async move {
            let _ = timeout(LAST_WORDS, async {
                while self.closed != Closed::Wholly {
                    let message = self.read.wait().await;
                    self.note(message);
                }
            })
            .await;
            self.epitaph.clone()
        })
    }
}
