//! JSON Patch (RFC 6902): patches a host's composed resources before they are rendered.
//!
//! Paths have the form `/resources/TYPE/NAME/FIELD…`. Expressions in the values of a patch can read what the
//! host's own resources can read. They are evaluated before the value is inserted, because the surrounding
//! fields may belong to a profile, whose expressions read other variables.

mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::{AnyAddress, AnyKind};
use plumb_document::{Diagnostic, Entry, Key, Map, Node, Span, decode};
use serde::Deserialize;

use super::fragment::{Piece, Scope};
use super::merge::{FieldValues, conflict, merge};
use super::{HostContext, fields_of};
use crate::manifest::{Host, Manifests, closest_address, code};
use crate::render::has_expression;

/// The resources that patches touched; `None` for a resource that a patch removed.
#[derive(Debug, Default)]
pub(crate) struct Patched(BTreeMap<AnyAddress, Option<PatchedResource>>);

/// The effect of all patches on the resource at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchState {
    /// No patch touched the resource.
    Untouched,
    /// A patch removed all fields that manifests set.
    Removed,
    /// A patch changed the resource.
    Changed,
}

/// A resource that a patch touched.
#[derive(Debug, Clone)]
pub(crate) struct PatchedResource {
    pub(crate) span: Span,
    pub(crate) fields: Vec<PatchedField>,
}

/// A field of a patched resource.
#[derive(Debug, Clone)]
pub(crate) struct PatchedField {
    pub(crate) key: Key,
    pub(crate) node: Node,
    /// The scope in which the field's expressions are evaluated.
    pub(crate) scope: Arc<Scope>,
}

impl Patched {
    /// Returns the effect of all patches on the resource at an address.
    pub(crate) fn at(&self, address: &AnyAddress) -> PatchState {
        match self.0.get(address) {
            None => PatchState::Untouched,
            Some(None) => PatchState::Removed,
            Some(Some(_)) => PatchState::Changed,
        }
    }

    /// Returns the touched resources that no patch removed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AnyAddress, &PatchedResource)> {
        self.0
            .iter()
            .filter_map(|(address, resource)| Some((address, resource.as_ref()?)))
    }
}

/// One operation of a patch, without its `value`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    op: Op,
    path: String,
    #[serde(default)]
    from: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Op {
    Add,
    Remove,
    Replace,
    Move,
    Copy,
    Test,
}

/// The resource, field and path within the field that a JSON Pointer names.
struct PointerTarget {
    address: AnyAddress,
    field: Option<String>,
    rest: Vec<String>,
}

/// Applies a host's patches in order, and stops at the first patch that fails.
pub(super) fn apply(
    manifests: &Manifests,
    host: &Host,
    pieces: &[&Piece],
    host_context: &HostContext<'_>,
) -> Result<Patched, Vec<Diagnostic>> {
    let mut work = PatchContext {
        manifests,
        pieces,
        host_context,
        scope: Arc::new(Scope {
            by: "a patch of the host".into(),
            instance: None,
        }),
        patched: Patched::default(),
    };
    for node in &host.patches {
        work.operation(node)?;
    }
    Ok(work.patched)
}

struct PatchContext<'w> {
    manifests: &'w Manifests,
    pieces: &'w [&'w Piece],
    host_context: &'w HostContext<'w>,
    scope: Arc<Scope>,
    patched: Patched,
}

fn wrong(span: &Span, message: impl Into<String>) -> Vec<Diagnostic> {
    vec![Diagnostic::error(code::PATCH, span, message)]
}

impl PatchContext<'_> {
    fn operation(&mut self, node: &Node) -> Result<(), Vec<Diagnostic>> {
        let value = node.get("value");
        // `value` isn't decoded: it has no type until it is inserted.
        let head: Map = node
            .as_map()
            .into_iter()
            .flatten()
            .filter(|entry| &*entry.key.text != "value")
            .cloned()
            .collect();
        let head = if node.as_map().is_some() {
            Node::map(head, node.span.clone())
        } else {
            node.clone()
        };
        let operation: Operation = decode(&head)?;
        let place = node.get("path").map_or(&node.span, |path| &path.span);
        let needs_value = matches!(operation.op, Op::Add | Op::Replace | Op::Test);
        if needs_value != value.is_some()
            || matches!(operation.op, Op::Move | Op::Copy) != operation.from.is_some()
        {
            return Err(wrong(
                &node.span,
                "give add, replace and test a `value`, and move and copy a `from`",
            ));
        }
        let target = Self::target(&operation.path, place)?;
        match (operation.op, value) {
            (Op::Test, Some(value)) => {
                let found = self.get(&target, place)?;
                if found != *value {
                    let message = format!(
                        "the test failed: `{}` is {}, not {}",
                        operation.path,
                        found.describe(),
                        value.describe()
                    );
                    return Err(vec![
                        Diagnostic::error(code::PATCH, &value.span, message)
                            .related(&found.span, "the current value")
                            .hint(
                                "review the patch: the resource has changed since it was written",
                            ),
                    ]);
                }
                Ok(())
            }
            (Op::Add, Some(value)) => {
                let value = self.spoken(value, &self.scope.clone())?;
                self.put(&target, value, tree::InsertMode::Add, place)
            }
            (Op::Replace, Some(value)) => {
                let value = self.spoken(value, &self.scope.clone())?;
                self.put(&target, value, tree::InsertMode::Replace, place)
            }
            (Op::Remove, _) => self.take(&target, place).map(drop),
            (Op::Move | Op::Copy, _) => {
                let span = node.get("from").map_or(place, |from| &from.span);
                let from = Self::target(operation.from.as_deref().unwrap_or_default(), span)?;
                let value = if operation.op == Op::Move {
                    self.take(&from, span)?
                } else {
                    self.get_spoken(&from, span)?
                };
                self.put(&target, value, tree::InsertMode::Add, place)
            }
            _ => Ok(()),
        }
    }

    /// Evaluates the expressions in a value in `scope`, so that the value can move to a field with another
    /// scope.
    fn spoken(&self, node: &Node, scope: &Scope) -> Result<Node, Vec<Diagnostic>> {
        if has_expression(node) {
            self.manifests.engine.render(
                node,
                &scope.context(self.host_context.host, Some(self.host_context.fleet)),
            )
        } else {
            Ok(node.clone())
        }
    }

    fn target(path: &str, span: &Span) -> Result<PointerTarget, Vec<Diagnostic>> {
        let mut steps = path
            .split('/')
            .map(|step| step.replace("~1", "/").replace("~0", "~"));
        let (Some(root), Some(resources), Some(kind), Some(name)) =
            (steps.next(), steps.next(), steps.next(), steps.next())
        else {
            return Err(vec![
                Diagnostic::error(
                    code::PATCH,
                    span,
                    format!("`{path}` isn't the path of a resource"),
                )
                .hint("write /resources/TYPE/NAME/FIELD, with ~1 for a `/` within a name"),
            ]);
        };
        let kind = kind.parse::<AnyKind>();
        match kind
            .ok()
            .filter(|_| root.is_empty() && resources == "resources")
            .map(|kind| AnyAddress::new(kind, &name))
        {
            Some(Ok(address)) => Ok(PointerTarget {
                address,
                field: steps.next(),
                rest: steps.collect(),
            }),
            Some(Err(error)) => Err(wrong(span, error.to_string())),
            None => Err(vec![
                Diagnostic::error(
                    code::PATCH,
                    span,
                    format!("`{path}` isn't the path of a resource"),
                )
                .hint("write /resources/TYPE/NAME/FIELD, with ~1 for a `/` within a name"),
            ]),
        }
    }

    /// Returns the resource at an address with the patches applied so far; `None` if there is none.
    fn load(
        &mut self,
        address: &AnyAddress,
    ) -> Result<&mut Option<PatchedResource>, Vec<Diagnostic>> {
        if !self.patched.0.contains_key(address) {
            let pieces: Vec<&Piece> = self
                .pieces
                .iter()
                .filter(|piece| piece.address == *address)
                .copied()
                .collect();
            let resource = match pieces.first() {
                None => None,
                Some(first) => Some(PatchedResource {
                    span: first.span.clone(),
                    fields: self.flat(&pieces)?,
                }),
            };
            self.patched.0.insert(address.clone(), resource);
        }
        Ok(self.patched.0.entry(address.clone()).or_default())
    }

    fn flat(&self, pieces: &[&Piece]) -> Result<Vec<PatchedField>, Vec<Diagnostic>> {
        let mut fields = Vec::new();
        for field in merge(pieces)? {
            match field.says {
                FieldValues::One(pick, beside) => {
                    if let Some(other) = beside.first() {
                        return Err(vec![conflict(&pick.piece.address, &pick, other)]);
                    }
                    fields.push(PatchedField {
                        key: pick.key,
                        node: pick.node,
                        scope: pick.piece.scope.clone(),
                    });
                }
                FieldValues::Union(picks) => {
                    let Some(first) = picks.first().cloned() else {
                        continue;
                    };
                    let mut items: Vec<Node> = Vec::new();
                    for pick in &picks {
                        let node = self.spoken(&pick.node, &pick.piece.scope)?;
                        for item in node.as_seq().unwrap_or_default() {
                            if !items.contains(item) {
                                items.push(item.clone());
                            }
                        }
                    }
                    let node = if picks.iter().all(|pick| pick.node.as_seq().is_some()) {
                        Node::seq(items, first.node.span.clone())
                    } else {
                        first.node
                    };
                    fields.push(PatchedField {
                        key: first.key,
                        node,
                        scope: self.scope.clone(),
                    });
                }
            }
        }
        Ok(fields)
    }

    fn missing(&self, target: &PointerTarget, span: &Span) -> Vec<Diagnostic> {
        let what = match &target.field {
            None => format!("`{}`", target.address),
            Some(field) if target.rest.is_empty() => format!("`{}#{field}`", target.address),
            Some(field) => format!("`{}#{field}/{}`", target.address, target.rest.join("/")),
        };
        let diagnostic =
            Diagnostic::error(code::PATCH, span, format!("there is no {what} to patch"));
        match closest_address(
            &target.address.to_string(),
            self.pieces.iter().map(|piece| &piece.address),
        ) {
            Some(near) if near != target.address.to_string() => {
                vec![diagnostic.hint(format!("did you mean `{near}`?"))]
            }
            _ => vec![diagnostic],
        }
    }

    /// Returns the value at a target, with unevaluated expressions.
    fn get(&mut self, target: &PointerTarget, span: &Span) -> Result<Node, Vec<Diagnostic>> {
        self.find(target, span).map(|(node, _)| node)
    }

    fn get_spoken(&mut self, target: &PointerTarget, span: &Span) -> Result<Node, Vec<Diagnostic>> {
        let (node, scope) = self.find(target, span)?;
        self.spoken(&node, &scope)
    }

    fn find(
        &mut self,
        target: &PointerTarget,
        span: &Span,
    ) -> Result<(Node, Arc<Scope>), Vec<Diagnostic>> {
        let scope = self.scope.clone();
        let found = self
            .load(&target.address)?
            .as_ref()
            .and_then(|resource| match &target.field {
                None => {
                    let entries = resource.fields.iter().map(|field| Entry {
                        key: field.key.clone(),
                        value: field.node.clone(),
                    });
                    let node = Node::map(entries.collect(), resource.span.clone());
                    let scope = resource
                        .fields
                        .first()
                        .map_or(scope, |field| field.scope.clone());
                    Some((node, scope))
                }
                Some(name) => {
                    let field = resource
                        .fields
                        .iter()
                        .find(|field| &*field.key.text == name)?;
                    Some((
                        tree::get(&field.node, &target.rest)?.clone(),
                        field.scope.clone(),
                    ))
                }
            });
        found.ok_or_else(|| self.missing(target, span))
    }

    fn take(&mut self, target: &PointerTarget, span: &Span) -> Result<Node, Vec<Diagnostic>> {
        let value = self.get_spoken(target, span)?;
        let resource = self.load(&target.address)?;
        match (&target.field, resource.as_mut()) {
            (None, _) => *resource = None,
            (Some(name), Some(resource)) => {
                if target.rest.is_empty() {
                    resource.fields.retain(|field| &*field.key.text != name);
                } else if let Some(field) = resource
                    .fields
                    .iter_mut()
                    .find(|field| &*field.key.text == name)
                {
                    tree::remove(&mut field.node, &target.rest);
                }
            }
            _ => {}
        }
        Ok(value)
    }

    fn put(
        &mut self,
        target: &PointerTarget,
        value: Node,
        how: tree::InsertMode,
        span: &Span,
    ) -> Result<(), Vec<Diagnostic>> {
        if how == tree::InsertMode::Replace {
            self.get(target, span)?;
        }
        let scope = self.scope.clone();
        let missing = self.missing(target, span);
        let resource = self.load(&target.address)?;
        let Some(name) = &target.field else {
            let Some(fields) = fields_of(&value) else {
                return Err(wrong(
                    &value.span,
                    format!(
                        "a resource must be a mapping of fields, not {}",
                        value.describe()
                    ),
                ));
            };
            let fields = fields.iter().map(|entry| PatchedField {
                key: entry.key.clone(),
                node: entry.value.clone(),
                scope: scope.clone(),
            });
            *resource = Some(PatchedResource {
                span: span.clone(),
                fields: fields.collect(),
            });
            return Ok(());
        };
        let Some(resource) = resource.as_mut() else {
            return Err(missing);
        };
        let field = resource
            .fields
            .iter_mut()
            .find(|field| &*field.key.text == name);
        match (field, target.rest.is_empty()) {
            (Some(field), true) => {
                *field = PatchedField {
                    key: Key {
                        text: name.as_str().into(),
                        span: span.clone(),
                    },
                    node: value,
                    scope,
                };
                Ok(())
            }
            (None, true) => {
                let key = Key {
                    text: name.as_str().into(),
                    span: span.clone(),
                };
                resource.fields.push(PatchedField {
                    key,
                    node: value,
                    scope,
                });
                Ok(())
            }
            (Some(field), false) => {
                tree::put(&mut field.node, &target.rest, value, how).ok_or(missing)
            }
            (None, false) => Err(missing),
        }
    }
}
