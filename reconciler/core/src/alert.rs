//! An alert in the format of Alertmanager's API v2.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An alert. Its labels identify it and never change while it fires; everything that changes is an
/// annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// `alertname`, `severity`, `fleet`, `host`, and the labels of the host's manifest.
    pub labels: BTreeMap<String, String>,
    /// `summary`, `description`, `runbook_url`, `revision`.
    pub annotations: BTreeMap<String, String>,
    /// Time at which the alert began. A restart of the controller doesn't change it.
    pub starts_at: Timestamp,
    /// Time until which Alertmanager treats the alert as firing, unless Plumb sends it again. For a resolved
    /// alert, this time isn't in the future.
    pub ends_at: Timestamp,
    /// The address of the controller's status page.
    #[serde(
        rename = "generatorURL",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub generator_url: String,
}
