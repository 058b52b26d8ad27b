//! Merges the pieces at one address into the fields of one resource.

use plumb_api::AnyAddress;
use plumb_document::{Diagnostic, Key, Node};

use super::Priority;
use super::fragment::Piece;
use crate::manifest::code;
use crate::render::has_expression;

/// The value that one piece sets for a field.
#[derive(Debug, Clone)]
pub(crate) struct Pick<'a> {
    pub(crate) key: Key,
    pub(crate) node: Node,
    pub(crate) piece: &'a Piece,
}

/// A field of the merged resource.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    pub(crate) name: std::sync::Arc<str>,
    pub(crate) says: FieldValues<'a>,
    /// The values of lower priority that were overridden, for `plumb explain`.
    pub(crate) under: Vec<Pick<'a>>,
}

/// The values that decide a field.
#[derive(Debug, Clone)]
pub(crate) enum FieldValues<'a> {
    /// The value with the highest priority. The list has other values of the same priority that can't be
    /// compared before rendering, because of expressions. After rendering they must equal the value.
    One(Pick<'a>, Vec<Pick<'a>>),
    /// The union of these sets.
    Union(Vec<Pick<'a>>),
}

impl<'a> Field<'a> {
    /// Returns all values that decide the field.
    pub(crate) fn picks(&self) -> impl Iterator<Item = &Pick<'a>> {
        let (one, more): (Option<&Pick<'a>>, &[Pick<'a>]) = match &self.says {
            FieldValues::One(pick, beside) => (Some(pick), beside),
            FieldValues::Union(picks) => (None, picks),
        };
        one.into_iter().chain(more)
    }
}

/// Merges the pieces of one address, field by field.
pub(crate) fn merge<'a>(pieces: &[&'a Piece]) -> Result<Vec<Field<'a>>, Vec<Diagnostic>> {
    let sets = pieces
        .first()
        .map_or(&[][..], |piece| piece.address.kind().sets());
    let mut said: Vec<(std::sync::Arc<str>, Vec<Pick<'a>>)> = Vec::new();
    for piece in pieces {
        for entry in piece.fields.iter() {
            let pick = Pick {
                key: entry.key.clone(),
                node: entry.value.clone(),
                piece,
            };
            match said.iter_mut().find(|(name, _)| *name == entry.key.text) {
                Some((_, picks)) => picks.push(pick),
                None => said.push((entry.key.text.clone(), vec![pick])),
            }
        }
    }
    let mut diagnostics = Vec::new();
    let mut fields = Vec::with_capacity(said.len());
    for (name, mut picks) in said {
        if picks.len() == 1 {
            let is_set = sets.contains(&&*name);
            let Some(pick) = picks.pop() else { continue };
            let says = if is_set {
                FieldValues::Union(vec![pick])
            } else {
                FieldValues::One(pick, Vec::new())
            };
            fields.push(Field {
                name,
                says,
                under: Vec::new(),
            });
            continue;
        }
        let highest = picks
            .iter()
            .map(|pick| pick.piece.priority)
            .max()
            .unwrap_or(Priority::Resources);
        if sets.contains(&&*name) {
            // A set under `force` replaces all others; sets of other priorities are united.
            let (deciding, under): (Vec<_>, Vec<_>) = picks
                .into_iter()
                .partition(|pick| highest < Priority::Force || pick.piece.priority == highest);
            fields.push(Field {
                name,
                says: FieldValues::Union(deciding),
                under,
            });
            continue;
        }
        let (deciding, under): (Vec<_>, Vec<_>) = picks
            .into_iter()
            .partition(|pick| pick.piece.priority == highest);
        let mut deciding = deciding.into_iter();
        let Some(first) = deciding.next() else {
            continue;
        };
        let mut beside = Vec::new();
        for pick in deciding {
            let open = has_expression(&first.node)
                || has_expression(&pick.node)
                || is_template(&first)
                || is_template(&pick);
            let same_words = std::sync::Arc::ptr_eq(&first.piece.scope, &pick.piece.scope);
            if first.node == pick.node && (same_words || !open) {
                continue;
            }
            if open {
                beside.push(pick);
            } else {
                diagnostics.push(conflict(&first.piece.address, &first, &pick));
            }
        }
        fields.push(Field {
            name,
            says: FieldValues::One(first, beside),
            under,
        });
    }
    if diagnostics.is_empty() {
        Ok(fields)
    } else {
        Err(diagnostics)
    }
}

/// True if the field is a `content` that is a template or a file, whose text is only known after rendering.
fn is_template(pick: &Pick<'_>) -> bool {
    &*pick.key.text == "content" && pick.node.as_map().is_some()
}

/// Creates the error about two pieces that set a field to different values, with a hint how to resolve it.
pub(crate) fn conflict(address: &AnyAddress, first: &Pick<'_>, second: &Pick<'_>) -> Diagnostic {
    let name = &first.key.text;
    let diagnostic = Diagnostic::error(
        code::CONFLICT,
        &second.key.span,
        format!(
            "`{address}#{name}` is set twice at the priority `{}`: {} by {}, {} by {}",
            first.piece.priority,
            first.node.describe(),
            first.piece.scope.by,
            second.node.describe(),
            second.piece.scope.by,
        ),
    )
    .related(&first.key.span, "the other one");
    if first.piece.priority == Priority::Force {
        return diagnostic.hint("both are under `force`; remove one of the two");
    }
    let value = serde_json::to_string(&second.node).unwrap_or_default();
    let value = if value.len() > 60 {
        "…".to_owned()
    } else {
        value
    };
    diagnostic.hint(format!(
        "make them equal, or decide in the host: `force: {{{}: {{{}: {{{name}: {value}}}}}}}`",
        address.kind(),
        address.name(),
    ))
}
