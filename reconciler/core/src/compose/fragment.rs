//! Fragments: blocks with one set of parameters, as pieces by address. All hosts that use them with the same
//! parameters share one.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use minijinja::Value as Jinja;
use plumb_api::{AnyAddress, AnyKind};
use plumb_document::{Diagnostic, Entry, Map, Node, Span, Style, Value, closest};

use super::params::Params;
use super::{Block, Priority, fields_of};
use crate::manifest::{Manifests, Problems, Profile, TYPES, code, mapping, unsupported_diagnostic};
use crate::render::{Context, NamesRead, is_expression};
use crate::resolve::Built;

/// The origin of a piece: the scope of its expressions, and its name in `explain`.
#[derive(Debug)]
pub(crate) struct Scope {
    /// The name of the origin: `profile metrics`, `fleet.yaml`, `host linda`.
    pub(crate) by: Arc<str>,
    /// The key and the parameters, if the origin is a profile.
    pub(crate) instance: Option<(Arc<str>, Jinja)>,
}

impl Scope {
    /// Returns the context of expressions.
    pub(crate) fn context(&self, host: &Jinja, fleet: Option<&Jinja>) -> Context {
        Context::new(
            host,
            self.instance.as_ref().map(|(key, params)| (&**key, params)),
            fleet,
        )
    }
}

/// The fields that one block sets at one address.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) address: AnyAddress,
    pub(crate) priority: Priority,
    /// The place of the address in the file.
    pub(crate) span: Span,
    pub(crate) fields: Arc<Map>,
    pub(crate) scope: Arc<Scope>,
    /// The names that its expressions read.
    pub(crate) uses: NamesRead,
    /// True if it may name a composite: the parts of that composite depend on the host.
    names_composites: bool,
    /// The finished resource, if no other piece has the address and no fact of the host is used.
    pub(crate) built: OnceLock<Result<Arc<Built>, Problems>>,
}

impl Piece {
    /// Creates a piece without expressions.
    pub(crate) fn new(
        address: AnyAddress,
        priority: Priority,
        span: Span,
        fields: Arc<Map>,
        scope: Arc<Scope>,
    ) -> Self {
        Self {
            names_composites: names_composites(&address, &fields),
            address,
            priority,
            span,
            fields,
            scope,
            uses: NamesRead::default(),
            built: OnceLock::new(),
        }
    }

    /// True if it gives the same result on every host.
    pub(crate) fn is_shared(&self) -> bool {
        self.uses.is_shared() && !self.names_composites
    }
}

/// True if a field that refers to other resources holds a composite's address, or an expression.
fn names_composites(address: &AnyAddress, fields: &Map) -> bool {
    let AnyKind::Primitive(kind) = address.kind() else {
        return false;
    };
    let items = kind
        .references()
        .iter()
        .filter_map(|field| fields.get(field)?.as_seq())
        .flatten();
    items
        .filter_map(Node::as_str)
        .any(|text| text.contains("{{") || matches!(text.parse(), Ok(AnyAddress::Composite(_))))
}

/// A resource whose name depends on the host.
#[derive(Debug)]
pub(crate) struct DynamicResource {
    kind: AnyKind,
    name: Node,
    value: Node,
    priority: Priority,
}

/// The pieces of some blocks.
#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) pieces: Vec<Piece>,
    late: Vec<DynamicResource>,
    scope: Arc<Scope>,
    /// The parameters, if it belongs to a profile.
    pub(crate) params: Option<Params>,
}

impl Fragment {
    /// Reads blocks. [`Fragment::late`] adds the resources whose names depend on the host.
    pub(crate) fn new(
        manifests: &Manifests,
        blocks: &[Block],
        scope: Scope,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut fragment = Self {
            pieces: Vec::new(),
            late: Vec::new(),
            scope: Arc::new(scope),
            params: None,
        };
        let mut diagnostics = Vec::new();
        for block in blocks {
            fragment.read(manifests, block, &mut diagnostics);
        }
        if diagnostics.is_empty() {
            Ok(fragment)
        } else {
            Err(diagnostics)
        }
    }

    fn read(&mut self, manifests: &Manifests, block: &Block, diagnostics: &mut Vec<Diagnostic>) {
        let what = block.priority.to_string();
        let Some(types) = mapping(&block.node, &what, diagnostics) else {
            return;
        };
        for Entry { key, value } in types.iter() {
            let Ok(kind) = key.text.parse::<AnyKind>() else {
                diagnostics.push(unknown_type(&key.text, &key.span));
                continue;
            };
            let Some(names) = mapping(value, &key.text, diagnostics) else {
                continue;
            };
            for Entry { key, value } in names.iter() {
                let mut name = Node::string(key.text.clone(), key.span.clone());
                name.style = Style::Plain;
                if is_expression(&name) {
                    let uses = manifests.engine.uses_of(&key.text);
                    if uses.host || uses.fleet {
                        self.late.push(DynamicResource {
                            kind,
                            name,
                            value: value.clone(),
                            priority: block.priority,
                        });
                        continue;
                    }
                }
                let context = self.scope.context(&Jinja::UNDEFINED, None);
                match self.piece(manifests, kind, &name, value, block.priority, &context) {
                    Ok(piece) => self.pieces.push(piece),
                    Err(more) => diagnostics.extend(more),
                }
            }
        }
    }

    fn piece(
        &self,
        manifests: &Manifests,
        kind: AnyKind,
        name: &Node,
        value: &Node,
        priority: Priority,
        context: &Context,
    ) -> Result<Piece, Vec<Diagnostic>> {
        let rendered = manifests.engine.render(name, context)?;
        let text = match &rendered.value {
            Value::String(text) => text.clone(),
            Value::Int(_, raw) => raw.clone(),
            _ => {
                let message = format!(
                    "a resource's name must be text, not {}",
                    rendered.describe()
                );
                return Err(vec![Diagnostic::error(
                    code::INVALID_NAME,
                    &name.span,
                    message,
                )]);
            }
        };
        let address = AnyAddress::new(kind, &text).map_err(|error| {
            vec![Diagnostic::error(
                code::INVALID_NAME,
                &name.span,
                error.to_string(),
            )]
        })?;
        let Some(fields) = fields_of(value) else {
            let message = format!(
                "`{address}` must be a mapping of fields, not {}",
                value.describe()
            );
            let diagnostic =
                Diagnostic::error(plumb_document::codes::WRONG_TYPE, &value.span, message);
            return Err(vec![diagnostic.hint(format!(
                "write {text}: {{}} for a resource that has only a name"
            ))]);
        };
        let span = name.span.clone();
        Ok(Piece {
            uses: manifests.engine.uses(value),
            ..Piece::new(address, priority, span, fields, self.scope.clone())
        })
    }

    /// Returns the pieces whose names depend on the host.
    pub(crate) fn late(
        &self,
        manifests: &Manifests,
        host: &Jinja,
    ) -> Result<Vec<Piece>, Vec<Diagnostic>> {
        if self.late.is_empty() {
            return Ok(Vec::new());
        }
        let context = self.scope.context(host, None);
        let mut diagnostics = Vec::new();
        let mut pieces = Vec::new();
        for DynamicResource {
            kind,
            name,
            value,
            priority,
        } in &self.late
        {
            match self.piece(manifests, *kind, name, value, *priority, &context) {
                Ok(piece) => pieces.push(piece),
                Err(more) => diagnostics.extend(more),
            }
        }
        if diagnostics.is_empty() {
            Ok(pieces)
        } else {
            Err(diagnostics)
        }
    }
}

/// Returns the errors that blocks have with any parameters: unknown types.
pub(crate) fn check_types(blocks: &[Block]) -> Vec<Diagnostic> {
    let types = blocks
        .iter()
        .filter_map(|block| block.node.as_map())
        .flatten();
    let unknown = types.filter(|entry| entry.key.text.parse::<AnyKind>().is_err());
    unknown
        .map(|entry| unknown_type(&entry.key.text, &entry.key.span))
        .collect()
}

fn unknown_type(name: &str, span: &Span) -> Diagnostic {
    if TYPES.contains(&name) {
        return unsupported_diagnostic(span, &format!("the resource type `{name}`"));
    }
    let diagnostic = Diagnostic::error(
        code::UNKNOWN_TYPE,
        span,
        format!("unknown resource type `{name}`"),
    );
    let all: Vec<&str> = AnyKind::all().map(AnyKind::as_str).collect();
    match closest(name, all.iter().copied()) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint(format!("use one of: {}", all.join(", "))),
    }
}

/// The profile, key and parameters of a fragment.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FragmentKey {
    profile: Arc<str>,
    key: Arc<str>,
    params: Arc<str>,
}

/// A fragment, or the errors of its blocks.
pub(crate) type FragmentResult = Result<Arc<Fragment>, Vec<Diagnostic>>;

/// The fragments of a revision.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    profiles: RwLock<HashMap<FragmentKey, FragmentResult>>,
    defaults: OnceLock<FragmentResult>,
}

impl Fragments {
    /// Returns a profile's blocks with these parameters.
    pub(crate) fn of_profile(
        &self,
        manifests: &Manifests,
        profile: &Profile,
        key: &Arc<str>,
        params: &Params,
    ) -> FragmentResult {
        let id = FragmentKey {
            profile: profile.name.clone(),
            key: key.clone(),
            params: params.text.clone(),
        };
        if let Some(made) = self
            .profiles
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
        {
            return made.clone();
        }
        let scope = Scope {
            by: format!("profile {key}").into(),
            instance: Some((key.clone(), params.value.clone())),
        };
        let made = Fragment::new(manifests, &profile.blocks, scope).map(|fragment| {
            Arc::new(Fragment {
                params: Some(params.clone()),
                ..fragment
            })
        });
        // Two threads may have made it; the first result stays, so that all hosts share it.
        self.profiles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(id)
            .or_insert(made)
            .clone()
    }

    /// Returns the blocks of `Fleet.hostDefaults`.
    pub(crate) fn of_defaults(&self, manifests: &Manifests) -> FragmentResult {
        let make = || {
            let Ok(fleet) = &manifests.fleet else {
                return Err(Vec::new());
            };
            let blocks = Block::all(&fleet.defaults, Priority::of_defaults);
            let scope = Scope {
                by: "fleet.yaml".into(),
                instance: None,
            };
            Fragment::new(manifests, &blocks, scope).map(Arc::new)
        };
        self.defaults.get_or_init(make).clone()
    }
}
