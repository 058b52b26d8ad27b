//! `plumb explain HOST ADDRESS`: finds the origin of every value of a resource, and why the host has the
//! resource.

mod model;
mod profile;

use std::collections::BTreeSet;
use std::sync::Arc;

use plumb_api::resource::{Strength, reads};
use plumb_api::{Address, AnyAddress, AnyKind, HostName};
use plumb_document::{Diagnostic, Node, Span, closest};
use serde_json::Value as Json;

use crate::compose::{
    Field, FieldValues, HostContext, Pick, Priority, Scope, Slot, compose, merge,
};
use crate::manifest::{FieldRef, Fleet, Host, HostFacts, Manifests, Problems, closest_address};
use crate::render::{BrokenReads, view};
use crate::resolve::{BuildContext, held_because};
use crate::shown;

pub use model::{
    Changed, CommitHeader, Explanation, FieldOrigin, FileOrigin, LastChange, NoExplanation, Origin,
    Reason,
};

/// Explains `type:name`, `type:name#field` or `profile:key` of a host.
///
/// # Errors
/// Returns an error if the host or the address doesn't exist, or the host is held.
pub fn explain<R>(
    fleet: &Fleet<R>,
    host: &str,
    address: &str,
) -> Result<Explanation, NoExplanation> {
    let manifests = fleet.manifests();
    let Some((name, entry)) = manifests
        .hosts
        .iter()
        .find(|(name, _)| name.as_str() == host)
    else {
        let near = closest(host, manifests.hosts.keys().map(HostName::as_str)).map(str::to_owned);
        return Err(NoExplanation::NoHost {
            name: host.to_owned(),
            near,
        });
    };
    let wanted: FieldRef = address
        .parse()
        .map_err(|error: plumb_api::name::InvalidName| {
            NoExplanation::NoAddress(error.to_string())
        })?;
    let held = |problems: &Problems| NoExplanation::Held {
        host: name.clone(),
        diagnostics: held_because(manifests, name, problems),
    };
    let (Ok(manifest), Some(known)) = (entry, manifests.facts.hosts.get(name)) else {
        return Err(held(&Problems::because(crate::manifest::ObjectId::Host(
            name.clone(),
        ))));
    };
    let facts = known.as_ref().map_err(held)?;
    match wanted {
        FieldRef::Profile(key) => profile::explain(manifest, facts, &key),
        FieldRef::Resource(wanted, field) => {
            let reads = Arc::new(BrokenReads::default());
            let fleet = view(&manifests.facts, &reads, Some(facts));
            let host_context = HostContext {
                host: &facts.value,
                fleet: &fleet,
                reads: &reads,
            };
            let composed = compose(manifests, manifest, facts, &host_context, |composed| {
                let slots: Vec<_> = composed.slots().collect();
                let known: BTreeSet<AnyAddress> = slots
                    .iter()
                    .map(|(address, _)| (*address).clone())
                    .collect();
                let found = slots.iter().find(|(address, _)| **address == wanted);
                let build = BuildContext {
                    manifests,
                    host_context: &host_context,
                    expansion: composed.expansion(),
                };
                match found {
                    None => Ok(Err(closest_address(&wanted.to_string(), &known))),
                    Some((address, slot)) => Explainer {
                        build: &build,
                        host: manifest,
                        facts,
                    }
                    .of_slot(address, slot, &known)
                    .map(Ok)
                    .map_err(Problems::from),
                }
            });
            match composed {
                Err(problems) => Err(held(&problems)),
                Ok(Err(near)) => Err(NoExplanation::NotThere {
                    host: name.clone(),
                    address: wanted.to_string(),
                    near,
                }),
                Ok(Ok(mut explanation)) => {
                    explanation.before = followers(manifests, name, &wanted, &explanation.parts);
                    if let Some(field) = field {
                        explanation.address = format!("{wanted}#{field}");
                        let known = explanation.fields.iter().map(|o| o.field.as_str());
                        let near = closest(&field, known).map(|near| format!("{wanted}#{near}"));
                        explanation.fields.retain(|origin| origin.field == field);
                        if explanation.fields.is_empty() {
                            return Err(NoExplanation::NotThere {
                                host: name.clone(),
                                address: explanation.address,
                                near,
                            });
                        }
                    }
                    Ok(explanation)
                }
            }
        }
    }
}

fn json(node: &Node) -> Json {
    serde_json::to_value(node).unwrap_or_default()
}

fn word(priority: Priority) -> &'static str {
    match priority {
        Priority::Parts | Priority::Defaults => "defaults",
        Priority::Resources => "resources",
        Priority::Force => "force",
    }
}

/// The word in the place of a secret text.
const HIDDEN: &str = "(hidden)";

/// True if a field's value is a secret text, or is encrypted.
fn is_hidden(kind: AnyKind, name: &str) -> bool {
    matches!(kind, AnyKind::Primitive(kind)
        if kind.confidential().contains(&name) || kind.encrypted().contains(&name))
}

/// Explains the resources of one host.
struct Explainer<'a> {
    build: &'a BuildContext<'a>,
    host: &'a Host,
    facts: &'a HostFacts,
}

/// A value of a field in a manifest.
#[derive(Clone, Copy)]
struct Written<'a> {
    kind: AnyKind,
    name: &'a str,
    node: &'a Node,
    scope: &'a Scope,
}

impl<'a> Written<'a> {
    fn of(kind: AnyKind, name: &'a str, pick: &'a Pick<'_>) -> Self {
        Self {
            kind,
            name,
            node: &pick.node,
            scope: &pick.piece.scope,
        }
    }

    /// Returns the value as it is written in the manifest, unless it is a secret.
    fn json(&self) -> Json {
        if is_hidden(self.kind, self.name) {
            return Json::from(HIDDEN);
        }
        json(self.node)
    }
}

impl Explainer<'_> {
    /// Returns a field's value as the host receives it. A content is returned as its text.
    fn value(&self, written: Written<'_>) -> Result<Json, Vec<Diagnostic>> {
        let Written {
            kind,
            name,
            node,
            scope,
        } = written;
        let mut contents = Vec::new();
        let rendered = self.build.value(kind, name, node, scope, &mut contents)?;
        if is_hidden(kind, name) {
            return Ok(Json::from(HIDDEN));
        }
        Ok(match contents.pop() {
            Some((_, bytes)) => match std::str::from_utf8(&bytes) {
                Ok(text) => shown::content(text),
                Err(_) => json(&rendered),
            },
            None => json(&rendered),
        })
    }

    /// Returns the file of the repository that a value is read or rendered from.
    fn file(&self, written: Written<'_>) -> Option<FileOrigin> {
        let form = |form: &str| written.node.as_map()?.get(form);
        let is_file = matches!(written.kind, AnyKind::Primitive(kind) if kind.files().contains(&written.name));
        let node = match written.name {
            _ if is_file => written.node,
            "content" => form("file").or_else(|| form("templateFile"))?,
            _ => return None,
        };
        let path = self.build.rendered(node, written.scope).ok()?;
        let manifests = self.build.manifests;
        let (path, _) = manifests.files.get_key_value(path.as_str()?)?;
        Some(FileOrigin {
            path: path.clone(),
            last_change: None,
        })
    }

    fn origin(&self, written: Written<'_>, priority: Option<Priority>, place: &Span) -> Origin {
        Origin {
            place: place.clone(),
            by: written.scope.by.to_string(),
            priority: priority.map(word),
            written: written.json(),
            file: self.file(written),
            last_change: None,
        }
    }

    /// Returns the parameters that an expression of the value, or of the template that it names, reads.
    fn params(&self, written: Written<'_>, file: Option<&FileOrigin>) -> Vec<FieldOrigin> {
        let Some((key, _)) = &written.scope.instance else {
            return Vec::new();
        };
        let mut text = written.json().to_string();
        let template = file.and_then(|file| self.build.manifests.files.get(&file.path)?.bytes());
        text.push_str(template.map_or("", |bytes| std::str::from_utf8(bytes).unwrap_or_default()));
        let mut all = profile::params(self.host, self.facts, key);
        all.retain(|param| reads_param(&text, &param.field));
        all
    }

    fn of_field(&self, kind: AnyKind, field: &Field<'_>) -> Result<FieldOrigin, Vec<Diagnostic>> {
        let value = match &field.says {
            FieldValues::One(pick, _) => self.value(Written::of(kind, &field.name, pick))?,
            FieldValues::Union(picks) => {
                let mut all: Vec<Json> = Vec::new();
                for pick in picks {
                    if let Json::Array(items) = self.value(Written::of(kind, &field.name, pick))? {
                        all.extend(items);
                    }
                }
                all.sort_by_key(ToString::to_string);
                all.dedup();
                Json::Array(all)
            }
        };
        let origin = |pick: &Pick<'_>| {
            let written = Written::of(kind, &field.name, pick);
            self.origin(written, Some(pick.piece.priority), &pick.key.span)
        };
        let from: Vec<Origin> = field.picks().map(origin).collect();
        let mut params: Vec<FieldOrigin> = Vec::new();
        for (pick, origin) in field.picks().zip(&from) {
            let written = Written::of(kind, &field.name, pick);
            for param in self.params(written, origin.file.as_ref()) {
                if !params.contains(&param) {
                    params.push(param);
                }
            }
        }
        Ok(FieldOrigin {
            field: field.name.to_string(),
            value,
            from,
            overrode: field.under.iter().map(origin).collect(),
            params,
        })
    }

    fn of_slot(
        &self,
        address: &AnyAddress,
        slot: &Slot<'_, '_>,
        known: &BTreeSet<AnyAddress>,
    ) -> Result<Explanation, Vec<Diagnostic>> {
        let mut fields = Vec::new();
        let mut because = Vec::new();
        match slot {
            Slot::Pieces(pieces) => {
                for field in merge(pieces)? {
                    fields.push(self.of_field(address.kind(), &field)?);
                }
                for piece in *pieces {
                    let through = piece
                        .scope
                        .instance
                        .as_ref()
                        .map(|(key, _)| profile::way(self.facts, key))
                        .unwrap_or_default();
                    because.push(Reason {
                        place: piece.span.clone(),
                        by: piece.scope.by.to_string(),
                        through,
                        last_change: None,
                    });
                }
            }
            Slot::Patched { resource, parts } => {
                let patched = |name: &str| resource.fields.iter().any(|one| &*one.key.text == name);
                for field in merge(parts)? {
                    if !patched(&field.name) {
                        fields.push(self.of_field(address.kind(), &field)?);
                    }
                }
                for field in &resource.fields {
                    let written = Written {
                        kind: address.kind(),
                        name: &field.key.text,
                        node: &field.node,
                        scope: &field.scope,
                    };
                    let origin = self.origin(written, None, &field.key.span);
                    fields.push(FieldOrigin {
                        field: field.key.text.to_string(),
                        value: self.value(written)?,
                        params: self.params(written, origin.file.as_ref()),
                        from: vec![origin],
                        overrode: Vec::new(),
                    });
                }
                because.push(Reason {
                    place: resource.span.clone(),
                    by: "a patch of the host".to_owned(),
                    through: Vec::new(),
                    last_change: None,
                });
            }
        }
        fields.sort_by(|a, b| a.field.cmp(&b.field));
        let expansion = self.build.expansion;
        let (part_of, parts) = match address {
            AnyAddress::Primitive(address) => {
                let origin = expansion.origin(address);
                (origin.map(ToString::to_string), Vec::new())
            }
            AnyAddress::Composite(address) => {
                let parts = expansion.parts(address).unwrap_or_default();
                (None, parts.iter().map(ToString::to_string).collect())
            }
        };
        Ok(Explanation {
            host: self.facts.name.clone(),
            address: address.to_string(),
            part_of,
            parts,
            active: None,
            after: before(&fields, known),
            fields,
            because,
            before: Vec::new(),
        })
    }
}

/// True if a text has an expression that reads this parameter.
fn reads_param(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices("params.").any(|(at, found)| {
        let rest = &text[at + found.len()..];
        let after = rest.strip_prefix(name);
        !text[..at].ends_with(is_word) && after.is_some_and(|after| !after.starts_with(is_word))
    })
}

/// Returns the known resources that the fields refer to. They are applied before the explained resource.
fn before(fields: &[FieldOrigin], known: &BTreeSet<AnyAddress>) -> Vec<String> {
    let texts = fields
        .iter()
        .flat_map(|field| field.value.as_array().into_iter().flatten());
    let named = texts
        .filter_map(Json::as_str)
        .filter(|text| text.parse().is_ok_and(|address| known.contains(&address)));
    let unique: BTreeSet<&str> = named.collect();
    unique.into_iter().map(str::to_owned).collect()
}

/// Returns the resources of a host that refer to `wanted` or to one of its parts, or that read `wanted`
/// without naming it.
fn followers(
    manifests: &Manifests,
    host: &HostName,
    wanted: &AnyAddress,
    parts: &[String],
) -> Vec<String> {
    let Some(crate::desired::HostResult::Ready(intent)) = crate::resolve::one_of(manifests, host)
    else {
        return Vec::new();
    };
    let own = |address: &Address| parts.contains(&address.to_string());
    let is_wanted = |address: &Address| wanted.primitive() == Some(address) || own(address);
    let names = |(address, spec): (&Address, &plumb_api::Spec)| {
        let explicit = spec.requires(address.name());
        let named = explicit
            .iter()
            .any(|one| is_wanted(&one.address) && one.strength == Strength::Explicit);
        (named && !own(address)).then(|| address.to_string())
    };
    let resources = intent.desired.resources();
    let mut all: Vec<String> = resources
        .iter()
        .filter_map(|(address, one)| names((address, one.spec())))
        .collect();
    let readers = resources.keys().filter(|reader| {
        let input = wanted.primitive();
        input.is_some_and(|input| reads(reader, input))
    });
    all.extend(readers.map(ToString::to_string));
    all.sort_unstable();
    all.dedup();
    all
}
