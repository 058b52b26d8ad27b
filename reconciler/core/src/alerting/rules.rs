//! The alerting rules: they decide from conditions and times alone which alerts fire.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use plumb_api::HostName;

use super::{AlertName, Firing, Outlook, labels};
use crate::message::Message;
use crate::rollout::Rollout;
use crate::status::{Condition, ConditionStatus, ConditionType, HostStatus};
use crate::view::CommitVerdict;

/// The times and counts after which conditions raise alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Time for which a host is unreachable before an alert fires.
    pub unreachable_after: SignedDuration,
    /// Time for which a commit waits, only for approvals, before an alert fires.
    pub pending_after: SignedDuration,
    /// Time for which a host's manifests are unusable before an alert fires.
    pub hold_after: SignedDuration,
    /// Time for which the repository can't be fetched before an alert fires.
    pub source_after: SignedDuration,
    /// Number of failures of a host in a row at which an alert fires.
    pub failures: u32,
    /// The base address of the runbooks, to which the alert's name is added: `RUNBOOKS/plumbhostdrifted`. If
    /// `None`, alerts have no `runbook_url`.
    pub runbooks: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            unreachable_after: SignedDuration::from_mins(15),
            pending_after: SignedDuration::from_hours(1),
            hold_after: SignedDuration::from_hours(1),
            source_after: SignedDuration::from_mins(10),
            failures: 3,
            runbooks: None,
        }
    }
}

/// The status and labels of a host, as the rules read them.
#[derive(Debug, Clone, Copy)]
pub struct HostSnapshot<'a> {
    /// The host's status.
    pub status: &'a HostStatus,
    /// The labels of its manifest.
    pub labels: &'a BTreeMap<String, String>,
}

/// A commit that isn't accepted. Alerts show `because` alone, which contains no text of the commit's author:
/// an untrusted author must not put text into Plumb's alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCommit {
    /// The commit.
    pub commit: String,
    /// The verdict on it.
    pub verdict: CommitVerdict,
    /// The kind of hold.
    pub hold: Hold,
    /// The reasons, a sentence each, as the status page shows them.
    pub reasons: Vec<String>,
    /// The same reasons without codes, as conditions and records have them.
    pub sentences: Vec<String>,
    /// The codes of the reasons.
    pub codes: Vec<String>,
    /// The codes and the missing approvals, in Plumb's own words.
    pub because: String,
    /// The number of later commits, which wait for this one.
    pub behind: usize,
    /// The last accepted commit.
    pub accepted: Option<String>,
    /// The time at which the controller first saw it.
    pub since: Timestamp,
}

/// The kind of hold of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The commit can never be accepted, its signature is missing or unusable, or something else about it is
    /// alarming.
    Alarm,
    /// The commit only waits for approvals.
    Waiting,
}

/// The rules with their settings, for one fleet at one time.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The fleet's name, once it is known.
    pub fleet: Option<&'a str>,
    /// The times and counts after which alerts fire.
    pub settings: &'a Settings,
    /// The current time.
    pub now: Timestamp,
}

impl Rules<'_> {
    /// Creates an alert. Its labels are its name and severity, the fleet, the host, and the labels of the
    /// host's manifest.
    fn alert(
        &self,
        name: AlertName,
        host: Option<&HostSnapshot<'_>>,
        summary: String,
        description: String,
        revision: Option<&str>,
    ) -> Firing {
        let none = BTreeMap::new();
        let labels = labels::all(
            [
                ("alertname", name.to_string()),
                ("severity", name.severity().to_owned()),
                ("fleet", self.fleet.unwrap_or_default().to_owned()),
                (
                    "host",
                    host.map(|h| h.status.host.to_string()).unwrap_or_default(),
                ),
            ],
            host.map_or(&none, |host| host.labels),
        );
        let summary = Message::new(summary).headline().to_owned();
        let mut annotations = BTreeMap::from([
            ("summary".to_owned(), summary),
            ("description".to_owned(), description),
        ]);
        if let Some(runbooks) = &self.settings.runbooks {
            let runbooks = runbooks.trim_end_matches('/');
            let page = format!("{runbooks}/{}", name.as_str().to_lowercase());
            annotations.insert("runbook_url".to_owned(), page);
        }
        if let Some(revision) = revision {
            annotations.insert("revision".to_owned(), revision.to_owned());
        }
        Firing {
            labels,
            annotations,
        }
    }

    /// Returns the alerts of a host.
    pub fn of_host(&self, host: HostSnapshot<'_>) -> Outlook {
        let mut outlook = Outlook::default();
        let status = host.status;
        let conditions = &status.conditions;
        let name = &status.host;
        let revision = status
            .target
            .as_ref()
            .map(|target| target.revision.as_str())
            .or(status.revision.as_deref());
        let alert = |alert, summary: String, description: String| {
            self.alert(alert, Some(&host), summary, description, revision)
        };
        let held = |kind, status: ConditionStatus| -> Option<&Condition> {
            conditions
                .get(kind)
                .filter(|condition| condition.status == status)
        };
        if let Some(synced) = held(ConditionType::Synced, ConditionStatus::False) {
            match synced.reason.alert() {
                Some(AlertName::HostReleased) => {
                    outlook.firing.push(alert(
                        AlertName::HostReleased,
                        format!("{name} is no longer in git and no longer driven"),
                        format!(
                            "Plumb leaves what it made there. Run `plumb forget {name}` to end this alert. To remove what Plumb made, add the Host to git again with `state: retired`."
                        ),
                    ));
                    // Plumb doesn't contact a released host, so its other conditions are out of date.
                    return outlook;
                }
                Some(AlertName::HostHeld)
                    if outlook.lasted(
                        synced.last_transition_time,
                        self.settings.hold_after,
                        self.now,
                    ) =>
                {
                    outlook.firing.push(alert(
                        AlertName::HostHeld,
                        format!(
                            "{name} stays at its last desired state: its manifests have errors"
                        ),
                        synced.message.full_text(),
                    ));
                }
                _ => {}
            }
        }
        if conditions.is_true(ConditionType::Suspended) {
            return outlook;
        }
        let drifted = held(ConditionType::Drifted, ConditionStatus::True);
        if let Some(drifted) = drifted.filter(|drifted| drifted.reason.alert().is_some()) {
            outlook.firing.push(alert(
                AlertName::HostDrifted,
                format!("{name} differs from git: {}", drifted.message),
                drifted.message.full_text(),
            ));
        }
        if let Some(stalled) = held(ConditionType::Stalled, ConditionStatus::True) {
            let (name, summary) = match stalled.reason.alert() {
                Some(AlertName::HostOffVerifiedChain) => (
                    AlertName::HostOffVerifiedChain,
                    format!(
                        "{name} ran a revision that its target doesn't contain; nothing is changed on it"
                    ),
                ),
                Some(AlertName::SecretDecryptFailed) => (
                    AlertName::SecretDecryptFailed,
                    format!("{name} refuses a secret: {}", stalled.message),
                ),
                _ => (
                    AlertName::HostReconcileFailing,
                    format!("{name}: apply failed, and a retry won't help"),
                ),
            };
            outlook
                .firing
                .push(alert(name, summary, stalled.message.full_text()));
            return outlook;
        }
        if let Some(unreachable) = held(ConditionType::Reachable, ConditionStatus::False) {
            let since = unreachable.last_transition_time;
            if outlook.lasted(since, self.settings.unreachable_after, self.now) {
                outlook.firing.push(alert(
                    AlertName::HostUnreachable,
                    format!("{name} is unreachable"),
                    unreachable.message.full_text(),
                ));
            }
        } else if status.failures >= self.settings.failures {
            let why = conditions.get(ConditionType::Ready);
            outlook.firing.push(alert(
                AlertName::HostReconcileFailing,
                format!("{name}: apply keeps failing"),
                why.map(|ready| ready.message.full_text())
                    .unwrap_or_default(),
            ));
        }
        outlook
    }

    /// Returns the alerts of the source: about the first commit that isn't accepted, or about the reason why
    /// nothing can be verified.
    pub fn of_source(&self, held: Option<&HeldCommit>, root_error: Option<&str>) -> Outlook {
        let mut outlook = Outlook::default();
        if let Some(held) = held
            && (held.hold == Hold::Alarm
                || outlook.lasted(held.since, self.settings.pending_after, self.now))
        {
            outlook.firing.push(self.of_commit(held));
        }
        if let Some(why) = root_error {
            outlook.firing.push(self.alert(
                AlertName::CommitVerificationFailed,
                None,
                "no commit of the branch can be verified".to_owned(),
                format!("{why}."),
                None,
            ));
        }
        outlook
    }

    /// Returns the alert about the source itself, from its condition `Ready`. If an accepted revision can't be
    /// loaded (`unloadable`), the alert fires at once, because no host gets the revision and a retry doesn't
    /// help.
    pub fn of_fetch(&self, ready: Option<&Condition>, unloadable: Option<&str>) -> Outlook {
        let mut outlook = Outlook::default();
        let Some(ready) = ready.filter(|ready| ready.status == ConditionStatus::False) else {
            return outlook;
        };
        let since = ready.last_transition_time;
        let summary = match unloadable {
            Some(commit) => {
                let short: String = commit.chars().take(12).collect();
                format!("the accepted revision {short} can't be loaded")
            }
            None if outlook.lasted(since, self.settings.source_after, self.now) => {
                "the repository can't be fetched".to_owned()
            }
            None => return outlook,
        };
        let message = format!(
            "{}\nHosts stay at the revision before.",
            ready.message.full_text()
        );
        let alert = self.alert(AlertName::SourceFailing, None, summary, message, unloadable);
        outlook.firing.push(alert);
        outlook
    }

    fn of_commit(&self, held: &HeldCommit) -> Firing {
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
            1 => " 1 more commit waits behind it.".to_owned(),
            n => format!(" {n} more commits wait behind it."),
        };
        let (name, summary) = match held.hold {
            Hold::Alarm => (
                AlertName::CommitVerificationFailed,
                format!("commit {short} isn't accepted"),
            ),
            Hold::Waiting => (
                AlertName::ApprovalPending,
                format!("commit {short} waits for approval"),
            ),
        };
        let description = format!("{} {stays}{behind}", held.because);
        self.alert(name, None, summary, description, Some(&held.commit))
    }

    /// Returns the alert about halted rollouts.
    pub fn of_rollouts<'r>(&self, halted: impl IntoIterator<Item = &'r Rollout>) -> Outlook {
        let mut failed: Vec<(&HostName, &str)> = Vec::new();
        let mut revision = None;
        for rollout in halted {
            let hosts = rollout.failed().iter();
            failed.extend(hosts.map(|(host, failure)| (host, failure.reason.as_str())));
            revision = rollout.revision().or(revision);
        }
        let summary = match failed.as_slice() {
            [] => return Outlook::default(),
            [(host, _)] => format!("rollout halted: {host} failed"),
            [(host, _), others @ ..] => {
                format!("rollout halted: {host} and {} more failed", others.len())
            }
        };
        let first: Vec<_> = failed
            .iter()
            .take(5)
            .map(|(host, reason)| format!("{host}: {reason}"))
            .collect();
        let firing = self.alert(
            AlertName::RolloutHalted,
            None,
            summary,
            format!(
                "{}. The rollout resumes when these hosts succeed, or when a commit changes their desired state. Hosts that its change doesn't touch go on.",
                first.join("; ")
            ),
            revision,
        );
        Outlook {
            firing: vec![firing],
            next: None,
        }
    }
}
