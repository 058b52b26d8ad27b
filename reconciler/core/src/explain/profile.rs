//! The origin of a profile's parameters, and the includes that lead to it.

use std::sync::Arc;

use plumb_document::{Entry, Map, closest};

use super::{Explanation, FieldOrigin, NoExplanation, Origin, Reason, json};
use crate::compose::Instance;
use crate::manifest::{Host, HostFacts, Layer, include};

/// Returns the includes that lead to a profile's instance, outermost first.
pub(super) fn way(facts: &HostFacts, key: &str) -> Vec<String> {
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

/// The source of a parameter, in ascending precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ParamSource {
    Declared,
    Defaults,
    Include,
    Host,
}

/// Returns the parameters of a profile's instance, each with the places that set it.
pub(super) fn params(host: &Host, facts: &HostFacts, key: &str) -> Vec<FieldOrigin> {
    let Some(instance) = find(facts, key) else {
        return Vec::new();
    };
    let given = given(host, facts, instance);
    let of_param = |entry: &Entry| {
        let name = &*entry.key.text;
        let declared = instance.profile.declared.entry(name);
        let default = declared.and_then(|declared| {
            let origin = Origin {
                place: declared.key.span.clone(),
                by: format!("profile {}", instance.profile.name),
                priority: Some("defaults"),
                written: json(declared.value.get("default")?),
                file: None,
                last_change: None,
            };
            Some((ParamSource::Declared, origin))
        });
        let set = given.iter().filter_map(|(source, by, params)| {
            let entry = params.entry(name)?;
            let origin = Origin {
                place: entry.key.span.clone(),
                by: by.clone(),
                priority: None,
                written: json(&entry.value),
                file: None,
                last_change: None,
            };
            Some((*source, origin))
        });
        let all: Vec<(ParamSource, Origin)> = default.into_iter().chain(set).collect();
        let highest = all.iter().map(|(source, _)| *source).max();
        let (from, mut overrode): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|(source, _)| Some(*source) == highest);
        overrode.sort_by_key(|(source, _)| std::cmp::Reverse(*source));
        let origins =
            |all: Vec<(ParamSource, Origin)>| all.into_iter().map(|(_, one)| one).collect();
        FieldOrigin {
            field: name.to_owned(),
            value: json(&entry.value),
            from: origins(from),
            overrode: origins(overrode),
            params: Vec::new(),
        }
    };
    instance.params.map.iter().map(of_param).collect()
}

/// Returns the parameters as each request for the instance gives them.
fn given(
    host: &Host,
    facts: &HostFacts,
    instance: &Instance,
) -> Vec<(ParamSource, String, Arc<Map>)> {
    let mut given = Vec::new();
    for (layer, profiles) in &host.profiles {
        let wanted = profiles
            .entry(&instance.key)
            .and_then(|entry| include(entry, &mut Vec::new()));
        let (source, by) = match layer {
            Layer::Defaults => (ParamSource::Defaults, DEFAULTS.to_owned()),
            Layer::Host => (ParamSource::Host, format!("host {}", facts.name)),
        };
        given.extend(wanted.map(|wanted| (source, by, wanted.params)));
    }
    let including = instance.reached.iter().filter_map(|reach| {
        let by = find(facts, reach.by.as_deref()?)?;
        let mut includes = by.profile.includes.iter();
        let wanted = includes.find(|wanted| wanted.key.span == reach.span)?;
        let counts = by.active || !instance.active;
        counts.then(|| {
            let by = format!("profile {}", by.profile.name);
            (ParamSource::Include, by, wanted.params.clone())
        })
    });
    given.extend(including);
    given
}

/// The origin of values in `hostDefaults`.
const DEFAULTS: &str = "fleet.yaml";

fn find<'f>(facts: &'f HostFacts, key: &str) -> Option<&'f Instance> {
    facts
        .instances
        .iter()
        .find(|instance| *instance.key == *key)
}

/// Explains the parameters of a profile on a host, and why the host has the profile.
pub(super) fn explain(
    manifest: &Host,
    facts: &HostFacts,
    key: &str,
) -> Result<Explanation, NoExplanation> {
    let host = &facts.name;
    let Some(instance) = find(facts, key) else {
        let near = closest(key, facts.instances.iter().map(|instance| &*instance.key));
        return Err(NoExplanation::NotThere {
            host: host.clone(),
            address: format!("profile:{key}"),
            near: near.map(|near| format!("profile:{near}")),
        });
    };
    let because = instance.reached.iter().map(|reach| Reason {
        place: reach.span.clone(),
        by: match &reach.by {
            Some(by) => format!("profile {by}"),
            None if reach.span.file() == &manifest.file => format!("host {host}"),
            None => DEFAULTS.to_owned(),
        },
        through: reach
            .by
            .as_ref()
            .map(|by| way(facts, by))
            .unwrap_or_default(),
        last_change: None,
    });
    Ok(Explanation {
        host: host.clone(),
        address: format!("profile:{key}"),
        part_of: None,
        parts: Vec::new(),
        fields: params(manifest, facts, key),
        because: because.collect(),
        active: Some(instance.active),
        after: Vec::new(),
        before: Vec::new(),
    })
}
