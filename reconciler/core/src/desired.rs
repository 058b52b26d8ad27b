//! The desired state of each host in a revision. `resolve` computes it, and `plan` compares hosts with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use plumb_api::canonical::NotCanonical;
use plumb_api::frame::Delta;
pub use plumb_api::kind::{DriftMode, Existing};
use plumb_api::{Address, CompositeAddress, Digest, FleetName, HostName, Spec};
use plumb_document::Diagnostic;
use serde::{Deserialize, Serialize};

/// One desired resource with its digest. Hosts with equal resources share them in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredResource {
    spec: Spec,
    digest: Digest,
}

impl DesiredResource {
    /// Creates a resource and computes its digest.
    ///
    /// # Errors
    /// Returns an error if the spec has no canonical form. No spec of Plumb's types is known to cause this.
    pub fn new(spec: Spec) -> Result<Self, NotCanonical> {
        let digest = spec.digest()?;
        Ok(Self { spec, digest })
    }

    /// Returns the spec.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the digest of the spec's canonical form.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// All resources that one host should have, with one digest over all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredState {
    digest: Digest,
    resources: BTreeMap<Address, Arc<DesiredResource>>,
    /// The composite that each resource was expanded from. Not part of the digest, because agents don't know
    /// composites.
    origins: BTreeMap<Address, CompositeAddress>,
}

impl DesiredState {
    /// Creates a state of these resources. Its digest is a Merkle root, which agents compute in the same way.
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

    /// Sets the composite that each resource was expanded from.
    #[must_use]
    pub fn with_origins(mut self, origins: BTreeMap<Address, CompositeAddress>) -> Self {
        self.origins = origins;
        self
    }

    /// Returns the composite that a resource was expanded from; `None` if the manifests define the resource
    /// directly.
    pub fn origin(&self, address: &Address) -> Option<&CompositeAddress> {
        self.origins.get(address)
    }

    /// Returns the digest of all resources.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the resources by address.
    pub fn resources(&self) -> &BTreeMap<Address, Arc<DesiredResource>> {
        &self.resources
    }

    /// Returns the spec at an address.
    pub fn get(&self, address: &Address) -> Option<&Spec> {
        self.resources.get(address).map(|resource| resource.spec())
    }

    /// Returns the delta from `base` to this state. Without a base, the delta contains all resources.
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

/// The contents (of files, for example) in a whole revision, by digest. Each content is stored once, however
/// many hosts use it.
#[derive(Debug, Clone, Default)]
pub struct Contents(BTreeMap<Digest, Arc<[u8]>>);

impl Contents {
    /// Adds a content and returns its digest.
    pub fn insert(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of_bytes(bytes);
        self.0.entry(digest).or_insert_with(|| bytes.into());
        digest
    }

    /// Adds a content under a digest that the caller has already computed.
    pub fn insert_known(&mut self, digest: Digest, bytes: Arc<[u8]>) {
        self.0.entry(digest).or_insert(bytes);
    }

    /// Returns the bytes of a content.
    pub fn get(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.0.get(digest).cloned()
    }
}

/// The lifecycle of a host (`spec.state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lifecycle {
    /// Plumb reconciles the host.
    #[default]
    Active,
    /// Plumb doesn't contact the host. Other hosts' manifests may refer to it.
    Dormant,
    /// Somebody else manages the host. Other hosts' manifests may refer to it.
    Unmanaged,
    /// Plumb removes everything that it created on the host, and restores originals.
    Retired,
}

/// A field of a resource, or the whole resource: `file:/etc/motd#content`, `file:/etc/motd`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldAddress {
    /// The resource.
    pub address: Address,
    /// The field; `None` means all fields.
    pub field: Option<String>,
}

/// The drift settings of a host's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftPolicy {
    /// The drift mode of the host.
    pub mode: DriftMode,
    /// Resources and fields whose drift is ignored once Plumb has applied them (`drift.ignore`).
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
    /// The user to log in as. Unless this is root, the agent is started with sudo.
    pub user: String,
}

/// A pause of a host's reconciliation, set by its manifest (`suspend`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// The reason that the manifest gives.
    pub reason: String,
    /// The end of the pause; `None` if it has no end.
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
    /// The CPU architecture: `x86_64`, `aarch64`. If `None`, the controller asks the host.
    pub arch: Option<String>,
    /// The endpoints of the host, tried in this order.
    pub connect: Vec<Endpoint>,
    /// The pinned host keys, as in `known_hosts` (`ssh-ed25519 AAAA…`). If there are none, the controller
    /// refuses to connect.
    pub host_keys: Vec<String>,
    /// The drift settings.
    pub drift: DriftPolicy,
    /// Handling of files and other resources that exist already when Plumb first manages them.
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
    /// The desired state can't be computed, so the host keeps its last one. The diagnostics say why.
    Held(Vec<Diagnostic>),
}

/// A whole fleet, resolved.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The fleet's name.
    pub fleet: FleetName,
    /// Every host of the revision, including held hosts.
    pub hosts: BTreeMap<HostName, HostResult>,
    /// The contents that the hosts' specs refer to.
    pub contents: Contents,
    /// The URLs of the Alertmanagers in the Fleet manifest.
    pub alertmanagers: Vec<plumb_api::AlertmanagerUrl>,
    /// The number of failed hosts that halts a rollout (`rollout.halt.failures`).
    pub halt_failures: u32,
    /// Time within which a new connection must confirm changes that could cut the controller off
    /// (`deadMan.confirm`).
    pub confirm_within: Duration,
    /// All diagnostics, including warnings.
    pub diagnostics: Vec<Diagnostic>,
}
