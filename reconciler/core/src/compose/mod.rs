//! Composition: combines everything that defines a host, by priority.
//!
//! A *block* holds the resources of one priority in one file. A *fragment* holds a profile's blocks with one
//! set of parameters; hosts that use the profile with the same parameters share it. A *piece* holds the
//! fields that one block sets at one address. [`compose`] gathers a host's pieces by address; `merge`
//! combines them into the fields of one resource.

mod fragment;
mod gather;
mod instance;
mod merge;
mod params;
mod patch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use plumb_document::{Diagnostic, Map, Node, Value, closest};

use crate::manifest::{Broken, Profile, code};
use crate::render::BrokenReads;

pub(crate) use fragment::{Fragment, Fragments, Piece, Scope, check_types};
pub(crate) use gather::{Composed, Slot, compose};
pub(crate) use instance::{Instance, instances};
pub(crate) use merge::{Field, FieldValues, Pick, conflict, merge};
pub(crate) use params::{ParamsCache, check_declarations};
pub(crate) use patch::PatchedResource;

/// The priority of a value. For each field the value with the highest priority wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Priority {
    /// A part of a composite: lower than any value in a manifest.
    Parts,
    /// A value under `defaults`, or anywhere in `Fleet.hostDefaults` except under its `force`.
    Defaults,
    /// A value under `resources` of a host or profile.
    Resources,
    /// A value under `force`.
    Force,
}

impl Priority {
    /// Returns the priority of a block of a host or profile; `None` if the field isn't a block.
    pub(crate) fn own(field: &str) -> Option<Self> {
        match field {
            "defaults" => Some(Self::Defaults),
            "resources" => Some(Self::Resources),
            "force" => Some(Self::Force),
            _ => None,
        }
    }

    /// Returns the priority of a block of `Fleet.hostDefaults`; `None` if the field isn't a block.
    pub(crate) fn of_defaults(field: &str) -> Option<Self> {
        match Self::own(field)? {
            Self::Force => Some(Self::Force),
            Self::Parts | Self::Defaults | Self::Resources => Some(Self::Defaults),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parts | Self::Defaults => "defaults",
            Self::Resources => "resources",
            Self::Force => "force",
        })
    }
}

/// The resources of one priority in one file: type → name → fields.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) priority: Priority,
    pub(crate) node: Node,
}

impl Block {
    /// Returns the blocks of a spec. `priority` returns the priority of a field; `None` if it isn't a block.
    pub(crate) fn all(spec: &Map, priority: impl Fn(&str) -> Option<Priority>) -> Vec<Self> {
        spec.iter()
            .filter_map(|entry| {
                Some(Self {
                    priority: priority(&entry.key.text)?,
                    node: entry.value.clone(),
                })
            })
            .collect()
    }
}

/// Returns positions for an order in which each profile precedes the profiles that it includes. Profiles that
/// include an unknown profile, or each other in a circle, become broken.
pub(crate) fn order(
    profiles: &mut BTreeMap<Arc<str>, Result<Arc<Profile>, Broken>>,
) -> BTreeMap<Arc<str>, usize> {
    let mut wrong: Vec<(Arc<str>, Diagnostic)> = Vec::new();
    for profile in profiles.values().flatten() {
        for include in &profile.includes {
            if !profiles.contains_key(&include.of) {
                let diagnostic = no_profile(profiles.keys(), &include.of, &include.span);
                wrong.push((profile.name.clone(), diagnostic));
            }
        }
    }
    let mut finished: Vec<Arc<str>> = Vec::new();
    let names: Vec<_> = profiles.keys().cloned().collect();
    let mut states: BTreeMap<Arc<str>, VisitState> = BTreeMap::new();
    for name in &names {
        let mut path = Vec::new();
        walk(
            name,
            profiles,
            &mut states,
            &mut path,
            &mut finished,
            &mut wrong,
        );
    }
    for (name, diagnostic) in wrong {
        if let Some(entry) = profiles.get_mut(&name) {
            match entry {
                Ok(_) => {
                    *entry = Err(Broken {
                        labels: None,
                        diagnostics: vec![diagnostic],
                    });
                }
                Err(broken) => broken.diagnostics.push(diagnostic),
            }
        }
    }
    finished
        .into_iter()
        .rev()
        .enumerate()
        .map(|(at, name)| (name, at))
        .collect()
}

#[derive(Clone, Copy, PartialEq)]
enum VisitState {
    Open,
    Done,
}

fn walk(
    name: &Arc<str>,
    profiles: &BTreeMap<Arc<str>, Result<Arc<Profile>, Broken>>,
    states: &mut BTreeMap<Arc<str>, VisitState>,
    path: &mut Vec<Arc<str>>,
    finished: &mut Vec<Arc<str>>,
    wrong: &mut Vec<(Arc<str>, Diagnostic)>,
) {
    if states.get(name) == Some(&VisitState::Done) {
        return;
    }
    states.insert(name.clone(), VisitState::Open);
    path.push(name.clone());
    if let Some(Ok(profile)) = profiles.get(name) {
        for include in &profile.includes {
            if states.get(&include.of) == Some(&VisitState::Open) {
                let from = path
                    .iter()
                    .position(|step| *step == include.of)
                    .unwrap_or(0);
                let circle: Vec<&str> = path[from..]
                    .iter()
                    .map(|step| &**step)
                    .chain([&*include.of])
                    .collect();
                let diagnostic = Diagnostic::error(
                    code::CYCLE,
                    &include.span,
                    format!(
                        "profiles include each other in a circle: {}",
                        circle.join(" → ")
                    ),
                )
                .hint("remove one of the includes");
                wrong.extend(
                    path[from..]
                        .iter()
                        .map(|step| (step.clone(), diagnostic.clone())),
                );
            } else {
                walk(&include.of, profiles, states, path, finished, wrong);
            }
        }
    }
    path.pop();
    states.insert(name.clone(), VisitState::Done);
    finished.push(name.clone());
}

/// Creates the error about an unknown profile.
pub(crate) fn no_profile<'a>(
    all: impl Iterator<Item = &'a Arc<str>>,
    name: &str,
    span: &plumb_document::Span,
) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        code::UNKNOWN_REFERENCE,
        span,
        format!("unknown profile `{name}`"),
    );
    match closest(name, all.map(|name| &**name)) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint(format!(
            "add profiles/{name}.yaml, or name the profile with `of`"
        )),
    }
}

/// The variables of a host's expressions when resources are rendered (phase 2), except a profile's
/// parameters.
pub(crate) struct HostContext<'a> {
    pub(crate) host: &'a minijinja::Value,
    pub(crate) fleet: &'a minijinja::Value,
    /// The record of the objects with errors that rendering read.
    pub(crate) reads: &'a BrokenReads,
}

/// Returns the node's mapping, or an empty one for null; `None` for any other value.
pub(crate) fn fields_of(node: &Node) -> Option<Arc<Map>> {
    match &node.value {
        Value::Map(map) => Some(map.clone()),
        Value::Null => Some(Arc::default()),
        _ => None,
    }
}
