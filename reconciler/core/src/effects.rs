//! The effects of a change on hosts: which hosts differ between two revisions in anything that Plumb acts on.
//!
//! Two hosts that share an address, a host key or an identity are an effect on both: whoever changes one of
//! them could reach the other.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::selector::Selector;
use plumb_api::{Digest, FleetName, HostName};
use serde_json::{Map, Value, json};

use crate::desired::{HostIntent, HostResult, Resolved};
use crate::manifest::{Fleet, Host, HostFacts, HostNetwork, Manifests, recipients};

/// The labels of a host.
pub type Labels = BTreeMap<String, String>;

/// Everything that a revision says about its hosts, as far as differences show.
#[derive(Debug, Clone, Default)]
pub struct FleetSummary {
    /// The fleet's name, by which every host knows whom it obeys.
    name: Option<FleetName>,
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
    /// The former names, which take over what other hosts were.
    formerly: Vec<HostName>,
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
                formerly: match result {
                    HostResult::Ready(intent) => intent.formerly.clone(),
                    HostResult::Held(_) => Vec::new(),
                },
            };
            (name.clone(), summary)
        });
        Self {
            name: Some(manifests.name.clone()),
            hosts: Some(hosts.collect()),
        }
    }

    /// Returns the summary of a host.
    pub fn host(&self, name: &HostName) -> Option<&HostSummary> {
        self.hosts.as_ref()?.get(name)
    }

    /// Returns the hosts that differ between this revision and a later one. A host that is held in one of
    /// them differs. So does one that left an earlier revision and is a former name now, with unknown labels. If
    /// the fleet's name differs, every host does.
    pub fn affected<'a>(&'a self, after: &'a Self) -> Affected<'a> {
        let renamed = self.name != after.name;
        let (Some(before), Some(after)) = (&self.hosts, &after.hosts) else {
            return Affected::Every;
        };
        if renamed {
            return Affected::Every;
        }
        let was_known = |name: &HostName| {
            before.contains_key(name) || before.values().any(|host| host.formerly.contains(name))
        };
        let former = after.values().flat_map(|host| &host.formerly);
        let taken_over: BTreeSet<&HostName> = former.filter(|name| !was_known(name)).collect();
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
        let taken_over = taken_over.into_iter().map(|name| AffectedHost {
            name,
            labels: vec![None],
        });
        Affected::Hosts(affected.chain(taken_over).collect())
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

/// The hosts that have each address, name, host key and identity.
struct Sharing<'a> {
    owners: BTreeMap<String, BTreeSet<&'a HostName>>,
    domain: Option<&'a str>,
}

impl<'a> Sharing<'a> {
    fn new(manifests: &'a Manifests) -> Self {
        let mut owners: BTreeMap<String, BTreeSet<&HostName>> = BTreeMap::new();
        let domain = manifests.facts.domain.as_deref();
        for (name, entry) in &manifests.hosts {
            let Ok(host) = entry else { continue };
            let known = manifests.facts.hosts.get(name);
            let known = known.and_then(|known| known.as_deref().ok());
            for mark in marks(name, host, known, domain) {
                owners.entry(mark).or_default().insert(name);
            }
        }
        owners.retain(|_, hosts| hosts.len() > 1);
        Self { owners, domain }
    }

    /// Returns the other hosts that have a mark of this one.
    fn others(&self, name: &HostName, host: &Host, known: &HostFacts) -> BTreeSet<&'a HostName> {
        let marks = marks(name, host, Some(known), self.domain);
        let owners = marks
            .iter()
            .filter_map(|mark| self.owners.get(mark))
            .flatten();
        owners.copied().filter(|other| *other != name).collect()
    }
}

/// Returns what tells a host from others: its keys, addresses, names and identity.
fn marks(
    name: &HostName,
    host: &Host,
    known: Option<&HostFacts>,
    domain: Option<&str>,
) -> BTreeSet<String> {
    let spec = &host.spec;
    // A key's comment means nothing.
    let keys = spec.host_keys.iter().map(|key| {
        let words: Vec<&str> = key.split_whitespace().take(2).collect();
        words.join(" ")
    });
    let connect = spec.connect.iter();
    let named = connect.filter_map(|way| Some(canonical(way.address.as_ref()?)));
    let mut marks: BTreeSet<String> = keys.chain(named).collect();
    marks.extend(spec.publish.keys().map(|name| canonical(name)));
    marks.extend(names(name, host, domain));
    marks.extend(spec.age_key.clone());
    marks.extend(spec.uid.clone());
    for network in known.iter().flat_map(|known| known.networks.values()) {
        add_marks(network, &mut marks);
    }
    marks
}

/// Returns the names under which other machines find a host.
fn names(name: &HostName, host: &Host, domain: Option<&str>) -> Vec<String> {
    let own = [Some(name.as_str()), host.spec.hostname.as_deref()];
    let own = own.into_iter().flatten();
    own.flat_map(|name| {
        [
            Some(name.to_owned()),
            domain.map(|domain| format!("{name}.{domain}")),
        ]
    })
    .flatten()
    .map(|name| canonical(&name))
    .collect()
}

/// Returns an address in the one form that all its spellings have, and a name in lower case.
fn canonical(address: &str) -> String {
    address.parse::<std::net::IpAddr>().map_or_else(
        |_| address.trim_end_matches('.').to_ascii_lowercase(),
        |address| address.to_canonical().to_string(),
    )
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
