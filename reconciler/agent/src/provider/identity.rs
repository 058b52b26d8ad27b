//! Identity: names are resolved to the things on the host before anything is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::{Address, Kind};

use super::{Item, ObserveContext, of};

/// The thing on this host that a name means, in the words of the host. Two names of one type with the same
/// identity mean one thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity(String);

impl Identity {
    pub(crate) fn new(thing: impl Into<String>) -> Self {
        Self(thing.into())
    }

    /// Returns the identity of a thing with a single name: the name itself.
    pub(crate) fn of_name(address: &Address) -> Self {
        Self::new(address.name())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identities of a set of items.
pub(crate) struct Identities {
    identities: BTreeMap<Address, Identity>,
    addresses: BTreeMap<(Kind, Identity), BTreeSet<Address>>,
}

impl Identities {
    /// Resolves the items, one query per type.
    pub(crate) fn resolve(cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Self {
        let mut all = Self {
            identities: BTreeMap::new(),
            addresses: BTreeMap::new(),
        };
        let kinds: BTreeSet<Kind> = items.iter().map(|item| item.address.kind()).collect();
        for kind in kinds {
            let mine: Vec<Item<'_>> = items
                .iter()
                .filter(|item| item.address.kind() == kind)
                .copied()
                .collect();
            for (item, identity) in mine.iter().zip(of(kind).identities(cx, &mine)) {
                let address = item.address.clone();
                all.addresses
                    .entry((kind, identity.clone()))
                    .or_default()
                    .insert(address.clone());
                all.identities.insert(address, identity);
            }
        }
        all
    }

    /// Returns the other addresses that mean the same thing as this one.
    pub(crate) fn others<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = &'a Address> {
        self.identities
            .get(address)
            .and_then(|identity| self.addresses.get(&(address.kind(), identity.clone())))
            .into_iter()
            .flatten()
            .filter(move |other| *other != address)
    }

    /// Returns the error for an address that means the same thing as `other`.
    pub(crate) fn conflict(&self, address: &Address, other: &Address) -> AgentError {
        let (first, second) = if address < other {
            (address, other)
        } else {
            (other, address)
        };
        let thing = self
            .identities
            .get(address)
            .map_or_else(String::new, |identity| format!(" ({identity})"));
        AgentError::new(
            ErrorCode::Refused,
            format!("{first} and {second} name one thing on this host{thing}"),
        )
        .hint(format!("drop {first} or {second} from the manifest"))
    }
}
