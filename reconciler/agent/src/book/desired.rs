//! The desired state, stored on the host so that the controller only has to send the next one as a delta.

use std::collections::BTreeMap;

use plumb_api::frame::Delta;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::{Address, Digest, Spec};
use serde::{Deserialize, Serialize};

use super::home::{Durable, Home, Sealed, seal, unseal, write_whole};
use crate::error::Result;

const FOLDER: &str = "state";

/// A desired primitive resource with the digest of its spec.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Leaf {
    pub digest: Digest,
    pub spec: Spec,
}

/// The desired state of a host: all its primitive resources.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Desired {
    leaves: BTreeMap<Address, Leaf>,
}

impl Desired {
    pub(crate) fn get(&self, address: &Address) -> Option<&Leaf> {
        self.leaves.get(address)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Address, &Leaf)> {
        self.leaves.iter()
    }

    pub(crate) fn digest(&self) -> Digest {
        Delta::digest_of(
            self.leaves
                .iter()
                .map(|(address, leaf)| (address, leaf.digest)),
        )
    }

    /// Returns this state with `delta` applied.
    pub(crate) fn with(mut self, delta: Delta) -> Result<Self> {
        for address in &delta.remove {
            self.leaves.remove(address);
        }
        for (address, spec) in delta.set {
            if spec.kind() != address.kind() {
                return Err(AgentError::new(
                    ErrorCode::Protocol,
                    format!("{address} came with the spec of a {}", spec.kind()),
                ));
            }
            let digest = spec.digest().map_err(|error| {
                AgentError::new(ErrorCode::Protocol, format!("{address}: {error}"))
            })?;
            self.leaves.insert(address, Leaf { digest, spec });
        }
        Ok(self)
    }

    /// Reads the stored state with this digest. Returns `None` if the host doesn't have it or its file can't
    /// be read.
    pub(crate) fn load(home: &Home, digest: Digest) -> Result<Option<Self>> {
        let Some(bytes) = home.read(&format!("{FOLDER}/{digest}")).ok().flatten() else {
            return Ok(None);
        };
        let Sealed::Sound(payload) = unseal("state", &bytes)? else {
            return Ok(None);
        };
        let state: Option<Self> = serde_json::from_slice(payload).ok();
        Ok(state.filter(|state| state.digest() == digest))
    }

    /// Saves the state. Then deletes all other stored states except `base`, from which this one was derived.
    /// Does nothing if this state is stored already.
    pub(crate) fn save(&self, home: &Home, base: Option<Digest>) -> Result<()> {
        let digest = self.digest();
        let folder = home.folder(FOLDER)?;
        let name = digest.to_string();
        if folder.look(&name)?.is_some() {
            return Ok(());
        }
        let payload = serde_json::to_vec(self)
            .map_err(|error| AgentError::new(ErrorCode::Internal, error.to_string()))?;
        write_whole(&folder, &name, &seal("state", &payload), Durable::No)?;
        let base = base.map(|base| base.to_string());
        for other in folder.list()? {
            if other != name && Some(&other) != base.as_ref() {
                folder.unlink(&other)?;
            }
        }
        Ok(())
    }
}
