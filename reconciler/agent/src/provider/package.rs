//! `package`: observed with one call of `dpkg-query`, and with apt's lists for packages that aren't
//! installed; changed in apt transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{PackageObserved, PackageSpec, PackageState};
use plumb_api::{Kind, Observed, Resource, Spec};

use super::apt;
use super::apt_cache::{Lists, is_provided, is_virtual};
use super::apt_install::{self, Options, Transaction};
use super::dpkg::{Installed, PackageMatch};
use super::policy_rc::StartPermission;
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

    fn written(&self, _change: &ItemChange<'_>) -> Option<String> {
        Some("/var/lib/dpkg/status".to_owned())
    }

    /// If the architecture is the host's own, `NAME:ARCH` is the same package as `NAME`. So are `NAME:all`
    /// and `NAME:any`.
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
        let installed = match Installed::read(cx.sys) {
            Ok(installed) => installed,
            Err(error) => return items.iter().map(|_| Err(error.clone())).collect(),
        };
        let names: BTreeSet<&str> = items
            .iter()
            .filter(|item| needs_lists(&installed, item))
            .map(|item| installed.bare(item.address.name()))
            .collect();
        let lists = Lists::read(cx.sys, &names);
        let one = |item: &Item<'_>| observe(cx, &installed, &lists, item);
        items.iter().map(one).collect()
    }

    fn batch(&self) -> Batch {
        Batch::Whole
    }

    /// Fails if the package is held on the host and the manifest doesn't set `hold`.
    fn check_change(&self, _cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let (Spec::Package(spec), Observed::Package(observed)) = (change.spec, change.observed)
        else {
            return wrong_type(change.address);
        };
        let moves = change.changes("state") || change.changes("version");
        if !observed.held || !moves || spec.hold.is_some() {
            return Ok(());
        }
        Err(AgentError::new(
            ErrorCode::Refused,
            format!(
                "{} is held on this host, so it isn't changed",
                change.address.name()
            ),
        )
        .hint("say `hold: false` or `hold: true` in the manifest to decide it there"))
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

    /// Keeps a package that was installed before Plumb's first change, in any version. Removes a package that
    /// Plumb installed, but keeps its configuration and data, because purging it could delete a database.
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

/// Returns dpkg's own architecture. Returns an empty string if dpkg fails; then each name counts as its own
/// package.
fn native_architecture(sys: &Sys) -> String {
    match Program::new("dpkg", ["--print-architecture"]).check(sys) {
        Ok(output) => output.stdout.trim().to_owned(),
        Err(_) => String::new(),
    }
}

/// True if apt's lists are needed to tell what the name denotes or what its newest version is.
fn needs_lists(installed: &Installed, item: &Item<'_>) -> bool {
    let Spec::Package(spec) = item.spec else {
        return false;
    };
    let name = item.address.name();
    let there = match installed.find(name) {
        PackageMatch::Here(found) => found.version.is_some() || found.broken,
        PackageMatch::Foreign(_) | PackageMatch::Nothing => false,
    };
    match spec.state {
        PackageState::Latest => true,
        PackageState::Present => !there,
        PackageState::Absent | PackageState::Purged => {
            !there && !installed.providers(installed.bare(name)).is_empty()
        }
    }
}

fn observe(
    cx: &ObserveContext<'_>,
    installed: &Installed,
    lists: &Result<Lists>,
    item: &Item<'_>,
) -> Result<Observed> {
    let Spec::Package(spec) = item.spec else {
        return wrong_type(item.address);
    };
    let name = installed.bare(item.address.name());
    let known = lists.as_ref().ok();
    let candidate = known.and_then(|lists| lists.candidate(name));
    let mut observed = match installed.find(name) {
        PackageMatch::Here(found) => found,
        // If apt's lists have the package for the host's architecture, the name denotes that one.
        PackageMatch::Foreign(found) if candidate.is_none() => found,
        PackageMatch::Foreign(_) | PackageMatch::Nothing => PackageObserved::default(),
    };
    let there = observed.version.is_some() || observed.broken;
    // If nothing desires the resource any more, its name may have become a virtual package since, which is no
    // error.
    let desired = cx.inputs.desired.get(item.address).is_some();
    let providers = known.and_then(|lists| lists.providers(name));
    if let Some(providers) = providers.filter(|_| desired && !there) {
        return Err(if spec.wants_absent() {
            is_provided(name, &installed.providers(name))
        } else {
            is_virtual(name, providers)
        });
    }
    if spec.state == PackageState::Latest {
        lists.as_ref().map_err(Clone::clone)?;
    }
    if spec.state == PackageState::Latest || !there && !spec.wants_absent() {
        observed.candidate = candidate.cloned();
    }
    Ok(Observed::Package(observed))
}

/// The changes of a batch, grouped by the actions that they need.
#[derive(Default)]
struct Wanted {
    /// Transactions by the options that they need. Usually all packages share the same options.
    transactions: BTreeMap<Options, Transaction>,
    hold: Vec<String>,
    unhold: Vec<String>,
    purge: Vec<String>,
    /// Packages that an interrupted run of dpkg left half installed and that the manifest wants.
    broken: Vec<String>,
    /// Packages that Plumb installed and nothing desires any more.
    given_back: BTreeSet<String>,
    failures: BTreeMap<String, AgentError>,
}

impl Wanted {
    /// Adds failures by package. If a package already has a failure, that one stays.
    fn fail(&mut self, failures: impl IntoIterator<Item = (String, AgentError)>) {
        for (name, error) in failures {
            self.failures.entry(name).or_insert(error);
        }
    }
}

fn sort(work: &[ItemChange<'_>]) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    for work in work {
        let (Spec::Package(spec), Observed::Package(observed)) = (work.spec, work.observed) else {
            return wrong_type(work.address);
        };
        let name = work.address.name().to_owned();
        let moves = work.changes("state") || work.changes("version");
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
                        StartPermission::Allowed
                    } else {
                        StartPermission::Denied
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

/// The packages that failed or were left in place, with their results. Even if a transaction failed, its
/// other packages may be as desired; the next observation shows it.
type Exceptions = BTreeMap<String, Result<Effect>>;

/// Carries out the changes of a batch, with one transaction for each set of options. The returned map has the
/// failures of single packages. An error means that the batch failed as a whole.
fn transact(cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Result<Exceptions> {
    let (sys, home) = (cx.sys, cx.home);
    apt::wait_for_others(sys, home, Duration::from_secs(30 * 60))?;
    let mut wanted = sort(work)?;
    if !wanted.broken.is_empty() {
        if let Err(error) = apt::repair(sys, home) {
            // Within a transaction, these packages would fail in the same way and make the others fail too.
            for name in &wanted.broken {
                wanted.failures.insert(name.clone(), error.clone());
                for transaction in wanted.transactions.values_mut() {
                    transaction.install.remove(name);
                }
            }
        }
    }
    wanted.fail(apt::mark(sys, "unhold", &wanted.unhold));
    let mut left = keep_needed(sys, &mut wanted);
    for (options, transaction) in std::mem::take(&mut wanted.transactions) {
        let outcome = apt_install::run(sys, home, transaction, options);
        wanted.fail(outcome.failures);
        cx.warnings.extend(outcome.warnings);
    }
    // Set the holds again, even if a transaction failed.
    wanted.fail(apt::mark(sys, "hold", &wanted.hold));
    wanted
        .purge
        .retain(|name| !wanted.failures.contains_key(name) && !left.contains(name));
    wanted.fail(apt::purge(sys, home, &wanted.purge));
    // apt keeps a package that should be given back if a package that was just installed needs it.
    if !wanted.given_back.is_empty() {
        let installed = Installed::read(sys)?;
        let there = |name: &&String| match installed.find(name) {
            PackageMatch::Here(found) => found.version.is_some(),
            PackageMatch::Foreign(_) | PackageMatch::Nothing => false,
        };
        let kept = wanted.given_back.iter().filter(there).cloned();
        left.extend(kept.filter(|name| !wanted.failures.contains_key(name)));
    }
    // Mark these packages as automatically installed, since they stay only because other packages need them.
    let auto: Vec<String> = left.iter().cloned().collect();
    wanted.fail(apt::mark(sys, "auto", &auto));
    let failed = wanted
        .failures
        .into_iter()
        .map(|(name, error)| (name, Err(error)));
    let left = left.into_iter().map(|name| (name, Ok(Effect::Left)));
    Ok(left.chain(failed).collect())
}

/// Takes the packages that other packages on the host need out of the removals. Fails the packages that the
/// manifest sets to `absent`, and returns the packages that were only to be given back.
fn keep_needed(sys: &Sys, wanted: &mut Wanted) -> BTreeSet<String> {
    let mut left = BTreeSet::new();
    let removals = wanted
        .transactions
        .values()
        .flat_map(|transaction| &transaction.remove);
    let removals: BTreeSet<String> = removals.cloned().collect();
    for (name, others) in apt::needed_by(sys, &removals) {
        for transaction in wanted.transactions.values_mut() {
            transaction.remove.remove(&name);
        }
        let others = match others {
            Ok(others) => others,
            Err(error) => {
                wanted.failures.insert(name, error);
                continue;
            }
        };
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
    left
}
