//! Opens a transport to a server: a program behind pipes, or HTTP.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::protocol::transport::client::blocking_io::http;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;

use super::super::address::Address;
use super::watch::Watch;

/// The `ssh` program and its options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SshProgram {
    /// A shell command line, as in `GIT_SSH_COMMAND`; `None` means `ssh`.
    pub command: Option<String>,
    /// The private key to log in with; `None` leaves it to ssh.
    pub key: Option<PathBuf>,
    /// The only file of known hosts; `None` leaves it to ssh.
    pub known_hosts: Option<PathBuf>,
}

impl SshProgram {
    fn arguments(&self) -> Vec<OsString> {
        // Nobody is there to answer a prompt, and a dead connection must be noticed.
        let mut all: Vec<OsString> = [
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=20",
            "-o",
            "ServerAliveInterval=15",
        ]
        .map(OsString::from)
        .to_vec();
        if let Some(key) = &self.key {
            all.extend(["-o", "IdentitiesOnly=yes", "-i"].map(OsString::from));
            all.push(key.clone().into_os_string());
        }
        if let Some(file) = &self.known_hosts {
            let mut option = OsString::from("UserKnownHostsFile=");
            option.push(file);
            all.extend([
                OsString::from("-o"),
                option,
                OsString::from("-o"),
                OsString::from("StrictHostKeyChecking=yes"),
            ]);
        }
        all
    }
}

/// An open transport, and the stderr of the program behind it.
pub(crate) struct OpenTransport {
    pub(crate) transport: Box<dyn Transport + Send>,
    pub(crate) complaints: StderrTail,
}

/// A program that couldn't be started.
#[derive(Debug)]
pub(crate) struct StartError {
    pub(crate) program: String,
    pub(crate) error: std::io::Error,
}

/// Opens a transport to a repository, and puts the program that it starts under the watch.
pub(crate) fn open(
    address: &Address,
    ssh: &SshProgram,
    watch: &Watch,
) -> Result<OpenTransport, StartError> {
    let (command, program) = match address {
        Address::Folder(path) => (upload_pack(path), "git"),
        Address::Ssh {
            user,
            host,
            port,
            path,
        } => (over_ssh(ssh, user.as_deref(), host, *port, path), "ssh"),
        Address::Http { url } => {
            crate::tls::install_provider();
            let mut url = (**url).clone();
            url.set_user(None);
            url.set_password(None);
            let transport = http::connect::<http::reqwest::Remote>(url, Protocol::V2, false);
            return Ok(OpenTransport {
                transport: Box::new(transport),
                complaints: StderrTail::default(),
            });
        }
    };
    spawn(command, address, watch).map_err(|error| StartError {
        program: program.to_owned(),
        error,
    })
}

fn upload_pack(path: &std::path::Path) -> Command {
    let mut command = Command::new("git");
    command.arg("upload-pack").arg("--").arg(path);
    command
}

fn over_ssh(
    ssh: &SshProgram,
    user: Option<&str>,
    host: &str,
    port: Option<u16>,
    path: &str,
) -> Command {
    let mut command = match &ssh.command {
        // As git does: the shell interprets the command line, but not the arguments.
        Some(text) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(format!("{text} \"$@\"")).arg(text);
            command
        }
        None => Command::new("ssh"),
    };
    command.args(ssh.arguments());
    command.args(["-o", "SendEnv=GIT_PROTOCOL"]);
    // Otherwise the server's banner would precede every error, and it can contain any words.
    command.args(["-o", "LogLevel=ERROR"]);
    if let Some(port) = port {
        command.arg("-p").arg(port.to_string());
    }
    command.arg("--");
    command.arg(match user {
        Some(user) => format!("{user}@{host}"),
        None => host.to_owned(),
    });
    command.arg(format!("git-upload-pack {}", quoted(path)));
    command
}

/// Quotes a path as one word for the server's shell. `~bob/` stays unquoted, or it wouldn't be expanded.
fn quoted(path: &str) -> String {
    let (home, rest) = match path.strip_prefix('~') {
        Some(home) => match home.split_once('/') {
            Some((name, rest)) if plain(name) => (format!("~{name}/"), rest),
            None if plain(home) => return path.to_owned(),
            _ => (String::new(), path),
        },
        None => (String::new(), path),
    };
    let mut word = home;
    word.push('\'');
    for c in rest.chars() {
        match c {
            '\'' => word.push_str("'\\''"),
            '!' => word.push_str("'\\!'"),
            c => word.push(c),
        }
    }
    word.push('\'');
    word
}

fn plain(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn spawn(mut command: Command, address: &Address, watch: &Watch) -> std::io::Result<OpenTransport> {
    apart(&mut command);
    command
        .env("GIT_PROTOCOL", "version=2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    watch.adopt(child);
    let (Some(input), Some(output), Some(complaints)) = pipes else {
        return Err(std::io::Error::other("it has no pipes"));
    };
    let path = address.to_string();
    let transport = Connection::new(
        watch.hear(output),
        input,
        Protocol::V2,
        path.as_str(),
        None::<(&str, Option<u16>)>,
        ConnectMode::Process,
        false,
    )
    .custom_url(Some(path.as_str().into()));
    Ok(OpenTransport {
        transport: Box::new(transport),
        complaints: StderrTail::listen(complaints)?,
    })
}

/// Isolates a program. It doesn't inherit the `GIT_*` variables of a hook that called us, which name another
/// repository. It doesn't prompt. It leads a process group, which can be killed as a whole.
pub(super) fn apart(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(&name);
        }
    }
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .process_group(0);
}

/// The last lines that a program wrote to its standard error.
#[derive(Default)]
pub(crate) struct StderrTail {
    lines: Arc<Mutex<Vec<String>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl StderrTail {
    /// Maximum number of lines that are kept, and (`LINE`) maximum number of bytes of each.
    const LINES: usize = 40;
    const LINE: u64 = 1000;

    fn listen(from: ChildStderr) -> std::io::Result<Self> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let thread = thread::Builder::new()
            .name("git-stderr".to_owned())
            .spawn({
                let lines = Arc::clone(&lines);
                move || {
                    let mut from = BufReader::new(from);
                    let mut line = Vec::new();
                    loop {
                        line.clear();
                        match from.by_ref().take(Self::LINE).read_until(b'\n', &mut line) {
                            Ok(0) | Err(_) => return,
                            Ok(_) => {}
                        }
                        let text = String::from_utf8_lossy(&line).trim().to_owned();
                        if text.is_empty() {
                            continue;
                        }
                        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                        if lines.len() == Self::LINES {
                            lines.remove(0);
                        }
                        lines.push(text);
                    }
                }
            })?;
        Ok(Self {
            lines,
            thread: Some(thread),
        })
    }

    /// Returns all kept lines. It waits for the end of the program's standard error.
    pub(crate) fn all(mut self) -> Vec<String> {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        std::mem::take(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_for_the_servers_shell() {
        assert_eq!(quoted("/srv/fleet.git"), "'/srv/fleet.git'");
        assert_eq!(quoted("it's; rm -rf /"), "'it'\\''s; rm -rf /'");
        assert_eq!(quoted("~bob/fleet.git"), "~bob/'fleet.git'");
        assert_eq!(quoted("~/fleet.git"), "~/'fleet.git'");
        assert_eq!(quoted("~$(id)/x"), "'~$(id)/x'");
    }
}
