//! The dead-man timer's files in the agent's folder: the armed timer, and the changes that the host put back.

use std::collections::BTreeMap;
use std::time::Duration;

use plumb_api::frame::Nonce;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::{Address, Digest, HostName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::pre_image::PreImage;
use crate::book::{Desired, Durable, Holder, Home, PATH, Sealed, seal, unseal};
use crate::error::{Result, fail};
use crate::sys::{boot_id, boottime_micros};

const ARMED: &str = "dead-man";
const REVERTED: &str = "reverted";

/// Maximum number of resources that an error names.
const NAMED: usize = 3;

/// The armed timer, with everything that the host needs to put the changes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Armed {
    pub nonce: Nonce,
    /// Time in seconds within which the confirmation must arrive.
    pub confirm: u32,
    /// The boot in which the timer was armed.
    pub boot: String,
    pub phase: Phase,
    /// The ledger's last confirmed desired state before the changes.
    pub confirmed: Option<Digest>,
    /// The resources as they were before the changes, in the order of the changes.
    pub pre_images: Vec<PreImage>,
}

/// How far the changes have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Phase {
    /// A run is making them, and holds the host's lock.
    Changing,
    /// They are made, and wait for the confirmation until this time since the boot, in microseconds.
    Waiting(u64),
}

/// The reason why changes are put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevertCause {
    /// The controller didn't connect again in time.
    NotConfirmed,
    /// The machine restarted before the confirmation.
    Restarted,
    /// The run ended before it had made all changes.
    RunEnded,
}

/// The time at which an armed timer puts the changes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Now.
    Now(RevertCause),
    /// As soon as no run holds the host's lock any more.
    WithoutRun,
    /// After this time.
    After(Duration),
}

impl Armed {
    pub(crate) fn load(home: &Home) -> Result<Option<Self>> {
        load(home, ARMED)
    }

    pub(crate) fn save(&self, home: &Home) -> Result<()> {
        save(home, ARMED, self)
    }

    pub(crate) fn remove(home: &Home) -> Result<()> {
        remove(home, ARMED)
    }

    pub(crate) fn due(&self) -> Due {
        if self.boot != boot_id() {
            return Due::Now(RevertCause::Restarted);
        }
        match self.phase {
            Phase::Changing => Due::WithoutRun,
            Phase::Waiting(until) => match until.checked_sub(boottime_micros()) {
                None | Some(0) => Due::Now(RevertCause::NotConfirmed),
                Some(rest) => Due::After(Duration::from_micros(rest)),
            },
        }
    }
}

/// The changes that the host put back last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reverted {
    pub nonce: Nonce,
    /// The digest of each desired spec; `None` for resources that were given back.
    pub changes: BTreeMap<Address, Option<Digest>>,
    /// A phrase that says why they were put back.
    pub why: String,
}

impl Reverted {
    pub(crate) fn load(home: &Home) -> Result<Option<Self>> {
        load(home, REVERTED)
    }

    pub(crate) fn save(&self, home: &Home) -> Result<()> {
        save(home, REVERTED, self)
    }

    pub(crate) fn remove(home: &Home) -> Result<()> {
        remove(home, REVERTED)
    }

    /// Returns the error with which the host refuses to try one of the changes again.
    pub(crate) fn refusal(&self, hostname: &str, holder: Option<&Holder>) -> AgentError {
        let host = holder.map_or(hostname, |holder| holder.host.as_str());
        let message = format!("put back by the host: {}", self.why);
        AgentError::new(ErrorCode::Reverted, message).hint(Self::hint(host))
    }

    /// Returns the answer to a confirmation that comes too late.
    pub(crate) fn answer(&self, host: &HostName) -> AgentError {
        let mut names: Vec<String> = self.changes.keys().map(ToString::to_string).collect();
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let message = format!("put back {}{more}: {}", names.join(", "), self.why);
        AgentError::new(ErrorCode::Reverted, message).hint(Self::hint(host.as_str()))
    }

    fn hint(host: &str) -> String {
        format!("correct the change and push, or run `plumb reconcile {host}` to try it again")
    }

    /// True if the desired state still has exactly these changes, so that they would cut the controller off
    /// again.
    pub(crate) fn is_desired(&self, desired: &Desired) -> bool {
        self.changes
            .iter()
            .all(|(address, digest)| desired.get(address).map(|leaf| leaf.digest) == *digest)
    }
}

fn load<T: DeserializeOwned>(home: &Home, name: &str) -> Result<Option<T>> {
    let Some(bytes) = home.read(name)? else {
        return Ok(None);
    };
    let found = match unseal(name, &bytes)? {
        Sealed::Sound(payload) => serde_json::from_slice(payload).ok(),
        Sealed::Corrupt => None,
    };
    match found {
        Some(found) => Ok(Some(found)),
        None => Err(
            AgentError::new(ErrorCode::LedgerLost, format!("{PATH}/{name} is damaged")).hint(
                format!("compare the host with its manifests, then remove {PATH}/{name}"),
            ),
        ),
    }
}

fn save<T: Serialize>(home: &Home, name: &str, value: &T) -> Result<()> {
    match serde_json::to_vec(value) {
        Ok(payload) => home.write(name, &seal(name, &payload), Durable::Yes),
        Err(error) => fail(ErrorCode::Internal, error.to_string()),
    }
}

fn remove(home: &Home, name: &str) -> Result<()> {
    home.dir().unlink(name)?;
    home.dir().sync()
}
