//! Runs the user's own git, for work that needs the user's keys and settings: signing, resolving names.
//! Verdicts never come from it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plumb_adapters::git::Repository;

use crate::output::quoted;
use crate::report::{Failure, OrFail as _};

/// A repository that is accessed with the user's git.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    folder: PathBuf,
}

impl Git {
    /// Opens the repository that holds this folder.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.folder).args(args);
        command
    }

    /// Runs git and returns its output, without the trailing newline.
    ///
    /// # Errors
    /// Fails if git can't be run or fails; its stderr is the cause.
    pub(crate) fn ask<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, Failure> {
        let output = self
            .command(args)
            .stdin(Stdio::null())
            .output()
            .or_fail(|| "cannot run git".to_owned())?;
        if output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.trim_end_matches('\n').to_owned())
        } else {
            Err(failed(args, &String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// Runs git and returns its output, or `None` if it fails or prints nothing.
    pub(crate) fn try_ask<S: AsRef<OsStr>>(&self, args: &[S]) -> Option<String> {
        self.ask(args).ok().filter(|text| !text.is_empty())
    }

    /// Reads a blob.
    ///
    /// # Errors
    /// Fails if there is no blob of this name.
    pub(crate) fn blob(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let args = ["cat-file", "blob", name];
        let output = self
            .command(&args)
            .stdin(Stdio::null())
            .output()
            .or_fail(|| "cannot run git".to_owned())?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(failed(&args, &String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// Runs git on the user's terminal, so that it may ask for a passphrase or a touch.
    ///
    /// # Errors
    /// Fails if git can't be run or fails; git itself reports why on stderr.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<(), Failure> {
        let status = self
            .command(args)
            .stdout(Stdio::null())
            .status()
            .or_fail(|| "cannot run git".to_owned())?;
        if status.success() {
            Ok(())
        } else {
            Err(failed(args, ""))
        }
    }

    /// Returns the remote that a branch is pushed to.
    pub(crate) fn remote_of(&self, branch: &str) -> String {
        self.try_ask(&["config", &format!("branch.{branch}.remote")])
            .unwrap_or_else(|| "origin".to_owned())
    }

    /// Returns the number of commits that the remote branch has and `commit` doesn't. Returns `None` if there
    /// are none.
    pub(crate) fn ahead(&self, commit: &str, remote_branch: &str) -> Option<u32> {
        let range = format!("{commit}..{remote_branch}");
        self.try_ask(&["rev-list", "--count", &range])?
            .parse()
            .ok()
            .filter(|count| *count > 0)
    }

    /// Returns an unused name for a tag: `name`, or else `name` with a number appended.
    ///
    /// # Errors
    /// Fails if a tag such as `revoke/X` exists and the name is `revoke/X/ID`: git can't create a tag below
    /// another tag.
    pub(crate) fn free_tag(&self, name: &str) -> Result<String, Failure> {
        let top = name.split('/').next().unwrap_or(name);
        let listed = self.ask(&[
            "for-each-ref",
            "--format=%(refname)",
            &format!("refs/tags/{top}"),
        ])?;
        let tags: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.strip_prefix("refs/tags/"))
            .collect();
        let below = |whole: &str, folder: &str| {
            whole
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(tag) = tags.iter().find(|tag| below(name, tag)) {
            return Err(Failure::new(format!(
                "the tag {tag} blocks {name}: git cannot create a tag below another one"
            ))
            .hint(format!(
                "look at it with `git show {0}`; `git update-ref -d {0}` deletes it, here and on the server",
                quoted(&format!("refs/tags/{tag}"))
            )));
        }
        let taken = |name: &str| tags.iter().any(|tag| *tag == name || below(tag, name));
        let mut free = name.to_owned();
        for number in 2_u32.. {
            if !taken(&free) {
                break;
            }
            free = format!("{name}-{number}");
        }
        Ok(free)
    }

    /// Returns the name of a new tag in this folder, whose last part is the user's `--id`.
    ///
    /// # Errors
    /// Fails if git doesn't allow the name, or if the tag already exists.
    pub(crate) fn new_tag(&self, folder: &str, id: &str) -> Result<String, Failure> {
        let tag = format!("{folder}/{id}");
        let whole = format!("refs/tags/{tag}");
        if self.ask(&["check-ref-format", &whole]).is_err() {
            return Err(
                Failure::new(format!("`{id}` isn't valid as the last part of a tag name")).hint(
                    "choose a name such as --id alice-2; `git help check-ref-format` lists the rules",
                ),
            );
        }
        if self.ask(&["show-ref", "--verify", &whole]).is_ok() {
            return Err(
                Failure::new(format!("the tag {tag} already exists")).hint(format!(
                    "choose another --id, or delete that tag here: git tag -d {tag}"
                )),
            );
        }
        Ok(tag)
    }

    /// Checks a branch's name, and returns it without `refs/heads/`.
    ///
    /// # Errors
    /// Fails if git doesn't allow the name.
    pub(crate) fn branch(&self, name: &str) -> Result<String, Failure> {
        let name = name.strip_prefix("refs/heads/").unwrap_or(name);
        let whole = format!("refs/heads/{name}");
        let fits = !name.starts_with('-') && name != "HEAD";
        if fits && self.ask(&["check-ref-format", &whole]).is_ok() {
            return Ok(name.to_owned());
        }
        Err(
            Failure::new(format!("`{name}` isn't a valid branch name")).hint(
                "choose a name such as --branch main; `git help check-ref-format` lists the rules",
            ),
        )
    }
}

/// Returns the remote that a branch is pushed to, without running git.
pub(crate) fn remote_of(repository: &Repository, branch: &str) -> String {
    repository
        .config(&format!("branch.{branch}.remote"))
        .unwrap_or_else(|| "origin".to_owned())
}

/// Formats a number of additional commits.
pub(crate) fn more_commits(count: u32) -> String {
    match count {
        1 => "1 more commit".to_owned(),
        _ => format!("{count} more commits"),
    }
}

/// Returns the failure for a repository without a commit.
pub(crate) fn nothing_committed() -> Failure {
    Failure::new("this repository has no commit yet")
        .hint("commit first: git add --all && git commit -S")
}

fn failed<S: AsRef<OsStr>>(args: &[S], stderr: &str) -> Failure {
    let what: Vec<_> = args
        .iter()
        .take(2)
        .map(|arg| arg.as_ref().to_string_lossy().into_owned())
        .collect();
    let said = stderr.trim();
    let failure = Failure::new(format!("`git {}` failed", what.join(" ")));
    if said.is_empty() {
        failure
    } else {
        failure.because(&std::io::Error::other(said.to_owned()))
    }
}
