//! An alert in the format of Alertmanager's API v2.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Maximum difference between an Alertmanager's clock and ours for which the times of alerts aren't corrected.
///
/// A resolved alert is sent with an end this much before its resolution: an end that lies in the Alertmanager's
/// future resolves nothing, as Alertmanager then keeps the later end of the firing alert.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

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
    /// alert, this time lies [`CLOCK_TOLERANCE`] before the resolution, but not before `starts_at`.
    pub ends_at: Timestamp,
    /// The address of the controller's status page.
    #[serde(
        rename = "generatorURL",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub generator_url: String,
}
