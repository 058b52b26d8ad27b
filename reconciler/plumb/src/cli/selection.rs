//! The hosts that a command line chooses.

use std::collections::BTreeMap;

use clap::Args;
use plumb_api::HostName;
use plumb_api::selector::Selector;
use plumb_core::manifest::Fleet;

use crate::http::{HostList, HostObject};
use crate::report::Failure;

/// The chosen hosts.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Hosts by name; by default all hosts
    #[arg(value_name = "HOST")]
    pub(super) hosts: Vec<String>,

    /// Hosts by label, as in kubectl: role=cloud,site!=home
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "hosts")]
    pub(super) selector: Option<String>,
}

impl Selection {
    /// Parses the selector. Names become a selector of names; without either, all hosts match.
    fn selector(&self) -> Result<Selector, Failure> {
        match &self.selector {
            Some(text) => Selector::parse(text).map_err(|error| Failure::new(error.to_string())),
            None if self.hosts.is_empty() => Ok(Selector::All),
            None => Ok(Selector::names(self.hosts.iter().cloned())),
        }
    }
}

/// Selects hosts among those that the controller has. A name that it doesn't have is an error.
pub(super) fn select<'a>(
    selection: &Selection,
    hosts: &'a HostList,
) -> Result<Vec<&'a HostObject>, Failure> {
    let selector = selection.selector()?;
    if let Selector::Names(names) = &selector {
        for name in names {
            if !hosts.iter().any(|host| host.metadata.name.as_str() == name) {
                let known = hosts.iter().map(|host| host.metadata.name.as_str());
                let hint = match plumb_document::closest(name, known) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "run `plumb get hosts` to list them".to_owned(),
                };
                return Err(Failure::new(format!("the fleet has no host {name}")).hint(hint));
            }
        }
    }
    Ok(hosts
        .iter()
        .map(|host| &**host)
        .filter(|host| selector.matches(host.metadata.name.as_str(), &host.metadata.labels))
        .collect())
}

/// Selects hosts among a fleet's manifests. A name without a manifest is an error.
pub(super) fn select_names<R>(
    selection: &Selection,
    fleet: &Fleet<R>,
) -> Result<Vec<HostName>, Failure> {
    let selector = selection.selector()?;
    if let Selector::Names(names) = &selector {
        for name in names {
            if !fleet.hosts().any(|host| host.as_str() == name) {
                let hint = match plumb_document::closest(name, fleet.hosts().map(HostName::as_str))
                {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!(
                        "create hosts/{name}.yaml; or, if you mean a folder, write -C {name}"
                    ),
                };
                return Err(Failure::new(format!("the fleet has no host {name}")).hint(hint));
            }
        }
    }
    let none = BTreeMap::new();
    Ok(fleet
        .hosts()
        .filter(|host| selector.matches(host.as_str(), fleet.labels(host).unwrap_or(&none)))
        .cloned()
        .collect())
}

/// Selects hosts as [`select`] does, but fails if a selector matches no host: to the controller, an empty
/// list means all hosts.
pub(super) fn select_some<'a>(
    selection: &Selection,
    hosts: &'a HostList,
) -> Result<Vec<&'a HostObject>, Failure> {
    let chosen = select(selection, hosts)?;
    match &selection.selector {
        Some(selector) if chosen.is_empty() => {
            Err(Failure::new(format!("no host matches `{selector}`"))
                .hint("run `plumb get hosts -o json` to see their labels"))
        }
        _ => Ok(chosen),
    }
}
