//! A host's pieces, by address.

use std::collections::BTreeSet;
use std::sync::Arc;

use plumb_api::Address;
use plumb_document::{Diagnostic, Span};

use super::Sight;
use super::fragment::{Fragment, Piece, Scope};
use super::patch::{self, Patched};
use crate::manifest::{
    FieldRef, Host, HostFacts, Layer, Manifests, Problems, closest_address, code,
};

/// What speaks about one host: fragments shared with others, and its own.
pub(crate) struct Voices {
    fragments: Vec<Arc<Fragment>>,
    late: Vec<Piece>,
}

/// A host's pieces in order of address, and what patches made of some.
pub(crate) struct Composed<'a> {
    pieces: Vec<&'a Piece>,
    patched: Patched,
}

/// Everything that speaks about one address.
pub(crate) enum Slot<'s, 'a> {
    /// Pieces, to be merged.
    Pieces(&'s [&'a Piece]),
    /// Fields that a patch made.
    Patched(&'s super::patch::PatchedResource),
}

impl Voices {
    fn of(manifests: &Manifests, host: &Host, facts: &HostFacts) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut fragments = Vec::with_capacity(facts.instances.len() + 2);
        let mut late = Vec::new();
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
        // Stable: pieces of one address stay in the order of their voices.
        pieces.sort_by(|a: &&Piece, b| a.address.cmp(&b.address));
        pieces
    }
}

/// Composes a host and hands the result on: pieces are borrowed from what speaks about it.
pub(crate) fn compose<T>(
    manifests: &Manifests,
    host: &Host,
    facts: &HostFacts,
    sight: &Sight<'_>,
    then: impl FnOnce(&Composed<'_>) -> Result<T, Problems>,
) -> Result<T, Problems> {
    let voices = Voices::of(manifests, host, facts)?;
    let mut pieces = voices.pieces();
    let mut problems = Problems::default();
    remove(host, &mut pieces, &mut problems);
    let patched = match patch::apply(manifests, host, &pieces, sight) {
        Ok(patched) => patched,
        Err(diagnostics) => {
            problems.diagnostics.extend(diagnostics);
            Patched::default()
        }
    };
    let composed = Composed { pieces, patched };
    match then(&composed) {
        Ok(value) => problems.or(value),
        Err(more) => {
            problems.merge(more);
            Err(problems)
        }
    }
}

/// Takes away what the host doesn't want of what others brought.
fn remove(host: &Host, pieces: &mut Vec<&Piece>, problems: &mut Problems) {
    if host.remove.is_empty() {
        return;
    }
    let mut unwanted: BTreeSet<Address> = BTreeSet::new();
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
                    let message =
                        format!("`{address}` is removed, and the host itself asks for it");
                    problems.diagnostics.push(
                        Diagnostic::error(code::CONFLICT, &node.span, message)
                            .related(&own.span, "here")
                            .hint("take one of them away"),
                    );
                } else if there.is_empty() && *layer == Layer::Host {
                    problems.diagnostics.push(nothing(
                        &node.span,
                        text,
                        pieces.iter().map(|piece| &piece.address),
                    ));
                }
                unwanted.insert(address);
            }
            Ok(FieldRef::Resource(_, Some(_))) => problems.diagnostics.push(
                Diagnostic::error(
                    code::INVALID_NAME,
                    &node.span,
                    "a whole resource is removed, not a field of it",
                )
                .hint("to leave a field alone, force it to null"),
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
    pieces.retain(|piece| !unwanted.contains(&piece.address));
}

fn nothing<'a>(span: &Span, what: &str, all: impl Iterator<Item = &'a Address>) -> Diagnostic {
    let message = format!("nothing brings `{what}`, so there is nothing to remove");
    let diagnostic = Diagnostic::error(code::UNKNOWN_REFERENCE, span, message);
    match closest_address(what, all) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("take the line away"),
    }
}

impl<'a> Composed<'a> {
    /// What speaks about each address, in order of address.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (&Address, Slot<'_, 'a>)> {
        let untouched = self
            .pieces
            .chunk_by(|a, b| a.address == b.address)
            .filter(|pieces| !self.patched.touches(&pieces[0].address))
            .map(|pieces| (&pieces[0].address, Slot::Pieces(pieces)));
        let patched = self
            .patched
            .iter()
            .map(|(address, resource)| (address, Slot::Patched(resource)));
        untouched.chain(patched)
    }

    /// How many pieces there are.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }
}
