//! `service`: a systemd unit's run state, enablement and mask, and its restarts.

use serde::{Deserialize, Serialize};

use super::field::Manage;
use super::unit::is_unit_name;
use super::{Dependency, Problem, Resource, Strength, Trigger, differs};
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

/// A unit's state; its name is the unit's without `.service` (`nginx`, `backup.timer`).
///
/// A restart is state, not an event: the unit is stale while the digest of its `restartOn` inputs differs
/// from the one at its last start, so that no crash can lose a restart. Its own `unit` and drop-ins are
/// inputs without being named.
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
    /// True if the unit can't be started at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<bool>,
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

/// The desired or observed run state of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ServiceState {
    /// The unit runs (a oneshot: it has run).
    Started,
    /// The unit doesn't run.
    Stopped,
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
    pub state: Option<ServiceState>,
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
}

/// Returns the unit's full name.
pub(super) fn unit_name(name: &str) -> String {
    if is_unit_name(name) {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

impl ServiceSpec {
    /// Returns the full name of a service resource's unit: `nginx` → `nginx.service`.
    pub fn unit(name: &str) -> String {
        unit_name(name)
    }
}

impl Resource for ServiceSpec {
    type Observed = ServiceObserved;

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
        let state = if observed.known {
            observed.state.as_ref()
        } else {
            Some(&ServiceState::Stopped)
        };
        differs(&mut changes, "state", self.state.as_ref(), state);
        let running = observed.state == Some(ServiceState::Started);
        if running && self.state != Some(ServiceState::Stopped) {
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

    fn on_input(&self, name: &str) -> Option<Consequence> {
        Some(Consequence::Restarts(unit_name(name)))
    }

    fn reacts(&self, observed: Option<&ServiceObserved>) -> bool {
        let may_run = self.state != Some(ServiceState::Stopped) && self.masked != Some(true);
        // A unit that doesn't run yet reads its inputs when it starts.
        may_run && observed.is_none_or(|found| found.state == Some(ServiceState::Started))
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
