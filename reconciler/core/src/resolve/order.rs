//! Checks the references between resources: each must have a target, and they must not form a cycle.

use std::collections::{BTreeMap, HashMap};

use plumb_api::Address;
use plumb_api::resource::{Couplings, Strength};
use plumb_document::{Diagnostic, Node, Span};

use super::Placed;
use crate::manifest::{closest_address, code};

/// Returns the errors in the references between a host's resources. `placed` must be sorted by address.
pub(super) fn check(placed: &[Placed<'_>]) -> Vec<Diagnostic> {
    let find = |address: &Address| placed.binary_search_by(|one| one.address.cmp(address)).ok();
    let addresses = placed.iter().map(|one| one.address);
    let couplings = Couplings::new(addresses, &BTreeMap::new());
    let mut diagnostics = Vec::new();
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); placed.len()];
    for (at, one) in placed.iter().enumerate() {
        for dependency in &one.built.requires {
            match find(&dependency.address) {
                // The plan drops an order of strength `Yielding` if it closes a cycle.
                Some(first) if first != at && dependency.strength != Strength::Yielding => {
                    before[at].push(index(first));
                }
                Some(_) if dependency.strength == Strength::Explicit => diagnostics.push(
                    Diagnostic::error(
                        code::CYCLE,
                        place(one, &dependency.address),
                        format!("{one} is ordered after itself"),
                    )
                    .hint("remove the line"),
                ),
                None if dependency.strength == Strength::Explicit => {
                    let wanted = dependency.address.to_string();
                    let message = format!("{one} refers to `{wanted}`, which isn't on this host");
                    let diagnostic = Diagnostic::error(
                        code::UNKNOWN_REFERENCE,
                        place(one, &dependency.address),
                        message,
                    );
                    diagnostics.push(
                        match closest_address(&wanted, placed.iter().map(|one| one.address)) {
                            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                            None => diagnostic.hint("add it, or remove the reference"),
                        },
                    );
                }
                Some(_) | None => {}
            }
        }
        for reader in couplings.readers(one.address) {
            // An order that the manifest writes wins over the implied one: a package source may be applied
            // after the package that it needs.
            let reversed = one.built.requires.iter().any(|dependency| {
                dependency.strength == Strength::Explicit && dependency.address == *reader
            });
            if let Some(later) = find(reader).filter(|_| !reversed) {
                before[later].push(index(at));
            }
        }
    }
    diagnostics.extend(paths(placed));
    if diagnostics.is_empty() {
        diagnostics.extend(circle(placed, &before));
    }
    diagnostics
}

/// Returns an error for each path that two resources own, and for each path that one resource owns and
/// another resource needs.
fn paths(placed: &[Placed<'_>]) -> Vec<Diagnostic> {
    let mut taken: HashMap<&str, &Placed<'_>> = HashMap::with_capacity(placed.len());
    let mut diagnostics = Vec::new();
    for one in placed {
        let Some(path) = &one.built.path else {
            continue;
        };
        if let Some(first) = taken.insert(path, one) {
            diagnostics.push(rivals(first, one).hint("remove one of them"));
        }
    }
    let mut claimed: HashMap<&str, &Placed<'_>> = HashMap::new();
    for one in placed {
        for claim in &one.built.claims {
            let path = claim.path.as_str();
            if let Some(other) = taken.get(path).or(claimed.get(path)) {
                diagnostics.push(rivals(other, one).hint(claim.hint.as_str()));
            }
            claimed.insert(path, one);
        }
    }
    diagnostics
}

fn rivals(first: &Placed<'_>, second: &Placed<'_>) -> Diagnostic {
    let message =
        format!("{first} and {second} manage the same thing on the host and would undo each other");
    Diagnostic::error(code::CONFLICT, second.span, message).related(first.span, "the other one")
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Returns the position where a resource refers to `address`.
fn place<'a>(one: &'a Placed<'_>, address: &Address) -> &'a Span {
    let text = address.to_string();
    let names = |node: &&Node| node.as_str() == Some(text.as_str());
    let mut items = one
        .built
        .places
        .iter()
        .flat_map(|(_, node)| node.as_seq().unwrap_or_default());
    items.find(names).map_or(one.span, |node| &node.span)
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Returns an error about the first cycle, if there is one.
fn circle(placed: &[Placed<'_>], before: &[Vec<u32>]) -> Option<Diagnostic> {
    let mut marks = vec![Mark::New; placed.len()];
    // A stack of indices into `placed`, each with the number of its predecessors that were visited.
    let mut way: Vec<(usize, usize)> = Vec::new();
    for start in 0..placed.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        way.push((start, 0));
        while let Some((at, looked)) = way.last_mut() {
            let at = *at;
            let Some(next) = before[at].get(*looked).map(|next| *next as usize) else {
                marks[at] = Mark::Done;
                way.pop();
                continue;
            };
            *looked += 1;
            match marks[next] {
                Mark::Done => {}
                Mark::New => {
                    marks[next] = Mark::Open;
                    way.push((next, 0));
                }
                Mark::Open => {
                    let from = way.iter().position(|(step, _)| *step == next).unwrap_or(0);
                    let steps: Vec<&Placed<'_>> =
                        way[from..].iter().map(|(step, _)| &placed[*step]).collect();
                    return Some(circle_error(&steps));
                }
            }
        }
    }
    None
}

fn circle_error(steps: &[&Placed<'_>]) -> Diagnostic {
    let names: Vec<String> = steps
        .iter()
        .chain(steps.first())
        .map(|step| step.address.to_string())
        .collect();
    let span = steps
        .first()
        .map_or_else(|| Span::of_file(""), |step| step.span.clone());
    let message = format!(
        "these resources depend on each other in a circle: {}",
        names.join(" → ")
    );
    let diagnostic =
        Diagnostic::error(code::CYCLE, &span, message).hint("remove one of the references");
    steps.iter().skip(1).fold(diagnostic, |diagnostic, step| {
        diagnostic.related(step.span, step.address.to_string())
    })
}
