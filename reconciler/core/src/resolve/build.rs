//! One resource: its fields rendered, typed and checked.

use std::sync::Arc;

use plumb_api::resource::Dependency;
use plumb_api::{Address, Digest};
use plumb_document::{Diagnostic, Entry, Key, Map, Node, Span, decode_with};

use super::content;
use crate::compose::{Field, PatchedResource, Piece, Says, Scope, Sight, conflict, merge};
use crate::desired::DesiredResource;
use crate::manifest::{Manifests, ObjectIdSet, Problems, unsupported_diagnostic};
use crate::render::{Context, Reads, view};

/// A resource, with what was worked out about it once for all hosts that have it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) resource: Arc<DesiredResource>,
    /// The contents that it needs.
    pub(crate) contents: Vec<(Digest, Arc<[u8]>)>,
    /// What comes before it.
    pub(crate) requires: Vec<Dependency>,
    /// What reacts to it unnamed, and so comes after it.
    pub(crate) dependents: Vec<Address>,
    /// The path that it owns.
    pub(crate) path: Option<String>,
    /// Where its fields are written.
    pub(crate) places: Vec<(Arc<str>, Node)>,
}

/// Whose words are rendered, and for whom.
pub(crate) struct Words<'a> {
    pub(crate) manifests: &'a Manifests,
    pub(crate) sight: &'a Sight<'a>,
}

impl Words<'_> {
    fn context(&self, scope: &Scope) -> Context {
        scope.context(self.sight.host, Some(self.sight.fleet))
    }

    /// A field's value, rendered. `content` is what it comes to as bytes; the bytes are put aside.
    pub(crate) fn value(
        &self,
        name: &str,
        node: &Node,
        scope: &Scope,
        contents: &mut Vec<(Digest, Arc<[u8]>)>,
    ) -> Result<Node, Vec<Diagnostic>> {
        let context = self.context(scope);
        if name != "content" || node.is_null() {
            return self.manifests.engine.render(node, &context);
        }
        let bytes = content::bytes(self.manifests, node, &context)?;
        let (spec, digest) = content::spec(&bytes, &node.span);
        contents.push((digest, bytes));
        Ok(spec)
    }
}

/// A field whose value is known.
struct Done {
    key: Key,
    node: Node,
}

/// Builds what some pieces say about one address.
pub(super) fn pieces(
    manifests: &Manifests,
    pieces: &[&Piece],
    sight: &Sight<'_>,
    reads: &Reads,
) -> Result<Arc<Built>, Problems> {
    let [piece] = pieces else {
        return merged(&Words { manifests, sight }, pieces)
            .map_err(|diagnostics| problems(diagnostics, reads));
    };
    if !piece.uses.is_shared() {
        return merged(&Words { manifests, sight }, pieces)
            .map_err(|diagnostics| problems(diagnostics, reads));
    }
    let once = || {
        // Its own record: what it asks of the fleet holds all hosts that have it.
        let reads = Arc::new(Reads::default());
        let fleet = view(&manifests.facts, &reads);
        let nobody = super::nobody();
        let sight = Sight {
            host: &nobody,
            fleet: &fleet,
        };
        merged(
            &Words {
                manifests,
                sight: &sight,
            },
            pieces,
        )
        .map_err(|diagnostics| problems(diagnostics, &reads))
    };
    piece.built.get_or_init(once).clone()
}

/// Errors, or the objects that they come from: what asked about an object with errors is held by it.
fn problems(diagnostics: Vec<Diagnostic>, reads: &Reads) -> Problems {
    // Taken, so that the next resource's own errors aren't laid to what this one asked.
    let held: ObjectIdSet = reads.take();
    if held.is_empty() {
        return diagnostics.into();
    }
    let diagnostics = diagnostics.into_iter().map(|diagnostic| Diagnostic {
        code: crate::manifest::code::HELD,
        ..diagnostic
    });
    Problems {
        diagnostics: diagnostics.collect(),
        because: held,
    }
}

fn merged(words: &Words<'_>, pieces: &[&Piece]) -> Result<Arc<Built>, Vec<Diagnostic>> {
    let Some(first) = pieces.first() else {
        return Err(Vec::new());
    };
    let mut contents = Vec::new();
    let mut diagnostics = Vec::new();
    let mut done = Vec::new();
    for field in merge(pieces)? {
        match one_field(words, &first.address, &field, &mut contents) {
            Ok(field) => done.push(field),
            Err(more) => diagnostics.extend(more),
        }
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    finish(&first.address, &first.span, done, contents)
}

fn one_field(
    words: &Words<'_>,
    address: &Address,
    field: &Field<'_>,
    contents: &mut Vec<(Digest, Arc<[u8]>)>,
) -> Result<Done, Vec<Diagnostic>> {
    match &field.says {
        Says::One(pick, beside) => {
            let node = words.value(&field.name, &pick.node, &pick.piece.scope, contents)?;
            for other in beside {
                let value = words.value(
                    &field.name,
                    &other.node,
                    &other.piece.scope,
                    &mut Vec::new(),
                )?;
                if value != node {
                    return Err(vec![conflict(address, pick, other)]);
                }
            }
            Ok(Done {
                key: pick.key.clone(),
                node,
            })
        }
        Says::Union(picks) => {
            let mut all: Vec<Node> = Vec::new();
            for pick in picks {
                let node = words.value(&field.name, &pick.node, &pick.piece.scope, contents)?;
                match node.as_seq() {
                    Some(items) => all.extend(items.iter().cloned()),
                    // Not a list: decoding says so, at its place.
                    None => {
                        return Ok(Done {
                            key: pick.key.clone(),
                            node,
                        });
                    }
                }
            }
            // One order whatever the order of the places that say it; its digest must not depend on that.
            all.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            all.dedup_by(|a, b| a.as_str().is_some() && a == b);
            let Some(pick) = picks.first() else {
                return Err(Vec::new());
            };
            Ok(Done {
                key: pick.key.clone(),
                node: Node::seq(all, pick.node.span.clone()),
            })
        }
    }
}

/// Builds what a patch made.
pub(super) fn patched(
    manifests: &Manifests,
    address: &Address,
    resource: &PatchedResource,
    sight: &Sight<'_>,
    reads: &Reads,
) -> Result<Arc<Built>, Problems> {
    let words = Words { manifests, sight };
    let mut contents = Vec::new();
    let mut diagnostics = Vec::new();
    let mut done = Vec::new();
    for field in &resource.fields {
        match words.value(&field.key.text, &field.node, &field.scope, &mut contents) {
            Ok(node) => done.push(Done {
                key: field.key.clone(),
                node,
            }),
            Err(more) => diagnostics.extend(more),
        }
    }
    if !diagnostics.is_empty() {
        return Err(problems(diagnostics, reads));
    }
    finish(address, &resource.span, done, contents)
        .map_err(|diagnostics| problems(diagnostics, reads))
}

/// Fields to a typed, checked resource.
fn finish(
    address: &Address,
    span: &Span,
    fields: Vec<Done>,
    contents: Vec<(Digest, Arc<[u8]>)>,
) -> Result<Arc<Built>, Vec<Diagnostic>> {
    let kind = address.kind();
    let mut diagnostics = Vec::new();
    for field in &fields {
        if kind.unsupported().contains(&&*field.key.text) {
            diagnostics.push(unsupported_diagnostic(
                &field.key.span,
                &format!("`{}` of a {kind}", field.key.text),
            ));
        }
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let places: Vec<(Arc<str>, Node)> = fields
        .iter()
        .map(|field| (field.key.text.clone(), field.node.clone()))
        .collect();
    let map: Map = fields
        .into_iter()
        .map(|Done { key, node }| Entry { key, value: node })
        .collect();
    let tree = Node::map(map, span.clone());
    let spec = decode_with(&tree, |decoder| kind.decode(decoder))?;
    for problem in spec.check(address.name()) {
        let place = places
            .iter()
            .find(|(name, _)| **name == *problem.field)
            .map_or(span, |(_, node)| &node.span);
        diagnostics.push(
            Diagnostic::error(
                plumb_document::codes::INVALID_VALUE,
                place,
                format!("`{address}`: {}", problem.message),
            )
            .hint(problem.hint),
        );
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let requires = spec.requires(address.name());
    let dependents = kind.dependents(address.name());
    let path = kind.path(address.name());
    match DesiredResource::new(spec) {
        Ok(resource) => Ok(Arc::new(Built {
            resource: Arc::new(resource),
            contents,
            requires,
            dependents,
            path,
            places,
        })),
        Err(error) => Err(vec![Diagnostic::error(
            plumb_document::codes::INVALID_VALUE,
            span,
            format!("`{address}` can't be written in its canonical form: {error}"),
        )]),
    }
}
