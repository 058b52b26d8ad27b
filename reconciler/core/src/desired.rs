//! What a revision wants of each host: the result of resolving, the input of planning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::canonical::NotCanonical;
use plumb_api::frame::Delta;
pub use plumb_api::kind::{DriftMode, Existing};
use plumb_api::{Address, CompositeAddress, Digest, FleetName, HostName, Spec};
use plumb_document::Diagnostic;
use serde::{Deserialize, Serialize};

/// One resource as desired, with its digest; shared by all hosts that want the same.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredResource {
    spec: Spec,
    digest: Digest,
}

impl DesiredResource {
    /// A resource and its digest.
    ///
    /// # Errors
    /// When the spec has no canonical form; none is known for our types.
    pub fn new(spec: Spec) -> Result<Self, NotCanonical> {
        let digest = spec.digest()?;
        Ok(Self { spec, digest })
    }

    /// What is desired.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The digest of the spec's canonical form.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// All that is desired on one host, under one digest.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredState {
    digest: Digest,
    resources: BTreeMap<Address, Arc<DesiredResource>>,
    /// The composites that resources are parts of. They are not part of the digest: a host doesn't
    /// know them.
    origins: BTreeMap<Address, CompositeAddress>,
}

impl DesiredState {
    /// A state of these resources; its digest is the Merkle root that agents compute too.
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

    /// The same state with the composites that its resources are parts of.
    #[must_use]
    pub fn with_origins(mut self, origins: BTreeMap<Address, CompositeAddress>) -> Self {
        self.origins = origins;
        self
    }

    /// The composite that a resource is a part of.
    pub fn origin(&self, address: &Address) -> Option<&CompositeAddress> {
        self.origins.get(address)
    }

    /// The digest of the whole.
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

    /// What turns `base` into this state; all of it where there is no base.
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

/// Contents by digest, for a whole revision: each is kept once, however many hosts want it.
#[derive(Debug, Clone, Default)]
pub struct Contents(BTreeMap<Digest, Arc<[u8]>>);

impl Contents {
    /// Keeps a content and returns its digest.
    pub fn insert(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of_bytes(bytes);
        self.0.entry(digest).or_insert_with(|| bytes.into());
        digest
    }

    /// Keeps a content whose digest is known.
    pub fn insert_known(&mut self, digest: Digest, bytes: Arc<[u8]>) {
        self.0.entry(digest).or_insert(bytes);
    }

    /// The bytes of a content.
    pub fn get(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.0.get(digest).cloned()
    }
}

/// What becomes of a host (`spec.state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lifecycle {
    /// It is driven.
    #[default]
    Active,
    /// Known to others, not contacted.
    Dormant,
    /// Someone else's; it may be named.
    Unmanaged,
    /// What Plumb made is taken back.
    Retired,
}

/// A field of a resource, or the whole of it: `file:/etc/motd#content`, `file:/etc/motd`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldAddress {
    /// The resource.
    pub address: Address,
    /// The field; all of them when none.
    pub field: Option<String>,
}

/// What a host's manifest says about drift.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftPolicy {
    /// For the whole host.
    pub mode: DriftMode,
    /// Never looked at once it is made (`drift.ignore`).
    pub ignore: BTreeSet<FieldAddress>,
}

impl DriftPolicy {
    /// Whether the drift of a field is left alone.
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

/// A pause that a person asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Why.
    pub reason: String,
    /// Until when; for ever when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
}

/// Everything that a revision says about driving one host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostIntent {
    /// Its name.
    pub name: HostName,
    /// Its identity, given at enrolment: a rename keeps it.
    pub uid: Option<String>,
    /// `metadata.labels`: they become alert labels.
    pub labels: BTreeMap<String, String>,
    /// Names that it had before.
    pub formerly: Vec<HostName>,
    /// What becomes of it.
    pub lifecycle: Lifecycle,
    /// `x86_64`, `aarch64`; asked of the host when none.
    pub arch: Option<String>,
    /// The ways to reach it, tried in order.
    pub connect: Vec<Endpoint>,
    /// Its pinned host keys, as in `known_hosts` (`ssh-ed25519 AAAA…`); none means it is refused.
    pub host_keys: Vec<String>,
    /// About drift.
    pub drift: DriftPolicy,
    /// About first contact.
    pub existing: Existing,
    /// A pause.
    pub suspend: Option<Suspension>,
    /// What is desired on it.
    pub desired: DesiredState,
}

/// What resolving came to for one host: never nothing.
#[derive(Debug, Clone)]
pub enum HostResult {
    /// It is wholly known what it should be.
    Ready(Arc<HostIntent>),
    /// It can't be known: the host holds its last desired state, and these say why.
    Held(Vec<Diagnostic>),
}

/// A whole fleet, resolved.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The fleet's name.
    pub fleet: FleetName,
    /// Each host that the revision has, held ones too.
    pub hosts: BTreeMap<HostName, HostResult>,
    /// The contents that the hosts' specs name.
    pub contents: Contents,
    /// Alertmanagers that the fleet names.
    pub alertmanagers: Vec<String>,
    /// How many failed hosts halt a rollout (`rollout.halt.failures`).
    pub halt_failures: u32,
    /// Everything that was found, warnings too.
    pub diagnostics: Vec<Diagnostic>,
}
