//! From what a run came to, to a host's conditions: computed anew each time, so that nothing stays
//! wrong.

use jiff::Timestamp;
use plumb_api::plan::Change;
use plumb_api::report::Retry;
use plumb_core::alerting::DRIFT_CORRECTING;
use plumb_core::plan::Planned;
use plumb_core::rollout::{Limits, Rollout};
use plumb_core::status::{Condition, ConditionStatus, ConditionType, Target};

use crate::persist::HostRecord;
use crate::run::{Contact, Ended, Mode, Ran};

/// As many differing addresses are named in a status.
const NAMED: usize = 20;

/// The reasons of hosts that can't be talked to until somebody changes something.
const NO_WAY_IN: [&str; 4] = ["HostKeyMismatch", "NoHostKey", "AccessDenied", "NoAgent"];

/// The reason of hosts that wait until a rollout comes to them.
const AWAITING_TURN: &str = "AwaitingTurn";

/// What hosts that aren't driven to the newest revision yet wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Those before them.
    Comes,
    /// Somebody who looks after those that failed; why, in a sentence.
    Halted(String),
}

impl Turn {
    pub(crate) fn of(rollout: &Rollout, limits: Limits) -> Self {
        let mut failed = rollout.failed().iter();
        match failed.next() {
            Some((host, failure)) if rollout.is_halted(limits) => {
                let others = match failed.len() {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                // What to do about it is said by that host, not by all others.
                let why = failure.reason.split("; ").next().unwrap_or_default();
                Self::Halted(format!(
                    "the rollout is halted because {host}{others} failed ({why}), as `plumb describe host {host}` says in full; it goes on when that host comes through, or something else is wanted of it"
                ))
            }
            _ => Self::Comes,
        }
    }
}

/// Sets conditions of one host at one moment.
pub(crate) struct Setter<'a> {
    pub(crate) record: &'a mut HostRecord,
    pub(crate) now: Timestamp,
}

impl Setter<'_> {
    pub(crate) fn set(
        &mut self,
        kind: ConditionType,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) {
        let generation = self
            .record
            .status
            .target
            .as_ref()
            .map(|t| t.revision.clone());
        self.record.status.conditions.set(Condition {
            kind,
            status,
            reason: reason.to_owned(),
            message: message.into(),
            observed_generation: generation,
            last_transition_time: self.now,
        });
    }

    pub(crate) fn remove(&mut self, kind: ConditionType) {
        self.record.status.conditions.remove(kind);
    }

    fn is_true(&self, kind: ConditionType) -> bool {
        self.record.status.conditions.is_true(kind)
    }

    /// The host isn't as its target says, and it is worked on.
    pub(crate) fn under_way(&mut self, reason: &str, message: &str) {
        self.remove(ConditionType::Stalled);
        self.set(
            ConditionType::Ready,
            ConditionStatus::False,
            reason,
            message,
        );
        self.set(
            ConditionType::Reconciling,
            ConditionStatus::True,
            reason,
            message,
        );
    }

    /// It won't get better until somebody changes something.
    pub(crate) fn stalled(&mut self, reason: &str, message: &str) {
        self.remove(ConditionType::Reconciling);
        self.set(
            ConditionType::Ready,
            ConditionStatus::False,
            reason,
            message,
        );
        self.set(
            ConditionType::Stalled,
            ConditionStatus::True,
            reason,
            message,
        );
    }

    /// It will be looked at; until then nothing more is known than before.
    pub(crate) fn begun(&mut self) {
        let ready = self.record.status.conditions.get(ConditionType::Ready);
        if ready.is_none_or(|ready| ready.status == ConditionStatus::Unknown) {
            self.under_way("Begun", "it hasn't been looked at yet");
        }
    }

    /// It isn't looked at: what was known of its work isn't any more.
    pub(crate) fn left(&mut self, reason: &str, message: &str) {
        self.remove(ConditionType::Reconciling);
        self.remove(ConditionType::Stalled);
        self.set(
            ConditionType::Ready,
            ConditionStatus::Unknown,
            reason,
            message,
        );
    }

    /// What was found wrong when it was last looked at says nothing of it now.
    pub(crate) fn unknown_since(&mut self, reason: &str, message: &str) {
        let conditions = &self.record.status.conditions;
        let lost = conditions
            .get(ConditionType::Reachable)
            .is_some_and(|reachable| reachable.status == ConditionStatus::False);
        if lost {
            self.set(
                ConditionType::Reachable,
                ConditionStatus::Unknown,
                reason,
                message,
            );
        }
        if self.is_true(ConditionType::Drifted) {
            self.remove(ConditionType::Drifted);
        }
    }

    /// Takes over what a run found out.
    pub(crate) fn after(&mut self, ran: &Ran, failures: Counted) {
        let contact = match &ran.ended {
            Ended::Failed(failed) | Ended::Partly(failed) => failed.contact,
            _ => Contact::Made,
        };
        self.reachable(ran, contact);
        if let Some(seen) = &ran.seen {
            let status = &mut self.record.status;
            status.last_seen = Some(self.now);
            status.ledger_sequence = Some(seen.ledger.sequence);
            status.resources = seen.resources;
            if ran.mode == Mode::Drive {
                status.held = Some(ran.goal.digest);
            }
        }
        if let Some(planned) = &ran.planned {
            if ran.mode == Mode::Drive && planned.refusal.is_none() {
                self.drift(ran, planned);
            }
            self.differing(ran, planned);
        }
        match failures {
            Counted::Failure => {
                let failures = &mut self.record.status.failures;
                *failures = failures.saturating_add(1);
            }
            Counted::None => {}
            Counted::Success => self.record.status.failures = 0,
        }
        self.work(ran);
    }

    fn reachable(&mut self, ran: &Ran, contact: Contact) {
        match (&ran.ended, contact) {
            (Ended::Failed(failed), Contact::Lost) => {
                let (reason, message) = (failed.reason, failed.message.clone());
                self.set(
                    ConditionType::Reachable,
                    ConditionStatus::False,
                    reason,
                    message,
                );
            }
            // A run that never came to the host says nothing of it.
            (Ended::Failed(_), Contact::Made) if ran.seen.is_none() && ran.phases.is_empty() => {}
            _ => self.set(
                ConditionType::Reachable,
                ConditionStatus::True,
                "Connected",
                "it answered at the last attempt",
            ),
        }
    }

    /// Drift that is left is told at once; drift that was put right only if it comes again.
    fn drift(&mut self, ran: &Ran, planned: &Planned) {
        let names = |all: Vec<&plumb_api::Address>| -> Vec<String> {
            all.into_iter().map(ToString::to_string).collect()
        };
        let held = names(planned.drift_to_tell().map(|held| &held.address).collect());
        let done = |change: &&Change| ran.applied.iter().any(|applied| applied.id == change.id);
        let (corrected, remaining): (Vec<_>, Vec<_>) = planned.corrections().partition(done);
        let corrected = names(
            corrected
                .into_iter()
                .map(|change| &change.address)
                .collect(),
        );
        let remaining = names(
            remaining
                .into_iter()
                .map(|change| &change.address)
                .collect(),
        );
        let runs = if corrected.is_empty() && remaining.is_empty() {
            0
        } else {
            self.record.drift_runs.saturating_add(1)
        };
        self.record.drift_runs = runs;
        let (status, reason, message) = if !held.is_empty() {
            let message = format!("{} moved and is left as found", named(&held));
            (ConditionStatus::True, "DriftHeld", message)
        } else if !remaining.is_empty() && runs == 1 {
            let message = format!("{} moved and isn't put back yet", named(&remaining));
            (ConditionStatus::True, DRIFT_CORRECTING, message)
        } else if !remaining.is_empty() {
            let message = format!("{} couldn't be put back in {runs} runs", named(&remaining));
            (ConditionStatus::True, "DriftRemains", message)
        } else if runs > 1 {
            let message = format!("{} moved again, {runs} runs in a row", named(&corrected));
            (ConditionStatus::True, "DriftRecurs", message)
        } else if runs == 1 {
            let message = format!("{} moved and was put back", named(&corrected));
            (ConditionStatus::False, "DriftCorrected", message)
        } else {
            let message = "nothing moved by itself".to_owned();
            (ConditionStatus::False, "NoDrift", message)
        };
        self.set(ConditionType::Drifted, status, reason, message);
    }

    fn differing(&mut self, ran: &Ran, planned: &Planned) {
        let done: std::collections::BTreeSet<_> = ran
            .outcomes
            .iter()
            .filter(|(_, what)| matches!(*what, "applied" | "unchanged"))
            .map(|(change, _)| &change.address)
            .collect();
        self.record.status.differing = planned
            .differing()
            .into_iter()
            .filter(|address| !done.contains(address))
            .take(NAMED)
            .map(ToString::to_string)
            .collect();
    }

    /// Ready, Reconciling and Stalled.
    fn work(&mut self, ran: &Ran) {
        let short = |revision: &str| revision.chars().take(12).collect::<String>();
        match &ran.ended {
            Ended::Settled => {
                self.remove(ConditionType::Reconciling);
                self.remove(ConditionType::Stalled);
                self.record.status.revision = Some(ran.goal.revision.clone());
                let drift = self.record.status.conditions.get(ConditionType::Drifted);
                let held = drift
                    .filter(|d| d.status == ConditionStatus::True && d.reason == "DriftHeld")
                    .map(|drift| drift.message.clone());
                if let Some(message) = held {
                    self.set(ConditionType::Ready, ConditionStatus::False, "Drifted", message);
                } else {
                    self.record.status.last_success = Some(self.now);
                    let message = format!("as {} says", short(&ran.goal.revision));
                    self.set(ConditionType::Ready, ConditionStatus::True, "Settled", message);
                }
            }
            Ended::Looked => {
                if !self.is_true(ConditionType::Stalled) {
                    self.under_way(AWAITING_TURN, "it was looked at and waits for its turn");
                }
            }
            Ended::Refused(refusal) => {
                let message = match refusal.hint() {
                    Some(hint) => format!("{refusal}; {hint}"),
                    None => refusal.to_string(),
                };
                self.failed(refusal.retry(), refusal.reason(), &message);
            }
            Ended::Partly(failed) | Ended::Failed(failed) => {
                self.failed(failed.retry, failed.reason, &failed.message);
            }
            Ended::Newer { ran } => self.stalled(
                "WouldGoBack",
                &format!(
                    "the host ran {}, which comes after what it would be driven to; going back needs a signed commit with a `Rollback-To:` trailer",
                    short(ran)
                ),
            ),
            Ended::OffChain { ran } => self.stalled(
                "OffVerifiedChain",
                &format!(
                    "the host ran {}, which isn't on the verified chain: somebody else drives it, or drove it; nothing is changed on it",
                    short(ran)
                ),
            ),
            Ended::Rewound { known, found } => self.stalled(
                "LedgerRewound",
                &format!(
                    "the host's ledger is at {found} and was at {known} before: the machine was put back to an earlier state; `plumb forget {}` accepts that",
                    self.record.status.host
                ),
            ),
        }
    }

    fn failed(&mut self, retry: Retry, reason: &str, message: &str) {
        match retry {
            Retry::Stalled => self.stalled(reason, message),
            Retry::Transient | Retry::Waiting => self.under_way(reason, message),
        }
    }

    /// A host that waits for its turn says what it waits for.
    pub(crate) fn wait(&mut self, turn: &Turn) {
        let ready = self.record.status.conditions.get(ConditionType::Ready);
        if ready.is_some_and(|ready| ready.reason == AWAITING_TURN) {
            let message = match turn {
                Turn::Comes => "it was looked at and waits for its turn".to_owned(),
                Turn::Halted(why) => format!("it was looked at and waits: {why}"),
            };
            self.under_way(AWAITING_TURN, &message);
        }
    }

    /// Why the host can't be worked on, if that is so: reason and message.
    fn in_the_way(&self) -> Option<(String, String)> {
        let conditions = &self.record.status.conditions;
        let bad = |kind, status: ConditionStatus| {
            let condition = conditions.get(kind);
            condition.filter(|condition| condition.status == status)
        };
        // Another failure may be of the old target, and the new one its cure.
        bad(ConditionType::Stalled, ConditionStatus::True)
            .filter(|stalled| NO_WAY_IN.contains(&stalled.reason.as_str()))
            .or_else(|| bad(ConditionType::Reachable, ConditionStatus::False))
            .map(|condition| (condition.reason.clone(), condition.message.clone()))
    }

    /// Whether the host runs the newest accepted revision.
    pub(crate) fn synced(&mut self, head: &str, wanted: Option<plumb_api::Digest>, turn: &Turn) {
        let target = self.record.status.target.clone();
        let revision = self.record.status.revision.clone();
        let short: String = head.chars().take(12).collect();
        let at_target = |target: &Target| Some(&target.revision) == revision.as_ref();
        match target {
            Some(target) if Some(target.digest) == wanted && at_target(&target) => {
                let message = format!("it runs {short}");
                self.set(
                    ConditionType::Synced,
                    ConditionStatus::True,
                    "Newest",
                    message,
                );
            }
            Some(target) if Some(target.digest) == wanted => {
                let message = format!("it is on its way to {short}");
                self.set(
                    ConditionType::Synced,
                    ConditionStatus::False,
                    "UnderWay",
                    message,
                );
            }
            _ => {
                // A host that can't be worked on doesn't wait for a turn.
                let (reason, message) = match (self.in_the_way(), turn) {
                    (Some((reason, why)), _) => (reason, format!("it doesn't get {short}: {why}")),
                    (None, Turn::Comes) => (
                        AWAITING_TURN.to_owned(),
                        format!("it waits for its turn to get {short}"),
                    ),
                    (None, Turn::Halted(why)) => (
                        AWAITING_TURN.to_owned(),
                        format!("it waits to get {short}: {why}"),
                    ),
                };
                self.set(
                    ConditionType::Synced,
                    ConditionStatus::False,
                    &reason,
                    message,
                );
                self.wait(turn);
            }
        }
    }
}

/// What a run counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// A failure whose wait had passed.
    Failure,
    /// Neither.
    None,
    /// It went well.
    Success,
}

/// The first addresses, and how many more.
pub(crate) fn named(all: &[String]) -> String {
    match all.len() {
        0..=3 => all.join(", "),
        n => format!("{} and {} more", all[..3].join(", "), n - 3),
    }
}

/// What is wrong with a set of conditions, by the rules that every status keeps to. Nothing, one
/// hopes; tests look after each write.
#[cfg(test)]
pub(crate) fn violations(record: &HostRecord) -> Vec<String> {
    use ConditionType::{Ready, Reconciling, Stalled};
    let conditions = &record.status.conditions;
    let mut wrong = Vec::new();
    let mut rule = |broken: bool, what: &str| {
        if broken {
            wrong.push(format!("{}: {what}: {conditions:?}", record.status.host));
        }
    };
    rule(
        conditions.is_true(Ready) && conditions.is_true(Stalled),
        "ready and stalled",
    );
    rule(
        conditions.is_true(Ready) && conditions.is_true(Reconciling),
        "ready and reconciling",
    );
    rule(
        conditions.is_true(Stalled) && conditions.is_true(Reconciling),
        "stalled and reconciling",
    );
    rule(
        conditions.get(Ready).is_none(),
        "nothing is said of readiness",
    );
    for kind in [Reconciling, Stalled, ConditionType::Suspended] {
        let there = conditions.get(kind);
        rule(
            there.is_some_and(|c| c.status != ConditionStatus::True),
            "a condition that is only there while true isn't",
        );
        let ready = conditions.get(Ready);
        let differs = |c: &Condition| ready.is_some_and(|r| r.reason != c.reason);
        rule(
            kind == Stalled && there.is_some_and(differs),
            "ready and stalled give different reasons",
        );
    }
    for condition in conditions.iter() {
        let word = condition.reason.chars().all(char::is_alphanumeric)
            && condition.reason.starts_with(char::is_uppercase);
        rule(!word, "a reason isn't one CamelCase word");
        rule(condition.message.is_empty(), "a message is empty");
    }
    rule(
        conditions.is_true(Ready) && !conditions.is_true(ConditionType::Reachable),
        "ready and not reachable",
    );
    rule(
        conditions.is_true(ConditionType::Synced) && record.status.target.is_none(),
        "synced without a target",
    );
    rule(
        record.status.differing.len() > NAMED,
        "too many addresses are named",
    );
    wrong
}
