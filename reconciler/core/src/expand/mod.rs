//! Expansion: turns composite resources into the primitive resources that they stand for.
//!
//! Composites are composed, merged, patched and rendered like any resource. Then the expander of their type
//! returns their parts, computed from their specs and the facts in manifests ([`ExpandContext`]). Types are
//! expanded in the order of [`CompositeKind::ALL`], and only into primitive types. Every value that a
//! manifest sets at a part's address has a higher priority than the part.
//!
//! Some primitive types refer to facts in manifests, such as networks. [`complete`] replaces the references.

mod alertmanager;
mod authorized_keys;
mod backup;
mod certificate;
mod container;
mod context;
mod credentials;
mod cron;
mod environment;
mod exporter;
mod firewall;
mod forward;
mod grafana;
mod hostname;
mod hosts;
mod interface;
mod journald;
mod known_hosts;
mod locale;
mod network;
mod of_fleet;
mod part;
mod prometheus;
mod repository;
pub(crate) mod secret;
mod shell;
mod sshd;
mod sudoers;
mod timer;
mod tmpfiles;
mod udev;
mod wireguard;
mod zram;

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::resource::{Named, Problem};
use plumb_api::{Address, AnyAddress, CompositeAddress, CompositeKind, CompositeSpec, Kind, Spec};
use plumb_document::{Diagnostic, Node, Span};

pub(crate) use context::ExpandContext;
pub(crate) use forward::check as check_forwards;
pub(crate) use network::implied;
pub(crate) use of_fleet::OfFleet;
pub(crate) use part::Part;

use crate::compose::{Piece, Priority, Scope};
use crate::manifest::{Problems, code};

/// A composite resource of a host.
#[derive(Debug)]
pub(crate) struct HostComposite {
    pub(crate) address: CompositeAddress,
    pub(crate) spec: CompositeSpec,
    /// The position of the resource in the file.
    pub(crate) span: Span,
    /// The rendered node of each field, for the positions of errors.
    pub(crate) places: Vec<(Arc<str>, plumb_document::Node)>,
}

/// The parts of one composite, or the problems in its spec.
pub(crate) type Outcome = Result<Vec<Part>, Vec<Problem>>;

/// A resource with its typed spec, as the expander of its type gets it.
#[derive(Clone, Copy)]
pub(crate) struct TypedResource<'a, S> {
    pub(crate) name: &'a str,
    pub(crate) spec: &'a S,
}

/// Registers the expander of each type: a pure function that gets all resources of the type on a host and
/// returns the outcome of each, in the same order.
macro_rules! expanders {
    ($($kind:ident => $expand:path;)*) => {
        /// Expands all resources of one type.
        fn expand(
            kind: CompositeKind,
            all: &[&HostComposite],
            context: &ExpandContext<'_>,
        ) -> Vec<Outcome> {
            match kind {
                $(CompositeKind::$kind => {
                    let typed: Vec<_> = all
                        .iter()
                        .filter_map(|declared| match &declared.spec {
                            CompositeSpec::$kind(spec) => Some(TypedResource {
                                name: declared.address.name(),
                                spec,
                            }),
                            #[allow(unreachable_patterns, reason = "use only one type")]
                            _ => None,
                        })
                        .collect();
                    $expand(&typed, context)
                })*
            }
        }
    };
}

expanders! {
    Alertmanager => alertmanager::expand;
    AuthorizedKeys => authorized_keys::expand;
    Backup => backup::expand;
    Certificate => certificate::expand;
    Container => container::expand;
    Cron => cron::expand;
    Environment => environment::expand;
    Exporter => exporter::expand;
    Grafana => grafana::expand;
    Hostname => hostname::expand;
    Hosts => hosts::expand;
    Interface => interface::expand;
    Journald => journald::expand;
    KnownHosts => known_hosts::expand;
    Locale => locale::expand;
    Prometheus => prometheus::expand;
    Repository => repository::expand;
    Sshd => sshd::expand;
    Timer => timer::expand;
    Sudoers => sudoers::expand;
    Tmpfiles => tmpfiles::expand;
    Udev => udev::expand;
    Wireguard => wireguard::expand;
    Zram => zram::expand;
}

/// Completes the spec of a primitive resource with the facts of its host. Returns `None` if the spec needs
/// none.
pub(crate) fn complete(
    spec: &Spec,
    context: &ExpandContext<'_>,
) -> Option<Result<Spec, Vec<Problem>>> {
    match spec {
        Spec::Firewall(spec) => Some(firewall::complete(spec, context).map(Spec::Firewall)),
        _ => None,
    }
}

/// Expands each resource independently of the others.
fn each<S>(
    all: &[TypedResource<'_, S>],
    parts: impl Fn(TypedResource<'_, S>) -> Vec<Part>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| {
            Ok(parts(TypedResource {
                name: one.name,
                spec: one.spec,
            }))
        })
        .collect()
}

/// The parts of all composites of a host.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    pieces: Vec<Piece>,
    parts: BTreeMap<CompositeAddress, Vec<Address>>,
    origins: BTreeMap<Address, CompositeAddress>,
}

impl Expansion {
    /// Expands a host's composites. `is_there` returns whether the host's manifests declare a resource.
    pub(crate) fn of(
        all: &[HostComposite],
        context: &ExpandContext<'_>,
        is_there: impl Fn(&AnyAddress) -> bool,
    ) -> Result<Self, Problems> {
        let mut expansion = Self::default();
        let mut problems = Problems::default();
        for declared in all {
            for named in declared.spec.names() {
                if !named.any_of.iter().any(&is_there) {
                    problems.diagnostics.push(declared.missing(&named));
                }
            }
        }
        for kind in CompositeKind::ALL {
            let of_kind: Vec<&HostComposite> = all
                .iter()
                .filter(|declared| declared.address.kind() == *kind)
                .collect();
            if of_kind.is_empty() {
                continue;
            }
            let outcomes = expand(*kind, &of_kind, context);
            for (declared, outcome) in of_kind.into_iter().zip(outcomes) {
                match outcome {
                    Ok(parts) => expansion.add(declared, parts, &mut problems),
                    Err(wrong) => problems.diagnostics.extend(
                        wrong
                            .into_iter()
                            .map(|problem| declared.diagnostic(problem)),
                    ),
                }
            }
        }
        problems.because.extend(context.reads.take());
        problems.or(expansion)
    }

    fn add(&mut self, declared: &HostComposite, parts: Vec<Part>, problems: &mut Problems) {
        let scope = Arc::new(Scope {
            by: declared.address.to_string().into(),
            instance: None,
        });
        let mut addresses = Vec::with_capacity(parts.len());
        for part in parts {
            let address = match Address::new(part.kind, &part.name) {
                Ok(address) => address,
                Err(error) => {
                    let message =
                        format!("`{}` expands to an invalid name: {error}", declared.address);
                    let diagnostic = Diagnostic::error(code::INVALID_NAME, &declared.span, message);
                    problems.diagnostics.push(diagnostic);
                    continue;
                }
            };
            let fields = part.fields(&declared.spec, &declared.span);
            self.origins
                .entry(address.clone())
                .or_insert_with(|| declared.address.clone());
            if !addresses.contains(&address) {
                addresses.push(address.clone());
            }
            self.pieces.push(Piece::new(
                address.into(),
                Priority::Parts,
                declared.span.clone(),
                Arc::new(fields),
                scope.clone(),
            ));
        }
        self.parts.insert(declared.address.clone(), addresses);
    }

    /// Returns the parts as pieces, which are merged with the values in manifests.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Returns the parts of a composite; `None` if the host doesn't have it.
    pub(crate) fn parts(&self, composite: &CompositeAddress) -> Option<&[Address]> {
        self.parts.get(composite).map(Vec::as_slice)
    }

    /// Returns the parts that a reference to a composite means: all but its checks, which change nothing.
    pub(crate) fn referenced(
        &self,
        composite: &CompositeAddress,
    ) -> Option<impl Iterator<Item = &Address>> {
        let parts = self.parts(composite)?;
        Some(parts.iter().filter(|part| part.kind() != Kind::Check))
    }

    /// Returns the composite that a resource is a part of.
    pub(crate) fn origin(&self, part: &Address) -> Option<&CompositeAddress> {
        self.origins.get(part)
    }

    /// Returns every part with its composite.
    pub(crate) fn origins(&self) -> &BTreeMap<Address, CompositeAddress> {
        &self.origins
    }

    /// Returns every composite of the host.
    pub(crate) fn composites(&self) -> impl Iterator<Item = &CompositeAddress> {
        self.parts.keys()
    }
}

impl HostComposite {
    /// Creates the error about a field that names a resource that the host doesn't have.
    fn missing(&self, named: &Named) -> Diagnostic {
        let any: Vec<String> = named.any_of.iter().map(|one| format!("`{one}`")).collect();
        let problem = Problem {
            field: named.field,
            message: format!("the host has no {}", any.join(" or ")),
            hint: format!("add it, or remove `{}`", named.field),
        };
        let diagnostic = self.diagnostic(problem);
        Diagnostic {
            code: code::UNKNOWN_REFERENCE,
            ..diagnostic
        }
    }

    /// Converts a problem of the spec to an error with the position of the field.
    fn diagnostic(&self, problem: Problem) -> Diagnostic {
        problem_at(&self.address, problem, &self.places, &self.span)
    }
}

/// Converts a problem of a spec to an error with the position of the field.
pub(crate) fn problem_at(
    address: &impl std::fmt::Display,
    problem: Problem,
    places: &[(Arc<str>, Node)],
    span: &Span,
) -> Diagnostic {
    let place = places
        .iter()
        .find(|(name, _)| **name == *problem.field)
        .map_or(span, |(_, node)| &node.span);
    Diagnostic::error(
        plumb_document::codes::INVALID_VALUE,
        place,
        format!("`{address}`: {}", problem.message),
    )
    .hint(problem.hint)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compose::merge;

    #[test]
    fn composites_that_disagree_about_a_part_conflict() {
        let spec = json!({"schedule": "@daily", "user": "root", "run": ["/bin/true"]});
        let spec = CompositeKind::Cron.decode(spec).unwrap();
        let span = Span::of_file("hosts/a.yaml");
        let piece = |by: &str, mode: &str| {
            let part = Part::new(Kind::File, "/etc/x").field("mode", mode);
            let scope = Scope {
                by: by.into(),
                instance: None,
            };
            Piece::new(
                "file:/etc/x".parse().unwrap(),
                Priority::Parts,
                span.clone(),
                Arc::new(part.fields(&spec, &span)),
                Arc::new(scope),
            )
        };
        let first = piece("cron:a", "0644");
        assert!(merge(&[&first, &piece("cron:b", "0644")]).is_ok());
        let wrong = merge(&[&first, &piece("cron:b", "0600")]).unwrap_err();
        assert_eq!(
            wrong[0].message,
            "`file:/etc/x#mode` is set twice at the priority `defaults`: the text \"0644\" by cron:a, the text \"0600\" by cron:b"
        );
    }
}
