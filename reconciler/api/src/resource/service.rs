//! `service`: a systemd unit's run state, enablement and mask, and its restarts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::field::Manage;
use super::unit::{UnitSpec, is_unit_name, keys_read_by};
use super::{Claim, Dependency, Problem, Resource, Strength, Trigger, differs};
use crate::name::Address;
use crate::period::Period;
use crate::plan::{Consequence, FieldChange};

/// A unit's state; its name is the unit's without `.service` (`nginx`, `backup.timer`).
///
/// A restart is state, not an event: the unit is stale while the digest of its `restartOn` inputs differs
/// from the one at its last start, so that no crash can lose a restart. Its own `unit` and drop-ins are
/// inputs without being named: those of its template too (`worker@.service` for `worker@a`), and drop-ins of a
/// common beginning (`foo-.service.d`) or of all services (`service.d`). An alias is resolved to its unit: two
/// names of one unit are an error that names both. Of a socket or a path the unit that it triggers is an input
/// too; a timer only comes after it.
///
/// `started` means active, and still active after `settle`. A unit that fails by itself has failed; it hasn't
/// drifted, so Plumb starts it again in every drift mode, and the error has the last lines of its journal. A
/// unit that is still starting is waited for, at most as long as its `TimeoutStartSec` and 90 s; the rest of
/// the host goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// `started` or `stopped`; unmanaged when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ServiceState>,
    /// True if the unit starts at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// True if the unit can't be started at all. An alias that a package brings, such as `ctrl-alt-del.target`, is
    /// masked by itself, without its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<bool>,
    /// The time for which a started unit must stay active before it counts as started; `1s` when left out, at
    /// most `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Period>,
    /// A change of one of these restarts the unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_on: Vec<Address>,
    /// A change of one of these reloads the unit, or restarts it if it can't reload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reload_on: Vec<Address>,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default) or `once`.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The desired run state of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ServiceState {
    /// The unit runs (a oneshot: it has run).
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
    /// Activating, or its job waits.
    Starting,
    /// It ended by itself, and systemd starts it again.
    Restarting,
    /// Active, and reading its configuration again.
    Reloading,
    /// Deactivating.
    Stopping,
    /// It failed by itself.
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

/// The action that a running unit needs to read its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stale {
    /// None.
    #[default]
    No,
    /// A reload: an input of `reloadOn` changed since the last reload or start.
    Reload,
    /// A restart: an input of `restartOn`, or its own unit or drop-in, changed since the last start.
    Restart,
}

impl Stale {
    /// True if this is the default; it is left out of the canonical form.
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
    /// The unit's own name, if the resource names it by an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias_of: Option<String>,
}

impl ServiceObserved {
    /// Returns the full name of the unit itself for a resource of this name.
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

/// Returns the unit that a socket, a path or a timer of this name triggers, unless its file says another.
fn triggered_unit(unit: &str) -> Option<String> {
    let timer = unit.strip_suffix(".timer").map(service_of);
    timer.or_else(|| held_open_unit(unit))
}

/// Returns the unit that a socket or a path of this name triggers: it runs on, and reads its file at its start
/// alone.
fn held_open_unit(unit: &str) -> Option<String> {
    let stem = unit.strip_suffix(".socket");
    stem.or_else(|| unit.strip_suffix(".path")).map(service_of)
}

fn service_of(stem: &str) -> String {
    format!("{stem}.service")
}

impl ServiceSpec {
    /// The time for which a started unit must stay active, unless the manifest says another.
    const SETTLE: Duration = Duration::from_secs(1);

    /// The longest time that `settle` may be.
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
        // What a timer starts reads its unit at its next start.
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

    fn claims(&self, name: &str) -> Option<Claim> {
        (self.masked == Some(true)).then(|| Claim {
            path: UnitSpec::path_in_folder(&unit_name(name)),
            hint: "a mask is a link where the unit's own file lies: drop the `unit`, or write `state: stopped, enabled: false` in place of `masked`".to_owned(),
        })
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

    fn unit(&self, name: &str) -> Option<String> {
        Some(unit_name(name))
    }

    /// Returns false: `state` shows if the unit runs, not if it exists.
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
