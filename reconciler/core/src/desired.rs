//! The desired state of each host in a revision: the result of resolving, the input of planning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::canonical::NotCanonical;
use plumb_api::frame::Delta;
pub use plumb_api::kind::{DriftMode, Existing};
use plumb_api::{Address, CompositeAddress, Digest, FleetName, HostName, Spec};
use plumb_document::Diagnostic;
use serde::{Deserialize, Serialize};

/// One desired resource with its digest; shared by all hosts that want the same.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredResource {
    spec: Spec,
    digest: Digest,
}

impl DesiredResource {
    /// Creates a resource and computes its digest.
    ///
    /// # Errors
    /// Returns an error if the spec has no canonical form; none is known for Plumb's types.
    pub fn new(spec: Spec) -> Result<Self, NotCanonical> {
        let digest = spec.digest()?;
        Ok(Self { spec, digest })
    }

    /// The resource's spec.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The digest of the spec's canonical form.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// All resources desired on one host, under one digest.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredState {
    digest: Digest,
    resources: BTreeMap<Address, Arc<DesiredResource>>,
    /// The composites that resources are parts of. They don't count in the digest: a host doesn't know them.
    origins: BTreeMap<Address, CompositeAddress>,
}

impl DesiredState {
    /// Creates a state of these resources; its digest is the Merkle root that agents compute too.
    pub fn new(resources: BTreeMap<Address, Arc<DesiredResource>>) -> Self {
        let digest = Delta::digest_of(
            resources
                .iter()
                .map(|(address, resource)| (address, resource.digest)),
        );
        Self {
            digest,
            resources,
            origins: BTreeMap::new(),
        }
    }

    /// Adds the composites that the resources are parts of.
    #[must_use]
    pub fn with_origins(mut self, origins: BTreeMap<Address, CompositeAddress>) -> Self {
        self.origins = origins;
        self
    }

    /// The composite that a resource is a part of.
    pub fn origin(&self, address: &Address) -> Option<&CompositeAddress> {
        self.origins.get(address)
    }

    /// The digest of all resources.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The resources by address.
    pub fn resources(&self) -> &BTreeMap<Address, Arc<DesiredResource>> {
        &self.resources
    }

    /// The spec at an address.
    pub fn get(&self, address: &Address) -> Option<&Spec> {
        self.resources.get(address).map(|resource| resource.spec())
    }

    /// Returns the changes that turn `base` into this state; the full state if there is no base.
    pub fn delta_from(&self, base: Option<&DesiredState>) -> Delta {
        let held = |address: &Address| base.and_then(|base| base.resources.get(address));
        Delta {
            set: self
                .resources
                .iter()
                .filter(|(address, resource)| {
                    held(address).is_none_or(|old| old.digest != resource.digest)
                })
                .map(|(address, resource)| (address.clone(), resource.spec.clone()))
                .collect(),
            remove: base
                .into_iter()
                .flat_map(|base| base.resources.keys())
                .filter(|address| !self.resources.contains_key(*address))
                .cloned()
                .collect(),
        }
    }
}

/// Contents by digest, for a whole revision: each is stored once, however many hosts want it.
#[derive(Debug, Clone, Default)]
pub struct Contents(BTreeMap<Digest, Arc<[u8]>>);

impl Contents {
    /// Adds a content and returns its digest.
    pub fn insert(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of_bytes(bytes);
        self.0.entry(digest).or_insert_with(|| bytes.into());
        digest
    }

    /// Adds a content whose digest is known.
    pub fn insert_known(&mut self, digest: Digest, bytes: Arc<[u8]>) {
        self.0.entry(digest).or_insert(bytes);
    }

    /// The bytes of a content.
    pub fn get(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.0.get(digest).cloned()
    }
}

/// The lifecycle of a host (`spec.state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lifecycle {
    /// Plumb reconciles it.
    #[default]
    Active,
    /// Other hosts may refer to it; Plumb doesn't contact it.
    Dormant,
    /// Somebody else manages it; other hosts may refer to it.
    Unmanaged,
    /// Plumb takes back everything that it made there.
    Retired,
}

/// A field of a resource, or the whole of it: `file:/etc/motd#content`, `file:/etc/motd`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldAddress {
    /// The resource.
    pub address: Address,
    /// The field; `None` means all of them.
    pub field: Option<String>,
}

/// The drift settings of a host's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftPolicy {
    /// The mode of the whole host.
    pub mode: DriftMode,
    /// Resources and fields that drift is ignored for once they exist (`drift.ignore`).
    pub ignore: BTreeSet<FieldAddress>,
}

impl DriftPolicy {
    /// True if drift of this field is ignored.
    pub fn ignores(&self, address: &Address, field: &str) -> bool {
        self.mode == DriftMode::Ignore
            || self
                .ignore
                .iter()
                .any(|i| i.address == *address && i.field.as_deref().is_none_or(|f| f == field))
    }
}

/// One way to reach a host over SSH.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// A host name or an address.
    pub address: String,
    /// The port, usually 22.
    pub port: u16,
    /// The user to log in as; sudo is used unless it is root.
    pub user: String,
}

/// A pause that a person requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// The reason that the person gave.
    pub reason: String,
    /// The end of the pause; `None` means no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
}

/// Everything that a revision says about reconciling one host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostIntent {
    /// The host's name.
    pub name: HostName,
    /// The host's identity, assigned at enrolment; a rename keeps it.
    pub uid: Option<String>,
    /// `metadata.labels`; they become alert labels.
    pub labels: BTreeMap<String, String>,
    /// Earlier names of the host.
    pub formerly: Vec<HostName>,
    /// The host's lifecycle.
    pub lifecycle: Lifecycle,
    /// The architecture: `x86_64`, `aarch64`. `None` means that the host is asked.
    pub arch: Option<String>,
    /// The ways to reach it, tried in order.
    pub connect: Vec<Endpoint>,
    /// The pinned host keys, as in `known_hosts` (`ssh-ed25519 AAAA…`); without any, connections are refused.
    pub host_keys: Vec<String>,
    /// The drift settings.
    pub drift: DriftPolicy,
    /// The handling of existing things at first contact.
    pub existing: Existing,
    /// The requested pause, if there is one.
    pub suspend: Option<Suspension>,
    /// The desired state.
    pub desired: DesiredState,
}

/// The result of resolving one host; every host of the revision has one.
#[derive(Debug, Clone)]
pub enum HostResult {
    /// The host's desired state is fully known.
    Ready(Arc<HostIntent>),
    /// The desired state can't be determined: the host keeps its last one. The diagnostics say why.
    Held(Vec<Diagnostic>),
}

/// A whole fleet, resolved.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The fleet's name.
    pub fleet: FleetName,
    /// Every host of the revision, held ones too.
    pub hosts: BTreeMap<HostName, HostResult>,
    /// The contents that the hosts' specs name.
    pub contents: Contents,
    /// The Alertmanagers of the fleet's manifest.
    pub alertmanagers: Vec<plumb_api::LoginUrl>,
    /// The number of failed hosts that halts a rollout (`rollout.halt.failures`).
    pub halt_failures: u32,
    /// All diagnostics, warnings too.
    pub diagnostics: Vec<Diagnostic>,
}
