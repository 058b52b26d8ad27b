//! Fragments: resource blocks of one origin, split into pieces by address. All hosts that use a profile with
//! the same parameters share one fragment.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use minijinja::Value as Jinja;
use plumb_api::{AnyAddress, AnyKind};
use plumb_document::{Diagnostic, Entry, Map, Node, Span, Style, Value, closest};

use super::params::Params;
use super::{Block, Priority, fields_of};
use crate::manifest::{Manifests, Problems, Profile, TYPES, code, mapping, unsupported_diagnostic};
use crate::render::{Context, FleetRead, NamesRead, is_expression};
use crate::resolve::Built;

/// The origin of a piece: it decides which variables the piece's expressions can read.
#[derive(Debug)]
pub(crate) struct Scope {
    /// The name of the origin in `plumb explain`: `profile metrics`, `fleet.yaml`, `host linda`.
    pub(crate) by: Arc<str>,
    /// The key and parameters of the profile instance; `None` if the origin isn't a profile.
    pub(crate) instance: Option<(Arc<str>, Jinja)>,
}

impl Scope {
    /// Creates the context in which expressions of this origin are evaluated.
    pub(crate) fn context(&self, host: &Jinja, fleet: Option<&Jinja>) -> Context {
        Context::new(
            host,
            self.instance.as_ref().map(|(key, params)| (&**key, params)),
            fleet,
        )
    }
}

/// The fields that one block sets for the resource at one address.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) address: AnyAddress,
    pub(crate) priority: Priority,
    /// The position of the address in the file.
    pub(crate) span: Span,
    pub(crate) fields: Arc<Map>,
    pub(crate) scope: Arc<Scope>,
    /// The variables that the expressions of the piece read.
    pub(crate) uses: NamesRead,
    /// True if a reference in the piece may name a composite. It is replaced by the composite's parts, which
    /// differ between hosts.
    names_composites: bool,
    /// The built resource, if [`Self::is_shared`]. All hosts on which no other piece has the address share
    /// it.
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

    /// True if the piece gives the same resource on every host.
    pub(crate) fn is_shared(&self) -> bool {
        self.uses.is_shared() && !self.names_composites
    }
}

/// True if a field that refers to other resources contains a composite's address, or an expression.
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

/// A resource whose name contains an expression that reads facts of the host or the fleet.
#[derive(Debug)]
pub(crate) struct DynamicResource {
    kind: AnyKind,
    name: Node,
    value: Node,
    priority: Priority,
}

/// The pieces of the blocks of one origin.
#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) pieces: Vec<Piece>,
    late: Vec<DynamicResource>,
    scope: Arc<Scope>,
    /// The parameters of the profile; `None` if the blocks aren't a profile's.
    pub(crate) params: Option<Params>,
}

impl Fragment {
    /// Creates a fragment of pieces without expressions.
    pub(crate) fn of_pieces(pieces: Vec<Piece>, scope: Arc<Scope>) -> Self {
        Self {
            pieces,
            late: Vec::new(),
            scope,
            params: None,
        }
    }

    /// Reads blocks into pieces. [`Fragment::late`] returns the resources whose names depend on the host.
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
                    if uses.host || uses.fleet != FleetRead::Nothing {
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
            let written = match &value.value {
                Value::Int(_, raw) | Value::Float(_, raw) => Some(raw.to_string()),
                Value::Bool(value) => Some(value.to_string()),
                Value::String(text) if text.contains(['\n', '"', '\\']) => None,
                Value::String(text) => Some(format!("\"{text}\"")),
                _ => None,
            };
            return Err(vec![diagnostic.hint(match (kind.value_field(), written) {
                (Some(field), Some(written)) => format!("write {text}: {{{field}: {written}}}"),
                _ => format!("write {text}: {{}} for a resource that has only a name"),
            })]);
        };
        let span = name.span.clone();
        Ok(Piece {
            uses: manifests.engine.uses(value),
            ..Piece::new(address, priority, span, fields, self.scope.clone())
        })
    }

    /// Returns the pieces whose names depend on the host, for this host.
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

/// Returns the errors in blocks that parameters can't change: unknown resource types.
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

/// The cache key of a profile's fragment; `params` is the parameters as text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FragmentKey {
    profile: Arc<str>,
    key: Arc<str>,
    params: Arc<str>,
}

/// A fragment, or the errors of its blocks.
pub(crate) type FragmentResult = Result<Arc<Fragment>, Vec<Diagnostic>>;

/// A cache of the fragments that the hosts of a revision share.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    profiles: RwLock<HashMap<FragmentKey, FragmentResult>>,
    defaults: OnceLock<FragmentResult>,
}

impl Fragments {
    /// Returns the fragment of a profile with these parameters; creates it at the first call.
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
        // Another thread may have created it too. The first result stays, so that all hosts share it.
        self.profiles
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(id)
            .or_insert(made)
            .clone()
    }

    /// Returns the fragment of `Fleet.hostDefaults`; creates it at the first call.
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
