mod json;
mod observe;
mod rows;
mod summary;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plumb_adapters::git::Repository;
use plumb_api::HostName;
use plumb_core::desired::{HostIntent, HostResult, Lifecycle, Resolved};
use plumb_core::plan::{Planned, goal};
use plumb_core::ports::{HostError, Hosts};

use self::json::{FleetPlan, HostPlan};
pub(super) use self::observe::controller_id;
use self::observe::{ObservedPlan, observe_host, os_warning};
pub(super) use self::text::lines;
use crate::cli::folder::RepositoryFolder;
use crate::cli::selection::{Selection, select_names};
use crate::config::Config;
use crate::connect::{self, Routes};
use crate::output::Shell;
use crate::report::{Exit, Failure, render_diagnostics};
use crate::runtime::block_on;
use crate::workspace::Workspace;

/// Maximum number of hosts that are observed at the same time.
const AT_ONCE: usize = 64;

/// Observe hosts and show what would change on each
///
/// Compares the folder's manifests, committed or not, with the real hosts. Changes nothing on a host,
/// and doesn't take its lock. Each change shows its cause (intent: git changed; drift: the host
/// changed; conflict: both did), its certainty, and its consequences: restarted units, deletions,
/// sessions at risk. A text that everybody on the host may
/// read is compared line by line. A plan that is longer than a screen is shortened; `-o wide` shows all of
/// it. `plumb diff` compares with the accepted revision, offline.
///
/// Hosts are reached with your own SSH keys, or as a controller's configuration says (--config).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 every chosen host was observed, 1 some weren't, or have errors.\nExamples:\n  plumb plan\n  plumb plan linda cloud\n  plumb plan -C ../fleet -l role=cloud -o json\n  plumb plan --config /etc/plumb/controller.yaml --commit origin/main"
)]
pub(super) struct Plan {
    /// Hosts by name; by default all hosts
    #[arg(value_name = "HOST")]
    words: Vec<String>,

    #[command(flatten)]
    folder: RepositoryFolder,

    /// Hosts by label, as in kubectl: role=cloud,site!=home
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// Plan this commit instead of the folder's manifests
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,

    /// Use the SSH key of this controller configuration, and its local and sandbox hosts
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The result of observing a host.
enum PlanResult {
    Planned(Box<ObservedPlan>),
    Failed(HostError),
}

impl Plan {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let (folder, hosts) = self.folder.and_hosts(self.words);
        let workspace = match &self.commit {
            Some(commit) => {
                let repository = Repository::open(&folder)?;
                let commit = repository.resolve(commit)?;
                Workspace::of_commit(&repository, &commit)?
            }
            None => Workspace::of_folder(&folder)?,
        };
        let selection = Selection {
            hosts,
            selector: self.selector,
        };
        let chosen = select_names(&selection, &workspace.fleet)?;
        let (roads, ssh) = match &self.config {
            Some(path) => {
                let config = Config::read(path)?;
                (Routes::of(&config), config.ssh)
            }
            None => (Routes::ssh_only(), connect::personal()),
        };
        let connector = connect::connector(&ssh)?;
        let (mut intents, mut held) = (Vec::new(), Vec::new());
        for name in &chosen {
            match &workspace.resolved.hosts[name] {
                HostResult::Ready(intent) if driven(intent.lifecycle) => {
                    intents.push(intent.clone());
                }
                HostResult::Ready(_) => {}
                HostResult::Held(diagnostics) => held.push((name, diagnostics)),
            }
        }
        let resolved = &workspace.resolved;
        let looked = block_on(async {
            Ok(observe_hosts(&intents, &connector, &roads, resolved, shell).await)
        })?;
        for (_, diagnostics) in &held {
            shell.say(render_diagnostics(
                diagnostics,
                &workspace.sources,
                shell.err,
            ));
        }
        let mut failed: BTreeMap<HostName, HostError> = BTreeMap::new();
        let mut planned: BTreeMap<HostName, Planned> = BTreeMap::new();
        let mut warnings: BTreeMap<HostName, String> = BTreeMap::new();
        for (name, looked) in looked {
            match looked {
                PlanResult::Planned(one) => {
                    let warning = os_warning(workspace.fleet.os(&name), &one.facts);
                    warnings.extend(warning.map(|warning| (name.clone(), warning)));
                    planned.insert(name, one.planned);
                }
                PlanResult::Failed(error) => drop(failed.insert(name, error)),
            }
        }
        let unpinned = failed
            .values()
            .any(|error| matches!(error, HostError::NoHostKey { .. }));
        if unpinned && self.config.is_none() {
            shell.say(
                "hint: run this on the controller's machine with --config FILE to reach hosts as the controller does",
            );
        }
        let revision = workspace.fleet.revision().commit();
        let whole = machine(revision, &intents, &planned, &failed, &warnings);
        let mut by_warning: BTreeMap<String, Vec<&HostName>> = BTreeMap::new();
        for (host, warning) in &warnings {
            by_warning.entry(warning.clone()).or_default().push(host);
        }
        shell.emit(&whole, |palette| {
            text::whole(&planned, &failed, &held, &by_warning, shell.format, palette)
        })?;
        Ok(if failed.is_empty() && held.is_empty() {
            Exit::OK
        } else {
            Exit::FAILED
        })
    }
}

fn driven(lifecycle: Lifecycle) -> bool {
    matches!(lifecycle, Lifecycle::Active | Lifecycle::Retired)
}

/// Builds the JSON form of the plans.
fn machine(
    revision: Option<String>,
    intents: &[Arc<HostIntent>],
    planned: &BTreeMap<HostName, Planned>,
    failed: &BTreeMap<HostName, HostError>,
    warnings: &BTreeMap<HostName, String>,
) -> FleetPlan {
    let mut hosts = BTreeMap::new();
    for intent in intents {
        if let Some(planned) = planned.get(&intent.name) {
            let mut plan = HostPlan::of(planned, &goal(intent));
            plan.warnings.extend(warnings.get(&intent.name).cloned());
            hosts.insert(intent.name.clone(), plan);
        } else if let Some(error) = failed.get(&intent.name) {
            let refused =
                HostPlan::refused(error.reason().as_str(), error.to_string(), error.hint());
            hosts.insert(intent.name.clone(), refused);
        }
    }
    FleetPlan { revision, hosts }
}

async fn observe_hosts(
    intents: &[Arc<HostIntent>],
    hosts: &dyn Hosts,
    roads: &Routes,
    resolved: &Resolved,
    shell: &Shell,
) -> Vec<(HostName, PlanResult)> {
    let progress = ProgressBar::with_draw_target(
        u64::try_from(intents.len()).ok(),
        // A progress bar is only of use on a terminal.
        if shell.can_ask() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    if let Ok(style) = ProgressStyle::with_template("observing hosts {bar:30} {pos}/{len}") {
        progress.set_style(style);
    }
    let looked = stream::iter(intents)
        .map(|intent| async {
            let looked = match observe_host(intent, hosts, roads, resolved).await {
                Ok(planned) => PlanResult::Planned(Box::new(planned)),
                Err(error) => PlanResult::Failed(error),
            };
            progress.inc(1);
            (intent.name.clone(), looked)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    progress.finish_and_clear();
    looked
}
