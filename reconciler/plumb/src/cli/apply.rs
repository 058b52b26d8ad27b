use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use plumb_api::HostName;
use plumb_core::reason::ConditionReason;
use plumb_core::status::{Condition, ConditionStatus, ConditionType};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::cli::controller_address::ControllerAddress;
use crate::cli::selection::{Selection, select_some};
use crate::config::Period;
use crate::git::Git;
use crate::http::{Client, ControllerCommand, Fleet, HostObject};
use crate::output::{Paint, Shell, Table, count, short};
use crate::report::{Exit, Failure};
use crate::runtime::block_on;

/// Apply the accepted revision now, and wait until hosts are ready
///
/// Hosts only get revisions that are pushed and accepted; a working tree can't be sent to them. The
/// running controller fetches, verifies and drives the chosen hosts. The command waits until each of
/// them is ready. It fails if a host isn't ready in time or needs a change by a person, and if the
/// repository can't be fetched. It skips hosts that aren't driven (dormant, unmanaged, suspended, or
/// deleted from git). Run `plumb plan` first to see what would change.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    #[command(flatten)]
    selection: Selection,

    /// Return once the controller has fetched, without waiting for hosts
    #[arg(long)]
    no_wait: bool,

    /// The time to wait for the repository and the hosts
    #[arg(long, default_value = "10m", value_name = "TIME")]
    timeout: Period,

    #[command(flatten)]
    controller: ControllerAddress,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplyResult {
    revision: Option<String>,
    /// The error of the last fetch, if it failed. `revision` then lacks the newest push.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_fetched: Option<String>,
    ready: Vec<HostName>,
    waiting: Vec<HostProgress>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<HostProgress>,
}

#[derive(Serialize)]
struct HostProgress {
    host: HostName,
    message: String,
    /// The host's outlook, which decides whether the command keeps waiting.
    #[serde(skip)]
    state: WaitState,
}

/// The outlook of a host that isn't ready yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitState {
    Some,
    /// The host doesn't become ready until somebody changes something.
    Stalled,
}

/// Delay between two requests to the controller.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Time after which a host that was stalled before the command started counts as stalled, even if the
/// controller hasn't observed it again.
const REOBSERVE_TIMEOUT: Duration = Duration::from_secs(5);

impl Apply {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let client = self.controller.client()?;
        let applied = block_on(async { self.drive(&client, shell).await })?;
        shell.emit(&applied, |palette| {
            let mut table = Table::new(["HOST", "STATE"], palette);
            for host in &applied.ready {
                table.painted([
                    (None, host.to_string()),
                    (Some(Paint::Good), "ready".to_owned()),
                ]);
            }
            for (paint, some) in [
                (Paint::Warn, &applied.waiting),
                (Paint::Dim, &applied.left_out),
            ] {
                for host in some {
                    table.painted([
                        (None, host.host.to_string()),
                        (Some(paint), host.message.clone()),
                    ]);
                }
            }
            table.to_string()
        })?;
        self.verdict(&applied)
    }

    fn verdict(&self, applied: &ApplyResult) -> Result<Exit, Failure> {
        let all = applied.waiting.len() + applied.ready.len();
        let why = "run `plumb describe host NAME` to see why; the controller keeps trying";
        let stalled = stalled(applied);
        if !self.no_wait && !stalled.is_empty() {
            return Err(Failure::new(format!(
                "{} can't make progress until somebody changes something",
                stalled.join(", ")
            ))
            .hint(why));
        }
        if !self.no_wait && !applied.waiting.is_empty() {
            let waiting = applied.waiting.len();
            let verb = if waiting == 1 { "isn't" } else { "aren't" };
            return Err(Failure::new(format!(
                "{waiting} of {} {verb} ready after {}",
                count(all, "host"),
                self.timeout
            ))
            .hint(why));
        }
        match &applied.not_fetched {
            Some(_) => Err(Failure::new(format!(
                "cannot fetch the repository: {}, accepted before, is applied without any newer push",
                applied.revision.as_deref().map_or("the revision", short)
            ))),
            None => Ok(Exit::OK),
        }
    }

    /// Makes the controller fetch, and waits for the end of a poll that began after this request. An earlier
    /// poll may have missed the push.
    async fn fetch(&self, client: &Client, deadline: Instant) -> Result<Fleet, Failure> {
        let asked = client.fleet().await?.now;
        client.execute(&ControllerCommand::Notify).await?;
        loop {
            let fleet = client.fleet().await?;
            if fleet.source.last_look.is_some_and(|begun| begun >= asked) {
                return Ok(fleet);
            }
            if Instant::now() >= deadline {
                return Err(Failure::new(format!(
                    "the controller hasn't read the repository after {}",
                    self.timeout
                ))
                .hint("run `plumb events` to see what it does"));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn drive(&self, client: &Client, shell: &Shell) -> Result<ApplyResult, Failure> {
        let deadline = Instant::now() + self.timeout.duration();
        let fleet = self.fetch(client, deadline).await?;
        warn_of_unpushed(shell);
        let not_fetched = not_fetched(&fleet);
        let Some(accepted) = fleet.source.accepted.clone() else {
            let failure = Failure::new("no commit is accepted yet, so there is nothing to apply");
            return Err(match not_fetched {
                Some(why) => failure.because(&std::io::Error::other(why)),
                None => {
                    failure.hint("run `plumb get revisions` to see what the branch's commits lack")
                }
            });
        };
        if let Some(why) = &not_fetched {
            shell.warn(format_args!(
                "cannot fetch the repository ({why}); applying {}",
                short(&accepted)
            ));
        } else if let Some(held) = &fleet.source.held {
            shell.warn(format_args!(
                "{} isn't accepted ({}); applying {}",
                short(&held.commit),
                held.verdict,
                short(&accepted)
            ));
        }
        if not_fetched.is_none() && fleet.source.held.is_none() {
            shell.say(format_args!("applying {}", short(&accepted)));
        }
        let chosen: BTreeSet<_> = select_some(&self.selection, &fleet.hosts)?
            .into_iter()
            .map(|host| host.metadata.name.clone())
            .collect();
        // The condition may be older than this command. It counts when the controller has observed the host
        // again.
        let lasts = |host: &HostObject| {
            host.status.conditions.is_true(ConditionType::Stalled) || needs_person(host).is_some()
        };
        let mut stale: BTreeSet<_> = fleet
            .hosts
            .iter()
            .filter(|host| lasts(host))
            .map(|host| host.metadata.name.clone())
            .collect();
        let driven = fleet
            .hosts
            .iter()
            .filter(|host| chosen.contains(&host.metadata.name) && left_out(host).is_none());
        let hosts: Vec<_> = driven.map(|host| host.metadata.name.clone()).collect();
        if !hosts.is_empty() {
            client
                .execute(&ControllerCommand::Reconcile { hosts })
                .await?;
        }
        let reobserved_by = Instant::now() + REOBSERVE_TIMEOUT;
        let (mut ready, mut said) = (BTreeSet::new(), BTreeMap::new());
        loop {
            let fleet = client.fleet().await?;
            for host in fleet.hosts.iter() {
                if !lasts(host) {
                    stale.remove(&host.metadata.name);
                }
            }
            if Instant::now() >= reobserved_by {
                stale.clear();
            }
            let mut applied = state(&fleet, &chosen, &stale);
            for host in &applied.ready {
                if ready.insert(host.clone()) {
                    shell.say(format_args!("{host}: ready"));
                }
            }
            let over = applied
                .waiting
                .iter()
                .all(|waiting| waiting.state == WaitState::Stalled);
            if self.no_wait || over || Instant::now() >= deadline {
                applied.not_fetched = not_fetched;
                return Ok(applied);
            }
            for waiting in &applied.waiting {
                let (host, message) = (&waiting.host, &waiting.message);
                let before = said.insert(host.clone(), message.clone());
                if before.as_ref() != Some(message) {
                    shell.say(format_args!("waiting for {host}: {message}"));
                }
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// Warns if the current folder is a clone of the fleet with commits that aren't pushed: the controller can't
/// apply them.
fn warn_of_unpushed(shell: &Shell) {
    let folder = Path::new(".");
    if !folder.join("fleet.yaml").exists() {
        return;
    }
    if let Some(unpushed) = Git::at(folder).ahead("@{upstream}", "HEAD") {
        let commits = count(usize::try_from(unpushed).unwrap_or(usize::MAX), "commit");
        shell.warn(format_args!(
            "this clone has {commits} that its upstream branch doesn't have: git push"
        ));
    }
}

/// Returns the error of the source's last fetch, if it failed.
fn not_fetched(fleet: &Fleet) -> Option<String> {
    let ready = fleet.source.conditions.get(ConditionType::Ready)?;
    (ready.status == ConditionStatus::False).then(|| ready.message.headline().to_owned())
}

/// Returns the condition that explains why a host isn't driven, or `None` if it is driven.
fn left_out(host: &HostObject) -> Option<&Condition> {
    let ready = host.status.conditions.get(ConditionType::Ready)?;
    let left = matches!(
        ready.reason,
        ConditionReason::Dormant
            | ConditionReason::Unmanaged
            | ConditionReason::Suspended
            | ConditionReason::Released
    );
    (left && ready.status == ConditionStatus::Unknown).then_some(ready)
}

fn stalled(applied: &ApplyResult) -> Vec<String> {
    let stalled = applied
        .waiting
        .iter()
        .filter(|w| w.state == WaitState::Stalled);
    stalled.map(|waiting| waiting.host.to_string()).collect()
}

fn state(fleet: &Fleet, chosen: &BTreeSet<HostName>, stale: &BTreeSet<HostName>) -> ApplyResult {
    let mut applied = ApplyResult {
        revision: fleet.source.accepted.clone(),
        not_fetched: None,
        ready: Vec::new(),
        waiting: Vec::new(),
        left_out: Vec::new(),
    };
    let chosen = fleet
        .hosts
        .iter()
        .filter(|host| chosen.contains(&host.metadata.name));
    for host in chosen {
        let name = host.metadata.name.clone();
        if let Some(why) = left_out(host) {
            applied.left_out.push(HostProgress {
                host: name,
                message: format!("skipped: {}", why.message),
                state: WaitState::Stalled,
            });
        } else if is_settled(host, fleet) {
            applied.ready.push(name);
        } else {
            applied.waiting.push(waiting(host, stale));
        }
    }
    applied
}

fn waiting(host: &HostObject, stale: &BTreeSet<HostName>) -> HostProgress {
    let conditions = &host.status.conditions;
    let stalled = conditions
        .get(ConditionType::Stalled)
        .filter(|stalled| stalled.status == ConditionStatus::True);
    let stalled = stalled.or_else(|| needs_person(host));
    let reason = stalled.or_else(|| conditions.get(ConditionType::Ready));
    HostProgress {
        host: host.metadata.name.clone(),
        message: reason.map_or_else(
            || "not observed yet".to_owned(),
            |c| c.message.headline().to_owned(),
        ),
        state: if stalled.is_some() && !stale.contains(&host.metadata.name) {
            WaitState::Stalled
        } else {
            WaitState::Some
        },
    }
}

/// Returns the condition, other than `Stalled`, that only a person can change: drift that isn't corrected, or
/// manifests with errors.
fn needs_person(host: &HostObject) -> Option<&Condition> {
    let conditions = [ConditionType::Ready, ConditionType::Synced];
    let mut conditions = conditions
        .into_iter()
        .filter_map(|kind| host.status.conditions.get(kind));
    conditions.find(|condition| {
        let lasts = matches!(
            condition.reason,
            ConditionReason::Drifted | ConditionReason::ManifestInvalid
        );
        lasts && condition.status == ConditionStatus::False
    })
}

/// True if a host matches its target and the target is the newest accepted revision.
fn is_settled(host: &HostObject, fleet: &Fleet) -> bool {
    host.status.conditions.is_true(ConditionType::Ready)
        && host.status.conditions.is_true(ConditionType::Synced)
        && host.status.revision == fleet.source.accepted
}
