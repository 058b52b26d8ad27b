//! The facts that an expander may read, beside the specs.

use crate::manifest::{Host, HostFacts};

/// The host that composites expand for, as the manifests describe it.
#[derive(Clone, Copy)]
pub(crate) struct ExpandContext<'a> {
    host: &'a Host,
    facts: &'a HostFacts,
}

impl<'a> ExpandContext<'a> {
    /// Creates the context of a host.
    pub(crate) fn new(host: &'a Host, facts: &'a HostFacts) -> Self {
        Self { host, facts }
    }

    /// Returns the host's own name, without its domain unless the manifest writes one.
    pub(super) fn hostname(&self) -> &'a str {
        self.host
            .spec
            .hostname
            .as_deref()
            .unwrap_or(self.facts.name.as_str())
    }

    /// True if the manifest says that the host runs this release of Debian or a newer one.
    pub(super) fn is_debian(&self, release: u32) -> bool {
        let os = self.host.spec.os.as_ref();
        let known = os
            .filter(|os| os.family == plumb_api::kind::OsFamily::Debian)
            .and_then(|os| {
                os.release
                    .as_deref()?
                    .split('.')
                    .next()?
                    .parse::<u32>()
                    .ok()
            });
        known.is_some_and(|known| known >= release)
    }
}
