//! `package`: observed by one `dpkg-query`, changed in one apt transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{PackageObserved, PackageSpec, PackageState};
use plumb_api::{Observed, Spec};

use super::apt::{self, Transaction};
use super::{Batch, Effect, Hands, Item, Provider, View, Work, not_in_a_sandbox, wrong_type};
use crate::error::Result;
use crate::sys::{Program, Sys};

pub(crate) struct Packages;

impl Provider for Packages {
    fn observe(&self, view: &View<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let names: BTreeSet<&str> = items.iter().map(|item| item.address.name()).collect();
        let installed = match query(view.sys, &names) {
            Ok(installed) => installed,
            Err(error) => return items.iter().map(|_| Err(error.clone())).collect(),
        };
        let latest: BTreeSet<&str> = items
            .iter()
            .filter(|item| matches!(item.spec, Spec::Package(spec) if spec.state == PackageState::Latest))
            .map(|item| item.address.name())
            .collect();
        let candidates = if latest.is_empty() {
            Ok(BTreeMap::new())
        } else {
            candidates(view.sys, &latest)
        };
        let one = |item: &Item<'_>| {
            let Spec::Package(spec) = item.spec else {
                return wrong_type(item.address);
            };
            let mut observed = installed
                .get(item.address.name())
                .cloned()
                .unwrap_or_default();
            if spec.state == PackageState::Latest {
                observed.candidate = candidates.clone()?.remove(item.address.name());
            }
            Ok(Observed::Package(observed))
        };
        items.iter().map(one).collect()
    }

    fn everything(&self) -> Spec {
        Spec::Package(PackageSpec::default())
    }

    /// A package that was there stays, in whatever version; one that we brought goes, and its
    /// configuration and data stay: purging could delete a database.
    fn back(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let Observed::Package(original) = original else {
            return Spec::Package(PackageSpec::default());
        };
        let hold = match managed {
            Some(Spec::Package(managed)) => managed.hold.map(|_| original.held),
            _ => None,
        };
        let was_there = original.version.is_some() || original.broken;
        Spec::Package(PackageSpec {
            state: if was_there {
                PackageState::Present
            } else {
                PackageState::Absent
            },
            hold,
            ..PackageSpec::default()
        })
    }

    fn batch(&self) -> Batch {
        Batch::Whole
    }

    fn apply(&self, hands: &mut Hands<'_>, work: &[Work<'_>]) -> Vec<Result<Effect>> {
        let outcome = transact(hands, work);
        work.iter()
            .map(|_| outcome.clone().map(|()| Effect::Done))
            .collect()
    }
}

/// A line of dpkg's answer: what is wanted, what is there, whether it needs reinstalling.
fn read(status: &str, version: &str) -> PackageObserved {
    let mut flags = status.chars();
    let (wanted, there, wrong) = (flags.next(), flags.next(), flags.next());
    // Waiting for a trigger is installed: the triggering package's own transaction settles it.
    let installed = matches!(there, Some('i' | 'W' | 't'));
    let broken = matches!(there, Some('H' | 'U' | 'F')) || wrong == Some('R');
    PackageObserved {
        version: (installed && !broken).then(|| version.to_owned()),
        candidate: None,
        config_files: there == Some('c'),
        broken,
        held: wanted == Some('h'),
    }
}

fn query(sys: &Sys, names: &BTreeSet<&str>) -> Result<BTreeMap<String, PackageObserved>> {
    if sys.is_sandbox() {
        return Err(not_in_a_sandbox("packages"));
    }
    let format = "-f=${Package}\\t${Architecture}\\t${db:Status-Abbrev}\\t${Version}\\n";
    let args = ["-W", format, "--"]
        .into_iter()
        .chain(names.iter().copied());
    // Status 1 says that some names aren't known, which is an answer.
    let output = Program::new("dpkg-query", args).run(sys)?;
    if output.status > 1 {
        return Err(AgentError::new(
            ErrorCode::CommandFailed,
            format!(
                "dpkg-query failed ({}): {}",
                output.status,
                output.complaint()
            ),
        ));
    }
    Ok(parse(&output.stdout, names))
}

fn parse(text: &str, names: &BTreeSet<&str>) -> BTreeMap<String, PackageObserved> {
    let mut found: BTreeMap<String, PackageObserved> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let (Some(package), Some(arch), Some(status)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let observed = read(status, fields.next().unwrap_or_default());
        for name in [package.to_owned(), format!("{package}:{arch}")] {
            if !names.contains(name.as_str()) {
                continue;
            }
            // Of several architectures the installed one answers for the bare name.
            let better = found.get(&name).is_none_or(|other| other.version.is_none());
            if better {
                found.insert(name, observed.clone());
            }
        }
    }
    found
}

/// The newest version that the sources have of each.
fn candidates(sys: &Sys, names: &BTreeSet<&str>) -> Result<BTreeMap<String, String>> {
    let args = std::iter::once("policy").chain(names.iter().copied());
    let output = Program::new("apt-cache", args).check(sys)?;
    Ok(parse_policy(&output.stdout))
}

fn parse_policy(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut name = None;
    for line in text.lines() {
        if let Some(package) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            name = Some(package.to_owned());
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ") {
            if let Some(name) = name.take().filter(|_| version != "(none)") {
                found.insert(name, version.to_owned());
            }
        }
    }
    found
}

/// What the batch needs of apt, as few transactions as its options allow: usually one.
fn transact(hands: &Hands<'_>, work: &[Work<'_>]) -> Result<()> {
    if hands.sys.is_sandbox() {
        return Err(not_in_a_sandbox("packages"));
    }
    apt::wait_for_others(hands.sys, Duration::from_secs(30 * 60))?;
    let mut groups: BTreeMap<(bool, Option<bool>), Transaction> = BTreeMap::new();
    let (mut hold, mut unhold, mut purge) = (Vec::new(), Vec::new(), Vec::new());
    let mut broken = false;
    for work in work {
        let (Spec::Package(spec), Observed::Package(observed)) = (work.spec, work.observed) else {
            return wrong_type(work.address);
        };
        let name = work.address.name().to_owned();
        broken |= observed.broken;
        if work.changes("hold") {
            if spec.hold == Some(true) {
                &mut hold
            } else {
                &mut unhold
            }
            .push(name.clone());
        } else if observed.held && (work.changes("version") || work.changes("state")) {
            if spec.hold != Some(true) {
                return Err(AgentError::new(
                    ErrorCode::Refused,
                    format!("{name} is held on this host, so it isn't changed"),
                )
                .hint("say `hold: false` or `hold: true` in the manifest to decide it there"));
            }
            // apt forgets the hold of what it changes.
            hold.push(name.clone());
        }
        let held = observed.held && spec.hold == Some(true);
        if !work.changes("state") && !work.changes("version") {
            continue;
        }
        let installed = observed.version.is_some() || observed.broken;
        match spec.state {
            PackageState::Present | PackageState::Latest => {
                let transaction = groups
                    .entry((spec.start_on_install, spec.install_recommends))
                    .or_default();
                transaction.downgrade |= spec.allow_downgrade;
                transaction.held |= held;
                transaction.install.push(match &spec.version {
                    Some(version) => format!("{name}={version}"),
                    None => name,
                });
            }
            PackageState::Absent | PackageState::Purged => {
                if spec.state == PackageState::Purged {
                    purge.push(name.clone());
                }
                if installed {
                    let transaction = groups.entry((false, None)).or_default();
                    transaction.held |= held;
                    transaction.remove.push(name);
                }
            }
        }
    }
    if broken {
        apt::repair(hands.sys, hands.home)?;
    }
    if !unhold.is_empty() {
        apt::mark(hands.sys, "unhold", &unhold)?;
    }
    let outcome = groups
        .into_iter()
        .try_for_each(|((start, recommends), transaction)| {
            apt::run(hands.sys, hands.home, &transaction, start, recommends)
        });
    // Holds come back even if the transaction failed.
    if !hold.is_empty() {
        apt::mark(hands.sys, "hold", &hold)?;
    }
    outcome?;
    if purge.is_empty() {
        return Ok(());
    }
    apt::purge(hands.sys, hands.home, &purge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpkg_states_are_told_apart() {
        let names = ["nginx", "libc6", "libc6:i386", "gone", "half", "stuck"].into();
        let text = "nginx\tamd64\thi \t1.22.1-9\nlibc6\tamd64\tii \t2.36\nlibc6\ti386\tii \t2.35\ngone\tall\trc \t1\nhalf\tall\tiF \t2\nstuck\tall\tiiR\t3\n";
        let found = parse(text, &names);
        assert!(found["nginx"].held && found["nginx"].version.as_deref() == Some("1.22.1-9"));
        assert_eq!(found["libc6"].version.as_deref(), Some("2.36"));
        assert_eq!(found["libc6:i386"].version.as_deref(), Some("2.35"));
        assert!(found["gone"].config_files && found["gone"].version.is_none());
        assert!(found["half"].broken && found["stuck"].broken);
    }

    #[test]
    fn candidates_come_from_policy() {
        let text = "btop:\n  Installed: (none)\n  Candidate: 1.2.13-1\n  Version table:\n     1.2.13-1 500\nnope:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(
            parse_policy(text),
            [("btop".to_owned(), "1.2.13-1".to_owned())].into()
        );
    }
}
