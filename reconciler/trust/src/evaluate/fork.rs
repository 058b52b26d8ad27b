//! Finds the fork point of a merged branch.

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use super::graph::Graph;
use crate::object::limits;
use crate::oid::Oid;
use crate::reason::{Reason, ReasonCode};

/// The merge bases of the mainline and a side branch, and the commits that only the side branch has.
pub(super) struct Fork {
    pub(super) bases: Vec<Oid>,
    /// The commits that only the side branch has.
    pub(super) side: Vec<Oid>,
}

const MAIN: u8 = 1;
const SIDE: u8 = 2;
const BELOW_BASE: u8 = 4;

const BETWEEN: &str = "between the merged branch and where it left";

fn too_long(most: &str, place: &str) -> Reason {
    let message = format!("more than {most} {place}");
    Reason::new(ReasonCode::ApprovalIgnored, message)
}

/// Finds the merge bases of two commits. Paints the ancestors of both, newest first, until only common
/// ancestors are left. Dates only order the walk: a commit that gets new paint is visited again, so false
/// dates cost time but can't hide a base. They could add a base, so bases that are ancestors of other bases
/// are dropped at the end.
pub(super) fn fork(graph: &Graph<'_>, main: Oid, side: Oid) -> Result<Fork, Reason> {
    let mut paint: HashMap<Oid, u8> = HashMap::new();
    let mut queue: BinaryHeap<(i64, Oid)> = BinaryHeap::new();
    // Number of entries of the queue that could still lead to a base.
    let mut open = 0_usize;
    let (mut steps, mut bytes) = (0_usize, 0);
    for (id, color) in [(main, MAIN), (side, SIDE)] {
        let old = paint.entry(id).or_default();
        *old |= color;
        queue.push((graph.node(&id)?.seconds, id));
        open += 1;
    }
    let mut bases: BTreeSet<Oid> = BTreeSet::new();
    let mut counted: HashMap<Oid, usize> = HashMap::from([(main, 1)]);
    *counted.entry(side).or_default() += 1;
    while open > 0 {
        let Some((_, id)) = queue.pop() else { break };
        let mut color = paint.get(&id).copied().unwrap_or_default();
        if let Some(count) = counted.get_mut(&id).filter(|count| **count > 0) {
            *count -= 1;
            open -= 1;
        }
        steps += 1;
        if steps > limits::SIDE {
            let most = format!("{} commits lie", limits::SIDE);
            return Err(too_long(&most, BETWEEN));
        }
        if color & (MAIN | SIDE) == MAIN | SIDE && color & BELOW_BASE == 0 {
            bases.insert(id);
            color |= BELOW_BASE;
        }
        let node = graph.node(&id)?;
        bytes += node.bytes;
        if bytes > limits::SIDE_BYTES {
            let most = format!("{} MiB of commits lie", limits::SIDE_BYTES >> 20);
            return Err(too_long(&most, BETWEEN));
        }
        for parent in node.parents.iter().copied() {
            let old = paint.entry(parent).or_default();
            if *old | color != *old {
                *old |= color;
                let below = *old & BELOW_BASE != 0;
                queue.push((graph.node(&parent)?.seconds, parent));
                if below {
                    // The parent's entries in the queue no longer lead to a base.
                    open -= counted.remove(&parent).unwrap_or_default();
                } else {
                    *counted.entry(parent).or_default() += 1;
                    open += 1;
                }
            }
        }
    }
    bases.retain(|id| paint.get(id).is_some_and(|color| color & BELOW_BASE == 0));
    if bases.len() > 1 {
        drop_ancestors(graph, &mut bases)?;
    }
    let side = paint
        .iter()
        .filter(|(_, color)| **color == SIDE)
        .map(|(id, _)| *id)
        .collect();
    Ok(Fork {
        bases: bases.into_iter().collect(),
        side,
    })
}

/// Drops the bases that are ancestors of other bases.
fn drop_ancestors(graph: &Graph<'_>, bases: &mut BTreeSet<Oid>) -> Result<(), Reason> {
    let (mut seen, mut pending) = (HashSet::new(), Vec::new());
    for base in &*bases {
        pending.extend(graph.node(base)?.parents.iter().copied());
    }
    while let Some(id) = pending.pop() {
        if !seen.insert(id) {
            continue;
        }
        if seen.len() > limits::SIDE {
            let most = format!("{} commits lie", limits::SIDE);
            return Err(too_long(
                &most,
                "below the places where the merged branch left",
            ));
        }
        pending.extend(graph.node(&id)?.parents.iter().copied());
    }
    bases.retain(|base| !seen.contains(base));
    Ok(())
}
