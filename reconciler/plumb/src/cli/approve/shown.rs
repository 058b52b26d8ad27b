//! What is being approved, before anything is signed. It is a stranger's text until then: commits are read by
//! our own parser, which takes out what can't be seen, and git is asked only for what it quotes. Who is said
//! to have written something is free text; who signed it is looked up beside that.

use plumb_adapters::git::Repository;
use plumb_trust::object::{Commit, limits};
use plumb_trust::policy::Authority;
use plumb_trust::{KeyName, ObjectKind, Objects as _, Oid, ReasonCode, named_key};

use super::scope::{LOOKED_AT, Reach, Scope};
use crate::git::Git;
use crate::output::Shell;
use crate::report::{Failure, OrFail as _};

/// By what it is told who signed: the policy before all of it, and the keys that are revoked by now.
pub(super) struct Witness {
    pub(super) authority: Option<Authority>,
    pub(super) revoked: Vec<KeyName>,
}

/// What was shown.
pub(super) struct Shown {
    /// The commit's subject.
    pub(super) subject: String,
    /// The commits that a revoked key has signed, or says to have.
    pub(super) by_revoked: Vec<Oid>,
}

/// Shows on stderr all that is approved.
///
/// # Errors
/// When the commit can't be read: no verification could accept it.
pub(super) fn show(
    git: &Git,
    repository: &Repository,
    scope: &Scope,
    commit: Oid,
    witness: &Witness,
    shell: &Shell,
) -> Result<Shown, Failure> {
    let first = look(repository, commit, witness)?;
    let mut by_revoked = Vec::new();
    let mut tell = |id: Oid, looked: &Looked| {
        shell.say(&looked.line);
        if looked.signer == Signer::Revoked {
            by_revoked.push(id);
        }
    };
    tell(commit, &first);
    let others = scope.commits.iter().take(LOOKED_AT);
    for other in others.filter(|other| **other != commit) {
        match look(repository, *other, witness) {
            Ok(looked) => tell(*other, &looked),
            // Of another it is enough to know that it is there.
            Err(_) => shell.say(format_args!("{} can't be read", other.short())),
        }
    }
    let more = scope.commits.len().saturating_sub(LOOKED_AT);
    if more > 0 {
        shell.warn(format_args!("{more} more commits aren't shown one by one"));
    }
    let from = scope
        .base
        .map_or_else(|| format!("{commit}^"), |base| base.to_string());
    // No colour, no program of the repository's choice, names with controls in quotes.
    if let Some(stat) = git.try_ask(&[
        "-c",
        "core.quotePath=true",
        "diff",
        "--stat",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        &format!("{from}..{commit}"),
    ]) {
        shell.say(stat);
    }
    if let (Reach::Branch, count @ 2..) = (scope.reach, scope.commits.len()) {
        shell.say(format_args!(
            "These {count} commits are approved together: the branch as it is, also where it is merged."
        ));
    }
    Ok(Shown {
        subject: first.subject,
        by_revoked,
    })
}

/// Who signed a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signer {
    /// Somebody, nobody, or it isn't known.
    Any,
    /// Whoever has a key that is revoked.
    Revoked,
}

struct Looked {
    /// The commit in one line.
    line: String,
    subject: String,
    signer: Signer,
}

fn look(repository: &Repository, id: Oid, witness: &Witness) -> Result<Looked, Failure> {
    let unread = || format!("the commit {} can't be read", id.short());
    let raw = repository
        .objects()
        .read(&id, ObjectKind::Commit, limits::COMMIT)
        .or_fail(unread)?;
    let commit = Commit::parse(&raw, id.format()).or_fail(unread)?;
    let (signer, who) = signer(&raw, &commit, witness, id);
    let subject = commit.subject();
    Ok(Looked {
        line: format!("{} {}: {subject} ({who})", id.short(), commit.author_name()),
        subject,
        signer,
    })
}

/// Who signed a commit, in words.
fn signer(raw: &[u8], commit: &Commit<'_>, witness: &Witness, id: Oid) -> (Signer, String) {
    let Some(block) = commit.signature.as_deref() else {
        return (Signer::Any, "not signed".to_owned());
    };
    let named = named_key(block);
    let is_revoked = |key: &KeyName| witness.revoked.contains(key);
    let found = witness
        .authority
        .as_ref()
        .map(|authority| authority.signer_of_commit(raw, id.format()));
    match found {
        Some(Ok((identity, key))) if is_revoked(key) => (
            Signer::Revoked,
            format!("signed by the revoked key {key} of {}", identity.name),
        ),
        Some(Ok((identity, _))) => (Signer::Any, format!("signed by {}", identity.name)),
        Some(Err(reason)) if reason.code == ReasonCode::KeyRevoked => {
            (Signer::Revoked, reason.message)
        }
        _ if named.as_ref().is_some_and(is_revoked) => {
            let key = named.map(|key| key.to_string()).unwrap_or_default();
            (Signer::Revoked, format!("signed by the revoked key {key}"))
        }
        Some(Err(reason)) if reason.code == ReasonCode::UnknownKey => (
            Signer::Any,
            "signed by a key that the policy doesn't have".to_owned(),
        ),
        Some(Err(reason)) => (
            Signer::Any,
            format!("its signature doesn't count: {}", reason.message),
        ),
        None => (Signer::Any, "signed".to_owned()),
    }
}
