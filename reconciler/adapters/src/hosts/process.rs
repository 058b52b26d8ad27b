//! Runs agents as processes of this machine, for `local` and `sandbox` hosts.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use plumb_api::HostName;
use plumb_core::ports::{HostError, SudoRefusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::conversation::{FailedStart, Origin};
use super::line::{Exit, ExitInfo, Incoming, Line, Outgoing, Tail};
use super::sudo;

/// A program, and the arguments that make it run as an agent.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Uses a program that is an agent without arguments.
    pub fn agent(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
        }
    }

    /// Uses a `plumb` binary, whose `__agent` command is an agent.
    pub fn plumb(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            arguments: vec!["__agent".into()],
        }
    }
}

/// Maximum wait for an ended program's exit status, and then for the rest of its standard error.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Starts the agent of this machine, with sudo if this process isn't root.
pub(super) fn local(host: &HostName, program: &Program) -> Result<(Line, Process), HostError> {
    if rustix::process::geteuid().is_root() {
        start(host, Command::new(&program.path), program, None, User::Root)
    } else {
        let mut command = Command::new("sudo");
        command.env("LC_ALL", "C");
        command.args(["-n", "--"]).arg(&program.path);
        start(host, command, program, None, User::Sudo)
    }
}

/// Starts an agent that treats the folder `root` as its machine.
pub(super) fn sandbox(
    host: &HostName,
    program: &Program,
    root: &Path,
) -> Result<(Line, Process), HostError> {
    let command = Command::new(&program.path);
    start(host, command, program, Some(root), User::Own)
}

fn start(
    host: &HostName,
    mut command: Command,
    program: &Program,
    root: Option<&Path>,
    user: User,
) -> Result<(Line, Process), HostError> {
    command.args(&program.arguments);
    if let Some(root) = root {
        command.arg("--root").arg(root);
    }
    command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C at our terminal requests a drain; it must not kill the agent during an apply.
        .process_group(0);
    let name = command.as_std().get_program().display().to_string();
    let failed = |error: &io::Error| HostError::AgentFailed {
        host: host.clone(),
        reason: format!("{name} can't be run: {error}"),
    };
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(failed(&io::ErrorKind::BrokenPipe.into()));
    };
    let tail = Arc::default();
    let reader = tokio::spawn(collect(stderr, Arc::clone(&tail)));
    let line = Line {
        to: Box::new(ProcessInput(stdin)),
        from: Box::new(ProcessOutput {
            stdout,
            child,
            tail,
            reader,
        }),
    };
    let process = Process {
        host: host.clone(),
        user,
    };
    Ok((line, process))
}

async fn collect(mut stderr: ChildStderr, tail: Arc<Mutex<Tail>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        if let Some(bytes) = buffer.get(..count) {
            tail.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(bytes);
        }
    }
}

struct ProcessInput(ChildStdin);

impl Outgoing for ProcessInput {
    fn send(&mut self, bytes: Vec<u8>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.0.write_all(&bytes).await?;
            self.0.flush().await
        })
    }
}

struct ProcessOutput {
    stdout: ChildStdout,
    child: Child,
    tail: Arc<Mutex<Tail>>,
    reader: JoinHandle<()>,
}

impl Incoming for ProcessOutput {
    fn receive<'a>(&'a mut self, into: &'a mut Vec<u8>) -> BoxFuture<'a, io::Result<usize>> {
        Box::pin(async move {
            into.reserve(16 << 10);
            self.stdout.read_buf(into).await
        })
    }

    fn exit_info(&mut self) -> BoxFuture<'_, ExitInfo> {
        Box::pin(async move {
            let status = timeout(LAST_WORDS, self.child.wait()).await;
            // The last output may still be in the pipe.
            let _ = timeout(LAST_WORDS, &mut self.reader).await;
            let exit = status.ok().and_then(Result::ok).and_then(|status| {
                use std::os::unix::process::ExitStatusExt;
                match (status.code(), status.signal()) {
                    (Some(code), _) => u32::try_from(code).ok().map(Exit::Status),
                    (None, Some(signal)) => Some(Exit::Signal(signal.to_string())),
                    (None, None) => None,
                }
            });
            ExitInfo {
                exit,
                stderr: self
                    .tail
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
                cause: None,
            }
        })
    }
}

/// The user that an agent of this machine runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    /// Root, because this process is root.
    Root,
    /// Root, through sudo.
    Sudo,
    /// This process's own user, which is enough for a sandbox.
    Own,
}

/// The source of a line to a local process. It doesn't start a second process after a failure, but explains
/// the failure.
pub(super) struct Process {
    host: HostName,
    user: User,
}

impl Origin for Process {
    fn revive(&mut self, end: FailedStart) -> BoxFuture<'_, Result<Line, HostError>> {
        let host = self.host.clone();
        let refused = end.exit_info.exit == Some(Exit::Status(1));
        let error = if self.user == User::Sudo && refused && end.said.is_none() {
            let cause = sudo::refusal(&end.exit_info).unwrap_or(SudoRefusal::Other);
            HostError::SudoDenied {
                host,
                user: format!("uid {}", rustix::process::getuid().as_raw()),
                cause,
                reason: format!(
                    "the agent of this machine must run as root; start plumb as root, or allow `sudo -n` ({})",
                    sudo::reason(cause, &end.exit_info)
                ),
            }
        } else {
            HostError::AgentFailed {
                host,
                reason: match end.said {
                    Some(said) => {
                        format!("it answered with something that isn't a frame: `{said}`")
                    }
                    None => end.exit_info.to_string(),
                },
            }
        };
        Box::pin(async move { Err(error) })
    }

    /// Drops the line. That closes the process's standard input, which ends the process. Starting another one
    /// takes only milliseconds.
    fn park(self: Box<Self>, line: Line) {
        drop(line);
    }
}
