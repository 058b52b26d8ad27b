//! Cross-checks: mistakes that no single resource shows, found before any host is contacted.
//!
//! Each check is a file here and a line in [`OF_HOST`] or [`OF_FLEET`]. A check reads what is resolved and
//! changes nothing. It returns warnings, because a package may bring the user or the unit that the manifests
//! don't mention. It returns an error, which holds the host, only if the manifests alone prove the mistake.
//! Like `expand`, checks name resource types.

mod debian;
mod foreign_address;
mod host;
mod idle_selector;
mod missing_unit;
mod owner;
mod readable_key;
mod removed_folder;
mod start_limit;
mod timer;
mod unit_text;

use plumb_document::Diagnostic;

pub(crate) use host::HostView;

use crate::manifest::Manifests;

/// The checks of one host's resources and facts.
const OF_HOST: [fn(&HostView<'_>) -> Vec<Diagnostic>; 7] = [
    foreign_address::check,
    missing_unit::check,
    owner::check,
    readable_key::check,
    removed_folder::check,
    start_limit::check,
    timer::check,
];

/// The checks of the manifests, before any host is resolved.
const OF_FLEET: [fn(&Manifests) -> Vec<Diagnostic>; 1] = [idle_selector::check];

/// Returns the findings about one resolved host. Their messages don't name the host, so that equal findings of
/// many hosts are one.
pub(crate) fn of_host(host: &HostView<'_>) -> Vec<Diagnostic> {
    OF_HOST.iter().flat_map(|check| check(host)).collect()
}

/// Returns the findings about a fleet's manifests.
pub(crate) fn of_fleet(manifests: &Manifests) -> Vec<Diagnostic> {
    OF_FLEET.iter().flat_map(|check| check(manifests)).collect()
}

#[cfg(test)]
mod tests;
