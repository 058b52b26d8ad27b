//! The rules: what fires, from conditions and times alone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use plumb_api::HostName;

use super::{Firing, labels};
use crate::rollout::Rollout;
use crate::status::{Condition, ConditionStatus, ConditionType, HostStatus};

/// The reason of `Drifted` while drift that was found for the first time is being put back: alone
/// among them, it doesn't alert.
pub const DRIFT_CORRECTING: &str = "DriftCorrecting";

/// The reasons of hosts that ran what the verified chain doesn't lead to: somebody drives them, or set
/// the branch back.
const OFF_CHAIN: [&str; 2] = ["OffVerifiedChain", "WouldGoBack"];

/// The alerts that commits raise. While the branch can't be looked at, those that fire go on.
pub const OF_COMMITS: [&str; 2] = ["PlumbCommitVerificationFailed", "PlumbApprovalPending"];

/// How long things may last before they alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A host that can't be reached.
    pub unreachable_after: SignedDuration,
    /// A commit that only waits for approvals.
    pub pending_after: SignedDuration,
    /// A host whose manifests can't be used.
    pub hold_after: SignedDuration,
    /// Failures in a row of one host.
    pub failures: u32,
    /// Where runbooks are: `RUNBOOKS/plumbhostdrifted`.
    pub runbooks: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            unreachable_after: SignedDuration::from_mins(15),
            pending_after: SignedDuration::from_hours(1),
            hold_after: SignedDuration::from_hours(1),
            failures: 3,
            runbooks: "https://plumb.dev/runbooks".to_owned(),
        }
    }
}

/// Everything that alerts are made of.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The fleet's name, once it is known.
    pub fleet: Option<&'a str>,
    /// Its hosts.
    pub hosts: Vec<HostFacts<'a>>,
    /// The first commit that isn't accepted.
    pub held: Option<HeldCommit>,
    /// Why no commit of the branch can be judged, where that is so; no text of an author is in it.
    pub unfounded: Option<&'a str>,
    /// The rollout, and whether it is halted.
    pub rollout: Option<&'a Rollout>,
}

/// A host's part.
#[derive(Debug, Clone, Copy)]
pub struct HostFacts<'a> {
    /// Its status.
    pub status: &'a HostStatus,
    /// The labels of its manifest.
    pub labels: &'a BTreeMap<String, String>,
}

/// A commit that isn't accepted. No text of its author is in it: what isn't trusted doesn't speak
/// through our alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCommit {
    /// The commit.
    pub commit: String,
    /// Why it is held.
    pub hold: Hold,
    /// The reasons' codes and what is missing, in words of ours.
    pub because: String,
    /// How many commits wait behind it.
    pub behind: usize,
    /// The last accepted commit.
    pub accepted: Option<String>,
    /// When it was first seen.
    pub since: Timestamp,
}

/// Why a commit is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It can never be accepted, nobody stands behind it, or something about it is alarming.
    Alarm,
    /// It only waits for approvals.
    Waiting,
}

/// The alerts that fire now.
pub fn firing(facts: &Facts<'_>, settings: &Settings, now: Timestamp) -> Vec<Firing> {
    let mut all = Vec::new();
    for host in &facts.hosts {
        of_host(facts, *host, settings, now, &mut all);
    }
    if let Some(held) = &facts.held {
        all.extend(of_commit(facts, held, settings, now));
    }
    if let Some(why) = facts.unfounded {
        let maker = Maker {
            facts,
            settings,
            name: "PlumbCommitVerificationFailed",
            severity: "critical",
        };
        let summary = "no commit of the branch can be judged".to_owned();
        all.push(maker.alert(None, summary, format!("{why}."), None));
    }
    if let Some(rollout) = facts.rollout.filter(|rollout| !rollout.failed().is_empty()) {
        all.push(of_rollout(facts, rollout, settings));
    }
    all
}

/// Makes an alert: name, severity and host are its identity.
struct Maker<'a> {
    facts: &'a Facts<'a>,
    settings: &'a Settings,
    name: &'static str,
    severity: &'static str,
}

impl Maker<'_> {
    fn alert(
        &self,
        host: Option<&HostFacts<'_>>,
        summary: String,
        description: String,
        revision: Option<&str>,
    ) -> Firing {
        let none = BTreeMap::new();
        let labels = labels::all(
            [
                ("alertname", self.name.to_owned()),
                ("severity", self.severity.to_owned()),
                ("fleet", self.facts.fleet.unwrap_or_default().to_owned()),
                (
                    "host",
                    host.map(|h| h.status.host.to_string()).unwrap_or_default(),
                ),
            ],
            host.map_or(&none, |host| host.labels),
        );
        let runbooks = self.settings.runbooks.trim_end_matches('/');
        let mut annotations = BTreeMap::from([
            ("summary".to_owned(), summary),
            ("description".to_owned(), description),
            (
                "runbook_url".to_owned(),
                format!("{runbooks}/{}", self.name.to_lowercase()),
            ),
        ]);
        if let Some(revision) = revision {
            annotations.insert("revision".to_owned(), revision.to_owned());
        }
        Firing {
            labels,
            annotations,
        }
    }
}

fn of_host(
    facts: &Facts<'_>,
    host: HostFacts<'_>,
    settings: &Settings,
    now: Timestamp,
    all: &mut Vec<Firing>,
) {
    let status = host.status;
    let conditions = &status.conditions;
    let name = &status.host;
    let revision = status
        .target
        .as_ref()
        .map(|target| target.revision.as_str())
        .or(status.revision.as_deref());
    let mut fire = |alert, severity, summary: String, description: String| {
        let maker = Maker {
            facts,
            settings,
            name: alert,
            severity,
        };
        all.push(maker.alert(Some(&host), summary, description, revision));
    };
    let held = |kind, status: ConditionStatus| -> Option<&Condition> {
        conditions
            .get(kind)
            .filter(|condition| condition.status == status)
    };
    if let Some(synced) = held(ConditionType::Synced, ConditionStatus::False) {
        if synced.reason == "Released" {
            fire(
                "PlumbHostReleased",
                "warning",
                format!("{name} is no longer in git and no longer driven"),
                format!(
                    "What Plumb made on it stays as it is. `plumb forget {name}` ends this alert; to have it taken back, put the Host into git again with `state: retired`."
                ),
            );
            // Nothing else is known of a host that isn't looked at.
            return;
        }
        let since = synced.last_transition_time;
        if synced.reason == "ManifestInvalid" && now.duration_since(since) >= settings.hold_after {
            fire(
                "PlumbHostHeld",
                "warning",
                format!("{name} keeps its last state: its manifests can't be used"),
                synced.message.clone(),
            );
        }
    }
    if conditions.is_true(ConditionType::Suspended) {
        return;
    }
    let drifted = held(ConditionType::Drifted, ConditionStatus::True);
    if let Some(drifted) = drifted.filter(|drifted| drifted.reason != DRIFT_CORRECTING) {
        fire(
            "PlumbHostDrifted",
            "warning",
            format!("{name} moved away from what git says"),
            drifted.message.clone(),
        );
    }
    if let Some(stalled) = held(ConditionType::Stalled, ConditionStatus::True) {
        if OFF_CHAIN.contains(&stalled.reason.as_str()) {
            fire(
                "PlumbHostOffVerifiedChain",
                "critical",
                format!(
                    "{name} ran a revision that the branch doesn't lead to, and is left as it is"
                ),
                stalled.message.clone(),
            );
            return;
        }
        fire(
            "PlumbHostReconcileFailing",
            "warning",
            format!("{name} can't be brought to what git says until something changes"),
            stalled.message.clone(),
        );
        return;
    }
    if let Some(unreachable) = held(ConditionType::Reachable, ConditionStatus::False) {
        let since = unreachable.last_transition_time;
        if now.duration_since(since) >= settings.unreachable_after {
            fire(
                "PlumbHostUnreachable",
                "warning",
                format!("{name} can't be reached"),
                unreachable.message.clone(),
            );
        }
    } else if status.failures >= settings.failures {
        let why = conditions.get(ConditionType::Ready);
        fire(
            "PlumbHostReconcileFailing",
            "warning",
            format!("{name} fails to come to what git says"),
            why.map(|ready| ready.message.clone()).unwrap_or_default(),
        );
    }
}

fn of_commit(
    facts: &Facts<'_>,
    held: &HeldCommit,
    settings: &Settings,
    now: Timestamp,
) -> Option<Firing> {
    let short: String = held.commit.chars().take(12).collect();
    let stays = match &held.accepted {
        Some(accepted) => format!(
            "The fleet stays at {}.",
            accepted.chars().take(12).collect::<String>()
        ),
        None => "Nothing was accepted before it.".to_owned(),
    };
    let behind = match held.behind {
        0 => String::new(),
        n => format!(" {n} more commits wait behind it."),
    };
    let (name, severity, summary) = match held.hold {
        Hold::Alarm => (
            "PlumbCommitVerificationFailed",
            "critical",
            format!("commit {short} isn't accepted"),
        ),
        Hold::Waiting if now.duration_since(held.since) >= settings.pending_after => (
            "PlumbApprovalPending",
            "info",
            format!("commit {short} waits for approval"),
        ),
        Hold::Waiting => return None,
    };
    let maker = Maker {
        facts,
        settings,
        name,
        severity,
    };
    let description = format!("{} {stays}{behind}", held.because);
    Some(maker.alert(None, summary, description, Some(&held.commit)))
}

fn of_rollout(facts: &Facts<'_>, rollout: &Rollout, settings: &Settings) -> Firing {
    let maker = Maker {
        facts,
        settings,
        name: "PlumbRolloutHalted",
        severity: "critical",
    };
    let failed: Vec<(&HostName, _)> = rollout.failed().iter().collect();
    let first: Vec<_> = failed
        .iter()
        .take(5)
        .map(|(host, failure)| format!("{host}: {}", failure.reason))
        .collect();
    maker.alert(
        None,
        format!("no further hosts change: {} failed", failed.len()),
        format!(
            "{}. It goes on when these hosts come through, or with a commit that changes what they should be.",
            first.join("; ")
        ),
        rollout.revision(),
    )
}
