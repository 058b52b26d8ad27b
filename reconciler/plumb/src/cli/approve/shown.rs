//! What is being approved, before anything is signed. It is a stranger's text until then: commits are read by
//! our own parser, which takes out what can't be seen, and git is asked only for what it quotes.

use std::path::Path;

use plumb_adapters::git::Repository;
use plumb_trust::object::{Commit, limits};
use plumb_trust::{ObjectKind, Objects as _, Oid};

use crate::git::Git;
use crate::output::{Shell, short};
use crate::report::{Failure, OrFail as _};

/// Shows a commit, or all since a base, on stderr; the commit's subject.
///
/// # Errors
/// When the commit can't be read: no verification could accept it.
pub(super) fn show(
    git: &Git,
    commit: &str,
    base: Option<&str>,
    shell: &Shell,
) -> Result<String, Failure> {
    let folder = git.ask(&["rev-parse", "--absolute-git-dir"])?;
    let repository = Repository::open(Path::new(&folder))?;
    let (line, subject) = line(&repository, commit)?;
    shell.say(line);
    let range = base.map_or_else(|| format!("{commit}^!"), |base| format!("{base}..{commit}"));
    let others = git.try_ask(&["rev-list", &range]).unwrap_or_default();
    for other in others.lines().filter(|other| *other != commit) {
        // Of another it is enough to know that it is there.
        shell.say(self::line(&repository, other).map_or_else(
            |_| format!("{} can't be read", short(other)),
            |(line, _)| line,
        ));
    }
    // No colour, no program of the repository's choice, names with controls in quotes.
    if let Some(stat) = git.try_ask(&[
        "-c",
        "core.quotePath=true",
        "diff",
        "--stat",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        &range,
    ]) {
        shell.say(stat);
    }
    Ok(subject)
}

/// A commit in one line, and its subject alone.
fn line(repository: &Repository, commit: &str) -> Result<(String, String), Failure> {
    let unread = || format!("the commit {} can't be read", short(commit));
    let id: Oid = commit.parse().or_fail(unread)?;
    let raw = repository
        .objects()
        .read(&id, ObjectKind::Commit, limits::COMMIT)
        .or_fail(unread)?;
    let commit = Commit::parse(&raw, id.format()).or_fail(unread)?;
    let subject = commit.subject();
    Ok((
        format!("{} {}: {subject}", id.short(), commit.author_name()),
        subject,
    ))
}
