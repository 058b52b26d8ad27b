//! Describes verdicts for people.

use std::fmt::Write as _;

use plumb_adapters::git::Repository;
use plumb_trust::object::{Commit, Trailers, invisible, limits};
use plumb_trust::{
    By, Detail, NeedMet, ObjectKind, Objects as _, Oid, Outcome, Reason, Step, Verdict,
};

use super::hint::{HintContext, hint};
use super::range::FloorSource;
use crate::output::{Paint, Palette, one_of};

/// Maximum number of accepted commits that a brief description lists one by one.
const LISTED: usize = 20;

/// The amount of detail about accepted commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// The verdict and the signers.
    Brief,
    /// The approvals that each commit needed and got.
    Full,
}

impl Verbosity {
    /// Returns the detail that the verification must collect for the description.
    pub(crate) const fn detail(self) -> Detail {
        match self {
            Self::Brief => Detail::Newest(LISTED),
            Self::Full => Detail::Explain,
        }
    }
}

/// Maximum number of characters of a commit's text in the output.
const SHOWN: usize = 72;

/// Maximum number of paths that are listed under a reason.
const PATHS: usize = 5;

/// Renders text from a commit on one line. The text may contain control characters that move the cursor or
/// reverse the line.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !invisible(*c))
        .take(SHOWN)
        .collect()
}

/// Returns the first line of a commit's message, even if the commit is malformed. Use it for display only.
fn subject(repository: &Repository, commit: &Oid) -> String {
    let raw = repository
        .objects()
        .read(commit, ObjectKind::Commit, limits::COMMIT);
    let text = raw.map_or_else(
        |_| String::new(),
        |raw| String::from_utf8_lossy(&raw).into_owned(),
    );
    let line = text
        .split_once("\n\n")
        .and_then(|(_, message)| message.lines().next());
    shown(line.unwrap_or_default())
}

/// Returns the reason that a commit declares for an emergency.
fn declared_emergency(repository: &Repository, commit: &Oid) -> Option<String> {
    let raw = repository
        .objects()
        .read(commit, ObjectKind::Commit, limits::COMMIT)
        .ok()?;
    let commit = Commit::parse(&raw, commit.format()).ok()?;
    let trailers = Trailers::parse(commit.message).ok()?;
    let why = shown(trailers.get("emergency")?);
    (!why.is_empty()).then_some(why)
}

/// Describes the verdict on a range that begins at an accepted commit.
pub(crate) fn describe(outcome: &Outcome, repository: &Repository, palette: Palette) -> String {
    let tip = outcome.steps.last().map(|step| step.commit);
    describe_with(
        outcome,
        repository,
        FloorSource::Accepted,
        Verbosity::Brief,
        tip.unwrap_or(outcome.accepted),
        palette,
    )
}

/// Describes the verdict on a range. `tip` is the newest commit of the branch that the range is a part of.
pub(crate) fn describe_with(
    outcome: &Outcome,
    repository: &Repository,
    source: FloorSource,
    verbosity: Verbosity,
    tip: Oid,
    palette: Palette,
) -> String {
    let mut out = String::new();
    if let Some(reason) = unjudged(outcome, source) {
        describe_unjudged(&mut out, outcome, reason, repository, source, palette);
        return out;
    }
    // If no commit was verified, the beginning of the text already has the range's reason.
    if off_branch(outcome).is_none() {
        for reason in &outcome.reasons {
            describe_reason(&mut out, reason, None, palette);
        }
    }
    let is_accepted = |step: &&Step| step.verdict.is_accept();
    let accepted = outcome.steps.iter().filter(is_accepted).count();
    let hidden = match verbosity {
        Verbosity::Brief => accepted.saturating_sub(LISTED),
        Verbosity::Full => 0,
    };
    if hidden > 0 {
        let verdict = palette.paint(Paint::Good, format_args!("{:<12}", "accept"));
        let _ = writeln!(
            out,
            "{verdict} {hidden} earlier commits (--explain lists them)"
        );
    }
    let first_held = outcome.first_held().map(|step| step.commit);
    for (at, step) in outcome.steps.iter().enumerate() {
        if step.verdict.is_accept() && at < hidden {
            continue;
        }
        describe_step(&mut out, step, repository, verbosity, palette);
        if first_held == Some(step.commit) {
            let context = HintContext::of(repository, outcome, step.commit, tip);
            if let Some(hint) = hint(step.reasons.iter().map(|r| r.code), &context) {
                hint.describe(&mut out, palette);
            }
        }
    }
    let place = outcome.accepted.short();
    let summary = match outcome.verdict {
        Verdict::Accept => format!("accepted up to {place}"),
        Verdict::Pending | Verdict::PendingAlarm => {
            format!("held at {place}: later commits wait for what is missing")
        }
        Verdict::Reject => format!(
            "held at {place}: later commits can never be accepted; set the branch back to {place} and commit again"
        ),
    };
    let _ = writeln!(out, "{}", palette.paint(tone(outcome.verdict), summary));
    out
}

fn describe_step(
    out: &mut String,
    step: &Step,
    repository: &Repository,
    verbosity: Verbosity,
    palette: Palette,
) {
    let verdict = format_args!("{:<12}", step.verdict.as_str()).to_string();
    let _ = writeln!(
        out,
        "{} {} {}",
        palette.paint(tone(step.verdict), verdict),
        step.commit.short(),
        subject(repository, &step.commit)
    );
    if step.verdict.is_accept()
        && let Some(why) = declared_emergency(repository, &step.commit)
    {
        let title = palette.paint(Paint::Warn, "declares an emergency:");
        let _ = writeln!(out, "    {title} {why}");
    }
    if verbosity == Verbosity::Full {
        describe_needs(out, step, palette);
    } else if step.verdict.is_accept() && !step.signers.is_empty() {
        let signer =
            |signer: &plumb_trust::Signer| format!("{} ({})", signer.identity, by(&signer.by));
        let signers: Vec<_> = step.signers.iter().map(signer).collect();
        let _ = writeln!(out, "    {}", palette.paint(Paint::Dim, signers.join(", ")));
    }
    for reason in &step.reasons {
        describe_reason(out, reason, Some(step), palette);
    }
    for note in &step.notes {
        let _ = writeln!(out, "    {} {note}", palette.paint(Paint::Dim, "noted:"));
    }
}

/// Describes the approvals that a commit needed, and who gave them.
fn describe_needs(out: &mut String, step: &Step, palette: Palette) {
    for need in &step.needs {
        let have = match need.identities.as_slice() {
            [] if need.have == 0 => "nobody".to_owned(),
            [] => format!("{} of them, each for a part of the paths", need.have),
            some => some.join(", "),
        };
        let met = need.have >= need.count;
        let _ = writeln!(
            out,
            "    {} {} of {} for {}: {}",
            palette.paint(Paint::Dim, "needs "),
            need.count,
            need.from,
            need.rule,
            palette.paint(if met { Paint::Good } else { Paint::Warn }, have)
        );
    }
    for signer in &step.signers {
        let _ = writeln!(
            out,
            "    {} {} by {}, with {} of {}",
            palette.paint(Paint::Dim, "signed"),
            signer.identity,
            by(&signer.by),
            signer.key,
            signer.time
        );
    }
}

fn describe_reason(out: &mut String, reason: &Reason, step: Option<&Step>, palette: Palette) {
    let code = palette.paint(Paint::Dim, format_args!("[{}]", reason.code));
    let _ = writeln!(out, "    {} {code}", reason.message);
    for path in reason.paths.iter().take(PATHS) {
        let _ = writeln!(out, "      {path}");
    }
    if reason.paths.len() > PATHS {
        let _ = writeln!(out, "      and {} more", reason.paths.len() - PATHS);
    }
    for missing in &reason.missing {
        let same = |need: &&NeedMet| {
            (&need.from, need.count, need.have) == (&missing.from, missing.count, missing.have)
        };
        if let Some(need) = step.and_then(|step| step.needs.iter().find(same)) {
            let _ = writeln!(out, "      {}: {}", need.from, who_could(need));
        }
    }
}

/// Names the people who could give a need's missing signatures.
pub(crate) fn who_could(need: &NeedMet) -> String {
    let all = need.identities.len().saturating_add(need.could.len());
    let enough = usize::try_from(need.count).is_ok_and(|count| all >= count);
    match need.could.as_slice() {
        [] => "nobody could give it, because no other key of the group counts any more".to_owned(),
        some if !enough => format!(
            "only {} could give a part of it, because no other key of the group counts any more",
            one_of(some)
        ),
        [one] => format!("{one} could give it"),
        many => format!("any of {} could give it", many.join(", ")),
    }
}

/// Returns the reason if no commit between the floor and the head was verified.
fn off_branch(outcome: &Outcome) -> Option<&Reason> {
    let unjudged = match outcome.steps.as_slice() {
        [only] => !outcome.reasons.is_empty() && only.reasons == outcome.reasons[..1],
        _ => outcome.steps.is_empty() && !outcome.verdict.is_accept(),
    };
    outcome
        .reasons
        .first()
        .filter(|reason| unjudged && reason.code.verdict() == Verdict::Reject)
}

/// Returns the reason if nothing was verified because the floor isn't on the head's branch. Returns `None`
/// for an accepted floor: such a floor is known to be right, so the head is wrong and is rejected.
pub(crate) fn unjudged(outcome: &Outcome, source: FloorSource) -> Option<&Reason> {
    off_branch(outcome).filter(|_| source != FloorSource::Accepted)
}

fn describe_unjudged(
    out: &mut String,
    outcome: &Outcome,
    reason: &Reason,
    repository: &Repository,
    source: FloorSource,
    palette: Palette,
) {
    let name = match source {
        FloorSource::Introduction => "introduction",
        FloorSource::Upstream => "upstream branch",
        FloorSource::Given | FloorSource::Accepted => "floor",
    };
    let command = match source {
        FloorSource::Introduction => "git config plumb.introduction COMMIT",
        _ => "plumb verify FLOOR..HEAD",
    };
    let _ = writeln!(
        out,
        "{} cannot judge from the {name} {} ({}): {} {}",
        palette.paint(Paint::Error, format_args!("{:<12}", "not judged")),
        outcome.accepted.short(),
        subject(repository, &outcome.accepted),
        reason.message,
        palette.paint(Paint::Dim, format_args!("[{}]", reason.code))
    );
    let _ = writeln!(out, "        {}", palette.paint(Paint::Bold, command));
    let summary = "nothing was judged, so nothing is accepted";
    let _ = writeln!(out, "{}", palette.paint(Paint::Error, summary));
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
