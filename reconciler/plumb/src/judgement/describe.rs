//! Verdicts in words.

use std::fmt::Write as _;

use plumb_adapters::git::Repository;
use plumb_trust::object::limits;
use plumb_trust::{
    By, NeedMet, ObjectKind, Objects as _, Oid, Outcome, Reason, ReasonCode, Step, Verdict,
};

use super::cure::{Cure, Givers};
use super::place::{Place, Reader, declared_emergency};
use super::{FloorOf, Showing, Telling};
use crate::output::{Paint, Palette, one_of};

/// Accepted commits that are listed one by one where nothing more is asked for.
pub(super) const LISTED: usize = 20;

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
    // What a commit says may try to move the cursor, or to turn the text around.
    line.unwrap_or_default()
        .chars()
        .filter(|c| is_shown(*c))
        .take(72)
        .collect()
}

/// Whether a character of somebody's text is shown: not what moves the cursor, or turns the line around.
pub(super) fn is_shown(c: char) -> bool {
    !plumb_trust::object::invisible(c)
}

/// What came of a range, for people, from what was accepted before.
pub(crate) fn describe(
    outcome: &Outcome,
    repository: &Repository,
    reader: Reader,
    palette: Palette,
) -> String {
    let showing = Showing {
        floor: FloorOf::Accepted,
        telling: Telling::Short,
        tip: outcome
            .steps
            .last()
            .map_or(outcome.accepted, |step| step.commit),
        reader,
    };
    describe_as(outcome, repository, showing, palette)
}

/// What came of a range, for people. Accepted commits are a line or two each, the oldest of many not
/// even that; or everything that each needed and got.
pub(crate) fn describe_as(
    outcome: &Outcome,
    repository: &Repository,
    showing: Showing,
    palette: Palette,
) -> String {
    let Showing { telling, .. } = showing;
    let mut out = String::new();
    let off_branch = off_branch(outcome);
    if let Some(reason) = unjudged(outcome, showing.floor) {
        describe_wrong_floor(&mut out, outcome, reason, repository, showing, palette);
        return out;
    }
    // Where nothing was judged, the head has the same reason.
    for reason in outcome.reasons.iter().filter(|_| off_branch.is_none()) {
        describe_reason(&mut out, reason, None, palette);
    }
    let accepted = outcome
        .steps
        .iter()
        .filter(|step| step.verdict.is_accept())
        .count();
    let hidden = match telling {
        Telling::Short => accepted.saturating_sub(LISTED),
        Telling::Full => 0,
    };
    if hidden > 0 {
        let _ = writeln!(
            out,
            "{} {hidden} earlier commits (--explain lists them)",
            palette.paint(Paint::Good, format_args!("{:<12}", "accept"))
        );
    }
    let mut cured = false;
    for (at, step) in outcome.steps.iter().enumerate() {
        if step.verdict.is_accept() && at < hidden {
            continue;
        }
        describe_step(&mut out, step, repository, telling, palette);
        if !step.verdict.is_accept() && !cured {
            cured = true;
            describe_cures(
                &mut out,
                &cures(outcome, step, repository, showing),
                palette,
            );
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
        Verdict::Reject if is_late_emergency(outcome) => format!(
            "held at {}: the emergency is over, and what follows waits behind it",
            outcome.accepted.short()
        ),
        Verdict::Reject => format!(
            "held at {}: what follows can never be accepted; set the branch back to {0} and commit anew",
            outcome.accepted.short()
        ),
    };
    let _ = writeln!(out, "{}", palette.paint(tone(outcome.verdict), summary));
    out
}

/// Whether what holds a branch would do as an ordinary change: that is only no emergency any more.
fn is_late_emergency(outcome: &Outcome) -> bool {
    let late = |reason: &Reason| reason.code == ReasonCode::EmergencyExpired;
    outcome
        .first_held()
        .is_some_and(|step| step.reasons.iter().all(late))
}

fn describe_step(
    out: &mut String,
    step: &Step,
    repository: &Repository,
    telling: Telling,
    palette: Palette,
) {
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
    if step.verdict.is_accept()
        && let Some(why) = declared_emergency(repository, &step.commit)
    {
        let title = palette.paint(Paint::Warn, "says that it is an emergency:");
        let _ = writeln!(out, "    {title} {why}");
    }
    match telling {
        Telling::Full => describe_in_full(out, step, palette),
        Telling::Short if step.verdict.is_accept() => {
            let signers: Vec<_> = step
                .signers
                .iter()
                .map(|signer| format!("{} ({})", signer.identity, by(&signer.by)))
                .collect();
            if !signers.is_empty() {
                let _ = writeln!(out, "    {}", palette.paint(Paint::Dim, signers.join(", ")));
            }
        }
        Telling::Short => {}
    }
    for reason in &step.reasons {
        describe_reason(out, reason, Some(step), palette);
    }
    for note in &step.notes {
        let _ = writeln!(out, "    {} {note}", palette.paint(Paint::Dim, "noted:"));
    }
}

/// What a commit needed, and what it has from whom.
fn describe_in_full(out: &mut String, step: &Step, palette: Palette) {
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
    for path in reason.paths.iter().take(5) {
        let _ = writeln!(out, "      {path}");
    }
    if reason.paths.len() > 5 {
        let _ = writeln!(out, "      and {} more", reason.paths.len() - 5);
    }
    for need in lacking(step, reason) {
        let _ = writeln!(out, "      {}: {}", need.from, who_could(need));
    }
}

/// The needs of a step that a reason is about.
fn lacking<'s>(step: Option<&'s Step>, reason: &'s Reason) -> impl Iterator<Item = &'s NeedMet> {
    reason.missing.iter().filter_map(move |missing| {
        step?.needs.iter().find(|need| {
            need.from == missing.from && need.count == missing.count && need.have == missing.have
        })
    })
}

/// Whether those who could give what a need lacks are enough.
fn could_be_met(need: &NeedMet) -> bool {
    let all = need.identities.len().saturating_add(need.could.len());
    usize::try_from(need.count).is_ok_and(|count| all >= count)
}

/// Who could give what a need lacks, in words.
pub(crate) fn who_could(need: &NeedMet) -> String {
    match need.could.as_slice() {
        [] => "nobody could give it: no key of the others counts any more".to_owned(),
        some if !could_be_met(need) => format!(
            "only {} could give a part of it: no key of the others counts any more",
            one_of(some)
        ),
        [one] => format!("{one} could give it"),
        many => format!("any of {} could give it", many.join(", ")),
    }
}

/// What would help the first commit that isn't accepted.
fn cures(outcome: &Outcome, step: &Step, repository: &Repository, showing: Showing) -> Vec<Cure> {
    let mut codes: Vec<ReasonCode> = step.reasons.iter().map(|reason| reason.code).collect();
    codes.dedup();
    let mut who: Vec<&str> = Vec::new();
    let mut too_few = None;
    for need in step.reasons.iter().flat_map(|r| lacking(Some(step), r)) {
        if !could_be_met(need) {
            too_few.get_or_insert(&need.from);
        }
        for name in &need.could {
            if !who.contains(&name.as_str()) {
                who.push(name);
            }
        }
    }
    let givers = match (too_few, who.as_slice()) {
        (Some(group), _) => Givers::TooFew(group.clone()),
        (None, []) => Givers::Unknown,
        (None, some) => Givers::These(one_of(some)),
    };
    Place::of(repository, outcome, step, showing.tip, showing.reader).cures(&codes, &givers)
}

/// What helps, as a list.
pub(crate) fn describe_cures(out: &mut String, cures: &[Cure], palette: Palette) {
    if cures.is_empty() {
        return;
    }
    let _ = writeln!(out, "    {}", palette.paint(Paint::Hint, "what helps:"));
    for cure in cures {
        let _ = writeln!(out, "      {}", cure.what);
        for command in &cure.commands {
            let _ = writeln!(out, "        {}", palette.paint(Paint::Bold, command));
        }
    }
}

/// The reason why nothing between the floor and the head was judged, if that is so.
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

/// Why nothing was judged, if the floor isn't one of the head's branch. What was accepted before is one for
/// certain: there it is the head that is wrong.
pub(crate) fn unjudged(outcome: &Outcome, floor: FloorOf) -> Option<&Reason> {
    off_branch(outcome).filter(|_| floor != FloorOf::Accepted)
}

/// Nothing was judged, because of the floor: it is named, and where it was said.
fn describe_wrong_floor(
    out: &mut String,
    outcome: &Outcome,
    reason: &Reason,
    repository: &Repository,
    showing: Showing,
    palette: Palette,
) {
    let place = outcome.accepted.short();
    let head = outcome
        .steps
        .first()
        .map_or(outcome.accepted, |step| step.commit);
    let title = subject(repository, &outcome.accepted);
    let (name, said) = match showing.floor {
        FloorOf::Introduction => (
            "introduction",
            "It is git's `plumb.introduction`. If it names the wrong commit, or this is another branch:",
        ),
        FloorOf::Upstream => (
            "upstream",
            "It is the upstream branch. To judge from elsewhere:",
        ),
        FloorOf::Given | FloorOf::Accepted => ("floor", "To judge from elsewhere:"),
    };
    let behind = reason.code == ReasonCode::Rewound;
    let what = match reason.code {
        ReasonCode::NotDescendant => format!(
            "the {name} {place} ({title}) isn't on the branch: first parents of {} don't lead to it",
            head.short()
        ),
        ReasonCode::Rewound => format!(
            "{} is behind the {name} {place} ({title}): is it to be fetched, or is the range the wrong way round?",
            head.short()
        ),
        _ => format!(
            "nothing can be judged from the {name} {place} ({title}): {}",
            reason.message
        ),
    };
    let _ = writeln!(
        out,
        "{} {what} {}",
        palette.paint(Paint::Error, format_args!("{:<12}", "not judged")),
        palette.paint(Paint::Dim, format_args!("[{}]", reason.code))
    );
    let mut commands = Vec::new();
    if behind {
        commands.push("git pull".to_owned());
        commands.push(format!("plumb verify {}..{place}", head.short()));
    } else {
        let _ = writeln!(out, "    {said}");
    }
    if showing.floor == FloorOf::Introduction {
        commands.push("git config plumb.introduction COMMIT".to_owned());
    }
    if !behind {
        commands.push("plumb verify FLOOR..HEAD".to_owned());
    }
    for command in commands {
        let _ = writeln!(out, "        {}", palette.paint(Paint::Bold, command));
    }
    let _ = writeln!(
        out,
        "{}",
        palette.paint(Paint::Error, "nothing was judged, so nothing is accepted")
    );
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
