//! Runs the host's programs with a cleared environment, a time limit and bounded output.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use plumb_api::report::{AgentError, ErrorCode};

use super::Sys;
use crate::error::{At, Result, fail};

/// Search path for programs. The session's environment doesn't change it.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Maximum number of bytes that are stored of each output stream. The agent reads and discards the rest.
const MAX_OUTPUT: u64 = 8 << 20;

/// A program to run.
pub(crate) struct Program<'a> {
    name: &'a str,
    args: Vec<String>,
    env: Vec<(&'a str, &'a str)>,
    limit: Duration,
    log: Option<File>,
    /// The program's working directory.
    pub(crate) directory: &'a str,
    /// Bytes that the program gets on its standard input.
    pub(crate) input: Option<&'a [u8]>,
}

/// The result of running a program.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit status, or 128 plus the number of the signal that killed it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl<'a> Program<'a> {
    pub(crate) fn new<S: Into<String>>(name: &'a str, args: impl IntoIterator<Item = S>) -> Self {
        Self {
            name,
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            limit: Duration::from_secs(60),
            log: None,
            directory: "/",
            input: None,
        }
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn env(mut self, name: &'a str, value: &'a str) -> Self {
        self.env.push((name, value));
        self
    }

    /// Sends the program's output to a file instead of a pipe, so that the program doesn't fail if the agent
    /// ends.
    pub(crate) fn log(mut self, file: File) -> Self {
        self.log = Some(file);
        self
    }

    /// Runs the program to its end. An exit status other than 0 isn't an error. Fails in a sandbox.
    pub(crate) fn run(mut self, sys: &Sys) -> Result<Output> {
        if sys.is_sandbox() {
            return fail(
                ErrorCode::Unsupported,
                format!(
                    "a sandbox never runs a program of the machine (`{}`)",
                    self.name
                ),
            );
        }
        let mut command = Command::new(self.name);
        command
            .args(&self.args)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/root")
            .envs(self.env.iter().copied())
            .current_dir(self.directory)
            .stdin(match self.input {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            })
            // The program gets its own process group. So signals for the session's group don't reach it, and
            // after a timeout the agent kills the whole group.
            .process_group(0);
        if let Some(log) = self.log.take() {
            let again = log.try_clone().at("open the log of", self.name)?;
            command.stdout(log).stderr(again);
        } else {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                AgentError::new(
                    ErrorCode::Unsupported,
                    format!("the program `{}` isn't on this host", self.name),
                )
            } else {
                AgentError::new(ErrorCode::Io, format!("can't run `{}`: {error}", self.name))
            }
        })?;
        let stdin = child.stdin.take();
        thread::scope(|scope| {
            // Write on another thread. Otherwise a program that fills its output before it reads its input
            // would block, and the agent too.
            if let (Some(mut stdin), Some(input)) = (stdin, self.input) {
                scope.spawn(move || stdin.write_all(input));
            }
            self.wait(child)
        })
    }

    /// Runs the program. Fails if its exit status isn't 0.
    pub(crate) fn check(self, sys: &Sys) -> Result<Output> {
        let shown = format!("{} {}", self.name, self.args.join(" "));
        let output = self.run(sys)?;
        if output.status == 0 {
            return Ok(output);
        }
        fail(
            ErrorCode::CommandFailed,
            format!(
                "`{shown}` failed ({}): {}",
                output.status,
                output.complaint()
            ),
        )
    }

    fn wait(&self, mut child: Child) -> Result<Output> {
        let deadline = Instant::now() + self.limit;
        let (sender, ended) = mpsc::channel();
        let stdout = drain(child.stdout.take(), sender.clone());
        let stderr = drain(child.stderr.take(), sender);
        // Both streams usually end with the program, which wakes this loop at once. A daemon that the program
        // left behind may keep them open, so the loop polls for the program's end as well.
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = child.try_wait().at("wait for", self.name)? {
                break status;
            }
            if Instant::now() >= deadline {
                let group = i32::try_from(child.id())
                    .ok()
                    .and_then(rustix::process::Pid::from_raw);
                if let Some(group) = group {
                    let _ =
                        rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait();
                return fail(
                    ErrorCode::TimedOut,
                    format!(
                        "`{}` took longer than {} s and was stopped",
                        self.name,
                        self.limit.as_secs()
                    ),
                );
            }
            if let Err(mpsc::RecvTimeoutError::Disconnected) = ended.recv_timeout(pause) {
                thread::sleep(pause);
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        };
        let grace = Duration::from_millis(200);
        Ok(Output {
            status: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: stdout.recv_timeout(grace).unwrap_or_default(),
            stderr: stderr.recv_timeout(grace).unwrap_or_default(),
        })
    }
}

/// Starts a thread that reads a stream to its end. The thread then sends the text over the returned channel,
/// and a message to `ended`.
fn drain<R: Read + Send + 'static>(
    stream: Option<R>,
    ended: mpsc::Sender<()>,
) -> mpsc::Receiver<String> {
    let (sender, text) = mpsc::sync_channel(1);
    if let Some(mut stream) = stream {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stream.by_ref().take(MAX_OUTPUT).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
            let _ = ended.send(());
        });
    }
    text
}

impl Output {
    /// Returns the last lines of a failed program's output, which usually contain the reason. Uses standard
    /// error unless it is empty.
    pub(crate) fn complaint(&self) -> String {
        let said = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        last_lines(said, 12)
    }
}

/// Returns the last `count` lines of a text, each truncated to fit in a message. If the output isn't text,
/// returns its size instead.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let is_text = |c: char| {
        c != char::REPLACEMENT_CHARACTER && (!c.is_control() || c.is_whitespace() || c == '\u{1b}')
    };
    let strange = text.chars().filter(|c| !is_text(*c)).count();
    if strange > text.chars().count() / 10 {
        return format!("({} bytes that aren't text)", text.len());
    }
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let from = lines.len().saturating_sub(count);
    let cut: Vec<String> = lines[from..]
        .iter()
        .map(|line| line.chars().take(300).collect())
        .collect();
    cut.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_is_no_text_is_told_by_its_size() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = String::from_utf8_lossy(&bytes);
        assert!(last_lines(&text, 12).ends_with("bytes that aren't text)"));
        let coloured = "ok\n\u{1b}[31mno such disk\u{1b}[0m\tsda\n";
        assert!(last_lines(coloured, 12).contains("no such disk"));
        assert_eq!(last_lines("", 12), "");
    }

    #[test]
    fn much_output_neither_blocks_nor_fails_a_program() {
        let sys = Sys::host().unwrap();
        let size = MAX_OUTPUT + (1 << 20);
        let output = Program::new("head", ["-c", &size.to_string(), "/dev/zero"])
            .run(&sys)
            .unwrap();
        assert_eq!(output.status, 0);
        assert_eq!(output.stdout.len() as u64, MAX_OUTPUT);
    }
}
