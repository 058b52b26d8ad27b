//! An alert, as Alertmanager's API v2 takes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An alert. Labels are its identity and never change while it fires; everything that changes is an
/// annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// `alertname`, `severity`, `host`, and the labels of the host's manifest.
    pub labels: BTreeMap<String, String>,
    /// `summary`, `description`, `runbook_url`, `revision`.
    pub annotations: BTreeMap<String, String>,
    /// When it began; kept across restarts.
    pub starts_at: Timestamp,
    /// Until when it counts as firing unless sent again; in the past when it is resolved.
    pub ends_at: Timestamp,
    /// Where to look.
    #[serde(
        rename = "generatorURL",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub generator_url: String,
}
