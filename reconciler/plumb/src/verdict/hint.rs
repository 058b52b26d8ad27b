//! Chooses one hint for each commit that isn't accepted, by its most important reason.

use std::fmt::Write as _;

use plumb_adapters::git::Repository;
use plumb_trust::{Oid, Outcome, ReasonCode};

use super::history::authority;
use crate::git::remote_of;
use crate::output::{Paint, Palette, quoted};

/// A hint for people: what to do about a commit that isn't accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hint {
    /// One or two sentences.
    pub(crate) text: &'static str,
    /// At most three commands.
    pub(crate) commands: Vec<String>,
}

/// The position of a commit on its branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// The commit is the newest one and can be amended.
    Newest,
    /// There are commits on top of the commit.
    Below,
}

/// Values for the placeholders in the commands.
#[derive(Debug, Clone)]
pub(crate) struct HintContext {
    /// The commit's full id. An abbreviated id could also be the name of a tag.
    pub(crate) commit: String,
    /// The full id of the last accepted commit.
    pub(crate) accepted: String,
    /// The branch's short name.
    pub(crate) branch: String,
    /// The remote that the branch is pushed to.
    pub(crate) remote: String,
    /// The position of the commit on its branch.
    pub(crate) position: Position,
}

impl HintContext {
    /// Collects the values for a commit. The policy of the last accepted commit names the branch.
    pub(crate) fn of(repository: &Repository, outcome: &Outcome, commit: Oid, tip: Oid) -> Self {
        let authority = authority(repository, &outcome.accepted);
        let branch = authority.map_or_else(
            |_| "main".to_owned(),
            |authority| authority.policy.branch().to_owned(),
        );
        Self {
            commit: commit.to_string(),
            accepted: outcome.accepted.to_string(),
            remote: remote_of(repository, &branch),
            branch,
            position: if commit == tip {
                Position::Newest
            } else {
                Position::Below
            },
        }
    }

    fn fill(&self, command: &str) -> String {
        command
            .replace("{commit}", &self.commit)
            .replace("{accepted}", &self.accepted)
            .replace("{branch}", &quoted(&self.branch))
            .replace("{remote}", &quoted(&self.remote))
    }
}

/// A row of the table: the text, a command that changes the newest commit (for its author), and commands for
/// everybody.
struct HintRow(&'static str, Option<&'static str>, &'static [&'static str]);

const SIGN: &str = "git commit --amend --no-edit -S --allow-empty";
const SIGN_WITH: &str = "git -c user.signingkey=KEY commit --amend --no-edit -S --allow-empty";
const DECLARE: &str = "git commit --amend --no-edit -S --allow-empty --trailer 'Emergency: WHY'";
const FETCH_APPROVALS: &str = "git fetch {remote} 'refs/tags/approve/*:refs/tags/approve/*'";
const LOOK: &str = "git log --show-signature {accepted}..{commit}";
const UNDO: &str = "git revert -S COMMIT";
const APPROVE: &str = "plumb approve {commit}";
// `~0` makes git resolve the commit: without it, git prefers a tag that is named like the full id.
const PUSH_ACCEPTED: &str = "git push {remote} {accepted}~0:refs/heads/{branch}";
const SET_BACK: &str = "git push --force-with-lease {remote} {accepted}~0:refs/heads/{branch}";

/// Returns the table's row for a reason. Reasons with the same remedy share a row.
fn row_of(code: ReasonCode) -> Option<HintRow> {
    Some(match code {
        // These reasons don't block a commit by themselves.
        ReasonCode::Ancestor | ReasonCode::ApprovalIgnored | ReasonCode::HistoryRevoked => {
            return None;
        }
        ReasonCode::Uncovered => HintRow(
            "If you made this commit, sign it. If not, look at it first: whoever signs or approves it vouches for it.",
            Some(SIGN),
            &[APPROVE],
        ),
        ReasonCode::ApprovalsMissing => HintRow(
            "Fetch the approvals that the server has. The people named above can approve the commit after they have looked at it.",
            None,
            &[FETCH_APPROVALS, APPROVE],
        ),
        ReasonCode::Unbound => HintRow(
            "If you made this commit, amend it with the hook commit-msg installed: the hook adds the line `Deploy-Ref:`. An approval names the repository and branch too.",
            Some(SIGN),
            &[APPROVE],
        ),
        ReasonCode::UnknownKey
        | ReasonCode::UnsupportedSignature
        | ReasonCode::WeakCrypto
        | ReasonCode::KeyMisused
        | ReasonCode::KeyExpired => HintRow(
            "If you made this commit, sign it with a key of the policy that counts. If not, look at it first: whoever approves it vouches for it.",
            Some(SIGN_WITH),
            &["plumb trust show", APPROVE],
        ),
        ReasonCode::KeyRevoked => HintRow(
            "Look at it first, because a thief may have made it with the revoked key. Unless you are certain that its author did, set the branch back to the accepted commit; nobody should sign or approve it unseen.",
            None,
            &["git show {commit}", SET_BACK],
        ),
        ReasonCode::Future => HintRow(
            "Wait until that time: the commit is judged again then. If you made it with a wrong clock, correct the clock and sign it again.",
            Some(SIGN),
            &[],
        ),
        ReasonCode::Frozen => HintRow(
            "Wait until the freeze ends: the commit is judged again then. If the commit is yours and the policy has an `emergency`, declare one instead.",
            Some(DECLARE),
            &[],
        ),
        ReasonCode::SideUnsigned => HintRow(
            "Ask the authors of the merged branch to sign their commits. Then merge that branch again.",
            None,
            &[LOOK],
        ),
        ReasonCode::Backdated | ReasonCode::SeenLate | ReasonCode::Tombstoned => HintRow(
            "If you made this commit and still want it, correct your clock and sign the commit again.",
            Some(SIGN),
            &[],
        ),
        ReasonCode::HeartbeatStale => HintRow(
            "Check that the job that creates the heartbeat runs, and that the server shows the newest commits.",
            None,
            &["git ls-remote {remote} {branch} 'alive/*'"],
        ),
        ReasonCode::BadSignature | ReasonCode::MalformedSignature => HintRow(
            "Look at it: it was changed after it was signed, or it is a forgery. If the server has it, set the branch back to the accepted commit.",
            None,
            &["git show --show-signature {commit}", SET_BACK],
        ),
        ReasonCode::MalformedCommit
        | ReasonCode::MalformedTree
        | ReasonCode::TooLarge
        | ReasonCode::MergetagMismatch
        | ReasonCode::DuplicateTrailer
        | ReasonCode::Gitlink
        | ReasonCode::Link
        | ReasonCode::PolicyNotIsolated => HintRow(
            "If the server has the commit, set the branch back to the accepted one. Then make the change again without what is named above; put a change of trust/ into a commit of its own.",
            None,
            &[SET_BACK],
        ),
        ReasonCode::NoRule => HintRow(
            "First add a rule that matches that path (`**` matches everything), in a commit before this one.",
            None,
            &["$EDITOR trust/policy.yaml", "plumb trust check"],
        ),
        ReasonCode::PolicyInvalid
        | ReasonCode::PolicyUnsatisfiable
        | ReasonCode::PolicySerial
        | ReasonCode::PolicyMoved
        | ReasonCode::RevocationDropped => HintRow(
            "If the server has the commit, set the branch back to the accepted one. Then fix trust/ until `plumb trust check` finds no error, and commit again.",
            None,
            &[SET_BACK, "plumb trust check"],
        ),
        ReasonCode::MissingObject | ReasonCode::CorruptObject => HintRow(
            "Fetch the whole history, because a shallow clone can't be judged. If an object is damaged, try a fresh clone.",
            None,
            &["git fetch --unshallow {remote}", "git fsck --full"],
        ),
        ReasonCode::NotDescendant => HintRow(
            "Build on the accepted commit: rebase your own commits onto it, and merge those of others on top of it.",
            None,
            &["git fetch {remote}", LOOK],
        ),
        ReasonCode::Rewound | ReasonCode::RollbackRefused => HintRow(
            "Push the accepted commits again. To go back on purpose, revert on top of them.",
            None,
            &[PUSH_ACCEPTED, UNDO],
        ),
        ReasonCode::EmergencyExpired => HintRow(
            "If you made this commit and the emergency goes on, sign it again. As an ordinary change it needs the approvals of its paths, and waits for the end of a freeze.",
            Some(SIGN),
            &[],
        ),
        ReasonCode::EmergencyForbidden => HintRow(
            "Make that change without `Emergency:`, with the approvals that its paths need.",
            None,
            &[],
        ),
    })
}

/// Returns the hint for the most important reason. This is a revoked key if there is one, and otherwise the
/// most specific reason of the worst verdict.
pub(crate) fn hint(
    codes: impl IntoIterator<Item = ReasonCode>,
    context: &HintContext,
) -> Option<Hint> {
    // Missing approvals are the least specific reason, because they occur together with every other reason.
    let rank = |code: &ReasonCode| {
        let revoked = *code == ReasonCode::KeyRevoked;
        let specific = *code != ReasonCode::ApprovalsMissing;
        (revoked, code.verdict(), specific, *code)
    };
    let deciding = codes
        .into_iter()
        .filter(|code| row_of(*code).is_some())
        .max_by_key(rank)?;
    let HintRow(text, amend, commands) = row_of(deciding)?;
    let amend = amend.filter(|_| context.position == Position::Newest);
    let commands = amend.iter().chain(commands);
    Some(Hint {
        text,
        commands: commands.map(|command| context.fill(command)).collect(),
    })
}

impl Hint {
    /// Appends the hint as an indented paragraph.
    pub(crate) fn describe(&self, out: &mut String, palette: Palette) {
        let _ = writeln!(
            out,
            "    {} {}",
            palette.paint(Paint::Hint, "hint:"),
            self.text
        );
        for command in &self.commands {
            let _ = writeln!(out, "        {}", palette.paint(Paint::Bold, command));
        }
    }
}

#[cfg(test)]
mod tests;
