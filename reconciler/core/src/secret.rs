//! The Secrets of a fleet, for the commands that encrypt them: who should read each value, and what its
//! envelope must say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::Digest;
use plumb_api::kind::{SecretDelivery, SecretObjectSpec};
use plumb_api::secret::SecretBinding;
use plumb_api::selector::Selector;
use plumb_document::Diagnostic;

use crate::expand::secret as expansion;
use crate::manifest::{Fleet, ValueProblem, problem, recipients, secret_delivery, usage};

/// The hosts and operators that should be able to read a value, with their age keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipients {
    /// The selected hosts.
    pub hosts: BTreeMap<String, String>,
    /// The operators of the fleet.
    pub operators: BTreeMap<String, String>,
    /// Selected hosts whose manifests have no `ageKey`.
    pub keyless_hosts: Vec<String>,
    /// Operators without a key in `trust/recipients`.
    pub keyless_operators: Vec<String>,
}

/// A Secret of a fleet.
#[derive(Debug, Clone)]
pub struct FleetSecret {
    /// The name.
    pub name: String,
    /// The path of its file in the repository.
    pub file: Arc<str>,
    /// The spec.
    pub spec: SecretObjectSpec,
    /// The hosts and operators that should be able to read its values.
    pub recipients: Recipients,
}

impl FleetSecret {
    /// Returns the keys that have a value or a delivery.
    pub fn keys(&self) -> BTreeSet<&str> {
        let values = self.spec.values.keys();
        let deliveries = self.spec.deliver.iter().map(|one| &one.key);
        values.chain(deliveries).map(String::as_str).collect()
    }

    /// Returns the binding of a version of a value in this repository. Returns `None` if `hosts` has no
    /// canonical form.
    pub fn binding(&self, repository: &str, key: &str, version: u64) -> Option<SecretBinding> {
        expansion::binding(repository, &self.name, &self.spec, key, version).ok()
    }

    /// Returns the digest of a value's use, which `recipients` has in clear.
    pub fn usage(&self, key: &str) -> Option<Digest> {
        usage(&self.name, &self.spec, key)
    }

    /// Returns the version of a value: that of the Secret when the value was set.
    pub fn version(&self, key: &str) -> u64 {
        expansion::version(&self.spec, key)
    }

    /// Returns what is wrong with a value, as a phrase; `None` if nothing is.
    pub fn problem(&self, key: &str) -> Option<String> {
        self.value_problem(key).map(|problem| problem.message())
    }

    /// True if the value can be encrypted again as it is: somebody lacks it, or its use has changed.
    pub fn needs_rekey(&self, key: &str) -> bool {
        let problem = self.value_problem(key);
        problem.is_some_and(|problem| problem != ValueProblem::Missing)
    }

    fn value_problem(&self, key: &str) -> Option<ValueProblem> {
        problem(&self.name, &self.spec, key, &self.recipients)
    }
}

/// Checks a delivery, as `plumb check` does.
///
/// # Errors
/// Returns the mistake and the remedy.
pub fn check_delivery(one: &SecretDelivery) -> Result<(), (String, &'static str)> {
    secret_delivery(one)
}

/// Returns the repository's identity in the trust policy.
pub fn repository<R>(fleet: &Fleet<R>) -> Option<&str> {
    fleet.manifests().repository.as_deref()
}

/// Returns all Secrets of a fleet by name, or their errors.
pub fn secrets<R>(fleet: &Fleet<R>) -> BTreeMap<String, Result<FleetSecret, Vec<Diagnostic>>> {
    let manifests = fleet.manifests();
    let all = manifests.secrets.iter();
    all.map(|(name, entry)| {
        let secret = match &entry.object {
            Ok(secret) => Ok(FleetSecret {
                name: name.to_string(),
                file: secret.file.clone(),
                spec: secret.spec.clone(),
                recipients: recipients(manifests, &secret.selector),
            }),
            Err(broken) => Err(broken.diagnostics.clone()),
        };
        (name.to_string(), secret)
    })
    .collect()
}

/// Returns the hosts that a selector selects and the operators, for a Secret that isn't there yet.
pub fn recipients_of<R>(fleet: &Fleet<R>, selector: &Selector) -> Recipients {
    recipients(fleet.manifests(), selector)
}
