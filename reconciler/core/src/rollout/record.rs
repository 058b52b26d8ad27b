//! The stored form of a rollout, including that of earlier versions.

use std::collections::BTreeMap;

use plumb_api::{Digest, HostName};
use serde::Deserialize;

use super::{Failure, FirstContact, Flight, Members, Rollout, RolloutId, RolloutWait, Stage};

/// A stored rollout. Earlier versions had a single rollout for all pending changes, and stored unreachable
/// hosts in a separate map (`away`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RolloutRecord {
    #[serde(default)]
    id: RolloutId,
    #[serde(default)]
    revision: Option<String>,
    #[serde(default)]
    stage: Stage,
    members: Option<Members>,
    #[serde(default)]
    flying: BTreeMap<HostName, Flight>,
    #[serde(default)]
    away: BTreeMap<HostName, Digest>,
    #[serde(default)]
    failed: BTreeMap<HostName, Failure>,
}

impl From<RolloutRecord> for Rollout {
    fn from(record: RolloutRecord) -> Self {
        let away = record.away.into_iter().map(|(host, digest)| {
            let flight = Flight {
                digest,
                contact: FirstContact::NotYet,
                wait: RolloutWait::Away,
                failures: 0,
            };
            (host, flight)
        });
        let mut in_flight = record.flying;
        in_flight.extend(away);
        Self {
            id: record.id,
            revision: record.revision,
            stage: record.stage,
            members: record.members.unwrap_or(Members::EveryPendingHost),
            in_flight,
            failed: record.failed,
        }
    }
}
