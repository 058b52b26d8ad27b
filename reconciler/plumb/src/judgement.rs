//! Verdicts on the command line: judging a range of a repository in place, and saying what came of
//! it. Who could give what is missing is said here and not in alerts, which others may read.

use std::fmt::Write as _;

use jiff::Timestamp;
use plumb_adapters::git::{Repository, RepositoryError};
use plumb_trust::object::limits;
use plumb_trust::{
    By, Inputs, ObjectKind, Objects as _, Oid, Outcome, Reason, Step, TagRef, Verdict, verify,
};

use crate::output::{Paint, Palette};
use crate::report::{Exit, Failure};

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Self {
        let hint = match &error {
            RepositoryError::Missing { .. } => Some("name the repository's folder, or its .git"),
            RepositoryError::Unknown(_) => {
                Some("a branch, a tag or a commit's id; `git fetch` may bring it")
            }
            RepositoryError::Objects { .. } | RepositoryError::Refs { .. } => None,
        };
        Self::new(error.to_string()).maybe_hint(hint.map(str::to_owned))
    }
}

/// What is judged.
pub(crate) struct Range<'a> {
    /// The commit that is trusted as given.
    pub(crate) floor: Oid,
    /// The candidate.
    pub(crate) head: Oid,
    /// The tags that count.
    pub(crate) tags: &'a [TagRef],
    /// The time.
    pub(crate) now: Timestamp,
}

/// Judges a range; who signed what is told of accepted commits too.
pub(crate) fn judge(repository: &Repository, range: &Range<'_>) -> Outcome {
    let inputs = Inputs::new(range.floor, range.head, range.now)
        .floor(range.floor)
        .tags(range.tags)
        .explain();
    verify(repository.objects(), &inputs)
}

/// The exit code of a verdict.
pub(crate) fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Accept => Exit::OK,
        Verdict::Pending | Verdict::PendingAlarm => Exit::PENDING,
        Verdict::Reject => Exit::REJECTED,
    }
}

/// The first line of a commit's message; for display only.
pub(crate) fn subject(repository: &Repository, commit: &Oid) -> String {
    let Ok(raw) = repository
        .objects()
        .read(commit, ObjectKind::Commit, limits::COMMIT)
    else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&raw);
    let line = text
        .split_once("\n\n")
        .and_then(|(_, message)| message.lines().next());
    // What a commit says may try to move the cursor.
    line.unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(72)
        .collect()
}

/// What came of a range, for people. Accepted commits are one line each.
pub(crate) fn describe(outcome: &Outcome, repository: &Repository, palette: Palette) -> String {
    let mut out = String::new();
    for reason in &outcome.reasons {
        describe_reason(&mut out, reason, None, palette);
    }
    for step in &outcome.steps {
        let _ = writeln!(
            out,
            "{} {} {}",
            palette.paint(
                tone(step.verdict),
                format_args!("{:<12}", step.verdict.as_str())
            ),
            step.commit.short(),
            subject(repository, &step.commit)
        );
        if step.verdict.is_accept() {
            let signers: Vec<_> = step
                .signers
                .iter()
                .map(|signer| format!("{} ({})", signer.identity, by(&signer.by)))
                .collect();
            if !signers.is_empty() {
                let _ = writeln!(out, "    {}", palette.paint(Paint::Dim, signers.join(", ")));
            }
        }
        for reason in &step.reasons {
            describe_reason(&mut out, reason, Some(step), palette);
        }
        for note in &step.notes {
            let _ = writeln!(out, "    {} {note}", palette.paint(Paint::Dim, "noted:"));
        }
    }
    let summary = match outcome.verdict {
        Verdict::Accept => format!("accepted up to {}", outcome.accepted.short()),
        Verdict::Pending | Verdict::PendingAlarm => {
            format!(
                "held at {}: what follows waits for what is missing",
                outcome.accepted.short()
            )
        }
        Verdict::Reject => format!(
            "held at {}: what follows can never be accepted; set the branch back to {0} and commit anew",
            outcome.accepted.short()
        ),
    };
    let _ = writeln!(out, "{}", palette.paint(tone(outcome.verdict), summary));
    out
}

fn describe_reason(out: &mut String, reason: &Reason, step: Option<&Step>, palette: Palette) {
    let code = palette.paint(Paint::Dim, format_args!("[{}]", reason.code));
    let _ = writeln!(out, "    {} {code}", reason.message);
    for path in reason.paths.iter().take(5) {
        let _ = writeln!(out, "      {path}");
    }
    if reason.paths.len() > 5 {
        let _ = writeln!(out, "      and {} more", reason.paths.len() - 5);
    }
    for missing in &reason.missing {
        let could = step
            .into_iter()
            .flat_map(|step| &step.needs)
            .find(|need| {
                need.from == missing.from
                    && need.count == missing.count
                    && need.have == missing.have
            })
            .map(|need| need.could.as_slice())
            .unwrap_or_default();
        let who = match could {
            [] => continue,
            [one] => format!("{one} could give it"),
            many => format!("any of {} could give it", many.join(", ")),
        };
        let _ = writeln!(out, "      {}: {who}", missing.from);
    }
    if let Some(cure) = &reason.cure {
        let _ = writeln!(out, "      {} {cure}", palette.paint(Paint::Hint, "cure:"));
    }
}

fn by(by: &By) -> String {
    match by {
        By::Commit => "the commit".to_owned(),
        By::Tag(name) => format!("tag {name}"),
        By::Mergetag(name) => format!("merged tag {name}"),
        By::EmptyCommit(oid) => format!("empty commit {}", oid.short()),
    }
}

fn tone(verdict: Verdict) -> Paint {
    match verdict {
        Verdict::Accept => Paint::Good,
        Verdict::Pending => Paint::Warn,
        Verdict::PendingAlarm | Verdict::Reject => Paint::Error,
    }
}
