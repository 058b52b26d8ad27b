mod json;
mod summary;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plumb_adapters::git::Repository;
use plumb_api::frame::{Fence, Observe, Purpose, Reveal, TakeOver};
use plumb_api::{Epoch, HostName};
use plumb_core::desired::{Contents, HostIntent, HostResult, Lifecycle, Resolved};
use plumb_core::plan::{PlanOptions, Planned, content_diffs, goal, plan};
use plumb_core::ports::{HostError, Hosts, Observation};

use self::json::{FleetPlan, HostPlan};
pub(super) use self::text::lines;
use super::{Selection, block_on};
use crate::config::Config;
use crate::connect::{self, Roads};
use crate::output::Shell;
use crate::report::{Exit, Failure, render_diagnostics};
use crate::workspace::Workspace;

/// The number of hosts that are observed at once.
const AT_ONCE: usize = 64;

/// Look at the hosts and say what would change on each
///
/// Takes the manifests of a folder as they are now, committed or not, and compares each host with them,
/// live and without changing anything: not the host, not its ledger, not its lock. Each change says who
/// moved (intent: git; drift: the host; conflict: both), how sure it is, and what it does beyond: units
/// restarted, things removed, sessions at risk. Where a text differs, its lines are shown if everybody on the
/// host may read it. `plumb diff` compares with what is accepted, offline.
///
/// Hosts are reached by your own SSH keys, or as a controller's configuration says (--config).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 every chosen host was looked at, 1 some weren't, or have errors.\nExamples:\n  plumb plan\n  plumb plan linda cloud\n  plumb plan ../fleet -l role=cloud -o json\n  plumb plan --config /etc/plumb/controller.yaml --commit origin/main"
)]
pub(super) struct Plan {
    /// The repository's folder, and hosts by name; a first word that is a folder is the repository
    #[arg(value_name = "DIR|HOST")]
    words: Vec<String>,

    /// Hosts by label, as kubectl does it: role=cloud,site!=home
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// Plan what a commit has instead of what is in the folder
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,

    /// A controller's configuration: its SSH key, and the hosts that it may drive without SSH
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The result of observing a host.
enum Looked {
    Planned(Box<Planned>),
    Failed(HostError),
}

impl Plan {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let (folder, hosts) = super::folder_and_hosts(self.words);
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
        let chosen = super::select_names(&selection, &workspace.fleet)?;
        let (roads, ssh) = match &self.config {
            Some(path) => {
                let config = Config::read(path)?;
                (Roads::of(&config), config.ssh)
            }
            None => (Roads::ssh_only(), connect::personal()),
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
            Ok(look_at_all(&intents, &connector, &roads, resolved, shell).await)
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
        for (name, looked) in looked {
            match looked {
                Looked::Planned(one) => drop(planned.insert(name, *one)),
                Looked::Failed(error) => drop(failed.insert(name, error)),
            }
        }
        let unpinned = failed
            .values()
            .any(|error| matches!(error, HostError::NoHostKey { .. }));
        if unpinned && self.config.is_none() {
            shell.say(
                "hint: on the controller's machine, --config FILE reaches hosts as the controller does, those that it drives without SSH too",
            );
        }
        let revision = workspace.fleet.revision().commit();
        let whole = machine(revision, &intents, &planned, &failed);
        shell.emit(&whole, |palette| {
            text::whole(&planned, &failed, &held, palette)
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
) -> FleetPlan {
    let mut hosts = BTreeMap::new();
    for intent in intents {
        if let Some(planned) = planned.get(&intent.name) {
            hosts.insert(intent.name.clone(), HostPlan::of(planned, &goal(intent)));
        } else if let Some(error) = failed.get(&intent.name) {
            let refused =
                HostPlan::refused(error.reason().as_str(), error.to_string(), error.hint());
            hosts.insert(intent.name.clone(), refused);
        }
    }
    FleetPlan { revision, hosts }
}

async fn look_at_all(
    intents: &[Arc<HostIntent>],
    hosts: &dyn Hosts,
    roads: &Roads,
    resolved: &Resolved,
    shell: &Shell,
) -> Vec<(HostName, Looked)> {
    let progress = ProgressBar::with_draw_target(
        u64::try_from(intents.len()).ok(),
        // A progress bar is only of use on a terminal.
        if shell.can_ask() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    if let Ok(style) = ProgressStyle::with_template("looking at hosts {bar:30} {pos}/{len}") {
        progress.set_style(style);
    }
    let looked = stream::iter(intents)
        .map(|intent| async {
            let looked = match look_at(intent, hosts, roads, resolved).await {
                Ok(planned) => Looked::Planned(Box::new(planned)),
                Err(error) => Looked::Failed(error),
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

async fn look_at(
    intent: &HostIntent,
    hosts: &dyn Hosts,
    roads: &Roads,
    resolved: &Resolved,
) -> Result<Planned, HostError> {
    let goal = goal(intent);
    let target = roads.to(intent);
    let mut session = hosts.connect(&target).await?;
    let observed = session
        .observe(Observe {
            fence: Fence {
                protocol: plumb_api::frame::PROTOCOL,
                fleet: resolved.fleet.clone(),
                host: intent.name.clone(),
                formerly: intent.formerly.clone(),
                controller: onlooker(),
                epoch: Epoch(0),
                take_over: TakeOver::No,
            },
            base: None,
            target: goal.digest(),
            delta: goal.delta_from(None),
            purpose: Purpose::Look,
            reveal: Reveal::WorldReadable,
        })
        .await?;
    match observed {
        Observation::Report(report) => {
            let mut planned = plan(intent, &report, PlanOptions::default());
            let contents: &Contents = &resolved.contents;
            planned.diffs = content_diffs(&goal, &report, &|digest| contents.get(digest));
            Ok(planned)
        }
        // We sent the whole state, so an agent that asks for it is broken.
        Observation::NeedState => Err(HostError::Broken {
            host: intent.name.clone(),
            reason: "the agent asks for the state that it was just sent".to_owned(),
        }),
    }
}

/// The controller id of `plumb plan`. It is no real controller's, so that no host takes it for its own.
#[allow(clippy::expect_used)] // a literal that is a label
fn onlooker() -> plumb_api::ControllerId {
    "plumb-plan".parse().expect("a label")
}
