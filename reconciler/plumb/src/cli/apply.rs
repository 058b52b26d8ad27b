use std::collections::BTreeSet;
use std::time::Duration;

use plumb_api::HostName;
use plumb_core::status::ConditionType;
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
/// this waits until each is there, and fails if one isn't in time. `plumb plan` shows beforehand what
/// would change.
#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    #[command(flatten)]
    selection: Selection,

    /// Return as soon as the controller has begun
    #[arg(long)]
    no_wait: bool,

    /// How long to wait for the hosts
    #[arg(long, default_value = "10m", value_name = "TIME")]
    timeout: Period,

    #[command(flatten)]
    controller: ControllerAddress,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    revision: Option<String>,
    ready: Vec<HostName>,
    waiting: Vec<Waiting>,
}

#[derive(Serialize)]
struct Waiting {
    host: HostName,
    message: String,
}

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
            for waiting in &applied.waiting {
                table.painted([
                    (None, waiting.host.to_string()),
                    (Some(Paint::Warn), waiting.message.clone()),
                ]);
            }
            table.to_string()
        })?;
        if self.no_wait || applied.waiting.is_empty() {
            Ok(Exit::OK)
        } else {
            Err(Failure::new(format!(
                "{} of {} hosts aren't ready after {}",
                applied.waiting.len(),
                applied.waiting.len() + applied.ready.len(),
                self.timeout
            ))
            .hint("`plumb describe host NAME` says why; the controller goes on trying"))
        }
    }

    async fn drive(&self, client: &Client, shell: &Shell) -> Result<Applied, Failure> {
        client.tell(&Command::Notify).await?;
        let fleet = client.fleet().await?;
        let Some(accepted) = &fleet.source.accepted else {
            return Err(Failure::new(
                "nothing has been accepted yet, so there is nothing to apply",
            )
            .hint("`plumb get revisions` says what the branch's commits lack"));
        };
        if let Some(held) = &fleet.source.held {
            shell.warn(format_args!(
                "{} isn't accepted ({}); {} is applied",
                short(&held.commit),
                held.verdict,
                short(accepted)
            ));
        }
        let chosen: BTreeSet<_> = select_some(&self.selection, &fleet.hosts)?
            .into_iter()
            .map(|host| host.metadata.name.clone())
            .collect();
        client
            .tell(&Command::Reconcile {
                hosts: chosen.iter().cloned().collect(),
            })
            .await?;
        let deadline = Instant::now() + self.timeout.duration();
        let mut told = BTreeSet::new();
        loop {
            let fleet = client.fleet().await?;
            let applied = state(&fleet, &chosen);
            for host in &applied.ready {
                if told.insert(host.clone()) {
                    shell.say(format_args!("{host}: ready"));
                }
            }
            if self.no_wait || applied.waiting.is_empty() || Instant::now() >= deadline {
                return Ok(applied);
            }
            sleep(Duration::from_millis(250)).await;
        }
    }
}

fn state(fleet: &Fleet, chosen: &BTreeSet<HostName>) -> Applied {
    let (mut ready, mut waiting) = (Vec::new(), Vec::new());
    for host in fleet
        .hosts
        .iter()
        .filter(|host| chosen.contains(&host.metadata.name))
    {
        if is_there(host, fleet) {
            ready.push(host.metadata.name.clone());
        } else {
            let reason = host.status.conditions.get(ConditionType::Ready);
            waiting.push(Waiting {
                host: host.metadata.name.clone(),
                message: reason
                    .map_or_else(|| "not looked at yet".to_owned(), |c| c.message.clone()),
            });
        }
    }
    Applied {
        revision: fleet.source.accepted.clone(),
        ready,
        waiting,
    }
}

/// A host is there when it is as its target says and that target is the newest revision.
fn is_there(host: &HostObject, fleet: &Fleet) -> bool {
    host.status.conditions.is_true(ConditionType::Ready)
        && host.status.conditions.is_true(ConditionType::Synced)
        && host.status.revision == fleet.source.accepted
}
