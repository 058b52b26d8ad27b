//! `service`: a systemd unit's run state, enablement and mask, and its restarts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::field::Manage;
use super::unit::{UnitSpec, is_unit_name, keys_read_by};
use super::{Claim, Dependency, Logins, Problem, Resource, Strength, Trigger, differs};
use crate::name::Address;
use crate::period::Period;
use crate::plan::{Consequence, FieldChange};

/// The state of a systemd unit. The name is that of the unit without `.service` (`nginx`, `backup.timer`).
///
/// A running unit is restarted if the digest of its `restartOn` inputs differs from the digest at its last
/// start. So a restart can't be lost when a run is interrupted. The unit's own file and drop-ins are inputs
/// too, without being listed: also the file of its template (`worker@.service` for `worker@a`), and drop-ins
/// for several services (`foo-.service.d`, `service.d`). For a socket or a path, the unit that it triggers is
/// an input; a timer is only applied after its unit. An alias is resolved to its unit. If two names mean the
/// same unit, an error names both.
///
/// `started` means that the unit is active, and still active after `settle`. If a unit fails by itself, that
/// isn't drift: Plumb starts it again in every drift mode, and the error has the last lines of its journal.
/// If a unit is still starting, Plumb waits for at most its `TimeoutStartSec`, and at most 90 s. Meanwhile,
/// other resources of the host are applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// `started` or `stopped`; not managed when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ServiceState>,
    /// True if the unit starts at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// True if the unit is masked, so that nothing can start it. If the name is an alias that a package
    /// installs, such as `ctrl-alt-del.target`, only the alias is masked, and not its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<bool>,
    /// How long a started unit must stay active before it counts as started; `1s` when left out, at most
    /// `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Period>,
    /// Resources whose changes restart the unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_on: Vec<Address>,
    /// Resources whose changes reload the unit, or restart it if it can't reload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reload_on: Vec<Address>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: set the unit's state when Plumb first manages it, and never change it
    /// again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The desired run state of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ServiceState {
    /// The unit runs, or is a oneshot unit that has run.
    Started,
    /// The unit doesn't run.
    Stopped,
}

/// The observed run state of a unit, as systemd has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunState {
    /// Active, or a oneshot that has run.
    Started,
    /// Inactive.
    Stopped,
    /// Activating, or its start job is queued.
    Starting,
    /// The unit ended by itself, and systemd will start it again.
    Restarting,
    /// Active, and reading its configuration again.
    Reloading,
    /// Deactivating.
    Stopping,
    /// The unit failed by itself.
    Failed,
}

impl RunState {
    /// True if the unit may have read its inputs: it runs, or is about to.
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Started | Self::Starting | Self::Restarting | Self::Reloading
        )
    }

    /// Returns the state's name, as plans show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Restarting => "restarting",
            Self::Reloading => "reloading",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}

impl ServiceState {
    /// Returns the state's name, as manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
        }
    }

    /// True if a unit in this state is as desired.
    fn is_met_by(self, observed: RunState) -> bool {
        match self {
            Self::Started => observed == RunState::Started,
            Self::Stopped => matches!(observed, RunState::Stopped | RunState::Failed),
        }
    }
}

/// The action that a running unit needs to read its changed inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stale {
    /// None.
    #[default]
    No,
    /// A reload: an input of `reloadOn` changed since the last reload or start.
    Reload,
    /// A restart: an input of `restartOn`, the unit's own file or a drop-in changed since the last start.
    Restart,
}

impl Stale {
    /// True if this is the default, which the canonical form omits.
    pub fn is_no(&self) -> bool {
        *self == Self::No
    }
}

/// The observed state of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceObserved {
    /// True if systemd knows the unit.
    pub known: bool,
    /// The run state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RunState>,
    /// True if the unit starts at boot; `None` if it has no `[Install]` section (static, generated,
    /// indirect).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// True if the unit is masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
    /// The action that the unit needs because an input changed.
    #[serde(default, skip_serializing_if = "Stale::is_no")]
    pub stale: Stale,
    /// The unit's real name, if the resource names it by an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_of: Option<String>,
}

impl ServiceObserved {
    /// Returns the full name of the unit for a resource of this name, with an alias resolved.
    pub fn unit(&self, name: &str) -> String {
        self.alias_of.clone().unwrap_or_else(|| unit_name(name))
    }
}

/// Returns the unit's full name.
pub(super) fn unit_name(name: &str) -> String {
    if is_unit_name(name) {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

/// Returns the unit that a socket, a path or a timer of this name triggers by default. Its file may name
/// another unit.
fn triggered_unit(unit: &str) -> Option<String> {
    let timer = unit.strip_suffix(".timer").map(service_of);
    timer.or_else(|| held_open_unit(unit))
}

/// Returns the unit that a socket or a path of this name triggers by default. Such a unit keeps running and
/// reads its own file only when it starts.
fn held_open_unit(unit: &str) -> Option<String> {
    let stem = unit.strip_suffix(".socket");
    stem.or_else(|| unit.strip_suffix(".path")).map(service_of)
}

fn service_of(stem: &str) -> String {
    format!("{stem}.service")
}

impl ServiceSpec {
    /// Default of `settle`: how long a started unit must stay active.
    const SETTLE: Duration = Duration::from_secs(1);

    /// Maximum of `settle`.
    const LONGEST_SETTLE: Duration = Duration::from_secs(300);

    /// Returns the full name of a service resource's unit: `nginx` → `nginx.service`.
    pub fn unit(name: &str) -> String {
        unit_name(name)
    }

    /// Returns the name of the resource that manages a unit: `nginx.service` → `nginx`.
    pub fn name_of(unit: &str) -> &str {
        unit.strip_suffix(".service").unwrap_or(unit)
    }

    /// Returns the time for which a started unit must stay active.
    pub fn settle(&self) -> Duration {
        self.settle.map_or(Self::SETTLE, Period::duration)
    }
}

impl Resource for ServiceSpec {
    type Observed = ServiceObserved;

    const EXAMPLE: &'static str = r#"service:
  nginx: {state: started, enabled: true, reloadOn: [file:/etc/nginx/nginx.conf]}
  rpcbind: {masked: true}
file:
  /etc/nginx/nginx.conf: {content: "events {}\n"}
"#;

    const SETS: &'static [&'static str] = &["after", "reloadOn", "restartOn"];

    const RANK: u8 = 90;

    const REFERENCES: &'static [&'static str] = Self::SETS;

    const REACTIONS: &'static [&'static str] = &["inputs"];

    fn check_name(name: &str) -> Result<(), String> {
        // Only one spelling is valid, because an address is an identity.
        if let Some(stem) = name.strip_suffix(".service") {
            return Err(format!("leave out `.service`: write {stem}"));
        }
        if is_unit_name(&unit_name(name)) {
            Ok(())
        } else {
            Err("name a service like its unit: nginx, backup.timer".to_owned())
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.masked == Some(true)
            && (self.state == Some(ServiceState::Started) || self.enabled == Some(true))
        {
            problems.push(Problem {
                field: "masked",
                message: "a masked unit can neither run nor be enabled".to_owned(),
                hint: "remove `masked`, or remove `state` and `enabled`".to_owned(),
            });
        }
        if self.settle() > Self::LONGEST_SETTLE {
            problems.push(Problem {
                field: "settle",
                message: "a run can't wait that long for a unit to settle".to_owned(),
                hint: "write 5m or less; a `check` with `within` can wait longer".to_owned(),
            });
        }
        if let Some(both) = self
            .restart_on
            .iter()
            .find(|address| self.reload_on.contains(address))
        {
            problems.push(Problem {
                field: "reloadOn",
                message: format!("`{both}` is in both `restartOn` and `reloadOn`"),
                hint: "remove it from `reloadOn`: a restart reloads too".to_owned(),
            });
        }
        problems
    }

    fn compare(&self, observed: &ServiceObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        differs(
            &mut changes,
            "masked",
            self.masked.as_ref(),
            Some(&observed.masked),
        );
        if self.masked != Some(true) {
            differs(
                &mut changes,
                "enabled",
                self.enabled.as_ref(),
                observed.enabled.as_ref(),
            );
        }
        let state = observed.state.unwrap_or(RunState::Stopped);
        if let Some(wanted) = self.state.filter(|wanted| !wanted.is_met_by(state)) {
            changes.push(FieldChange::new("state", state.as_str(), wanted.as_str()));
        }
        if state.is_live() && self.state != Some(ServiceState::Stopped) {
            match observed.stale {
                Stale::No => {}
                Stale::Reload => changes.push(FieldChange::new("inputs", "stale", "reloaded")),
                Stale::Restart => changes.push(FieldChange::new("inputs", "stale", "restarted")),
            }
        }
        changes
    }

    fn requires(&self, _name: &str) -> Vec<Dependency> {
        self.restart_on
            .iter()
            .chain(&self.reload_on)
            .map(|address| Dependency {
                address: address.clone(),
                strength: Strength::Explicit,
            })
            .collect()
    }

    fn triggers(&self, name: &str) -> Vec<Trigger> {
        let unit = unit_name(name);
        let restarts = self.restart_on.iter().map(|on| Trigger {
            on: on.clone(),
            effect: Consequence::Restarts(unit.clone()),
        });
        let reloads = self.reload_on.iter().map(|on| Trigger {
            on: on.clone(),
            effect: Consequence::Reloads(unit.clone()),
        });
        restarts.chain(reloads).collect()
    }

    fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let unit = unit_name(name);
        let mut all = Vec::new();
        for change in fields {
            match (
                change.field.as_str(),
                change.to.as_ref().and_then(|to| to.as_str()),
            ) {
                ("inputs", Some("restarted")) => all.push(Consequence::Restarts(unit.clone())),
                ("inputs", Some("reloaded")) => all.push(Consequence::Reloads(unit.clone())),
                ("state", Some("stopped")) => all.push(Consequence::Stops(unit.clone())),
                _ => {}
            }
        }
        all
    }

    fn input_keys(name: &str) -> Vec<String> {
        let unit = unit_name(name);
        let mut keys = keys_read_by(&unit);
        keys.extend(triggered_unit(&unit).map_or(Vec::new(), |unit| keys_read_by(&unit)));
        keys
    }

    fn on_input(&self, name: &str, key: &str) -> Option<Consequence> {
        let unit = unit_name(name);
        if keys_read_by(&unit).iter().any(|own| own == key) {
            return Some(Consequence::Restarts(unit));
        }
        // A unit that a timer triggers needs no restart: it reads its file when the timer starts it next.
        let triggered = held_open_unit(&unit)?;
        Some(Consequence::Restarts(triggered))
    }

    fn reacts(&self, observed: Option<&ServiceObserved>) -> bool {
        let may_run = self.state != Some(ServiceState::Stopped) && self.masked != Some(true);
        // A unit that doesn't run yet reads its inputs when it starts.
        may_run && observed.is_none_or(|found| found.state.is_some_and(RunState::is_live))
    }

    fn by_itself(&self, observed: &ServiceObserved, field: &str) -> bool {
        let state = observed.state.unwrap_or(RunState::Stopped);
        field == "state"
            && self.state == Some(ServiceState::Started)
            && !matches!(state, RunState::Started | RunState::Stopped)
    }

    fn claims(&self, name: &str) -> Vec<Claim> {
        let mask = (self.masked == Some(true)).then(|| Claim {
            path: UnitSpec::path_in_folder(&unit_name(name)),
            hint: "a mask is a link where the unit's own file lies: drop the `unit`, or write `state: stopped, enabled: false` in place of `masked`".to_owned(),
        });
        mask.into_iter().collect()
    }

    fn own_name(observed: &ServiceObserved) -> Option<String> {
        let unit = observed.alias_of.as_deref()?;
        Some(Self::name_of(unit).to_owned())
    }

    fn exists(observed: &ServiceObserved) -> bool {
        observed.known
    }

    fn lifeline(name: &str) -> bool {
        let stem = name.split(['.', '@']).next().unwrap_or(name);
        matches!(stem, "ssh" | "sshd" | "plumb" | "plumb-controller")
    }

    fn cuts_off(name: &str, _logins: &Logins) -> bool {
        let stem = name.split(['.', '@']).next().unwrap_or(name);
        matches!(
            stem,
            "ssh" | "sshd" | "nftables" | "systemd-networkd" | "wg-quick"
        )
    }

    fn unit(&self, name: &str) -> Option<String> {
        Some(unit_name(name))
    }

    /// Returns false: `state` shows whether the unit runs, not whether it exists.
    fn made(_differing: &[FieldChange]) -> bool {
        false
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
