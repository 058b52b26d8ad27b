//! The order of changes.
//!
//! Explicit dependencies always hold (`plumb check` rejects cycles of them). A dependency that follows from
//! resource types is dropped if it would close a cycle; the first to be dropped are those of
//! [`Strength::Yielding`].

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::frame::Difference;
use plumb_api::plan::{Change, ChangeId, Op};
use plumb_api::resource::{Couplings, Strength};
use plumb_api::{Address, Kind, Observed};

use super::change::Draft;
use super::spec_of;
use crate::desired::DesiredState;

/// The direct predecessors of each resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Edges(BTreeMap<Address, BTreeSet<Address>>);

/// A request to apply `later` after `earlier`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OrderRequest {
    strength: Strength,
    later: Address,
    earlier: Address,
}

impl Edges {
    fn add(&mut self, request: OrderRequest) {
        self.0
            .entry(request.later)
            .or_default()
            .insert(request.earlier);
    }

    /// True if `from` is applied after `to`, directly or because of resources between them.
    pub(super) fn reaches(&self, from: &Address, to: &Address) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(address) = open.pop() {
            if address == to {
                return true;
            }
            if seen.insert(address) {
                open.extend(self.0.get(address).into_iter().flatten());
            }
        }
        false
    }

    /// Returns all resources that are applied after `first`, directly or because of resources between them.
    pub(super) fn behind(&self, first: &Address) -> BTreeSet<Address> {
        let mut later: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
        for (address, earlier) in &self.0 {
            for earlier in earlier {
                later.entry(earlier).or_default().push(address);
            }
        }
        let mut all = BTreeSet::new();
        let mut open = vec![first];
        while let Some(address) = open.pop() {
            for next in later.get(address).into_iter().flatten() {
                if all.insert((*next).clone()) {
                    open.push(next);
                }
            }
        }
        all
    }

    /// True if the order has a cycle.
    fn has_circle(&self) -> bool {
        let mut missing: BTreeMap<&Address, usize> = BTreeMap::new();
        let mut later: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
        for (address, earlier) in &self.0 {
            *missing.entry(address).or_default() += earlier.len();
            for earlier in earlier {
                missing.entry(earlier).or_default();
                later.entry(earlier).or_default().push(address);
            }
        }
        let total = missing.len();
        let mut ready: Vec<_> = missing
            .iter()
            .filter(|(_, n)| **n == 0)
            .map(|(address, _)| *address)
            .collect();
        let mut done = 0;
        while let Some(address) = ready.pop() {
            done += 1;
            for next in later.get(address).into_iter().flatten() {
                if let Some(n) = missing.get_mut(next) {
                    *n -= 1;
                    if *n == 0 {
                        ready.push(next);
                    }
                }
            }
        }
        done < total
    }

    /// Returns the predecessors of a resource that have a change, skipping resources without one. Predecessors
    /// of a returned resource aren't included.
    fn nearest<'a>(
        &'a self,
        address: &'a Address,
        drafts: &'a BTreeMap<Address, Draft>,
    ) -> BTreeSet<&'a Address> {
        let mut nearest = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<_> = self.0.get(address).into_iter().flatten().collect();
        while let Some(earlier) = open.pop() {
            if !seen.insert(earlier) || earlier == address {
                continue;
            }
            if drafts.contains_key(earlier) {
                nearest.insert(earlier);
            } else {
                open.extend(self.0.get(earlier).into_iter().flatten());
            }
        }
        nearest
    }
}

/// Returns the order of all resources that are desired or that differ.
pub(super) fn order(
    goal: &DesiredState,
    differences: &[Difference],
    couplings: &Couplings,
) -> Edges {
    let found: BTreeMap<_, _> = differences.iter().map(|d| (&d.address, d)).collect();
    let mut requests = BTreeSet::new();
    let all: BTreeSet<&Address> = goal
        .resources()
        .keys()
        .chain(found.keys().copied())
        .collect();
    let goes = |address: &Address| goal.get(address).is_none_or(plumb_api::Spec::wants_absent);
    let mut request = |strength, later: &Address, earlier: &Address| {
        if later == earlier || !all.contains(later) || !all.contains(earlier) {
            return;
        }
        let explicit = strength == Strength::Explicit;
        let (later, earlier) = match (goes(later), goes(earlier)) {
            // A resource that resets another one is always applied first, or it would undo the other one's
            // change.
            _ if strength == Strength::Resetting => (later, earlier),
            (true, _) if strength == Strength::Leading => (earlier, later),
            _ if strength == Strength::Leading => (later, earlier),
            // If both are removed, the resource is removed before its dependency.
            (true, true) => (earlier, later),
            // If only the dependency is removed, the resource is changed first, so that it stops using the
            // dependency.
            (false, true) if !explicit => (earlier, later),
            // The removal of a resource doesn't wait for a dependency that stays.
            (true, false) if !explicit => return,
            _ => (later, earlier),
        };
        requests.insert(OrderRequest {
            strength,
            later: later.clone(),
            earlier: earlier.clone(),
        });
    };
    for address in &all {
        if let Some(spec) = spec_of(goal, &found, address) {
            for dependency in spec.requires(address.name()) {
                request(dependency.strength, address, &dependency.address);
            }
        }
        // A dependency from the confirmed spec may be removed only after the resource stops using it.
        let was = found.get(*address).and_then(|d| d.confirmed.as_ref());
        if let (Some(was), Some(_)) = (was, goal.get(address)) {
            for dependency in was.requires(address.name()) {
                // Dependencies of these two strengths don't depend on the spec, so they are requested above.
                let fixed = matches!(dependency.strength, Strength::Resetting | Strength::Leading);
                if goes(&dependency.address) && !fixed {
                    request(Strength::Implicit, address, &dependency.address);
                }
            }
        }
        let observed = found.get(*address).and_then(|d| d.observed.as_ref());
        for used in observed.map(Observed::uses).unwrap_or_default() {
            if goes(&used) {
                request(Strength::Implicit, address, &used);
            }
        }
        for reader in couplings.readers(address) {
            let reacts = spec_of(goal, &found, reader)
                .is_some_and(|spec| couplings.reaction(reader, spec, address).is_some());
            // A reaction is as strict as an explicit dependency: a restart before its cause would have no
            // effect.
            let strength = if reacts {
                Strength::Explicit
            } else {
                Strength::Implicit
            };
            request(strength, reader, address);
        }
    }
    let mut edges = Edges::default();
    for (later, earlier) in rivals(&all, goes) {
        edges.add(OrderRequest {
            strength: Strength::Explicit,
            later,
            earlier,
        });
    }
    united(edges, requests)
}

/// Returns pairs of resources at the same path, as (new, removed). The old resource is removed before the new
/// one is created.
fn rivals(all: &BTreeSet<&Address>, goes: impl Fn(&Address) -> bool) -> Vec<(Address, Address)> {
    let mut places: BTreeMap<String, Vec<&Address>> = BTreeMap::new();
    for address in all {
        if let Some(place) = address.kind().path(address.name()) {
            places.entry(place).or_default().push(address);
        }
    }
    let mut pairs = Vec::new();
    for together in places.into_values().filter(|together| together.len() > 1) {
        for later in together.iter().filter(|address| !goes(address)) {
            for earlier in together.iter().filter(|address| goes(address)) {
                pairs.push(((*later).clone(), (*earlier).clone()));
            }
        }
    }
    pairs
}

/// Adds order requests, strongest first; drops those that would close a cycle.
fn united(mut edges: Edges, requests: BTreeSet<OrderRequest>) -> Edges {
    let mut all = edges.clone();
    for request in &requests {
        all.0
            .entry(request.later.clone())
            .or_default()
            .insert(request.earlier.clone());
    }
    // Cycles are rare, so the expensive search for each edge runs only if there is one.
    if !all.has_circle() {
        return all;
    }
    for request in requests {
        if !edges.reaches(&request.earlier, &request.later) {
            edges.add(request);
        }
    }
    edges
}

/// The sort key of a change among those whose predecessors all have their position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SortKey<'a> {
    last: bool,
    rank: u8,
    kind: Kind,
    address: &'a Address,
}

impl<'a> SortKey<'a> {
    fn of(address: &'a Address) -> Self {
        Self {
            last: address.kind().is_lifeline(address.name()),
            rank: address.kind().rank(),
            kind: address.kind(),
            address,
        }
    }
}

/// Orders the changes by the edges. Changes of one type are adjacent where possible, because the agent applies
/// them in one step. Resources that the connection depends on (lifelines), such as the SSH server, come last.
pub(super) fn lay_out(mut drafts: BTreeMap<Address, Draft>, edges: &Edges) -> Vec<Change> {
    let after: BTreeMap<Address, BTreeSet<Address>> = drafts
        .keys()
        .map(|address| {
            let nearest = edges.nearest(address, &drafts);
            (address.clone(), nearest.into_iter().cloned().collect())
        })
        .collect();
    let sequence = sequence(&after);
    foresee(&mut drafts, &after, &sequence);
    let mut ids: BTreeMap<&Address, ChangeId> = BTreeMap::new();
    let mut changes = Vec::with_capacity(sequence.len());
    for address in &sequence {
        let Some(draft) = drafts.remove(address) else {
            continue;
        };
        let id = ChangeId(u32::try_from(changes.len()).unwrap_or(u32::MAX));
        let mut before: Vec<_> = after
            .get(address)
            .into_iter()
            .flatten()
            .filter_map(|earlier| ids.get(earlier).copied())
            .collect();
        before.sort_unstable();
        changes.push(draft.place(id, before));
        ids.insert(address, id);
    }
    changes
}

fn sequence(after: &BTreeMap<Address, BTreeSet<Address>>) -> Vec<Address> {
    let mut missing: BTreeMap<&Address, usize> = after
        .iter()
        .map(|(a, earlier)| (a, earlier.len()))
        .collect();
    let mut later: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for (address, earlier) in after {
        for earlier in earlier {
            later.entry(earlier).or_default().push(address);
        }
    }
    let mut ready: BTreeSet<SortKey<'_>> = missing
        .iter()
        .filter(|(_, n)| **n == 0)
        .map(|(address, _)| SortKey::of(address))
        .collect();
    let mut sequence = Vec::with_capacity(after.len());
    let mut current: Option<(bool, Kind)> = None;
    while !ready.is_empty() {
        let same = current.and_then(|current| {
            ready
                .iter()
                .find(|seat| (seat.last, seat.kind) == current)
                .copied()
        });
        let Some(seat) = same.or_else(|| ready.first().copied()) else {
            break;
        };
        ready.remove(&seat);
        current = Some((seat.last, seat.kind));
        sequence.push(seat.address.clone());
        for next in later.get(seat.address).into_iter().flatten() {
            if let Some(n) = missing.get_mut(next) {
                *n = n.saturating_sub(1);
                if *n == 0 {
                    ready.insert(SortKey::of(next));
                }
            }
        }
    }
    sequence
}

/// Drops the precondition of each change that follows a change which may alter the state that it finds.
fn foresee(
    drafts: &mut BTreeMap<Address, Draft>,
    after: &BTreeMap<Address, BTreeSet<Address>>,
    sequence: &[Address],
) {
    let mut invalidated = false;
    // A change that depends on an invalidating change becomes a prediction. A change that merely follows it in
    // the sequence only loses its precondition.
    let mut predicted: BTreeSet<&Address> = BTreeSet::new();
    for address in sequence {
        let behind = after
            .get(address)
            .into_iter()
            .flatten()
            .any(|earlier| predicted.contains(earlier));
        let Some(draft) = drafts.get_mut(address) else {
            continue;
        };
        if behind {
            draft.predicted();
        } else if invalidated {
            draft.unforeseen();
        }
        if draft.invalidates() {
            invalidated = true;
        }
        let comes_or_goes = matches!(draft.op(), Op::Create | Op::Replace | Op::Delete);
        if behind || (draft.invalidates() && comes_or_goes) {
            predicted.insert(address);
        }
    }
}
