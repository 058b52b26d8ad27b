//! The holder of this host: the fleet, host name, controller and highest epoch that the host obeys.
//!
//! The holder has its own small file and its own lock, separate from the ledger. A newer controller must be
//! able to raise the epoch while a run of an older one holds the host's lock, and that run must notice it
//! before its next change.

use std::time::Duration;

use plumb_api::frame::{Fence, PROTOCOL, TakeOver};
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::{ControllerId, Epoch, FleetName, HostName};
use serde::{Deserialize, Serialize};

use super::home::{Durable, Home, PATH, Sealed, seal, unseal};
use crate::error::{Result, fail};

const FILE: &str = "holder";

/// The fleet, host name, controller and epoch that this host obeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Holder {
    pub fleet: FleetName,
    pub host: HostName,
    pub controller: ControllerId,
    pub epoch: Epoch,
}

/// Rejects a request in another version of the protocol.
pub(crate) fn check_protocol(fence: &Fence) -> Result<()> {
    if fence.protocol == PROTOCOL {
        return Ok(());
    }
    fail(
        ErrorCode::Protocol,
        format!(
            "the controller speaks protocol {}, this agent {PROTOCOL}",
            fence.protocol
        ),
    )
}

impl Holder {
    /// Reads the holder. Returns `None` if the file doesn't exist because no controller has claimed the host
    /// yet.
    pub(crate) fn load(home: &Home) -> Result<Option<Self>> {
        let Some(bytes) = home.read(FILE)? else {
            return Ok(None);
        };
        let holder = match unseal(FILE, &bytes)? {
            Sealed::Sound(payload) => serde_json::from_slice(payload).ok(),
            Sealed::Corrupt => None,
        };
        match holder {
            Some(holder) => Ok(Some(holder)),
            None => Err(AgentError::new(
                ErrorCode::LedgerLost,
                format!("{PATH}/{FILE} is damaged: who drives this host can't be told"),
            )
            .hint(format!(
                "if nothing else drives it, remove {PATH}/{FILE} there and try again"
            ))),
        }
    }

    /// Rejects a request in another protocol version, and a request for another fleet or host name than the
    /// holder's.
    pub(crate) fn check_name(holder: Option<&Self>, fence: &Fence) -> Result<()> {
        check_protocol(fence)?;
        let meant = |host: &HostName| *host == fence.host || fence.formerly.contains(host);
        match holder {
            Some(Self { fleet, host, .. }) if *fleet != fence.fleet || !meant(host) => {
                Err(AgentError::new(
                    ErrorCode::Refused,
                    format!(
                        "this machine is host {host} of fleet {fleet}, not {} of {}",
                        fence.host, fence.fleet
                    ),
                )
                .hint(format!(
                    "check the address in the host's manifest; to hand the machine over, remove {PATH} on it first (what Plumb made stays)"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Rejects a request with an older epoch of the same controller. Also rejects a request of another
    /// controller, unless it asks to take over the host and has a higher epoch.
    fn admits(&self, fence: &Fence) -> Result<()> {
        if self.controller == fence.controller {
            if fence.epoch >= self.epoch {
                return Ok(());
            }
            return fail(
                ErrorCode::Superseded,
                format!(
                    "this controller has started again since: its epoch is {} here, this run's {}",
                    self.epoch.0, fence.epoch.0
                ),
            );
        }
        let message = format!(
            "controller {} drives this host (epoch {}), not {}",
            self.controller, self.epoch.0, fence.controller
        );
        match fence.take_over {
            TakeOver::No => Err(AgentError::new(ErrorCode::Superseded, message).hint(
                "to take the host over, start the controller with `--take-over`; the other one then stops driving it",
            )),
            TakeOver::Yes if fence.epoch > self.epoch => Ok(()),
            TakeOver::Yes => Err(AgentError::new(ErrorCode::Superseded, message).hint(format!(
                "taking over needs an epoch above {}, this run's is {}",
                self.epoch.0, fence.epoch.0
            ))),
        }
    }

    /// Checks the fence of a request that may change the host, then stores its controller and epoch as the
    /// host's holder.
    pub(crate) fn claim(home: &Home, fence: &Fence) -> Result<Self> {
        check_protocol(fence)?;
        let wanted = Self {
            fleet: fence.fleet.clone(),
            host: fence.host.clone(),
            controller: fence.controller.clone(),
            epoch: fence.epoch,
        };
        // Usually the holder is already the same, so nothing has to be locked or written.
        let current = Self::load(home)?;
        Self::check_name(current.as_ref(), fence)?;
        if let Some(current) = current {
            current.admits(fence)?;
            if current == wanted {
                return Ok(wanted);
            }
        }
        let Some(_lock) = home.lock("holder.lock", Duration::from_secs(5))? else {
            return fail(
                ErrorCode::Locked,
                "another controller is claiming this host",
            );
        };
        let current = Self::load(home)?;
        Self::check_name(current.as_ref(), fence)?;
        if let Some(current) = &current {
            current.admits(fence)?;
        }
        if current.as_ref() != Some(&wanted) {
            let payload = serde_json::to_vec(&wanted)
                .map_err(|error| AgentError::new(ErrorCode::Internal, error.to_string()))?;
            home.write(FILE, &seal(FILE, &payload), Durable::Yes)?;
        }
        Ok(wanted)
    }

    /// Fails if another controller or epoch has claimed the host, or if the holder's file is gone. A run
    /// calls this before each change.
    pub(crate) fn still(home: &Home, fence: &Fence) -> Result<()> {
        match Self::load(home)? {
            Some(holder)
                if holder.controller == fence.controller && holder.epoch == fence.epoch =>
            {
                Ok(())
            }
            Some(holder) => fail(
                ErrorCode::Superseded,
                format!(
                    "controller {} (epoch {}) took over during the run; this run's epoch is {}",
                    holder.controller, holder.epoch.0, fence.epoch.0
                ),
            ),
            None => fail(
                ErrorCode::LedgerLost,
                format!("{PATH}/{FILE} was removed during the run"),
            ),
        }
    }
}
