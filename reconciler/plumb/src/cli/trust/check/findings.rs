//! Finds errors in a policy that can be parsed, and settings that are probably mistakes.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use plumb_trust::policy::{
    Authority, NeedOrigin, POLICY_PATH, Pattern, Satisfiability, TRUST_PATH,
};
use serde::Serialize;

use super::super::exceptions::{endless_freeze_warning, freezes};
use super::super::folder::Folder;
use super::super::heartbeat;
use super::super::revocations::{self, Revocations};
use crate::output::one_of;
use crate::workspace::describe_unsatisfiable;

/// A key that ends within this time gets a warning.
const EXPIRY_NOTICE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A warning is given if the policy can't be met any more at some moment within this time.
const FORECAST: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Maximum number of paths that are named.
const NAMED: usize = 5;

/// True if `trust/` differs between a commit and `other`, which is another commit or, if `None`, the working
/// tree.
fn differs(folder: &Folder, commit: &str, other: Option<&str>) -> bool {
    let git = folder.git();
    let mut changed = vec!["diff", "--name-only", commit];
    changed.extend(other);
    changed.extend(["--", TRUST_PATH]);
    let untracked = [
        "ls-files",
        "--others",
        "--exclude-standard",
        "--",
        TRUST_PATH,
    ];
    git.try_ask(&changed).is_some() || other.is_none() && git.try_ask(&untracked).is_some()
}

/// Describes what nobody can do any more if too few people are left for a rule or an emergency.
fn no_longer(rule: &NeedOrigin) -> String {
    match rule {
        NeedOrigin::Emergency => "nobody could declare an emergency any more".to_owned(),
        NeedOrigin::Rule(paths) => format!("nobody could change {paths} any more"),
    }
}

/// A key that ends soon.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ending {
    identity: String,
    key: String,
    end: Timestamp,
}

/// The errors and warnings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) ending: Vec<Ending>,
}

impl Findings {
    pub(super) fn of(
        folder: &Folder,
        authority: &Authority,
        revoked: &Revocations,
        check: &Satisfiability,
        at: Timestamp,
    ) -> Self {
        let mut findings = Self::default();
        findings.satisfiable(authority, check);
        findings.against_the_newest_commit(folder, authority);
        findings.keys(authority, revoked, check, at);
        findings.people(authority, check);
        findings.rules(folder, authority);
        let endless = freezes(&authority.policy, at).filter_map(endless_freeze_warning);
        findings.warnings.extend(endless);
        findings.warnings.extend(revoked.incomplete(authority));
        findings
            .warnings
            .extend(heartbeat::warning(&authority.policy));
        findings
    }

    fn satisfiable(&mut self, authority: &Authority, check: &Satisfiability) {
        for lacking in &check.unsatisfiable {
            self.errors.push(describe_unsatisfiable(lacking));
        }
        for locked_out in &check.locked_out {
            let hint = locked_out
                .unusable
                .hint
                .iter()
                .map(|hint| format!("; {hint}"));
            let hint: String = hint.collect();
            self.errors.push(format!("{locked_out}{hint}"));
        }
        // Without a spare, one lost key locks everybody out.
        let policy = &authority.policy;
        let tight: BTreeSet<&str> = policy
            .rules_for(TRUST_PATH)
            .flat_map(|(_, rule)| &rule.need)
            .filter(|need| {
                let members = policy.group(&need.from).len();
                members > 1 && u32::try_from(members).is_ok_and(|members| members == need.count)
            })
            .map(|need| need.from.as_str())
            .collect();
        for group in tight {
            self.warnings.push(format!(
                "trust/ needs everybody of {group}: if one of them loses the key, nobody can change the policy any more"
            ));
        }
    }

    /// Finds the errors for which a commit of the working tree would be rejected.
    fn against_the_newest_commit(&mut self, folder: &Folder, authority: &Authority) {
        let Some(newest) = folder.committed() else {
            return;
        };
        // If the newest commit is itself rejected for its serial, the next commit must fix the serial.
        let refused = |before: &Authority| {
            newest.policy.serial <= before.policy.serial && differs(folder, "HEAD^", Some("HEAD"))
        };
        let before = folder.committed_in("HEAD^").filter(refused);
        let (committed, from, base) = match before {
            Some(before) => (before, "the commit before the newest", "HEAD^"),
            None => (newest, "the newest commit", "HEAD"),
        };
        let (old, new) = (&committed.policy, &authority.policy);
        if new.serial <= old.serial && differs(folder, base, None) {
            self.errors.push(format!(
                "trust/ differs from {from}, but its serial is {} and that commit has {}: raise it",
                new.serial, old.serial
            ));
        }
        if new.repository != old.repository || new.reference != old.reference {
            self.errors.push(
                "`repository` and `ref` can't be changed: restore them from the newest commit"
                    .to_owned(),
            );
        }
    }

    fn keys(
        &mut self,
        authority: &Authority,
        revoked: &Revocations,
        check: &Satisfiability,
        at: Timestamp,
    ) {
        let mut ends = BTreeSet::new();
        for identity in &authority.policy.identities {
            for key in &identity.keys {
                if let Some(since) = revoked.since(authority, &key.name) {
                    self.warnings.push(format!(
                        "the key {} of {} is {} and counts for nothing: plumb trust rotate {} --key NEW --old {}, or plumb trust remove",
                        key.name,
                        identity.name,
                        revocations::describe(since),
                        identity.name,
                        key.name
                    ));
                    continue;
                }
                if let Some(why) = authority.unusable(&key.name, at) {
                    let mut errors = check.locked_out.iter();
                    if !errors.any(|locked_out| locked_out.key == key.name) {
                        self.warnings
                            .push(format!("the key {} of {}: {why}", key.name, identity.name));
                    }
                    continue;
                }
                let Some(end) = authority.end_of(&key.name, at) else {
                    continue;
                };
                ends.insert(end);
                if end.duration_since(at) <= EXPIRY_NOTICE {
                    self.warnings.push(format!(
                        "the key {} of {} expires at {end}: plumb trust rotate {} --key NEW",
                        key.name, identity.name, identity.name
                    ));
                    self.ending.push(Ending {
                        identity: identity.name.clone(),
                        key: key.name.to_string(),
                        end,
                    });
                }
            }
        }
        if !revoked.check(authority, at).unsatisfiable.is_empty() {
            return;
        }
        let locked = ends
            .into_iter()
            .filter(|end| end.duration_since(at) <= FORECAST)
            .find_map(|end| {
                let lacking = revoked
                    .check(authority, end)
                    .unsatisfiable
                    .into_iter()
                    .next()?;
                Some((end, lacking))
            });
        if let Some((end, lacking)) = locked {
            self.warnings.push(format!(
                "from {end} on, {}: keys expire, and it needs {} of {}",
                no_longer(&lacking.rule),
                lacking.count,
                lacking.from
            ));
        }
    }

    fn people(&mut self, authority: &Authority, check: &Satisfiability) {
        let policy = &authority.policy;
        for (index, identity) in policy.identities.iter().enumerate() {
            let grouped = policy.groups.values().any(|group| group.contains(&index));
            let beats = policy.freshness.as_ref().is_some_and(|f| f.from == index);
            if !grouped && !beats {
                self.warnings.push(format!(
                    "{0} is in no group, so {0}'s signatures don't count",
                    identity.name
                ));
            }
        }
        let needed: BTreeSet<&str> = policy
            .rules
            .iter()
            .flat_map(|rule| &rule.need)
            .chain(policy.emergency.iter().flat_map(|e| &e.need))
            .map(|need| need.from.as_str())
            .collect();
        for group in policy.groups.keys() {
            if !needed.contains(group.as_str()) {
                self.warnings
                    .push(format!("no rule needs the group {group}"));
            }
        }
        self.warnings.extend(check.doubled.iter().cloned());
    }

    fn rules(&mut self, folder: &Folder, authority: &Authority) {
        let list = [
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ];
        let Some(listed) = folder.git().try_ask(&list) else {
            return;
        };
        let files: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
        let policy = &authority.policy;
        for rule in &policy.rules {
            let nothing = |pattern: &&Pattern| !files.iter().any(|file| pattern.owns(file));
            let empty: Vec<_> = rule
                .paths
                .iter()
                .filter(nothing)
                .map(Pattern::as_str)
                .collect();
            if !empty.is_empty() {
                self.warnings.push(format!(
                    "no file matches {} ({POLICY_PATH}); patterns start at the repository's root",
                    one_of(&empty)
                ));
            }
        }
        let stray: Vec<&str> = files
            .into_iter()
            .filter(|file| policy.rules_for(file).next().is_none())
            .collect();
        if !stray.is_empty() {
            let more = stray.len().saturating_sub(NAMED);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            self.warnings.push(format!(
                "no rule matches {}{more}: commits that change them are rejected",
                stray[..stray.len().min(NAMED)].join(", ")
            ));
        }
    }
}
