//! Resolves names to the things on the host that they denote, so that two names of one thing are noticed
//! before anything is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::{Address, Kind};

use super::{Item, ObserveContext, of};

/// The canonical name of the thing on this host that an address denotes. If two addresses of one type have
/// the same identity, they denote the same thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity(String);

impl Identity {
    pub(crate) fn new(thing: impl Into<String>) -> Self {
        Self(thing.into())
    }

    /// Returns the identity of a thing that has only one name: that name.
    pub(crate) fn of_name(address: &Address) -> Self {
        Self::new(address.name())
    }
}

/// Returns the identities of accounts. An account is identified by its uid or gid if the spec of any item
/// sets that number, and otherwise by its name. Accounts that already share a number on the host, such as
/// `root` and `toor`, stay different unless a spec sets the number.
pub(super) fn of_accounts(
    items: &[Item<'_>],
    claimed: impl Fn(&Item<'_>) -> Option<u32>,
    found: impl Fn(&Item<'_>) -> Option<u32>,
    word: &str,
) -> Vec<Identity> {
    let claims: BTreeSet<u32> = items.iter().filter_map(&claimed).collect();
    let one = |item: &Item<'_>| {
        let id = claimed(item).or_else(|| found(item));
        match id.filter(|id| claims.contains(id) && !item.spec.wants_absent()) {
            Some(id) => Identity::new(format!("{word} {id}")),
            None => Identity::of_name(item.address),
        }
    };
    items.iter().map(one).collect()
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identities of some items, by address and by thing.
pub(crate) struct Identities {
    identities: BTreeMap<Address, Identity>,
    addresses: BTreeMap<(Kind, Identity), BTreeSet<Address>>,
}

impl Identities {
    /// Resolves the items. Calls the provider of each type once.
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

    /// Returns the other addresses that denote the same thing as `address`.
    pub(crate) fn others<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = &'a Address> {
        self.identities
            .get(address)
            .and_then(|identity| self.addresses.get(&(address.kind(), identity.clone())))
            .into_iter()
            .flatten()
            .filter(move |other| *other != address)
    }

    /// Returns the error for an address that denotes the same thing as `other`.
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
