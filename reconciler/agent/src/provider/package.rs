//! `package`: observed with one `dpkg-query`, changed in apt transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{PackageObserved, PackageSpec, PackageState};
use plumb_api::{Address, Kind, Observed, Spec};

use super::apt::{self, Options, Transaction};
use super::policy_rc::Starting;
use super::{
    ApplyContext, Batch, Effect, GiveBack, Identity, Inquiry, Item, ItemChange, Lane,
    ObserveContext, Provider, wrong_type,
};
use crate::error::Result;
use crate::sys::{Program, Sys};

pub(crate) struct Packages;

impl Provider for Packages {
    fn inquiry(&self) -> Inquiry {
        Inquiry::Programs("dpkg")
    }

    fn lane(&self) -> Lane {
        Lane::Own(Kind::Package)
    }

    fn written(&self, _address: &Address) -> Option<String> {
        Some("/var/lib/dpkg/status".to_owned())
    }

    /// `NAME:ARCH` of the host's own architecture is `NAME`, and so are `NAME:all` and `NAME:any`.
    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        let with_arch = |item: &Item<'_>| item.address.name().contains(':');
        if !items.iter().any(with_arch) {
            return items
                .iter()
                .map(|item| Identity::of_name(item.address))
                .collect();
        }
        let native = native_architecture(cx.sys);
        let own = |item: &Item<'_>| match item.address.name().split_once(':') {
            Some((package, arch)) if arch == native || arch == "all" || arch == "any" => {
                Identity::new(package)
            }
            _ => Identity::of_name(item.address),
        };
        items.iter().map(own).collect()
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let names: BTreeSet<&str> = items.iter().map(|item| item.address.name()).collect();
        let installed = match query(cx.sys, &names) {
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
            candidates(cx.sys, &latest)
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

    fn batch(&self) -> Batch {
        Batch::Whole
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        let outcome = transact(cx, work);
        let one = |work: &ItemChange<'_>| match &outcome {
            Ok(exceptions) => match exceptions.get(work.address.name()) {
                Some(exception) => exception.clone(),
                None => Ok(Effect::Done),
            },
            Err(error) => Err(error.clone()),
        };
        work.iter().map(one).collect()
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Packages {
    fn full_spec(&self) -> Spec {
        Spec::Package(PackageSpec::default())
    }

    /// Keeps a package that was there before, in whatever version. Removes one that Plumb installed, but not
    /// its configuration and data: purging could delete a database.
    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
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

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::Package(original) = original else {
            return None;
        };
        let version = original.version.as_ref()?;
        Some(format!("the installed version {version}"))
    }
}

/// Returns dpkg's own architecture, or nothing if dpkg can't be asked: each name is then its own package.
fn native_architecture(sys: &Sys) -> String {
    match Program::new("dpkg", ["--print-architecture"]).check(sys) {
        Ok(output) => output.stdout.trim().to_owned(),
        Err(_) => String::new(),
    }
}

/// Reads a `db:Status-Abbrev`: the desired action, the status, and the flag for "reinstall required".
fn read(status: &str, version: &str) -> PackageObserved {
    let mut flags = status.chars();
    let (wanted, there, wrong) = (flags.next(), flags.next(), flags.next());
    // A package that waits for a trigger is installed: the triggering package's own transaction settles it.
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
    let format = "-f=${Package}\\t${Architecture}\\t${db:Status-Abbrev}\\t${Version}\\n";
    let args = ["-W", format, "--"]
        .into_iter()
        .chain(names.iter().copied());
    // Status 1 means that dpkg doesn't know some names, which is an answer too.
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
            // For a name without an architecture, an installed one goes first.
            let better = found.get(&name).is_none_or(|other| other.version.is_none());
            if better {
                found.insert(name, observed.clone());
            }
        }
    }
    found
}

/// Returns the candidate version of each package.
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

/// A batch, sorted by the actions that it needs.
#[derive(Default)]
struct Wanted {
    /// By options; usually there is one set of them.
    transactions: BTreeMap<Options, Transaction>,
    hold: Vec<String>,
    unhold: Vec<String>,
    purge: Vec<String>,
    /// Packages that an interrupted dpkg left half installed, and that are to stay.
    broken: Vec<String>,
    /// Packages that Plumb installed and nothing desires any more.
    given_back: BTreeSet<String>,
    failures: BTreeMap<String, AgentError>,
}

fn sort(work: &[ItemChange<'_>]) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    for work in work {
        let (Spec::Package(spec), Observed::Package(observed)) = (work.spec, work.observed) else {
            return wrong_type(work.address);
        };
        let name = work.address.name().to_owned();
        let moves = work.changes("state") || work.changes("version");
        if observed.held && moves && spec.hold.is_none() {
            let error = AgentError::new(
                ErrorCode::Refused,
                format!("{name} is held on this host, so it isn't changed"),
            )
            .hint("say `hold: false` or `hold: true` in the manifest to decide it there");
            wanted.failures.insert(name, error);
            continue;
        }
        match spec.hold {
            // apt drops the hold of a package that it changes.
            Some(true) if moves || work.changes("hold") => wanted.hold.push(name.clone()),
            Some(false) if work.changes("hold") => wanted.unhold.push(name.clone()),
            _ => {}
        }
        if !moves {
            continue;
        }
        let held = observed.held && spec.hold == Some(true);
        match spec.state {
            PackageState::Present | PackageState::Latest => {
                let options = Options {
                    starting: if spec.start_on_install {
                        Starting::Allowed
                    } else {
                        Starting::Denied
                    },
                    recommends: spec.install_recommends,
                };
                let transaction = wanted.transactions.entry(options).or_default();
                transaction.downgrade |= spec.allow_downgrade;
                transaction.held |= held;
                if observed.broken {
                    wanted.broken.push(name.clone());
                }
                transaction.install.insert(name, spec.version.clone());
            }
            PackageState::Absent | PackageState::Purged => {
                if spec.state == PackageState::Purged {
                    wanted.purge.push(name.clone());
                }
                if work.original.is_some() {
                    wanted.given_back.insert(name.clone());
                }
                if observed.version.is_some() || observed.broken {
                    let transaction = wanted.transactions.entry(Options::default()).or_default();
                    transaction.held |= held;
                    transaction.remove.insert(name);
                }
            }
        }
    }
    Ok(wanted)
}

/// The packages that failed or were left, with their outcomes. Others of a failed transaction may be fine, as
/// a new observation shows.
type Exceptions = BTreeMap<String, Result<Effect>>;

/// Carries out the batch, in as few transactions as its options allow.
fn transact(cx: &ApplyContext<'_>, work: &[ItemChange<'_>]) -> Result<Exceptions> {
    let (sys, home) = (cx.sys, cx.home);
    apt::wait_for_others(sys, home, Duration::from_secs(30 * 60))?;
    let mut wanted = sort(work)?;
    if !wanted.broken.is_empty() {
        if let Err(error) = apt::repair(sys, home) {
            // It would fail in the same way within the transaction, and take the others with it.
            for name in &wanted.broken {
                wanted.failures.insert(name.clone(), error.clone());
                for transaction in wanted.transactions.values_mut() {
                    transaction.install.remove(name);
                }
            }
        }
    }
    if !wanted.unhold.is_empty() {
        apt::mark(sys, "unhold", &wanted.unhold)?;
    }
    let mut left = keep_needed(sys, &mut wanted)?;
    for (options, transaction) in std::mem::take(&mut wanted.transactions) {
        wanted
            .failures
            .extend(apt::run(sys, home, transaction, options));
    }
    // Sets holds again even if a transaction failed.
    if !wanted.hold.is_empty() {
        apt::mark(sys, "hold", &wanted.hold)?;
    }
    wanted
        .purge
        .retain(|name| !wanted.failures.contains_key(name) && !left.contains(name));
    if !wanted.purge.is_empty() {
        apt::purge(sys, home, &wanted.purge)?;
    }
    // apt keeps a package to be given back if one that is installed now needs it.
    let back: BTreeSet<&str> = wanted.given_back.iter().map(String::as_str).collect();
    if !back.is_empty() {
        let there = query(sys, &back)?;
        let kept = there
            .into_iter()
            .filter(|(_, found)| found.version.is_some())
            .map(|(name, _)| name);
        left.extend(kept.filter(|name| !wanted.failures.contains_key(name)));
    }
    if !left.is_empty() {
        // It stays only for the packages that need it.
        apt::mark(sys, "auto", &left.iter().cloned().collect::<Vec<_>>())?;
    }
    let failed = wanted
        .failures
        .into_iter()
        .map(|(name, error)| (name, Err(error)));
    Ok(failed
        .chain(left.into_iter().map(|name| (name, Ok(Effect::Left))))
        .collect())
}

/// Takes packages that others on the host need out of the removals. Fails those that the manifest sets
/// `absent`, and returns those that are only given back.
fn keep_needed(sys: &Sys, wanted: &mut Wanted) -> Result<BTreeSet<String>> {
    let mut left = BTreeSet::new();
    let removals = wanted
        .transactions
        .values()
        .flat_map(|transaction| &transaction.remove);
    for (name, others) in apt::needed_by(sys, &removals.cloned().collect())? {
        for transaction in wanted.transactions.values_mut() {
            transaction.remove.remove(&name);
        }
        if wanted.given_back.contains(&name) {
            left.insert(name);
            continue;
        }
        let others = others.into_iter().collect::<Vec<_>>().join(", ");
        let error = AgentError::new(
            ErrorCode::Refused,
            format!("removing {name} would also remove what depends on it: {others}"),
        )
        .hint("say `state: absent` for those too, or keep it");
        wanted.failures.insert(name, error);
    }
    Ok(left)
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
