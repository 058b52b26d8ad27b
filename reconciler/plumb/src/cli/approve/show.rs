//! Shows the commits of an approval before anything is signed. Their text isn't trusted: Plumb's own parser
//! reads the commits and removes invisible characters, and git is used only for output that it quotes.
//! Anybody can write any author into a commit, so the signer is shown beside it.

use plumb_adapters::git::Repository;
use plumb_trust::object::{Commit, limits};
use plumb_trust::policy::Authority;
use plumb_trust::{KeyName, ObjectKind, Objects as _, Oid, ReasonCode, named_key};

use super::scope::{Reach, SHOWN, Scope};
use crate::git::Git;
use crate::output::Shell;
use crate::report::{Failure, OrFail as _};

/// The policy before the approved commits, and the keys that are revoked now.
pub(super) struct KnownKeys {
    pub(super) authority: Option<Authority>,
    pub(super) revoked: Vec<KeyName>,
}

/// Maximum number of lines of a diff that are shown.
const LINES: usize = 1_000;

/// The commits that were shown.
pub(super) struct ShownCommits {
    /// The commit's subject.
    pub(super) subject: String,
    /// The commits with a signature that names a revoked key.
    pub(super) by_revoked: Vec<Oid>,
}

/// Writes all commits of the scope, their signers and their changes to stderr.
///
/// # Errors
/// Fails if the approved commit can't be read, because it could never be accepted.
pub(super) fn show(
    git: &Git,
    repository: &Repository,
    scope: &Scope,
    commit: Oid,
    keys: &KnownKeys,
    shell: &Shell,
) -> Result<ShownCommits, Failure> {
    let first = read(repository, commit, keys)?;
    let mut by_revoked = Vec::new();
    let mut tell = |id: Oid, row: &CommitRow| {
        shell.say(&row.line);
        if row.signer == SignerKey::Revoked {
            by_revoked.push(id);
        }
    };
    tell(commit, &first);
    let others = scope.commits.iter().take(SHOWN);
    for other in others.filter(|other| **other != commit) {
        match read(repository, *other, keys) {
            Ok(row) => tell(*other, &row),
            // The other commits need not be readable.
            Err(_) => shell.say(format_args!("cannot read {}", other.short())),
        }
    }
    let more = scope.commits.len().saturating_sub(SHOWN);
    if more > 0 {
        shell.warn(format_args!("{more} more commits aren't shown one by one"));
    }
    let from = scope
        .base
        .map_or_else(|| format!("{commit}^"), |base| base.to_string());
    // The output must be safe: no colour, no program that the repository chooses, and quoted names if they
    // contain control characters.
    if let Some(diff) = git.try_ask(&[
        "-c",
        "core.quotePath=true",
        "diff",
        "--stat",
        "--patch",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        &format!("{from}..{commit}"),
    ]) {
        let lines: Vec<&str> = diff.lines().collect();
        shell.say(lines[..lines.len().min(LINES)].join("\n"));
        if let more @ 1.. = lines.len().saturating_sub(LINES) {
            shell.warn(format_args!(
                "{more} more lines of the diff aren't shown: git diff {from}..{commit}"
            ));
        }
    }
    if let (Reach::Branch, count @ 2..) = (scope.reach, scope.commits.len()) {
        shell.say(format_args!(
            "These {count} commits are approved together, also if the branch is merged."
        ));
    }
    Ok(ShownCommits {
        subject: first.subject,
        by_revoked,
    })
}

/// The state of the signer's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignerKey {
    /// The key isn't revoked or is unknown, or there is no signature.
    Other,
    /// The key is revoked.
    Revoked,
}

struct CommitRow {
    /// A description of the commit in one line.
    line: String,
    subject: String,
    signer: SignerKey,
}

fn read(repository: &Repository, id: Oid, keys: &KnownKeys) -> Result<CommitRow, Failure> {
    let unread = || format!("cannot read the commit {}", id.short());
    let raw = repository
        .objects()
        .read(&id, ObjectKind::Commit, limits::COMMIT)
        .or_fail(unread)?;
    let commit = Commit::parse(&raw, id.format()).or_fail(unread)?;
    let (signer, who) = signer(&raw, &commit, keys, id);
    let subject = commit.subject();
    Ok(CommitRow {
        line: format!("{} {}: {subject} ({who})", id.short(), commit.author_name()),
        subject,
        signer,
    })
}

/// Returns the state of the signer's key, and a description of the signer.
fn signer(raw: &[u8], commit: &Commit<'_>, keys: &KnownKeys, id: Oid) -> (SignerKey, String) {
    let Some(block) = commit.signature.as_deref() else {
        return (SignerKey::Other, "not signed".to_owned());
    };
    let named = named_key(block);
    let is_revoked = |key: &KeyName| keys.revoked.contains(key);
    let found = keys
        .authority
        .as_ref()
        .map(|authority| authority.signer_of_commit(raw, id.format()));
    match found {
        Some(Ok((identity, key))) if is_revoked(key) => (
            SignerKey::Revoked,
            format!("signed by the revoked key {key} of {}", identity.name),
        ),
        Some(Ok((identity, _))) => (SignerKey::Other, format!("signed by {}", identity.name)),
        Some(Err(reason)) if reason.code == ReasonCode::KeyRevoked => {
            (SignerKey::Revoked, reason.message)
        }
        _ if named.as_ref().is_some_and(is_revoked) => {
            let key = named.map(|key| key.to_string()).unwrap_or_default();
            (
                SignerKey::Revoked,
                format!("signed by the revoked key {key}"),
            )
        }
        Some(Err(reason)) if reason.code == ReasonCode::UnknownKey => (
            SignerKey::Other,
            "signed by a key that isn't in the policy".to_owned(),
        ),
        Some(Err(reason)) => (
            SignerKey::Other,
            format!("its signature doesn't count: {}", reason.message),
        ),
        None => (SignerKey::Other, "signed".to_owned()),
    }
}
