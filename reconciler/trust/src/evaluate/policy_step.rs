//! A step that changes `trust/`.

use std::collections::HashSet;
use std::sync::Arc;

use super::elsewhere::says_trust_policy;
use super::{Evaluation, Parent};
use crate::diff::{Change, Leaf, unread};
use crate::object::{Commit, EntryMode, ObjectKind, limits};
use crate::oid::Oid;
use crate::policy::{Authority, POLICY_PATH, TRUST_PATH};
use crate::reason::{Reason, ReasonCode};

/// Whether a path is of `trust/`.
pub(super) fn in_trust(path: &str) -> bool {
    path.strip_prefix(TRUST_PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Evaluation<'_> {
    /// The policy that holds from this step on, if it makes sense as the next one.
    pub(super) fn next_policy(
        &mut self,
        parent: &Parent,
        commit: &Commit<'_>,
        changes: &[Change],
        seconds: i64,
    ) -> Result<(Oid, Arc<Authority>), Reason> {
        if !changes.iter().any(|change| in_trust(&change.path)) {
            return Ok((parent.trust, parent.authority.clone()));
        }
        let others: Vec<&str> = changes
            .iter()
            .map(|c| c.path.as_str())
            .filter(|path| !in_trust(path))
            .collect();
        if !others.is_empty() {
            let reason = Reason::new(
                ReasonCode::PolicyNotIsolated,
                "a change of trust/ must be alone in its commit",
            )
            .paths(others);
            return Err(reason.cure("split the commit in two"));
        }
        let missing = || {
            Reason::new(
                ReasonCode::PolicyInvalid,
                format!("{POLICY_PATH} is removed"),
            )
        };
        let trust = self.trees.trust(&commit.tree)?.ok_or_else(missing)?;
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
            return Err(Reason::new(ReasonCode::PolicySerial, message).paths([POLICY_PATH]));
        }
        if let Some(need) = authority.first_unsatisfiable(super::timestamp(seconds)) {
            let message = format!(
                "{} needs {} of {}, of whom {} have a usable key",
                need.rule, need.count, need.from, need.usable
            );
            return Err(Reason::new(ReasonCode::PolicyUnsatisfiable, message).paths([POLICY_PATH]));
        }
        keeps_revocations(&parent.authority, &authority)?;
        Ok((trust, authority))
    }

    /// A policy anywhere else would be one that no rule for `trust/` guards. None is ever read from there; this
    /// keeps people from taking it for one.
    pub(super) fn no_policy_elsewhere(&self, changes: &[Change]) -> Result<(), Reason> {
        // One large file may be there under many names. This is before anybody is known to stand behind the
        // commit, so there is an end to it.
        let (mut looked, mut room) = (HashSet::new(), limits::MANIFESTS);
        for change in changes {
            let Some(Leaf {
                mode: EntryMode::File | EntryMode::Executable,
                id,
            }) = change.after
            else {
                continue;
            };
            let yaml = change.path.rsplit_once('.').is_some_and(|(_, end)| {
                end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml")
            });
            if !yaml || change.path == POLICY_PATH || !looked.insert(id) {
                continue;
            }
            let bytes = match self.objects.read(&id, ObjectKind::Blob, limits::TRUST_FILE) {
                Ok(bytes) => bytes,
                Err(error) => match unread(&error) {
                    // Too large for a policy, wherever it stands.
                    reason if reason.code == ReasonCode::TooLarge => continue,
                    reason => return Err(reason.paths([&change.path])),
                },
            };
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let Some(rest) = room.checked_sub(size) else {
                let message = format!(
                    "it changes more than {} MiB of YAML",
                    limits::MANIFESTS >> 20
                );
                return Err(Reason::new(ReasonCode::TooLarge, message)
                    .paths([&change.path])
                    .cure("split the commit in two"));
            };
            room = rest;
            if says_trust_policy(&bytes) {
                let message = format!("a TrustPolicy stands in {POLICY_PATH} and nowhere else");
                return Err(Reason::new(ReasonCode::PolicyElsewhere, message).paths([&change.path]));
            }
        }
        Ok(())
    }
}

/// Whoever may change `trust/` may take a certificate out, but not put one back that forgot that it was revoked.
fn keeps_revocations(old: &Authority, new: &Authority) -> Result<(), Reason> {
    for key in old.ring.keys() {
        let same = new.ring.keys().iter().find(|k| k.name == key.name);
        let (Some(before), Some(after)) = (&key.file, same.and_then(|k| k.file.as_ref())) else {
            continue;
        };
        if after.loses_revocation_of(before) {
            let message = format!(
                "the new copy of the certificate {} has lost a revocation",
                key.name
            );
            return Err(Reason::new(ReasonCode::RevocationDropped, message));
        }
    }
    Ok(())
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
