//! `plumb explain HOST ADDRESS`: finds the origin of every value of a resource, and why the host has the
//! resource.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use plumb_api::resource::{Strength, reads};
use plumb_api::{Address, AnyAddress, AnyKind, HostName};
use plumb_document::{Diagnostic, Node, Span, closest};
use serde::Serialize;
use serde_json::Value as Json;

use crate::compose::{
    Field, FieldValues, HostContext, Instance, Pick, Priority, Slot, compose, merge,
};
use crate::manifest::{FieldRef, Fleet, HostFacts, Manifests, Problems, closest_address};
use crate::render::{BrokenReads, view};
use crate::resolve::{BuildContext, held_because};

/// The origins of the values of one resource or profile on a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The host.
    pub host: HostName,
    /// The requested address.
    pub address: String,
    /// The composite that the resource was expanded from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// The resources that a composite expands into; empty for other resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// The fields of a resource, or the parameters of a profile.
    pub fields: Vec<FieldOrigin>,
    /// The places in manifests that define the resource or include the profile, each with the includes that
    /// lead there.
    pub because: Vec<Reason>,
    /// True if a profile's `when` condition holds, so that the host gets its resources; `None` for a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Resources that are applied before this one.
    pub after: Vec<String>,
    /// Resources that are applied after this one, or that react to its changes with a restart or reload.
    pub before: Vec<String>,
}

/// The origin of one field's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldOrigin {
    /// The field.
    pub field: String,
    /// The value as the host receives it; a content is shown as its full text.
    pub value: Json,
    /// The places that set the value: more than one if they agree, or if the field is a set.
    pub from: Vec<Origin>,
    /// The places whose values were overridden.
    pub overrode: Vec<Origin>,
}

/// One place that sets a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The place in the file.
    pub place: Span,
    /// The manifest or profile that sets the value: `profile metrics`, `host linda`, `fleet.yaml`.
    pub by: String,
    /// The priority; `None` for patches and parameters of profiles, which have no priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<&'static str>,
    /// The value as written.
    pub written: Json,
}

/// A place that defines a resource or includes a profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The place in the file.
    pub place: Span,
    /// The manifest or profile of this place: `profile metrics`, `host linda`, `fleet.yaml`.
    pub by: String,
    /// The includes that lead to this place, outermost first: `profile base at fleet.yaml:10:17`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<String>,
}

/// The error of [`explain`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoExplanation {
    /// No host has this name.
    #[error("unknown host `{name}`{}", meant(.near.as_deref()))]
    NoHost {
        /// The requested name.
        name: String,
        /// A host with a similar name.
        near: Option<String>,
    },
    /// The address can't be parsed.
    #[error("{0}")]
    NoAddress(String),
    /// The host has nothing at this address.
    #[error("{host} has no `{address}`{}", meant(.near.as_deref()))]
    NotThere {
        /// The host.
        host: HostName,
        /// The requested address.
        address: String,
        /// An address with a similar name.
        near: Option<String>,
    },
    /// The host's desired state can't be computed, because its manifests have errors.
    #[error("{host} is held: manifests that it reads have errors")]
    Held {
        /// The host.
        host: HostName,
        /// The errors of its manifests.
        diagnostics: Vec<Diagnostic>,
    },
}

fn meant(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

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
        FieldRef::Profile(key) => profile(name, facts, &key),
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
                    Some((address, slot)) => of_slot(&build, facts, address, slot, &known)
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

fn origin(pick: &Pick<'_>) -> Origin {
    Origin {
        place: pick.key.span.clone(),
        by: pick.piece.scope.by.to_string(),
        priority: Some(word(pick.piece.priority)),
        written: json(&pick.node),
    }
}

/// The word in the place of a secret text.
const HIDDEN: &str = "(hidden)";

/// True if a field's value is a secret text.
fn is_confidential(kind: AnyKind, name: &str) -> bool {
    matches!(kind, AnyKind::Primitive(kind) if kind.confidential().contains(&name))
}

/// Returns a field's value as it is written in the manifest, unless it is a secret.
fn written(kind: AnyKind, name: &str, node: &Node) -> Json {
    if is_confidential(kind, name) {
        return Json::from(HIDDEN);
    }
    json(node)
}

/// Returns a field's value as the host receives it. A content is returned as its text.
fn value(
    build: &BuildContext<'_>,
    kind: AnyKind,
    name: &str,
    node: &Node,
    scope: &crate::compose::Scope,
) -> Result<Json, Vec<Diagnostic>> {
    let mut contents = Vec::new();
    let rendered = build.value(kind, name, node, scope, &mut contents)?;
    if is_confidential(kind, name) {
        return Ok(Json::from(HIDDEN));
    }
    Ok(match contents.pop() {
        Some((_, bytes)) => match std::str::from_utf8(&bytes) {
            Ok(text) => Json::from(text),
            Err(_) => json(&rendered),
        },
        None => json(&rendered),
    })
}

fn of_field(
    build: &BuildContext<'_>,
    kind: AnyKind,
    field: &Field<'_>,
) -> Result<FieldOrigin, Vec<Diagnostic>> {
    let value = match &field.says {
        FieldValues::One(pick, _) => {
            value(build, kind, &field.name, &pick.node, &pick.piece.scope)?
        }
        FieldValues::Union(picks) => {
            let mut all: Vec<Json> = Vec::new();
            for pick in picks {
                if let Json::Array(items) =
                    value(build, kind, &field.name, &pick.node, &pick.piece.scope)?
                {
                    all.extend(items);
                }
            }
            all.sort_by_key(ToString::to_string);
            all.dedup();
            Json::Array(all)
        }
    };
    let origin = |pick: &Pick<'_>| Origin {
        written: written(kind, &field.name, &pick.node),
        ..origin(pick)
    };
    Ok(FieldOrigin {
        field: field.name.to_string(),
        value,
        from: field.picks().map(origin).collect(),
        overrode: field.under.iter().map(origin).collect(),
    })
}

fn of_slot(
    build: &BuildContext<'_>,
    facts: &HostFacts,
    address: &AnyAddress,
    slot: &Slot<'_, '_>,
    known: &BTreeSet<AnyAddress>,
) -> Result<Explanation, Vec<Diagnostic>> {
    let mut fields = Vec::new();
    let mut because = Vec::new();
    match slot {
        Slot::Pieces(pieces) => {
            for field in merge(pieces)? {
                fields.push(of_field(build, address.kind(), &field)?);
            }
            for piece in *pieces {
                let through = piece
                    .scope
                    .instance
                    .as_ref()
                    .map(|(key, _)| way(facts, key))
                    .unwrap_or_default();
                because.push(Reason {
                    place: piece.span.clone(),
                    by: piece.scope.by.to_string(),
                    through,
                });
            }
        }
        Slot::Patched { resource, parts } => {
            let patched = |name: &str| resource.fields.iter().any(|one| &*one.key.text == name);
            for field in merge(parts)? {
                if !patched(&field.name) {
                    fields.push(of_field(build, address.kind(), &field)?);
                }
            }
            for field in &resource.fields {
                let origin = Origin {
                    place: field.key.span.clone(),
                    by: field.scope.by.to_string(),
                    priority: None,
                    written: written(address.kind(), &field.key.text, &field.node),
                };
                fields.push(FieldOrigin {
                    field: field.key.text.to_string(),
                    value: value(
                        build,
                        address.kind(),
                        &field.key.text,
                        &field.node,
                        &field.scope,
                    )?,
                    from: vec![origin],
                    overrode: Vec::new(),
                });
            }
            because.push(Reason {
                place: resource.span.clone(),
                by: "a patch of the host".to_owned(),
                through: Vec::new(),
            });
        }
    }
    fields.sort_by(|a, b| a.field.cmp(&b.field));
    let (part_of, parts) = match address {
        AnyAddress::Primitive(address) => {
            let origin = build.expansion.origin(address);
            (origin.map(ToString::to_string), Vec::new())
        }
        AnyAddress::Composite(address) => {
            let parts = build.expansion.parts(address).unwrap_or_default();
            (None, parts.iter().map(ToString::to_string).collect())
        }
    };
    Ok(Explanation {
        host: facts.name.clone(),
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

/// Returns the includes that lead to a profile's instance, outermost first.
fn way(facts: &HostFacts, key: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut at: Option<&Instance> = facts
        .instances
        .iter()
        .find(|instance| *instance.key == *key);
    while let Some(instance) = at {
        let Some(reach) = instance.reached.first() else {
            break;
        };
        steps.push(format!("profile {} at {}", instance.key, reach.span));
        at = reach
            .by
            .as_ref()
            .and_then(|by| facts.instances.iter().find(|instance| instance.key == *by));
        // Includes have no cycles, so the loop ends anyway; this limit is only a safeguard.
        if steps.len() > facts.instances.len() {
            break;
        }
    }
    steps.reverse();
    steps
}

fn profile(host: &HostName, facts: &HostFacts, key: &str) -> Result<Explanation, NoExplanation> {
    let Some(instance) = facts
        .instances
        .iter()
        .find(|instance| *instance.key == *key)
    else {
        let near = closest(key, facts.instances.iter().map(|instance| &*instance.key));
        return Err(NoExplanation::NotThere {
            host: host.clone(),
            address: format!("profile:{key}"),
            near: near.map(|near| format!("profile:{near}")),
        });
    };
    let fields = instance.params.map.iter().map(|entry| FieldOrigin {
        field: entry.key.text.to_string(),
        value: json(&entry.value),
        from: vec![Origin {
            place: entry.key.span.clone(),
            by: format!("profile {}", instance.profile.name),
            priority: None,
            written: json(&entry.value),
        }],
        overrode: Vec::new(),
    });
    let because = instance.reached.iter().map(|reach| Reason {
        place: reach.span.clone(),
        by: reach
            .by
            .as_ref()
            .map_or_else(|| format!("host {host}"), |by| format!("profile {by}")),
        through: reach
            .by
            .as_ref()
            .map(|by| way(facts, by))
            .unwrap_or_default(),
    });
    Ok(Explanation {
        host: host.clone(),
        address: format!("profile:{key}"),
        part_of: None,
        parts: Vec::new(),
        fields: fields.collect(),
        because: because.collect(),
        active: Some(instance.active),
        after: Vec::new(),
        before: Vec::new(),
    })
}

/// Formats each value on a line, followed by lines for the places that set it.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.address, self.host)?;
        if let Some(composite) = &self.part_of {
            writeln!(f, "  part of {composite}")?;
        }
        for part in &self.parts {
            writeln!(f, "  expands to {part}")?;
        }
        for reason in &self.because {
            write!(f, "  defined at {} by {}", reason.place, reason.by)?;
            if !reason.through.is_empty() {
                write!(f, " ({})", reason.through.join(", "))?;
            }
            writeln!(f)?;
        }
        if self.active == Some(false) {
            writeln!(f, "  its `when` is false, so its resources are left out")?;
        }
        for field in &self.fields {
            writeln!(f, "  {}: {}", field.field, field.value)?;
            for origin in &field.from {
                write!(f, "    from {} by {}", origin.place, origin.by)?;
                if let Some(priority) = origin.priority {
                    write!(f, " at `{priority}`")?;
                }
                if origin.written != field.value
                    && (origin
                        .written
                        .as_str()
                        .is_some_and(|text| text.contains("{{")))
                {
                    write!(f, ", written as {}", origin.written)?;
                }
                writeln!(f)?;
            }
            for origin in &field.overrode {
                writeln!(
                    f,
                    "    overrides {} of {} by {} at `{}`",
                    origin.written,
                    origin.place,
                    origin.by,
                    origin.priority.unwrap_or("defaults"),
                )?;
            }
        }
        for address in &self.after {
            writeln!(f, "  after {address}")?;
        }
        for address in &self.before {
            writeln!(f, "  before {address}")?;
        }
        Ok(())
    }
}
