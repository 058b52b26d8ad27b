//! The interface to the effects of a change on hosts, for rules and freezes by `hosts`.

use std::collections::BTreeMap;

use plumb_api::selector::Selector;

use crate::oid::Oid;

/// Compares what two trees make of hosts.
pub trait Effects {
    /// Returns the hosts that differ between two trees in anything that reaches them.
    fn between(&self, before: &Oid, after: &Oid) -> Affected;
}

/// The hosts that a change affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affected {
    /// Every host, because one of the trees can't be resolved.
    Every,
    /// These hosts.
    Hosts(Vec<AffectedHost>),
}

/// A host that a change affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AffectedHost {
    /// The name.
    pub name: String,
    /// The labels in each of the trees that has the host; `None` if they can't be read.
    pub labels: Vec<Option<BTreeMap<String, String>>>,
}

/// Maximum number of hosts that a message names.
const NAMED: usize = 3;

impl Affected {
    /// Returns the affected hosts that a selector selects by their labels before or after the change, for
    /// messages; `None` if there are none. Labels that can't be read are selected.
    pub(crate) fn selected(&self, selector: &Selector) -> Option<String> {
        let Self::Hosts(hosts) = self else {
            return Some("every host".to_owned());
        };
        let selected = |host: &&AffectedHost| {
            let mut labels = host.labels.iter();
            labels.any(|labels| match labels {
                Some(labels) => selector.matches(&host.name, labels),
                None => selector.matches_name(&host.name).unwrap_or(true),
            })
        };
        let names: Vec<&str> = hosts
            .iter()
            .filter(selected)
            .map(|host| &*host.name)
            .collect();
        let shown = names.get(..NAMED).unwrap_or(&names).join(", ");
        match names.len() {
            0 => None,
            count if count <= NAMED => Some(shown),
            count => Some(format!("{shown} and {} more", count - NAMED)),
        }
    }
}
