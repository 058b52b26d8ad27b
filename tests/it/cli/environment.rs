//! Where a test runs the binary.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plumb_adapters::git::sign::SshSigner;
use serde_json::Value;
use tempfile::TempDir;

use super::snapshot;

/// A temporary directory and the programs in it.
pub(crate) struct Environment {
    folder: TempDir,
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// It ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Asserts that stdout has all of these texts.
    #[track_caller]
    pub(crate) fn stdout_has(self, parts: &[&str]) -> Self {
        has("stdout", &self.stdout, parts);
        self
    }

    /// Asserts that stderr has all of these texts.
    #[track_caller]
    pub(crate) fn stderr_has(self, parts: &[&str]) -> Self {
        has("stderr", &self.stderr, parts);
        self
    }

    /// Asserts that the exit code and each stream are as in `snapshots/NAME.txt`.
    #[track_caller]
    pub(crate) fn matches(self, name: &str) -> Self {
        snapshot::assert(name, &self);
        self
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }
}

impl Environment {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Changes a text of a file, which must be there.
    #[track_caller]
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "`{from}` is missing in:\n{text}");
        fs::write(self.path(name), text.replacen(from, to, 1)).unwrap();
    }

    /// A program in a folder, with nothing of the machine but `PATH`.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>, folder: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.path("gitconfig"))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .env("PLUMB", binary())
            .env("PLUMB_SOCKET", self.path("plumb.sock"))
            .current_dir(self.path(folder))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(mut command: Command) -> Run {
        let output = command.output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Plumb in a folder.
    pub(crate) fn plumb(&self, folder: &str, args: &[&str]) -> Run {
        let mut command = self.command(binary(), folder);
        command.args(args);
        Self::run(command)
    }

    /// Plumb with something to read.
    pub(crate) fn plumb_reading(&self, folder: &str, args: &[&str], input: &str) -> Run {
        let mut child = self
            .command(binary(), folder)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Git in a folder; it must succeed.
    #[track_caller]
    pub(crate) fn git(&self, folder: &str, args: &[&str]) -> String {
        let run = self.try_git(folder, args);
        assert_eq!(run.code, 0, "git {args:?}: {}", run.stderr);
        run.stdout.trim().to_owned()
    }

    /// Git in a folder.
    pub(crate) fn try_git(&self, folder: &str, args: &[&str]) -> Run {
        let mut command = self.command("git", folder);
        command.args(args);
        Self::run(command)
    }

    /// A person's new SSH key: `NAME` and `NAME.pub` here.
    pub(crate) fn key(&self, name: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let key = SshSigner::generate(name).unwrap();
        self.write(name, &key.private().unwrap());
        self.write(&format!("{name}.pub"), &key.public().unwrap());
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Makes git be this person, who signs when asked to.
    pub(crate) fn be(&self, name: &str) {
        let config = format!(
            "[user]\n\tname = {name}\n\temail = {name}@fleet.example\n\tsigningkey = {}\n[gpg]\n\tformat = ssh\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n",
            self.path(&format!("{name}.pub")).display()
        );
        self.write("gitconfig", &config);
    }

    /// Alice's fleet in `fleet`, its first commit signed; its id.
    pub(crate) fn fleet(&self) -> String {
        self.key("alice");
        self.be("alice");
        self.plumb(".", &["init", "--minimal", "fleet"]).exits(0);
        let first = self.commit("A fleet", &["-S"]);
        self.git("fleet", &["config", "plumb.introduction", &first]);
        first
    }

    /// Commits everything in `fleet`; its id.
    #[track_caller]
    pub(crate) fn commit(&self, message: &str, args: &[&str]) -> String {
        self.git("fleet", &["add", "--all"]);
        self.git(
            "fleet",
            &[&["commit", "--quiet", "-m", message][..], args].concat(),
        );
        self.git("fleet", &["rev-parse", "HEAD"])
    }
}

/// The binary.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_test-plumb"))
}

#[track_caller]
fn has(stream: &str, text: &str, parts: &[&str]) {
    for part in parts {
        assert!(
            text.contains(part),
            "`{part}` is missing in {stream}:\n{text}"
        );
    }
}
