//! Resolving: computes the desired state of each host from a fleet's objects.
//!
//! A host is resolved completely or not at all. A host that can't be resolved is *held*: it keeps its last
//! desired state. A host whose rendering reads facts of an object with errors is held, too.

mod build;
mod connect;
mod content;
mod order;
mod rendered;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use minijinja::Value as Jinja;
use plumb_api::kind::{DeadManTimer, HostState};
use plumb_api::{Address, AnyAddress, CompositeAddress, Digest, HostName};
use plumb_document::{Code, Diagnostic, Span, codes};

use crate::check::{self, HostView};
use crate::compose::{Composed, HostContext, Slot, check_types, compose};
use crate::desired::{
    Contents, DesiredResource, DesiredState, DriftPolicy, FieldAddress, HostIntent, HostResult,
    Lifecycle, Resolved, Suspension,
};
use crate::expand::{ExpandContext, Expansion, check_forwards};
use crate::manifest::{
    FieldRef, Fleet, Host, HostFacts, Manifests, ObjectId, ObjectIdSet, Problems, closest_address,
    code, invalid_name, read_without_fleet_errors,
};
use crate::parallel;
use crate::render::{BrokenReads, view};

pub(crate) use build::{BuildContext, Built, composite};
pub use rendered::rendered;

/// Resolves all hosts of a fleet.
pub fn resolve<R>(fleet: &Fleet<R>) -> Resolved {
    resolve_all(fleet.manifests())
}

/// Resolves one host; `None` if there is no such host.
pub fn resolve_host<R>(fleet: &Fleet<R>, name: &HostName) -> Option<HostResult> {
    one_of(fleet.manifests(), name)
}

pub(crate) fn one_of(manifests: &Manifests, name: &HostName) -> Option<HostResult> {
    let (name, _) = manifests.hosts.get_key_value(name)?;
    Some(match one(manifests, name) {
        Ok(resolved) => HostResult::Ready(Arc::new(resolved.intent)),
        Err(problems) => HostResult::Held(held_because(manifests, name, &problems)),
    })
}

/// A resolved host, and the contents that its resources refer to.
struct ResolvedHost {
    intent: HostIntent,
    contents: Vec<(Digest, Arc<[u8]>)>,
    /// The findings of the cross-checks, which don't hold the host.
    warnings: Vec<Diagnostic>,
}

fn resolve_all(manifests: &Manifests) -> Resolved {
    let names: Vec<&HostName> = manifests.hosts.keys().collect();
    let results = parallel::map(&names, |name| one(manifests, name));
    let mut found = Findings::default();
    found.add(&manifests.loose, None);
    found.add(&manifests.facts.diagnostics, None);
    // Check the types here too: no host reads a profile that nobody uses.
    for profile in manifests.profiles.values().flatten() {
        found.add(&check_types(&profile.blocks), None);
    }
    for id in every_object(manifests) {
        found.add(manifests.problems(&id), None);
    }
    let mut hosts = BTreeMap::new();
    let mut contents = Contents::default();
    for (name, result) in names.into_iter().zip(results) {
        let result = match result {
            Ok(one) => {
                for (digest, bytes) in one.contents {
                    contents.insert_known(digest, bytes);
                }
                found.add(&one.warnings, Some(name));
                HostResult::Ready(Arc::new(one.intent))
            }
            Err(problems) => {
                let held = held_because(manifests, name, &problems);
                // The diagnostics of the object with errors list the hosts that it holds, so the copies for
                // this host are left out.
                let own: Vec<_> = held
                    .iter()
                    .filter(|diagnostic| diagnostic.code != code::HELD)
                    .cloned()
                    .collect();
                found.add(&own, Some(name));
                HostResult::Held(held)
            }
        };
        hosts.insert(name.clone(), result);
    }
    if manifests.fleet.is_err() {
        found.add(&hidden(manifests), None);
    }
    let unused = manifests.large_and_unused(found.0.values());
    found.add(&unused, None);
    Resolved {
        fleet: manifests.name.clone(),
        hosts,
        contents,
        alertmanagers: manifests.facts.alertmanagers.clone(),
        halt_failures: manifests
            .fleet
            .as_ref()
            .map_or(1, |fleet| fleet.spec.rollout.halt.failures),
        confirm_within: manifests
            .fleet
            .as_ref()
            .map_or_else(|_| DeadManTimer::default(), |fleet| fleet.spec.dead_man)
            .confirm
            .duration(),
        diagnostics: found.sorted(),
    }
}

/// Returns the errors of other files that an error in fleet.yaml hides. Only kinds of errors count that no
/// setting of fleet.yaml could cause or prevent.
fn hidden(manifests: &Manifests) -> Vec<Diagnostic> {
    const INDEPENDENT: [Code; 7] = [
        codes::UNKNOWN_FIELD,
        codes::WRONG_TYPE,
        codes::INVALID_VALUE,
        code::UNKNOWN_TYPE,
        code::INVALID_NAME,
        code::CONTENT,
        code::ADDRESS,
    ];
    let readable = read_without_fleet_errors(manifests);
    let names: Vec<&HostName> = readable.hosts.keys().collect();
    let mut found = Findings::default();
    for (name, result) in names
        .iter()
        .zip(parallel::map(&names, |name| one(&readable, name)))
    {
        let Err(problems) = result else { continue };
        let all = held_because(&readable, name, &problems);
        let own: Vec<_> = all
            .into_iter()
            .filter(|one| INDEPENDENT.contains(&one.code) && &**one.span.file() != "fleet.yaml")
            .collect();
        found.add(&own, Some(name));
    }
    found.sorted()
}

fn every_object(manifests: &Manifests) -> Vec<ObjectId> {
    let hosts = manifests.hosts.keys().cloned().map(ObjectId::Host);
    let profiles = manifests.profiles.keys().cloned().map(ObjectId::Profile);
    let networks = manifests.networks.keys().cloned().map(ObjectId::Network);
    let secrets = manifests.secrets.keys().cloned().map(ObjectId::Secret);
    [ObjectId::Fleet]
        .into_iter()
        .chain(hosts)
        .chain(profiles)
        .chain(networks)
        .chain(secrets)
        .collect()
}

/// Diagnostics without duplicates. Each lists the hosts that are held because of it.
#[derive(Default)]
struct Findings(BTreeMap<(Span, &'static str, String), Diagnostic>);

impl Findings {
    fn add(&mut self, diagnostics: &[Diagnostic], host: Option<&HostName>) {
        for diagnostic in diagnostics {
            let key = (
                diagnostic.span.clone(),
                diagnostic.code.as_str(),
                diagnostic.message.clone(),
            );
            let entry = self.0.entry(key).or_insert_with(|| diagnostic.clone());
            for host in &diagnostic.hosts {
                if !entry.hosts.contains(host) {
                    entry.hosts.push(host.clone());
                }
            }
            if let Some(host) = host
                && !entry.hosts.iter().any(|one| one == host.as_str())
            {
                entry.hosts.push(host.to_string());
            }
        }
    }

    fn sorted(self) -> Vec<Diagnostic> {
        self.0.into_values().collect()
    }
}

/// Returns a host's own errors, and the errors of other objects because of which it is held.
pub(crate) fn held_because(
    manifests: &Manifests,
    name: &HostName,
    problems: &Problems,
) -> Vec<Diagnostic> {
    let mut seen = ObjectIdSet::new();
    let mut open: Vec<ObjectId> = problems.because.iter().cloned().collect();
    let mut all = problems.diagnostics.clone();
    while let Some(id) = open.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        all.extend(manifests.problems(&id).iter().cloned());
        let facts = match &id {
            ObjectId::Host(host) => manifests
                .facts
                .hosts
                .get(host)
                .and_then(|known| known.as_ref().err()),
            ObjectId::Network(network) => manifests
                .facts
                .networks
                .get(network)
                .and_then(|known| known.as_ref().err()),
            _ => None,
        };
        if let Some(problems) = facts {
            all.extend(problems.diagnostics.iter().cloned());
            open.extend(problems.because.iter().cloned());
        }
    }
    for diagnostic in &mut all {
        if !diagnostic.hosts.iter().any(|host| host == name.as_str()) {
            diagnostic.hosts.push(name.to_string());
        }
    }
    let mut unique: Vec<Diagnostic> = Vec::with_capacity(all.len());
    for diagnostic in all {
        if !unique.contains(&diagnostic) {
            unique.push(diagnostic);
        }
    }
    unique
}

/// A built resource with its address, before it is added to a desired state.
pub(crate) struct Placed<'a> {
    pub(crate) address: &'a Address,
    pub(crate) built: Arc<Built>,
    pub(crate) span: &'a Span,
    /// The composite that the resource is a part of.
    pub(crate) origin: Option<&'a CompositeAddress>,
}

impl fmt::Display for Placed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.address)?;
        match self.origin {
            Some(origin) => write!(f, " (from `{origin}`)"),
            None => Ok(()),
        }
    }
}

fn one(manifests: &Manifests, name: &HostName) -> Result<ResolvedHost, Problems> {
    let facts = match manifests.facts.hosts.get(name) {
        Some(Ok(facts)) => facts,
        Some(Err(problems)) => return Err(problems.clone()),
        None => return Err(Problems::because(ObjectId::Host(name.clone()))),
    };
    let Some(Ok(host)) = manifests.hosts.get(name) else {
        return Err(Problems::because(ObjectId::Host(name.clone())));
    };
    let reads = Arc::new(BrokenReads::default());
    let fleet = view(&manifests.facts, &reads, Some(facts));
    let host_context = HostContext {
        host: &facts.value,
        fleet: &fleet,
        reads: &reads,
    };
    let expand_context = ExpandContext {
        manifests,
        host,
        facts,
        reads: &reads,
        composites: &[],
    };
    let mut intent = intent(manifests, name, host, facts)?;
    if host.spec.state == HostState::Unmanaged || host.spec.state == HostState::Retired {
        return Ok(ResolvedHost {
            intent,
            contents: Vec::new(),
            warnings: Vec::new(),
        });
    }
    let composed = compose(manifests, host, facts, &host_context, |composed| {
        let expansion = composed.expansion();
        let (mut placed, mut problems) =
            build_all(manifests, composed, &host_context, &expand_context);
        problems.merge(check_forwards(&expand_context, |address| {
            placed.iter().any(|one| one.address == address)
        }));
        let mut ignored = BTreeSet::new();
        let mut warnings = Vec::new();
        if problems.is_empty() {
            placed.sort_by(|a, b| a.address.cmp(b.address));
            problems.diagnostics.extend(order::check(&placed));
            warnings = cross_check(&expand_context, &placed, &mut problems);
            let (ignore, wrong) = drift(host, &placed, expansion);
            problems.diagnostics.extend(wrong);
            ignored = ignore;
        }
        problems.or(())?;
        let contents = placed
            .iter()
            .flat_map(|placed| placed.built.contents.iter().cloned())
            .collect();
        let resources: BTreeMap<Address, Arc<DesiredResource>> = placed
            .iter()
            .map(|placed| (placed.address.clone(), placed.built.resource.clone()))
            .collect();
        let origins = expansion.origins().clone();
        Ok((ignored, resources, contents, origins, warnings))
    });
    let (ignore, resources, contents, origins, warnings) = composed.map_err(|mut problems| {
        // Patches that read objects with errors record them here.
        problems.because.extend(reads.take());
        problems
    })?;
    intent.drift.ignore = ignore;
    intent.desired = DesiredState::new(resources).with_origins(origins);
    Ok(ResolvedHost {
        intent,
        contents,
        warnings,
    })
}

/// Builds every primitive resource of a host. Those that can't be built are left out, with their problems.
fn build_all<'a>(
    manifests: &Manifests,
    composed: &'a Composed<'a>,
    host_context: &HostContext<'_>,
    expand_context: &ExpandContext<'_>,
) -> (Vec<Placed<'a>>, Problems) {
    let mut problems = Problems::default();
    let mut placed = Vec::with_capacity(composed.len());
    let expansion = composed.expansion();
    for (address, slot) in composed.slots() {
        let Some(address) = address.primitive() else {
            continue;
        };
        let (built, span) = match slot {
            Slot::Pieces(pieces) => (
                build::pieces(manifests, address, pieces, host_context, expansion),
                &pieces[0].span,
            ),
            Slot::Patched { resource, parts } => (
                build::patched(manifests, address, resource, parts, host_context, expansion),
                &resource.span,
            ),
        };
        let built = built.and_then(|built| build::completed(address, built, span, expand_context));
        match built {
            Ok(built) => placed.push(Placed {
                address,
                built,
                span,
                origin: expansion.origin(address),
            }),
            Err(more) => problems.merge(more),
        }
    }
    (placed, problems)
}

/// Runs the cross-checks of a host. Adds their errors to `problems` and returns their warnings.
fn cross_check(
    context: &ExpandContext<'_>,
    placed: &[Placed<'_>],
    problems: &mut Problems,
) -> Vec<Diagnostic> {
    let view = HostView {
        manifests: context.manifests,
        host: context.host,
        facts: context.facts,
        placed,
    };
    let found = check::of_host(&view);
    let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(Diagnostic::is_error);
    problems.diagnostics.extend(errors);
    warnings
}

/// Returns everything about a host except its resources and its ignored drift, which the caller adds.
fn intent(
    manifests: &Manifests,
    name: &HostName,
    host: &Host,
    facts: &HostFacts,
) -> Result<HostIntent, Problems> {
    let spec = &host.spec;
    Ok(HostIntent {
        name: name.clone(),
        uid: spec.uid.clone(),
        labels: host.labels.clone(),
        formerly: spec.formerly.clone(),
        lifecycle: match spec.state {
            HostState::Active => Lifecycle::Active,
            HostState::Dormant | HostState::Image => Lifecycle::Dormant,
            HostState::Unmanaged => Lifecycle::Unmanaged,
            HostState::Retired => Lifecycle::Retired,
        },
        arch: spec.arch.map(|arch| arch.as_str().to_owned()),
        connect: connect::routes(manifests, host, facts)?,
        host_keys: spec.host_keys.clone(),
        drift: DriftPolicy {
            mode: spec.drift.mode.unwrap_or_default(),
            ignore: BTreeSet::new(),
        },
        existing: spec.existing.unwrap_or_default(),
        suspend: spec.suspend.as_ref().map(|suspend| Suspension {
            reason: suspend.reason.clone(),
            until: suspend.until.as_ref().and_then(|until| until.parse().ok()),
        }),
        desired: DesiredState::new(BTreeMap::new()),
    })
}

/// Reads `drift.ignore`. An address in the host's own file must exist on the host.
fn drift(
    host: &Host,
    placed: &[Placed<'_>],
    expansion: &Expansion,
) -> (BTreeSet<FieldAddress>, Vec<Diagnostic>) {
    let mut ignored = BTreeSet::new();
    let mut diagnostics = Vec::new();
    let nodes = host
        .statics
        .get("drift")
        .and_then(|drift| drift.get("ignore")?.as_seq())
        .unwrap_or_default();
    for (text, node) in host.spec.drift.ignore.iter().zip(nodes) {
        match text.parse::<FieldRef>() {
            Ok(FieldRef::Resource(AnyAddress::Composite(address), field)) => {
                match (expansion.parts(&address), field) {
                    (Some(parts), None) => ignored.extend(parts.iter().map(|part| FieldAddress {
                        address: part.clone(),
                        field: None,
                    })),
                    (Some(parts), Some(field)) => {
                        let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
                        let message =
                            format!("`{address}` can't drift in `{field}`: only its parts drift");
                        diagnostics.push(
                            Diagnostic::error(code::INVALID_NAME, &node.span, message).hint(
                                format!("name a field of one of its parts: {}", parts.join(", ")),
                            ),
                        );
                    }
                    (None, _) if node.span.file() == &host.file => {
                        diagnostics.push(not_here(&node.span, text, expansion.composites()));
                    }
                    (None, _) => {}
                }
            }
            Ok(FieldRef::Resource(AnyAddress::Primitive(address), field)) => {
                // An address in the fleet's defaults needn't exist on every host.
                let by_host = node.span.file() == &host.file;
                if by_host && !placed.iter().any(|placed| *placed.address == address) {
                    let all = placed.iter().map(|placed| placed.address);
                    diagnostics.push(not_here(&node.span, text, all));
                }
                ignored.insert(FieldAddress { address, field });
            }
            Ok(FieldRef::Profile(_)) => diagnostics.push(
                Diagnostic::error(
                    code::INVALID_NAME,
                    &node.span,
                    "drift can't be ignored by profile",
                )
                .hint("name resources or fields, such as file:/etc/resolv.conf#content"),
            ),
            Err(error) => diagnostics.push(invalid_name(&node.span, &error)),
        }
    }
    (ignored, diagnostics)
}

/// Creates the error about an address that doesn't exist on the host.
fn not_here<A: ToString>(span: &Span, text: &str, all: impl IntoIterator<Item = A>) -> Diagnostic {
    let address = text.split('#').next().unwrap_or(text);
    let message = format!("`{address}` isn't on this host");
    let diagnostic = Diagnostic::error(code::UNKNOWN_REFERENCE, span, message);
    match closest_address(address, all) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("remove the line"),
    }
}

/// Returns the `host` of renderings that read no fact of a host: an undefined value.
pub(crate) fn nobody() -> Jinja {
    Jinja::UNDEFINED
}

#[cfg(test)]
pub(crate) mod tests;
