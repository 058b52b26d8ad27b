//! Steps that change `trust/`.

use std::sync::Arc;

use super::{Evaluation, Parent};
use crate::diff::Change;
use crate::object::Commit;
use crate::oid::Oid;
use crate::policy::{Authority, POLICY_PATH, TRUST_PATH};
use crate::reason::{Reason, ReasonCode};

/// True if a path is `trust` or within it.
pub(super) fn in_trust(path: &str) -> bool {
    path.strip_prefix(TRUST_PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Evaluation<'_> {
    /// Returns the object name of the folder `trust` after a step. Fails if the step changes other paths
    /// together with the folder, or removes it.
    pub(super) fn new_trust(
        &self,
        parent: &Parent,
        commit: &Commit<'_>,
        changes: &[Change],
    ) -> Result<Oid, Reason> {
        if !changes.iter().any(|change| in_trust(&change.path)) {
            return Ok(parent.trust);
        }
        let (ours, others): (Vec<&str>, Vec<&str>) = changes
            .iter()
            .map(|c| c.path.as_str())
            .partition(|path| in_trust(path));
        if let (Some(first), false) = (ours.first(), others.is_empty()) {
            let message =
                format!("a change of trust/ must be alone in its commit, and it changes {first}");
            let reason = Reason::new(ReasonCode::PolicyNotIsolated, message).paths(others);
            return Err(reason.hint("split the commit in two"));
        }
        self.trees.trust(&commit.tree)?.ok_or_else(|| {
            Reason::new(
                ReasonCode::PolicyInvalid,
                format!("{POLICY_PATH} is removed"),
            )
        })
    }

    /// Returns the policy that is in force after a step. Fails if the step's policy can't follow the
    /// parent's.
    pub(super) fn next_policy(
        &mut self,
        parent: &Parent,
        trust: Oid,
        changes: &[Change],
        seconds: i64,
    ) -> Result<(Oid, Arc<Authority>), Reason> {
        if trust == parent.trust {
            return Ok((trust, parent.authority.clone()));
        }
        let authority = self.authority(&trust)?;
        let (old, new) = (&parent.authority.policy, &authority.policy);
        if new.repository != old.repository || new.reference != old.reference {
            return Err(Reason::new(
                ReasonCode::PolicyMoved,
                "the policy's `repository` and `ref` can't be changed",
            )
            .paths([POLICY_PATH]));
        }
        if new.serial <= old.serial {
            let message = format!(
                "a change of trust/ must raise the policy's `serial`: it is {} and was {}",
                new.serial, old.serial
            );
            let paths = changes.iter().map(|change| &change.path);
            return Err(Reason::new(ReasonCode::PolicySerial, message).paths(paths));
        }
        if let Some(need) = authority.first_unsatisfiable(super::timestamp(seconds)) {
            let message = format!(
                "{} needs {} of {}, of whom {} have a usable key",
                need.rule, need.count, need.from, need.usable
            );
            return Err(Reason::new(ReasonCode::PolicyUnsatisfiable, message).paths([POLICY_PATH]));
        }
        self.keep_revocations(parent, &authority)?;
        Ok((trust, authority))
    }
}

#[cfg(test)]
mod tests {
    use super::in_trust;

    #[test]
    fn the_folder_and_nothing_beside_it() {
        assert!(in_trust("trust") && in_trust("trust/keys/a.asc"));
        assert!(!in_trust("trusty") && !in_trust("a/trust/policy.yaml"));
    }
}
