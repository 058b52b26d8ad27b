//! The demonstration's git repositories: a bare one with Plumb's hooks, and one with a working tree. This
//! process creates and signs the commits and tags. The user's git configuration isn't used.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plumb_adapters::git::sign::Signer;
use plumb_adapters::git::write::{self, NewCommit, NewTag, Writer};
use plumb_trust::Oid;

use crate::output::short;
use crate::report::{Failure, OrFail as _};

use super::keys::DemoSigner;

/// The followed branch.
const BRANCH: &str = "refs/heads/main";

/// The bare and the working repository.
pub(super) struct DemoRepository {
    bare: PathBuf,
    work: PathBuf,
    home: PathBuf,
    program: PathBuf,
    socket: PathBuf,
    /// The repository's id, as in the policy.
    pub(super) id: String,
}

/// The result of a push.
pub(super) struct PushResult {
    pub(super) accepted: bool,
    pub(super) said: String,
}

impl DemoRepository {
    /// Creates both repositories, and installs Plumb's hooks in the bare one.
    pub(super) fn new(folder: &Path, program: &Path, socket: &Path) -> Result<Self, Failure> {
        let repository = Self {
            bare: folder.join("fleet.git"),
            work: folder.join("fleet"),
            home: folder.join("home"),
            program: program.to_owned(),
            socket: socket.to_owned(),
            id: "6f1c0c9e-5d0e-4c3a-9b1f-0d1e2f3a4b5c".to_owned(),
        };
        fs::create_dir_all(&repository.home)
            .or_fail(|| "cannot create the demo's folder".to_owned())?;
        let quiet = ["init", "--quiet", "--initial-branch=main"];
        let (bare, work) = (path(&repository.bare), path(&repository.work));
        repository.git(folder, &[&quiet[..], &["--bare", &bare]].concat())?;
        repository.git(folder, &[&quiet[..], &[&work]].concat())?;
        repository.git(&repository.work, &["remote", "add", "origin", &bare])?;
        for (name, text) in [
            ("pre-receive", include_str!("../../../../hooks/pre-receive")),
            (
                "post-receive",
                include_str!("../../../../hooks/post-receive"),
            ),
        ] {
            let hook = repository.bare.join("hooks").join(name);
            fs::write(&hook, text)
                .and_then(|()| fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)))
                .or_fail(|| format!("cannot write the hook {}", hook.display()))?;
        }
        Ok(repository)
    }

    /// Returns the bare repository's folder.
    pub(super) fn bare(&self) -> &Path {
        &self.bare
    }

    /// Returns the folder of the working tree.
    pub(super) fn work(&self) -> &Path {
        &self.work
    }

    /// Sets `plumb.introduction`, the root of trust that the hooks use.
    pub(super) fn introduce(&self, commit: &str) -> Result<(), Failure> {
        self.git(&self.bare, &["config", "plumb.introduction", commit])
            .map(drop)
    }

    /// Writes a file into the working folder.
    pub(super) fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Failure> {
        let whole = self.work.join(file);
        if let Some(folder) = whole.parent() {
            fs::create_dir_all(folder).or_fail(|| format!("cannot create {}", folder.display()))?;
        }
        fs::write(&whole, bytes).or_fail(|| format!("cannot write {}", whole.display()))
    }

    /// Reads a file of the working folder.
    pub(super) fn read(&self, file: &str) -> Result<String, Failure> {
        fs::read_to_string(self.work.join(file)).or_fail(|| format!("cannot read {file}"))
    }

    /// Commits everything in the working folder, signed if a signer is given, and returns the commit's id.
    pub(super) fn commit(
        &self,
        message: &str,
        signer: Option<&DemoSigner>,
    ) -> Result<String, Failure> {
        self.git(&self.work, &["add", "--all"])?;
        let tree = self.git(&self.work, &["write-tree"])?;
        let parent = self
            .git(&self.work, &["rev-parse", "--verify", "--quiet", "HEAD"])
            .ok();
        let commit = NewCommit {
            tree: oid(&tree)?,
            parents: parent
                .iter()
                .map(|parent| oid(parent))
                .collect::<Result<_, _>>()?,
            author: author(signer.map_or("mallory", |person| person.name)),
            message: format!("{message}\n\nDeploy-Ref: {} {BRANCH}", self.id),
        };
        let writer = self.writer()?;
        let signer = signer.map(|person| person as &dyn Signer);
        let made = writer
            .commit(&commit, signer)
            .and_then(|id| writer.set_ref(BRANCH, &id).map(|()| id))
            .or_fail(|| "cannot create a commit".to_owned())?;
        Ok(made.to_string())
    }

    /// Creates a person's approval tag for a commit, and returns its name.
    pub(super) fn approve(&self, commit: &str, person: &DemoSigner) -> Result<String, Failure> {
        let tag = NewTag {
            name: format!("approve/main/{}-{}", short(commit), person.name),
            target: oid(commit)?,
            tagger: author(person.name),
            message: format!(
                "Approved by {}\n\nApprove: {} {BRANCH} {commit}",
                person.name, self.id
            ),
        };
        self.writer()?
            .tag(&tag, Some(person))
            .or_fail(|| "cannot create a tag".to_owned())?;
        Ok(tag.name)
    }

    fn writer(&self) -> Result<Writer, Failure> {
        Writer::open(&self.work.join(".git")).or_fail(|| "cannot write the repository".to_owned())
    }

    /// Resets the working branch to a commit.
    pub(super) fn reset(&self, commit: &str) -> Result<(), Failure> {
        self.git(&self.work, &["reset", "--quiet", "--hard", commit])
            .map(drop)
    }

    /// Pushes refs with git, so that the hooks verify the push.
    pub(super) fn push(&self, what: &[&str]) -> Result<PushResult, Failure> {
        let output = self
            .command(
                &self.work,
                &[&["push", "--quiet", "origin"][..], what].concat(),
            )
            .output()
            .or_fail(|| "cannot run git".to_owned())?;
        Ok(PushResult {
            accepted: output.status.success(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Copies the working branch into the bare repository without running its hooks, as somebody with access
    /// to the git server could.
    pub(super) fn push_past_hooks(&self) -> Result<(), Failure> {
        let work = path(&self.work);
        self.git(
            &self.bare,
            &["fetch", "--quiet", &work, &format!("+{BRANCH}:{BRANCH}")],
        )
        .map(drop)
    }

    fn git(&self, folder: &Path, args: &[&str]) -> Result<String, Failure> {
        let output = self
            .command(folder, args)
            .output()
            .or_fail(|| "cannot run git, which the demo needs".to_owned())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Failure::new(format!(
                "`git {}` failed: {}",
                args.join(" "),
                said.trim()
            )))
        }
    }

    /// Prepares a git command with its own home folder. The environment variable `PLUMB` tells the hooks the
    /// path of this program.
    fn command(&self, folder: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(folder)
            .args(args)
            .stdin(Stdio::null())
            .env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", self.home.join("config"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .env("NO_COLOR", "1")
            .env("PLUMB", &self.program)
            .env("PLUMB_SOCKET", &self.socket);
        command
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn author(name: &str) -> write::Person {
    write::Person {
        name: name.to_owned(),
        email: format!("{name}@fleet.example"),
        time: jiff::Timestamp::now().as_second(),
    }
}

fn oid(text: &str) -> Result<Oid, Failure> {
    text.parse()
        .or_fail(|| format!("git printed `{text}` instead of an object id"))
}
