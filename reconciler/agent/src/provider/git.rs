//! `git`: a folder with the files of one commit.
//!
//! The host's git runs as root, so it must never read a configuration that others could write. It fetches into a
//! new repository in the stage, which only root can access, without the configuration of the machine and of
//! root. The folder itself gets no `.git`.

use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{GitSpec, Presence, TreeObserved};
use plumb_api::{Observed, Spec};

use super::ApplyContext;
use super::tree::{Source, SourceType, Stage, TreeSpec};
use crate::error::{Result, fail};
use crate::sys::{Output, Program, Sys};

/// Time limit of one call of git.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Name of the repository in the stage.
const REPOSITORY: &str = "repository";

/// Environment of git.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ALLOW_PROTOCOL", "https:http:ssh:file"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    (
        "GIT_SSH_COMMAND",
        "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes",
    ),
];

/// Configuration of git. Hooks and monitors can't come with a fetch; these make sure that none runs.
const CONFIGURATION: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.bare=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "safe.directory=*",
];

impl TreeSpec for GitSpec {
    const DESCRIPTION: &'static str = "the files of a commit";

    fn of(spec: &Spec) -> Option<&Self> {
        match spec {
            Spec::Git(spec) => Some(spec),
            _ => None,
        }
    }

    fn restoring(state: Presence) -> Spec {
        Spec::Git(Self {
            state,
            ..Self::default()
        })
    }

    fn observed(found: TreeObserved) -> Observed {
        Observed::Git(found)
    }

    fn source(&self) -> Source<'_> {
        Source {
            id: self.commit.clone().unwrap_or_default(),
            strip: 0,
            kind: SourceType::Commit,
            owner: self.owner.as_ref(),
            group: self.group.as_ref(),
        }
    }

    fn fill(&self, cx: &mut ApplyContext<'_>, stage: &Stage, path: &str) -> Result<()> {
        let (Some(url), Some(commit)) = (&self.url, &self.commit) else {
            return fail(ErrorCode::Protocol, format!("{path} came without a source"));
        };
        let checkout = Checkout {
            sys: cx.sys,
            stage,
            url,
            commit,
            path,
        };
        checkout.fetch()?;
        checkout.write()
    }
}

/// One commit that is fetched into the stage.
struct Checkout<'a> {
    sys: &'a Sys,
    stage: &'a Stage,
    url: &'a str,
    commit: &'a str,
    path: &'a str,
}

impl Checkout<'_> {
    fn git(&self, args: &[&str]) -> Result<Output> {
        let repository = format!("--git-dir={}", self.stage.path_of(REPOSITORY));
        let tree = format!("--work-tree={}", self.stage.tree());
        let mut all = vec![repository.as_str(), tree.as_str()];
        for setting in CONFIGURATION {
            all.extend(["-c", setting]);
        }
        all.extend(args);
        let mut program = Program::new("git", all).limit(LIMIT);
        for (name, value) in ENVIRONMENT {
            program = program.env(name, value);
        }
        let mut output = program.run(self.sys).map_err(|error| match error.code {
            ErrorCode::Unsupported => error.hint("add `package: {git}` to the manifest"),
            _ => error,
        })?;
        output.stderr = output
            .stderr
            .replace(&self.stage.path_of(REPOSITORY), "the clone");
        Ok(output)
    }

    /// Runs git. Fails unless it succeeds.
    fn must(&self, args: &[&str]) -> Result<Output> {
        let output = self.git(args)?;
        if output.status == 0 {
            return Ok(output);
        }
        let complaint = output.complaint();
        let code = if complaint.contains("No space left on device") {
            ErrorCode::NoSpace
        } else {
            ErrorCode::CommandFailed
        };
        Err(AgentError::new(
            code,
            format!("cannot fetch {} for {}: {complaint}", self.url, self.path),
        )
        .hint(format!(
            "run `git ls-remote {}` as root on the host",
            self.url
        )))
    }

    /// Fetches the commit. A server that doesn't hand out a commit by its name is asked for all branches and
    /// tags.
    fn fetch(&self) -> Result<()> {
        let format = match self.commit.len() {
            64 => "--object-format=sha256",
            _ => "--object-format=sha1",
        };
        self.must(&["init", "--quiet", "--template=", format])?;
        let common = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
        let alone = [&common[..], &["--depth=1", "--", self.url, self.commit][..]].concat();
        if self.git(&alone)?.status == 0 && self.has_commit()? {
            return Ok(());
        }
        let refs = [
            "--",
            self.url,
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ];
        self.must(&[&common[..], &["--update-head-ok"][..], &refs[..]].concat())?;
        if self.has_commit()? {
            return Ok(());
        }
        Err(AgentError::new(
            ErrorCode::NotFound,
            format!(
                "{} has no commit {} for {}, by its name or in a branch or tag",
                self.url, self.commit, self.path
            ),
        )
        .hint("push the commit, or write one that is there"))
    }

    fn has_commit(&self) -> Result<bool> {
        let name = format!("{}^{{commit}}", self.commit);
        let output = self.git(&["rev-parse", "--verify", "--quiet", &name])?;
        Ok(output.status == 0 && output.stdout.trim() == self.commit)
    }

    /// Writes the files of the commit into the stage.
    fn write(&self) -> Result<()> {
        self.must(&["read-tree", self.commit])?;
        self.must(&["checkout-index", "--all", "--force"])?;
        Ok(())
    }
}
