//! `Fleet`: the settings for all hosts.

use serde::{Deserialize, Serialize};

use super::host::HostSpec;
use crate::period::Period;

/// The spec of `fleet.yaml`: the settings for all hosts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSpec {
    /// The DNS domain. A host's `fqdn` is its host name, a dot, and this domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The Alertmanagers to which alerts are posted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alertmanagers: Vec<AlertmanagerRef>,
    /// A Host spec that applies to every host, at the lowest priority.
    #[serde(default)]
    pub host_defaults: HostSpec,
    /// The rules for rollouts.
    #[serde(default)]
    pub rollout: Rollout,
    /// The rules for what the repository may contain.
    #[serde(default)]
    pub policies: Policies,
    /// The settings for all secrets.
    #[serde(default)]
    pub secrets: FleetSecrets,
    /// The dead-man timer of changes that could cut the controller off.
    #[serde(default)]
    pub dead_man: DeadManTimer,
}

/// The settings for all secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSecrets {
    /// The operators, who can read every secret. The key of `NAME` is in `trust/recipients/NAME.pub`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
}

/// The dead-man timer of changes that could cut the controller off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadManTimer {
    /// Time within which the controller must connect again. Otherwise the host puts the changes back.
    #[serde(default = "two_minutes")]
    pub confirm: Period,
}

impl Default for DeadManTimer {
    fn default() -> Self {
        Self {
            confirm: two_minutes(),
        }
    }
}

fn two_minutes() -> Period {
    Period::minutes(2)
}

/// An Alertmanager: an endpoint of a host, or an address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertmanagerRef {
    /// The endpoint of a host: `local-nas/alertmanager.api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// A URL: `http://192.0.2.3:9093`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The rules for what the repository may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policies {
    /// The severity of a secret in clear text.
    #[serde(default)]
    pub clear_text_secrets: ClearTextSecrets,
}

/// The severity of a secret in clear text: a private key, a token, or a password in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ClearTextSecrets {
    /// An error.
    Deny,
    /// A warning.
    #[default]
    Warn,
    /// Nothing is reported.
    Allow,
}

/// The rules for rollouts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// The condition that halts a rollout.
    #[serde(default)]
    pub halt: Halt,
}

/// The condition that halts a rollout. During a halt, only hosts whose desired state the change affects wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Halt {
    /// Number of failed hosts at which a rollout halts. The first host counts too. Until one host has reached
    /// the change, Plumb changes only one host at a time. A failure counts when the second try fails, or at
    /// once if a retry can't help.
    #[serde(default = "one")]
    pub failures: u32,
}

impl Default for Halt {
    fn default() -> Self {
        Self { failures: one() }
    }
}

fn one() -> u32 {
    1
}
