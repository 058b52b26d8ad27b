//! Builds one resource: renders, decodes and checks its fields.

use std::sync::Arc;

use plumb_api::resource::{Claim, Dependency};
use plumb_api::{Address, AnyAddress, AnyKind, CompositeAddress, Digest, Spec};
use plumb_document::{Diagnostic, Entry, Key, Map, Node, Span, decode_with};

use super::content;
use crate::compose::{
    Field, FieldValues, HostContext, PatchedResource, Piece, Scope, Slot, conflict, merge,
};
use crate::desired::DesiredResource;
use crate::expand::{ExpandContext, Expansion, HostComposite, complete, problem_at};
use crate::manifest::{
    Manifests, ObjectIdSet, Problems, closest_address, code, unsupported_diagnostic,
};
use crate::render::{BrokenReads, Context, view};

/// A resource, and everything that is computed once for all hosts that have it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) resource: Arc<DesiredResource>,
    /// The contents that the resource's spec refers to.
    pub(crate) contents: Vec<(Digest, Arc<[u8]>)>,
    /// The resources that are applied before this one.
    pub(crate) requires: Vec<Dependency>,
    /// The paths that no other resource may own, because this resource writes to them.
    pub(crate) claims: Vec<Claim>,
    /// The path on the host that the resource owns, if any.
    pub(crate) path: Option<String>,
    /// The rendered node of each field, for the positions of errors.
    pub(crate) places: Vec<(Arc<str>, Node)>,
}

/// Everything that is needed to render the resources of one host.
pub(crate) struct BuildContext<'a> {
    pub(crate) manifests: &'a Manifests,
    pub(crate) host_context: &'a HostContext<'a>,
    /// The expansion of the host's composites, whose parts replace references to them.
    pub(crate) expansion: &'a Expansion,
}

impl BuildContext<'_> {
    fn context(&self, scope: &Scope) -> Context {
        scope.context(self.host_context.host, Some(self.host_context.fleet))
    }

    /// Evaluates the expressions of a value.
    pub(crate) fn rendered(&self, node: &Node, scope: &Scope) -> Result<Node, Vec<Diagnostic>> {
        self.manifests.engine.render(node, &self.context(scope))
    }

    /// Renders a field's value. For `content`, and for the path of a file of the repository, returns the hash
    /// and size of the bytes and adds them to `contents`.
    pub(crate) fn value(
        &self,
        kind: AnyKind,
        name: &str,
        node: &Node,
        scope: &Scope,
        contents: &mut Vec<(Digest, Arc<[u8]>)>,
    ) -> Result<Node, Vec<Diagnostic>> {
        let context = self.context(scope);
        if let AnyKind::Primitive(kind) = kind
            && kind.confidential().contains(&name)
            && !node.is_null()
        {
            let field = content::confidential(self.manifests, kind, name, node, &context)?;
            contents.extend(field.content);
            return Ok(field.spec);
        }
        let is_file = matches!(kind, AnyKind::Primitive(kind) if kind.files().contains(&name));
        let bytes = match name {
            _ if node.is_null() => None,
            _ if is_file => Some(content::file(self.manifests, node, &context)?),
            "content" => Some(content::bytes(self.manifests, node, &context)?),
            _ => None,
        };
        let Some(bytes) = bytes else {
            let rendered = self.manifests.engine.render(node, &context)?;
            return if content::has_secret(&rendered) {
                Err(vec![misplaced_secret(&node.span)])
            } else {
                Ok(rendered)
            };
        };
        let fills = matches!(kind, AnyKind::Primitive(kind) if kind.fills_secrets());
        if !fills
            && !content::secrets(&bytes, &node.span)
                .map_err(|wrong| vec![*wrong])?
                .is_empty()
        {
            return Err(vec![misplaced_secret(&node.span)]);
        }
        let (spec, digest) = content::spec(&bytes, &node.span);
        contents.push((digest, bytes));
        Ok(spec)
    }

    /// Replaces the address of a composite in a field by the addresses of its parts. An order after a
    /// composite thus applies to all its parts, and a change of any part counts as a change of the composite.
    fn references(
        &self,
        address: &AnyAddress,
        fields: &mut [RenderedField],
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let AnyKind::Primitive(kind) = address.kind() else {
            return;
        };
        for field in fields {
            let Some(items) = field.node.as_seq() else {
                continue;
            };
            let composite = |item: &Node| match item.as_str()?.parse() {
                Ok(AnyAddress::Composite(composite)) => Some(composite),
                _ => None,
            };
            if !kind.references().contains(&&*field.key.text)
                || !items.iter().any(|item| composite(item).is_some())
            {
                continue;
            }
            let mut all = Vec::with_capacity(items.len());
            for item in items {
                let Some(named) = composite(item) else {
                    all.push(item.clone());
                    continue;
                };
                match self.expansion.referenced(&named) {
                    Some(parts) => all.extend(
                        parts.map(|part| Node::string(part.to_string(), item.span.clone())),
                    ),
                    None => diagnostics.push(self.missing(address, &named, item)),
                }
            }
            all.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            all.dedup();
            field.node = Node::seq(all, field.node.span.clone());
        }
    }

    fn missing(&self, address: &AnyAddress, named: &CompositeAddress, item: &Node) -> Diagnostic {
        let message = format!("`{address}` refers to `{named}`, which isn't on this host");
        let diagnostic = Diagnostic::error(code::UNKNOWN_REFERENCE, &item.span, message);
        match closest_address(&named.to_string(), self.expansion.composites()) {
            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
            None => diagnostic.hint("add it, or remove the reference"),
        }
    }
}

/// Creates the error about a secret where the host can't fill it in.
fn misplaced_secret(span: &Span) -> Diagnostic {
    Diagnostic::error(
        code::CONTENT,
        span,
        "only the content of a file can have a secret",
    )
    .hint("deliver the secret to a file or a unit, in its Secret, and name that file here")
}

/// A field with its rendered value.
struct RenderedField {
    key: Key,
    node: Node,
}

/// Builds the primitive resource at an address from its pieces.
pub(super) fn pieces(
    manifests: &Manifests,
    address: &Address,
    pieces: &[&Piece],
    host_context: &HostContext<'_>,
    expansion: &Expansion,
) -> Result<Arc<Built>, Problems> {
    let build = |host_context: &HostContext<'_>, expansion: &Expansion| {
        let build = BuildContext {
            manifests,
            host_context,
            expansion,
        };
        merged(&build, pieces)
            .and_then(|(fields, contents)| finish(address, &pieces[0].span, fields, contents))
            .map_err(|diagnostics| problems(diagnostics, host_context.reads))
    };
    let [piece] = pieces else {
        return build(host_context, expansion);
    };
    if !piece.is_shared() {
        return build(host_context, expansion);
    }
    let once = || {
        // The result is shared, so it needs a record of its own. Objects with errors that it reads hold every
        // host that has the resource.
        let reads = Arc::new(BrokenReads::default());
        let fleet = view(&manifests.facts, &reads, None);
        let nobody = super::nobody();
        let host_context = HostContext {
            host: &nobody,
            fleet: &fleet,
            reads: &reads,
        };
        build(&host_context, &Expansion::default())
    };
    piece.built.get_or_init(once).clone()
}

/// Completes a built resource with the facts of its host. Returns the same one if it needs none.
pub(super) fn completed(
    address: &Address,
    built: Arc<Built>,
    span: &Span,
    context: &ExpandContext<'_>,
) -> Result<Arc<Built>, Problems> {
    let spec = match complete(built.resource.spec(), context) {
        None => return Ok(built),
        Some(Ok(spec)) => spec,
        Some(Err(wrong)) => {
            let at = |problem| problem_at(address, problem, &built.places, span);
            let diagnostics = wrong.into_iter().map(at).collect();
            return Err(problems(diagnostics, context.reads));
        }
    };
    built_of(
        address,
        span,
        spec,
        built.contents.clone(),
        built.places.clone(),
    )
    .map_err(|diagnostics| problems(diagnostics, context.reads))
}

/// Decodes the composite resource at an address.
pub(crate) fn composite(
    build: &BuildContext<'_>,
    address: &CompositeAddress,
    slot: &Slot<'_, '_>,
) -> Result<HostComposite, Problems> {
    let declared = || {
        let (span, (fields, _)) = match slot {
            Slot::Pieces(pieces) => (&pieces[0].span, merged(build, pieces)?),
            Slot::Patched { resource, parts } => {
                let kind = AnyKind::Composite(address.kind());
                (
                    &resource.span,
                    patched_fields(build, kind, resource, parts)?,
                )
            }
        };
        let (tree, places) = tree(&AnyAddress::Composite(address.clone()), span, fields)?;
        let spec = decode_with(&tree, |decoder| address.kind().decode(decoder))?;
        let wrong: Vec<Diagnostic> = spec
            .check(address.name())
            .into_iter()
            .map(|problem| problem_at(address, problem, &places, span))
            .collect();
        if wrong.is_empty() {
            Ok(HostComposite {
                address: address.clone(),
                spec,
                span: span.clone(),
                places,
            })
        } else {
            Err(wrong)
        }
    };
    declared().map_err(|diagnostics| problems(diagnostics, build.host_context.reads))
}

/// Converts errors to problems. If rendering read objects with errors, these become the reason why the host
/// is held.
fn problems(diagnostics: Vec<Diagnostic>, reads: &BrokenReads) -> Problems {
    // `take` clears the record, so that errors of the next resource aren't attributed to these objects.
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

/// Rendered fields, and the contents that they refer to.
type Fields = (Vec<RenderedField>, Vec<(Digest, Arc<[u8]>)>);

fn merged(build: &BuildContext<'_>, pieces: &[&Piece]) -> Result<Fields, Vec<Diagnostic>> {
    let Some(first) = pieces.first() else {
        return Err(Vec::new());
    };
    let mut contents = Vec::new();
    let mut diagnostics = Vec::new();
    let mut done = Vec::new();
    for field in merge(pieces)? {
        match one_field(build, &first.address, &field, &mut contents) {
            Ok(field) => done.push(field),
            Err(more) => diagnostics.extend(more),
        }
    }
    build.references(&first.address, &mut done, &mut diagnostics);
    if diagnostics.is_empty() {
        Ok((done, contents))
    } else {
        Err(diagnostics)
    }
}

fn one_field(
    build: &BuildContext<'_>,
    address: &AnyAddress,
    field: &Field<'_>,
    contents: &mut Vec<(Digest, Arc<[u8]>)>,
) -> Result<RenderedField, Vec<Diagnostic>> {
    let kind = address.kind();
    match &field.says {
        FieldValues::One(pick, beside) => {
            let node = build.value(kind, &field.name, &pick.node, &pick.piece.scope, contents)?;
            for other in beside {
                let value = build.value(
                    kind,
                    &field.name,
                    &other.node,
                    &other.piece.scope,
                    &mut Vec::new(),
                )?;
                if value != node {
                    return Err(vec![conflict(address, pick, other)]);
                }
            }
            Ok(RenderedField {
                key: pick.key.clone(),
                node,
            })
        }
        FieldValues::Union(picks) => {
            let mut all: Vec<Node> = Vec::new();
            for pick in picks {
                let node =
                    build.value(kind, &field.name, &pick.node, &pick.piece.scope, contents)?;
                match node.as_seq() {
                    Some(items) => all.extend(items.iter().cloned()),
                    // Decoding will report that the value isn't a list, with its position.
                    None => {
                        return Ok(RenderedField {
                            key: pick.key.clone(),
                            node,
                        });
                    }
                }
            }
            // Sort, so that the digest doesn't depend on the order of the sources.
            all.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            all.dedup_by(|a, b| a.as_str().is_some() && a == b);
            let Some(pick) = picks.first() else {
                return Err(Vec::new());
            };
            Ok(RenderedField {
                key: pick.key.clone(),
                node: Node::seq(all, pick.node.span.clone()),
            })
        }
    }
}

/// Builds the primitive resource at an address from its patched fields.
pub(super) fn patched(
    manifests: &Manifests,
    address: &Address,
    resource: &PatchedResource,
    parts: &[&Piece],
    host_context: &HostContext<'_>,
    expansion: &Expansion,
) -> Result<Arc<Built>, Problems> {
    let build = BuildContext {
        manifests,
        host_context,
        expansion,
    };
    let kind = AnyKind::Primitive(address.kind());
    patched_fields(&build, kind, resource, parts)
        .and_then(|(mut fields, contents)| {
            let mut diagnostics = Vec::new();
            build.references(&address.clone().into(), &mut fields, &mut diagnostics);
            if diagnostics.is_empty() {
                finish(address, &resource.span, fields, contents)
            } else {
                Err(diagnostics)
            }
        })
        .map_err(|diagnostics| problems(diagnostics, host_context.reads))
}

/// Returns the patched fields. They override the fields of parts at the same address.
fn patched_fields(
    build: &BuildContext<'_>,
    kind: AnyKind,
    resource: &PatchedResource,
    parts: &[&Piece],
) -> Result<Fields, Vec<Diagnostic>> {
    let (mut done, mut contents) = if parts.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        merged(build, parts)?
    };
    let mut diagnostics = Vec::new();
    for field in &resource.fields {
        match build.value(
            kind,
            &field.key.text,
            &field.node,
            &field.scope,
            &mut contents,
        ) {
            Ok(node) => {
                done.retain(|under: &RenderedField| under.key.text != field.key.text);
                done.push(RenderedField {
                    key: field.key.clone(),
                    node,
                });
            }
            Err(more) => diagnostics.extend(more),
        }
    }
    if diagnostics.is_empty() {
        Ok((done, contents))
    } else {
        Err(diagnostics)
    }
}

/// The name and rendered node of each field of a resource.
type FieldNodes = Vec<(Arc<str>, Node)>;

/// Returns the fields as one tree and as a list. Fails if this version doesn't support one of the fields.
fn tree(
    address: &AnyAddress,
    span: &Span,
    fields: Vec<RenderedField>,
) -> Result<(Node, FieldNodes), Vec<Diagnostic>> {
    let kind = address.kind();
    let unsupported: Vec<Diagnostic> = fields
        .iter()
        .filter(|field| kind.unsupported().contains(&&*field.key.text))
        .map(|field| {
            unsupported_diagnostic(
                &field.key.span,
                &format!("`{}` of a {kind}", field.key.text),
            )
        })
        .collect();
    if !unsupported.is_empty() {
        return Err(unsupported);
    }
    let places = fields
        .iter()
        .map(|field| (field.key.text.clone(), field.node.clone()))
        .collect();
    let map: Map = fields
        .into_iter()
        .map(|RenderedField { key, node }| Entry { key, value: node })
        .collect();
    Ok((Node::map(map, span.clone()), places))
}

/// Adds the secrets whose placeholders the content has, and the mode of a file with secrets.
fn add_secrets(
    fields: &mut Vec<RenderedField>,
    contents: &[(Digest, Arc<[u8]>)],
) -> Result<(), Vec<Diagnostic>> {
    let Some(span) = fields
        .iter()
        .find(|field| &*field.key.text == "content")
        .map(|field| field.node.span.clone())
    else {
        return Ok(());
    };
    let mut all = Vec::new();
    for (_, bytes) in contents {
        all.extend(content::secrets(bytes, &span).map_err(|wrong| vec![*wrong])?);
    }
    if all.is_empty() {
        return Ok(());
    }
    let mut add = |name: &str, node: Node| {
        let key = Key {
            text: name.into(),
            span: span.clone(),
        };
        fields.push(RenderedField { key, node });
    };
    let names = all
        .iter()
        .map(|address| Node::string(address.to_string(), span.clone()));
    add("secrets", Node::seq(names.collect(), span.clone()));
    if !fields
        .iter()
        .any(|field| &*field.key.text == "mode" && !field.node.is_null())
    {
        let key = Key {
            text: "mode".into(),
            span: span.clone(),
        };
        fields.retain(|field| &*field.key.text != "mode");
        fields.push(RenderedField {
            key,
            node: Node::string("0600".to_owned(), span.clone()),
        });
    }
    Ok(())
}

/// Decodes and checks the fields of a resource.
fn finish(
    address: &Address,
    span: &Span,
    fields: Vec<RenderedField>,
    contents: Vec<(Digest, Arc<[u8]>)>,
) -> Result<Arc<Built>, Vec<Diagnostic>> {
    let kind = address.kind();
    let mut fields = fields;
    if kind.fills_secrets() {
        add_secrets(&mut fields, &contents)?;
    }
    let (tree, places) = tree(&address.clone().into(), span, fields)?;
    let spec = decode_with(&tree, |decoder| kind.decode(decoder))?;
    let wrong: Vec<Diagnostic> = spec
        .check(address.name())
        .into_iter()
        .map(|problem| problem_at(address, problem, &places, span))
        .collect();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    built_of(address, span, spec, contents, places)
}

fn built_of(
    address: &Address,
    span: &Span,
    spec: Spec,
    contents: Vec<(Digest, Arc<[u8]>)>,
    places: FieldNodes,
) -> Result<Arc<Built>, Vec<Diagnostic>> {
    let requires = spec.requires(address.name());
    let claims = spec.claims(address.name());
    let path = address.kind().path(address.name());
    match DesiredResource::new(spec) {
        Ok(resource) => Ok(Arc::new(Built {
            resource: Arc::new(resource),
            contents,
            requires,
            claims,
            path,
            places,
        })),
        Err(error) => Err(vec![Diagnostic::error(
            plumb_document::codes::INVALID_VALUE,
            span,
            format!("`{address}` has no canonical form: {error}"),
        )]),
    }
}
