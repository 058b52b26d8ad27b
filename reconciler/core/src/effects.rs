//! The effects of a change on hosts: which hosts differ between two revisions in anything that Plumb acts on.
//!
//! Two hosts that share an address, a host key or an identity are an effect on both: whoever changes one of
//! them could reach the other.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::selector::Selector;
use plumb_api::{Digest, HostName};
use serde_json::{Map, Value, json};

use crate::desired::{HostIntent, HostResult, Resolved};
use crate::manifest::{Fleet, Host, HostFacts, HostNetwork, Manifests, recipients};

/// The labels of a host.
pub type Labels = BTreeMap<String, String>;

/// Everything that a revision says about its hosts, as far as differences show.
#[derive(Debug, Clone, Default)]
pub struct FleetSummary {
    /// The hosts; `None` if the revision can't be resolved.
    hosts: Option<BTreeMap<HostName, HostSummary>>,
}

/// Everything that a revision says about one host.
#[derive(Debug, Clone)]
pub struct HostSummary {
    /// The labels; `None` if they can't be read.
    pub labels: Option<Labels>,
    /// The resolved state; `None` if the host is held.
    pub state: Option<HostState>,
}

/// A host's resolved state.
#[derive(Debug, Clone, PartialEq)]
pub struct HostState {
    /// The digest of the desired resources.
    pub resources: Digest,
    /// Everything else: connection, keys, labels, secrets and settings, by name.
    pub facts: Map<String, Value>,
}

/// The hosts that differ between two revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affected<'a> {
    /// Every host, because one of the revisions can't be resolved.
    Every,
    /// These hosts, with their labels in both revisions.
    Hosts(Vec<AffectedHost<'a>>),
}

/// A host that differs between two revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AffectedHost<'a> {
    /// The host.
    pub name: &'a HostName,
    /// The labels in each revision that has the host.
    pub labels: Vec<Option<&'a Labels>>,
}

impl Affected<'_> {
    /// True if a selector selects one of the hosts, by its labels in one of the revisions.
    pub fn has_any(&self, selector: &Selector) -> bool {
        let Self::Hosts(hosts) = self else {
            return true;
        };
        hosts.iter().any(|host| {
            let mut labels = host.labels.iter();
            labels.any(|labels| match labels {
                Some(labels) => selector.matches(host.name.as_str(), labels),
                None => selector.matches_name(host.name.as_str()).unwrap_or(true),
            })
        })
    }
}

impl FleetSummary {
    /// Returns the summary of a revision that can't be read.
    pub fn unresolved() -> Self {
        Self::default()
    }

    /// Summarizes a resolved fleet.
    pub fn new<R>(fleet: &Fleet<R>, resolved: &Resolved) -> Self {
        let manifests = fleet.manifests();
        if manifests.fleet.is_err() {
            return Self::unresolved();
        }
        let sharing = Sharing::new(manifests);
        let hosts = resolved.hosts.iter().map(|(name, result)| {
            let summary = HostSummary {
                labels: fleet.labels(name).cloned(),
                state: state(manifests, &sharing, name, result),
            };
            (name.clone(), summary)
        });
        Self {
            hosts: Some(hosts.collect()),
        }
    }

    /// Returns the summary of a host.
    pub fn host(&self, name: &HostName) -> Option<&HostSummary> {
        self.hosts.as_ref()?.get(name)
    }

    /// Returns the hosts that differ between this revision and a later one. A host that is held in one of
    /// them differs.
    pub fn affected<'a>(&'a self, after: &'a Self) -> Affected<'a> {
        let (Some(before), Some(after)) = (&self.hosts, &after.hosts) else {
            return Affected::Every;
        };
        let names: BTreeSet<&HostName> = before.keys().chain(after.keys()).collect();
        let affected = names.into_iter().filter_map(|name| {
            let (was, is) = (before.get(name), after.get(name));
            let state = |host: Option<&'a HostSummary>| host.and_then(|host| host.state.as_ref());
            if state(was).is_some() && state(was) == state(is) {
                return None;
            }
            let labels = was.into_iter().chain(is);
            Some(AffectedHost {
                name,
                labels: labels.map(|host| host.labels.as_ref()).collect(),
            })
        });
        Affected::Hosts(affected.collect())
    }
}

fn state(
    manifests: &Manifests,
    sharing: &Sharing<'_>,
    name: &HostName,
    result: &HostResult,
) -> Option<HostState> {
    let HostResult::Ready(intent) = result else {
        return None;
    };
    let host = manifests.hosts.get(name)?.as_ref().ok()?;
    let known = manifests.facts.hosts.get(name)?.as_ref().ok()?;
    let others = [
        ("ageKey", json!(host.spec.age_key)),
        ("networks", json!(known.networks)),
        ("secrets", Value::Object(secrets(manifests, known))),
        ("sharedWith", json!(sharing.others(name, host, known))),
    ];
    let is_said = |value: &Value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let all = settings(intent).into_iter().chain(others);
    let said = all.filter(|(_, value)| is_said(value));
    Some(HostState {
        resources: intent.desired.digest(),
        facts: said.map(|(name, value)| (name.to_owned(), value)).collect(),
    })
}

/// Returns the settings of a host that its intent has beside the resources.
fn settings(intent: &HostIntent) -> [(&'static str, Value); 10] {
    let ignored = intent.drift.ignore.iter();
    let ignored: Vec<String> = ignored
        .map(|ignored| match &ignored.field {
            Some(field) => format!("{}#{field}", ignored.address),
            None => ignored.address.to_string(),
        })
        .collect();
    [
        ("uid", json!(intent.uid)),
        ("labels", json!(intent.labels)),
        ("formerly", json!(intent.formerly)),
        ("state", json!(intent.lifecycle)),
        ("arch", json!(intent.arch)),
        ("connect", json!(intent.connect)),
        ("hostKeys", json!(intent.host_keys)),
        (
            "drift",
            json!({"mode": intent.drift.mode, "ignore": ignored}),
        ),
        ("existing", json!(intent.existing)),
        ("suspend", json!(intent.suspend)),
    ]
}

/// Returns the Secrets that a host reads: who can read each, and a digest of the object.
fn secrets(manifests: &Manifests, host: &HostFacts) -> Map<String, Value> {
    let selecting = manifests
        .secrets
        .iter()
        .filter(|(_, entry)| entry.may_select(host));
    let one = selecting.map(|(name, entry)| {
        let value = match &entry.object {
            Ok(secret) => {
                let readers = recipients(manifests, &secret.selector);
                json!({
                    "digest": Digest::of("secret-object", &secret.spec).ok(),
                    "hosts": readers.hosts,
                    "operators": readers.operators,
                })
            }
            Err(_) => Value::Null,
        };
        (name.to_string(), value)
    });
    one.collect()
}

/// The hosts that have each address, host key and identity.
struct Sharing<'a>(BTreeMap<String, BTreeSet<&'a HostName>>);

impl<'a> Sharing<'a> {
    fn new(manifests: &'a Manifests) -> Self {
        let mut owners: BTreeMap<String, BTreeSet<&HostName>> = BTreeMap::new();
        for (name, entry) in &manifests.hosts {
            let Ok(host) = entry else { continue };
            let known = manifests.facts.hosts.get(name);
            for mark in marks(host, known.and_then(|known| known.as_deref().ok())) {
                owners.entry(mark).or_default().insert(name);
            }
        }
        owners.retain(|_, hosts| hosts.len() > 1);
        Self(owners)
    }

    /// Returns the other hosts that have a mark of this one.
    fn others(&self, name: &HostName, host: &Host, known: &HostFacts) -> BTreeSet<&'a HostName> {
        let marks = marks(host, Some(known));
        let owners = marks.iter().filter_map(|mark| self.0.get(mark)).flatten();
        owners.copied().filter(|other| *other != name).collect()
    }
}

/// Returns what tells a host from others: its keys, addresses and identity.
fn marks(host: &Host, known: Option<&HostFacts>) -> BTreeSet<String> {
    let spec = &host.spec;
    // A key's comment means nothing.
    let keys = spec.host_keys.iter().map(|key| {
        let words: Vec<&str> = key.split_whitespace().take(2).collect();
        words.join(" ")
    });
    let connect = spec.connect.iter();
    let named = connect.filter_map(|way| Some(way.address.as_ref()?.to_ascii_lowercase()));
    let mut marks: BTreeSet<String> = keys.chain(named).collect();
    marks.extend(spec.age_key.clone());
    marks.extend(spec.uid.clone());
    for network in known.iter().flat_map(|known| known.networks.values()) {
        add_marks(network, &mut marks);
    }
    marks
}

fn add_marks(network: &HostNetwork, marks: &mut BTreeSet<String>) {
    let own = [
        &network.ipv4,
        &network.ipv6,
        &network.mac,
        &network.public_key,
    ];
    let aliases = network.aliases.values();
    let others = aliases.flat_map(|alias| [&alias.ipv4, &alias.ipv6, &alias.mac]);
    marks.extend(own.into_iter().chain(others).flatten().cloned());
}
