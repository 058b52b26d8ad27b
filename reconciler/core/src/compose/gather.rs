//! Gathers all pieces of a host by address.

use std::collections::BTreeSet;
use std::sync::Arc;

use plumb_api::AnyAddress;
use plumb_document::{Diagnostic, Span};

use super::fragment::{Fragment, Piece, Scope};
use super::patch::{self, PatchState, Patched};
use super::{HostContext, Priority};
use crate::expand::{ExpandContext, Expansion, HostComposite, implied};
use crate::manifest::{
    FieldRef, Host, HostFacts, Layer, Manifests, ObjectId, Problems, closest_address, code,
};
use crate::resolve::{BuildContext, composite};

/// The fragments that a host's pieces come from, and the pieces whose names depend on the host.
pub(crate) struct PieceSources {
    fragments: Vec<Arc<Fragment>>,
    late: Vec<Piece>,
}

/// A host's pieces in order of address, including the parts of composites, and the resources that patches
/// changed.
pub(crate) struct Composed<'a> {
    pieces: Vec<&'a Piece>,
    patched: &'a Patched,
    expansion: &'a Expansion,
}

/// Everything that defines the resource at one address.
pub(crate) enum Slot<'s, 'a> {
    /// The pieces at the address, which must be merged.
    Pieces(&'s [&'a Piece]),
    /// A patched resource. Its fields override those of parts at the same address.
    Patched {
        /// The resource after all patches.
        resource: &'s super::patch::PatchedResource,
        /// The pieces at the same address that are parts of composites.
        parts: &'s [&'a Piece],
    },
}

impl PieceSources {
    fn of(manifests: &Manifests, host: &Host, facts: &HostFacts) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut fragments = Vec::with_capacity(facts.instances.len() + 2);
        let mut late = implied(manifests, facts);
        match manifests.fragments.of_defaults(manifests) {
            Ok(fragment) => fragments.push(fragment),
            Err(diagnostics) => problems.diagnostics.extend(diagnostics),
        }
        for instance in facts.instances.iter().filter(|instance| instance.active) {
            match &instance.fragment {
                Ok(fragment) => fragments.push(fragment.clone()),
                Err(diagnostics) => problems.diagnostics.extend(diagnostics.iter().cloned()),
            }
        }
        if !host.blocks.is_empty() {
            let scope = Scope {
                by: format!("host {}", facts.name).into(),
                instance: None,
            };
            match Fragment::new(manifests, &host.blocks, scope) {
                Ok(fragment) => fragments.push(Arc::new(fragment)),
                Err(diagnostics) => problems.diagnostics.extend(diagnostics),
            }
        }
        for (name, secret) in &manifests.secrets {
            match &secret.object {
                _ if !secret.may_select(facts) => {}
                Ok(secret) => fragments.push(secret.fragment.clone()),
                Err(_) => problems.merge(Problems::because(ObjectId::Secret(name.clone()))),
            }
        }
        for fragment in &fragments {
            match fragment.late(manifests, &facts.value) {
                Ok(pieces) => late.extend(pieces),
                Err(diagnostics) => problems.diagnostics.extend(diagnostics),
            }
        }
        problems.or(Self { fragments, late })
    }

    fn pieces(&self) -> Vec<&Piece> {
        let count = self
            .fragments
            .iter()
            .map(|fragment| fragment.pieces.len())
            .sum::<usize>()
            + self.late.len();
        let mut pieces = Vec::with_capacity(count);
        for fragment in &self.fragments {
            pieces.extend(fragment.pieces.iter());
        }
        pieces.extend(self.late.iter());
        // The sort is stable, so the pieces of one address stay in the order of their sources.
        pieces.sort_by(|a: &&Piece, b| a.address.cmp(&b.address));
        pieces
    }
}

/// Composes a host and passes the result to `then`. The result borrows from fragments that live only during
/// the call.
pub(crate) fn compose<T>(
    manifests: &Manifests,
    host: &Host,
    facts: &HostFacts,
    host_context: &HostContext<'_>,
    then: impl FnOnce(&Composed<'_>) -> Result<T, Problems>,
) -> Result<T, Problems> {
    let piece_sources = PieceSources::of(manifests, host, facts)?;
    let mut pieces = piece_sources.pieces();
    let mut problems = Problems::default();
    let removed = remove(host, &mut pieces, &mut problems);
    let patched = match patch::apply(manifests, host, &pieces, host_context) {
        Ok(patched) => patched,
        Err(diagnostics) => {
            problems.diagnostics.extend(diagnostics);
            Patched::default()
        }
    };
    let expansion = match expand(manifests, host, facts, &pieces, &patched, host_context) {
        Ok(expansion) => expansion,
        Err(more) => {
            problems.merge(more);
            return Err(problems);
        }
    };
    removed.check(&pieces, &expansion, &mut problems);
    let parts = expansion
        .pieces()
        .iter()
        .filter(|part| !removed.addresses.contains(&part.address));
    pieces.extend(parts);
    if !expansion.pieces().is_empty() {
        pieces.sort_by(|a: &&Piece, b| a.address.cmp(&b.address));
    }
    let composed = Composed {
        pieces,
        patched: &patched,
        expansion: &expansion,
    };
    match then(&composed) {
        Ok(value) => problems.or(value),
        Err(more) => {
            problems.merge(more);
            Err(problems)
        }
    }
}

/// Expands the composites among the pieces.
fn expand(
    manifests: &Manifests,
    host: &Host,
    facts: &HostFacts,
    pieces: &[&Piece],
    patched: &Patched,
    host_context: &HostContext<'_>,
) -> Result<Expansion, Problems> {
    let nothing = Expansion::default();
    let is_composite = |address: &AnyAddress| matches!(address, AnyAddress::Composite(_));
    let any = pieces.iter().any(|piece| is_composite(&piece.address))
        || patched.iter().any(|(address, _)| is_composite(address));
    if !any {
        return Ok(nothing);
    }
    let composed = Composed {
        pieces: pieces.to_vec(),
        patched,
        expansion: &nothing,
    };
    let build = BuildContext {
        manifests,
        host_context,
        expansion: &nothing,
    };
    let mut problems = Problems::default();
    let mut all: Vec<HostComposite> = Vec::new();
    for (address, slot) in composed.slots() {
        let AnyAddress::Composite(address) = address else {
            continue;
        };
        match composite(&build, address, &slot) {
            Ok(declared) => all.push(declared),
            Err(more) => problems.merge(more),
        }
    }
    problems.or(())?;
    let context = ExpandContext {
        manifests,
        host,
        facts,
        reads: host_context.reads,
    };
    Expansion::of(&all, &context, |address| {
        composed.slots().any(|(other, _)| other == address)
    })
}

/// Removes the pieces at the addresses that the host's `remove` lists.
fn remove<'h>(host: &'h Host, pieces: &mut Vec<&Piece>, problems: &mut Problems) -> Removed<'h> {
    let mut removed = Removed::default();
    for (layer, node) in &host.remove {
        let text = node.as_str().unwrap_or_default();
        match text.parse::<FieldRef>() {
            Ok(FieldRef::Profile(_)) => {}
            Ok(FieldRef::Resource(address, None)) => {
                let of_host = |piece: &&&Piece| piece.span.file() == &host.file;
                let there: Vec<_> = pieces
                    .iter()
                    .filter(|piece| piece.address == address)
                    .collect();
                if let Some(own) = there.iter().copied().find(of_host) {
                    let message = format!("the host both defines and removes `{address}`");
                    problems.diagnostics.push(
                        Diagnostic::error(code::CONFLICT, &node.span, message)
                            .related(&own.span, "here")
                            .hint("remove one of the two"),
                    );
                } else if there.is_empty() && *layer == Layer::Host {
                    // The address may belong to a part of a composite, which isn't expanded yet.
                    removed.absent.push((&node.span, address.clone()));
                }
                removed.addresses.insert(address);
            }
            Ok(FieldRef::Resource(_, Some(_))) => problems.diagnostics.push(
                Diagnostic::error(
                    code::INVALID_NAME,
                    &node.span,
                    "a field can't be removed, only a whole resource",
                )
                .hint("set the field to null under `force:` to leave it alone"),
            ),
            Err(error) => {
                problems.diagnostics.push(Diagnostic::error(
                    code::INVALID_NAME,
                    &node.span,
                    error.to_string(),
                ));
            }
        }
    }
    pieces.retain(|piece| !removed.addresses.contains(&piece.address));
    removed
}

/// The addresses that a host removes.
#[derive(Default)]
struct Removed<'h> {
    addresses: BTreeSet<AnyAddress>,
    /// Addresses that no piece has, with their positions in the file. They may belong to parts of composites.
    absent: Vec<(&'h Span, AnyAddress)>,
}

impl Removed<'_> {
    /// Reports removals of addresses that neither a manifest nor a composite defines.
    fn check(&self, pieces: &[&Piece], expansion: &Expansion, problems: &mut Problems) {
        for (span, address) in &self.absent {
            let is_part = |part: &Piece| part.address == *address;
            if !expansion.pieces().iter().any(is_part) {
                let all = pieces.iter().copied().chain(expansion.pieces());
                let all = all.map(|piece| &piece.address);
                problems
                    .diagnostics
                    .push(nothing(span, &address.to_string(), all));
            }
        }
    }
}

fn nothing<'a>(span: &Span, what: &str, all: impl Iterator<Item = &'a AnyAddress>) -> Diagnostic {
    let message = format!("`{what}` isn't among the host's resources, so it can't be removed");
    let diagnostic = Diagnostic::error(code::UNKNOWN_REFERENCE, span, message);
    match closest_address(what, all) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("remove the line"),
    }
}

impl<'a> Composed<'a> {
    /// Returns each address with everything that defines its resource, composites included.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (&AnyAddress, Slot<'_, 'a>)> {
        let untouched = self
            .pieces
            .chunk_by(|a, b| a.address == b.address)
            .filter_map(|pieces| {
                let address = &pieces[0].address;
                let slot = match self.patched.at(address) {
                    PatchState::Untouched => pieces,
                    // The patch removes the fields that manifests set; the parts of composites stay.
                    PatchState::Removed => parts_of(pieces),
                    PatchState::Changed => &[],
                };
                (!slot.is_empty()).then_some((address, Slot::Pieces(slot)))
            });
        let patched = self.patched.iter().map(|(address, resource)| {
            let from = self
                .pieces
                .partition_point(|piece| piece.address < *address);
            let same = self.pieces[from..]
                .chunk_by(|a, b| a.address == b.address)
                .next()
                .filter(|pieces| pieces[0].address == *address);
            let parts = same.map(parts_of).unwrap_or_default();
            (address, Slot::Patched { resource, parts })
        });
        untouched.chain(patched)
    }

    /// Returns the expansion of the host's composites.
    pub(crate) fn expansion(&self) -> &'a Expansion {
        self.expansion
    }

    /// Returns the number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }
}

/// Returns the pieces of one address that are parts of composites. They follow all other pieces.
fn parts_of<'s, 'a>(pieces: &'s [&'a Piece]) -> &'s [&'a Piece] {
    let from = pieces.partition_point(|piece| piece.priority != Priority::Parts);
    &pieces[from..]
}
