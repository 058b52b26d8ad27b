use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plumb_api::HostName;
use plumb_core::reason::ConditionReason;
use plumb_core::status::{Condition, ConditionStatus, ConditionType};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{ControllerAddress, Selection, block_on, select_some};
use crate::config::Period;
use crate::http::{Client, Command, Fleet, HostObject};
use crate::output::{Paint, Shell, Table, short};
use crate::report::{Exit, Failure};

/// Have the accepted revision applied now, and wait for it
///
/// Only what is pushed and accepted is ever applied: there is no way to send a working tree to hosts.
/// The running controller fetches, takes what its trust policy accepts, and drives the chosen hosts;
/// this waits until each is there. It fails if one isn't in time, or can't be there until somebody
/// changes something, and if the repository couldn't be fetched. Hosts that aren't driven (dormant,
/// unmanaged, suspended, or without a file in git) are left out. `plumb plan` shows beforehand what would
/// change.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    #[command(flatten)]
    selection: Selection,

    /// Return as soon as the controller has fetched and begun
    #[arg(long)]
    no_wait: bool,

    /// How long to wait for the repository and the hosts
    #[arg(long, default_value = "10m", value_name = "TIME")]
    timeout: Period,

    #[command(flatten)]
    controller: ControllerAddress,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    revision: Option<String>,
    /// The error of the last fetch. The newest push isn't in `revision` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_fetched: Option<String>,
    ready: Vec<HostName>,
    waiting: Vec<Waiting>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<Waiting>,
}

#[derive(Serialize)]
struct Waiting {
    host: HostName,
    message: String,
    /// The outlook, which decides if the command goes on waiting.
    #[serde(skip)]
    hope: Hope,
}

/// The outlook of a host that isn't ready yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hope {
    Some,
    /// It stays as it is until somebody changes something.
    Stalled,
}

/// The interval at which the controller is asked.
const OFTEN: Duration = Duration::from_millis(250);

/// The time after which a host that was stalled before the command counts as stalled even if it wasn't
/// observed again.
const LOOKED_AT_BY_THEN: Duration = Duration::from_secs(5);

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

    fn verdict(&self, applied: &Applied) -> Result<Exit, Failure> {
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
            return Err(Failure::new(format!(
                "{} of {all} hosts aren't ready after {}",
                applied.waiting.len(),
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

    /// Makes the controller fetch, and waits for the end of a poll that began after that: an earlier one may
    /// have missed the push.
    async fn fetch(&self, client: &Client, deadline: Instant) -> Result<Fleet, Failure> {
        let asked = client.fleet().await?.now;
        client.tell(&Command::Notify).await?;
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
            sleep(OFTEN).await;
        }
    }

    async fn drive(&self, client: &Client, shell: &Shell) -> Result<Applied, Failure> {
        let deadline = Instant::now() + self.timeout.duration();
        let fleet = self.fetch(client, deadline).await?;
        let not_fetched = not_fetched(&fleet);
        let Some(accepted) = fleet.source.accepted.clone() else {
            let failure =
                Failure::new("no commit is accepted yet, so there is nothing to apply");
            return Err(match not_fetched {
                Some(why) => failure.because(&std::io::Error::other(why)),
                None => failure.hint("run `plumb get revisions` to see what the branch's commits lack"),
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
        let chosen: BTreeSet<_> = select_some(&self.selection, &fleet.hosts)?
            .into_iter()
            .map(|host| host.metadata.name.clone())
            .collect();
        // `Stalled` may be left from before this command. It counts once a host has been observed again.
        let mut stale: BTreeSet<_> = fleet
            .hosts
            .iter()
            .filter(|host| host.status.conditions.is_true(ConditionType::Stalled))
            .map(|host| host.metadata.name.clone())
            .collect();
        let driven = fleet
            .hosts
            .iter()
            .filter(|host| chosen.contains(&host.metadata.name) && left_out(host).is_none());
        let hosts: Vec<_> = driven.map(|host| host.metadata.name.clone()).collect();
        if !hosts.is_empty() {
            client.tell(&Command::Reconcile { hosts }).await?;
        }
        let looked_at = Instant::now() + LOOKED_AT_BY_THEN;
        let (mut ready, mut said) = (BTreeSet::new(), BTreeMap::new());
        loop {
            let fleet = client.fleet().await?;
            for host in &fleet.hosts {
                if !host.status.conditions.is_true(ConditionType::Stalled) {
                    stale.remove(&host.metadata.name);
                }
            }
            if Instant::now() >= looked_at {
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
                .all(|waiting| waiting.hope == Hope::Stalled);
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
            sleep(OFTEN).await;
        }
    }
}

/// Returns the error of the source's last fetch.
fn not_fetched(fleet: &Fleet) -> Option<String> {
    let ready = fleet.source.conditions.get(ConditionType::Ready)?;
    (ready.status == ConditionStatus::False).then(|| ready.message.clone())
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

fn stalled(applied: &Applied) -> Vec<String> {
    let stalled = applied.waiting.iter().filter(|w| w.hope == Hope::Stalled);
    stalled.map(|waiting| waiting.host.to_string()).collect()
}

fn state(fleet: &Fleet, chosen: &BTreeSet<HostName>, stale: &BTreeSet<HostName>) -> Applied {
    let mut applied = Applied {
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
            applied.left_out.push(Waiting {
                host: name,
                message: format!("skipped: {}", why.message),
                hope: Hope::Stalled,
            });
        } else if is_there(host, fleet) {
            applied.ready.push(name);
        } else {
            applied.waiting.push(waiting(host, stale));
        }
    }
    applied
}

fn waiting(host: &HostObject, stale: &BTreeSet<HostName>) -> Waiting {
    let conditions = &host.status.conditions;
    let stalled = conditions
        .get(ConditionType::Stalled)
        .filter(|stalled| stalled.status == ConditionStatus::True);
    let reason = stalled.or_else(|| conditions.get(ConditionType::Ready));
    Waiting {
        host: host.metadata.name.clone(),
        message: reason.map_or_else(|| "not observed yet".to_owned(), |c| c.message.clone()),
        hope: if stalled.is_some() && !stale.contains(&host.metadata.name) {
            Hope::Stalled
        } else {
            Hope::Some
        },
    }
}

/// True if a host is as its target says and that target is the newest accepted revision.
fn is_there(host: &HostObject, fleet: &Fleet) -> bool {
    host.status.conditions.is_true(ConditionType::Ready)
        && host.status.conditions.is_true(ConditionType::Synced)
        && host.status.revision == fleet.source.accepted
}
