//! An alert in the format of Alertmanager's API v2.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An alert. Its labels identify it and never change while it fires; everything that changes is an
/// annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// `alertname`, `severity`, `host`, and the labels of the host's manifest.
    pub labels: BTreeMap<String, String>,
    /// `summary`, `description`, `runbook_url`, `revision`.
    pub annotations: BTreeMap<String, String>,
    /// The start of the alert; kept across restarts.
    pub starts_at: Timestamp,
    /// Alertmanager treats the alert as firing until this time unless Plumb sends it again; in the past when
    /// it is resolved.
    pub ends_at: Timestamp,
    /// The address of the controller's status page.
    #[serde(
        rename = "generatorURL",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub generator_url: String,
}
