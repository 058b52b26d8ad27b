mod change;
mod range;
mod text;
mod trailers;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_api::HostName;
use plumb_core::desired::HostResult;
use plumb_core::effects::FleetSummary;
use plumb_core::resolve::rendered;
use plumb_document::Diagnostic;
use plumb_trust::{Oid, ReasonCode};
use serde::Serialize;
use serde_json::Value;

use change::{Change, FactsChange, changes};
use range::RevisionRange;
use trailers::{FleetChange, Trailer};

use crate::cli::folder::RepositoryFolder;
use crate::cli::selection::{Selection, select_names};
use crate::output::{Shell, count};
use crate::report::{Exit, Failure, OrFail as _, render_diagnostics};
use crate::verdict::{self, FloorSource, Range};
use crate::workspace::Workspace;

/// Compare two revisions, or HEAD with the folder, offline
///
/// Shows for each host which resources would be added, changed or removed, and what else of the host changes:
/// its connection, keys, labels and secrets. Both sides are composed and rendered, so a changed profile shows
/// on every host that it reaches. Hosts that change alike are shown together. Contacts no host; `plumb plan`
/// compares with the real hosts. A host whose file is deleted leaves the fleet: nothing is removed from it.
///
/// REV1..REV2 compares two revisions. `--accepted` compares with the last commit of the upstream branch that
/// the trust policy accepts, judged from git's `plumb.introduction`; without that setting, it is the upstream
/// branch.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing differs, 1 something differs, 2 the comparison failed.\nExamples:\n  plumb diff\n  plumb diff linda\n  plumb diff origin/main..HEAD --trailers\n  plumb diff --from origin/main~3 -l role=cloud -o json"
)]
pub(super) struct Diff {
    /// Hosts by name, by default all hosts; and the two revisions to compare
    #[arg(value_name = "REV1..REV2|HOST")]
    words: Vec<String>,

    #[command(flatten)]
    folder: RepositoryFolder,

    /// Hosts by label, as in kubectl: role=cloud,site!=home
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// Compare from this commit instead of HEAD
    #[arg(long, value_name = "COMMIT", conflicts_with = "accepted")]
    from: Option<String>,

    /// Compare from the last accepted commit instead of HEAD
    #[arg(long)]
    accepted: bool,

    /// Compare to this commit instead of the folder
    #[arg(long, value_name = "COMMIT")]
    to: Option<String>,

    /// Also print the trailers that a commit with this change needs
    #[arg(long)]
    trailers: bool,
}

#[derive(Serialize)]
struct Differences {
    from: String,
    to: Option<String>,
    hosts: BTreeMap<HostName, HostDifference>,
    /// The hosts that change alike.
    alike: Vec<Vec<HostName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trailers: Option<Vec<Trailer>>,
}

#[derive(PartialEq, Serialize)]
struct HostDifference {
    /// The host's place in the fleet, if that changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostChange>,
    /// The host's connection, keys, labels, secrets and settings, if they change.
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<FactsChange>,
    changes: Vec<Change>,
}

/// A change of a host's place in the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum HostChange {
    /// The host is new.
    Joins,
    /// The host's manifest was removed. Plumb leaves the host as it is and no longer drives it.
    Leaves,
    /// The host had this name before.
    RenamedFrom(HostName),
}

impl Diff {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        // A script must be able to tell "differs" from "failed".
        self.compare(shell)
            .map_err(|failure| failure.exit(Exit::TROUBLE))
    }

    fn compare(mut self, shell: &Shell) -> Result<Exit, Failure> {
        if let Some(range) = RevisionRange::take(&mut self.words)? {
            if self.accepted || self.from.is_some() || self.to.is_some() {
                return Err(Failure::new("the revisions are named twice")
                    .hint("name them as REV1..REV2, or with --from and --to"));
            }
            (self.from, self.to) = (Some(range.from), Some(range.to));
        }
        let (folder, hosts) = self.folder.and_hosts(self.words);
        let repository = Repository::open(&folder)?;
        let from = match &self.from {
            Some(from) => repository.resolve(from)?,
            None if self.accepted => accepted(&repository, shell)?,
            None => repository.resolve("HEAD")?,
        };
        let to = self
            .to
            .as_ref()
            .map(|to| repository.resolve(to))
            .transpose()?;
        let old = Workspace::of_commit(&repository, &from)?;
        let new = match &to {
            Some(to) => Workspace::of_commit(&repository, to)?,
            None => Workspace::of_folder(&folder)?,
        };
        let selection = Selection {
            hosts,
            selector: self.selector,
        };
        let sides = Sides::new(&old, &new);
        let chosen = sides.chosen(&selection)?;
        let held = sides.held(&chosen);
        if !held.is_empty() {
            for diagnostics in &held {
                shell.say(render_diagnostics(diagnostics, &new.sources, shell.err));
            }
            return Err(Failure::new(format!(
                "cannot compare {}: their manifests have errors",
                count(held.len(), "host")
            )));
        }
        let hosts: BTreeMap<HostName, HostDifference> = chosen
            .into_iter()
            .filter_map(|name| Some((name.clone(), sides.difference(&name)?)))
            .collect();
        let trailers = self.trailers.then(|| {
            let change = FleetChange {
                from,
                to,
                paths: &old.changed_paths(&new),
                affected: sides.summaries.0.affected(&sides.summaries.1),
            };
            change.trailers(&repository, Timestamp::now())
        });
        let differences = Differences {
            from: from.to_string(),
            to: new.fleet.revision().commit(),
            alike: alike(&hosts),
            hosts,
            trailers,
        };
        shell.emit(&differences, |palette| text::text(&differences, palette))?;
        Ok(if differences.hosts.is_empty() {
            Exit::OK
        } else {
            Exit::DIFFERS
        })
    }
}

/// The two sides of a comparison.
struct Sides<'a> {
    old: &'a Workspace,
    new: &'a Workspace,
    rendered: (Value, Value),
    summaries: (FleetSummary, FleetSummary),
    renamed: BTreeMap<&'a HostName, &'a HostName>,
}

impl<'a> Sides<'a> {
    fn new(old: &'a Workspace, new: &'a Workspace) -> Self {
        let summary = |side: &Workspace| FleetSummary::new(&side.fleet, &side.resolved);
        Self {
            rendered: (rendered(&old.resolved), rendered(&new.resolved)),
            summaries: (summary(old), summary(new)),
            renamed: renamed(&old.resolved.hosts, &new.resolved.hosts),
            old,
            new,
        }
    }

    /// Returns the selected hosts of both sides.
    fn chosen(&self, selection: &Selection) -> Result<BTreeSet<HostName>, Failure> {
        let mut chosen: BTreeSet<HostName> = match select_names(selection, &self.new.fleet) {
            Ok(names) => names.into_iter().collect(),
            // A host that was removed is only in the old fleet.
            Err(failure) if selection.hosts.is_empty() => return Err(failure),
            Err(_) => BTreeSet::new(),
        };
        chosen.extend(select_names(selection, &self.old.fleet).unwrap_or_default());
        if chosen.is_empty() {
            select_names(selection, &self.new.fleet)?;
        }
        Ok(chosen)
    }

    /// Returns the errors of hosts that can't be compared.
    fn held(&self, chosen: &BTreeSet<HostName>) -> Vec<&[Diagnostic]> {
        let errors = |name| match self.new.resolved.hosts.get(name) {
            Some(HostResult::Held(diagnostics)) => Some(diagnostics.as_slice()),
            _ => None,
        };
        chosen.iter().filter_map(errors).collect()
    }

    /// Compares a host; `None` if it is the same on both sides.
    fn difference(&self, name: &HostName) -> Option<HostDifference> {
        if !self.new.resolved.hosts.contains_key(name) {
            let is_renamed = self.renamed.values().any(|old| *old == name);
            return (!is_renamed).then(|| HostDifference {
                host: Some(HostChange::Leaves),
                facts: None,
                changes: Vec::new(),
            });
        }
        let former = self.renamed.get(name).copied();
        let was = former.unwrap_or(name);
        let host = match former {
            Some(old) => Some(HostChange::RenamedFrom(old.clone())),
            None if !self.old.resolved.hosts.contains_key(name) => Some(HostChange::Joins),
            None => None,
        };
        let specs = |fleet: &Value, name: &HostName| specs(&fleet["hosts"][name.as_str()]);
        let changes = changes(
            &specs(&self.rendered.0, was),
            &specs(&self.rendered.1, name),
        );
        let facts = |summary: &FleetSummary, name: &HostName| {
            let state = summary.host(name).and_then(|host| host.state.as_ref());
            Value::Object(state.map(|state| state.facts.clone()).unwrap_or_default())
        };
        let facts = FactsChange::new(
            &facts(&self.summaries.0, was),
            &facts(&self.summaries.1, name),
        );
        let differs = host.is_some() || facts.is_some() || !changes.is_empty();
        differs.then_some(HostDifference {
            host,
            facts,
            changes,
        })
    }
}

/// Groups the hosts whose changes are the same, in order of their first host.
fn alike(hosts: &BTreeMap<HostName, HostDifference>) -> Vec<Vec<HostName>> {
    let mut groups: Vec<(Vec<HostName>, &HostDifference)> = Vec::new();
    for (name, host) in hosts {
        match groups.iter_mut().find(|(_, other)| *other == host) {
            Some((names, _)) => names.push(name.clone()),
            None => groups.push((vec![name.clone()], host)),
        }
    }
    groups.into_iter().map(|(names, _)| names).collect()
}

/// Maps the new name of each renamed host to its old name, which `formerly` gives, as in the controller.
fn renamed<'a>(
    old: &'a BTreeMap<HostName, HostResult>,
    new: &'a BTreeMap<HostName, HostResult>,
) -> BTreeMap<&'a HostName, &'a HostName> {
    let mut renamed = BTreeMap::new();
    for (name, result) in new {
        let (HostResult::Ready(intent), None) = (result, old.get(name)) else {
            continue;
        };
        let former = intent
            .formerly
            .iter()
            .filter(|former| !new.contains_key(*former))
            .find_map(|former| old.get_key_value(former));
        if let Some((former, _)) = former {
            renamed.insert(name, former);
        }
    }
    renamed
}

/// Returns the resources of a rendered host, by address.
fn specs(host: &Value) -> BTreeMap<String, Value> {
    let types = host["resources"].as_object().into_iter().flatten();
    types
        .flat_map(|(kind, all)| {
            let all = all.as_object().into_iter().flatten();
            all.map(move |(name, spec)| (format!("{kind}:{name}"), spec.clone()))
        })
        .collect()
}

/// Returns the newest accepted commit, as far as this clone knows. Without `plumb.introduction` it is the
/// upstream branch or HEAD.
fn accepted(repository: &Repository, shell: &Shell) -> Result<Oid, Failure> {
    let head = repository
        .resolve("@{upstream}")
        .or_else(|_| repository.resolve("HEAD"))?;
    let introduction = repository.config("plumb.introduction");
    let Some(introduction) = introduction else {
        shell.warn(format_args!(
            "git's plumb.introduction isn't set, so signatures aren't judged; comparing with {}",
            head.short()
        ));
        return Ok(head);
    };
    let floor = introduction.parse::<Oid>().or_fail(|| {
        format!("git's plumb.introduction is `{introduction}`, which isn't a full commit id")
    })?;
    let tags = repository.tags()?;
    let range = Range {
        floor,
        source: FloorSource::Introduction,
        head,
        tags: &tags,
        now: Timestamp::now(),
    };
    let outcome = verdict::judge(repository, &range);
    let elsewhere = outcome.revision().is_none()
        || outcome
            .reasons
            .iter()
            .any(|reason| matches!(reason.code, ReasonCode::NotDescendant | ReasonCode::Rewound));
    if elsewhere {
        return Err(Failure::new(format!(
            "git's plumb.introduction, {}, isn't a commit of {}, so no commit is known to be accepted",
            floor.short(),
            head.short()
        ))
        .hint("set it to the first trusted commit of this repository: git config plumb.introduction COMMIT; or compare with a commit of your choice: --from COMMIT"));
    }
    Ok(outcome.accepted)
}
