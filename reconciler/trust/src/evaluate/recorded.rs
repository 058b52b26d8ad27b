//! Records the revocations in accepted policies, so that no later policy brings a key back without them.

use std::collections::{HashMap, HashSet};

use super::chain::left_by;
use super::commits::{parse, read};
use super::{Evaluation, Parent};
use crate::object::{Checked, ObjectKind, Trailers, entries, limits};
use crate::oid::Oid;
use crate::policy::{Authority, KEYS_PATH, KeyFile, KeyRecord, RecordedRevocations, TRUST_PATH};
use crate::reason::{Reason, ReasonCode};

/// The recorded revocations of the policies on the chain.
#[derive(Default)]
pub(super) struct Recorded {
    revocations: RecordedRevocations,
    /// True once the policies of all commits from the introduction to the floor were read. Only a step that
    /// adds a key needs them: if every policy since then has had a key, each of them has kept the key's
    /// revocations.
    whole: bool,
}

impl Recorded {
    /// Adds the revocations of an accepted policy.
    pub(super) fn add(&mut self, authority: &Authority) {
        self.revocations.add(&authority.record);
    }
}

impl Evaluation<'_> {
    /// Fails if the key files of a new policy have lost a revocation that an accepted policy had.
    pub(super) fn keep_revocations(
        &mut self,
        parent: &Parent,
        next: &Authority,
    ) -> Result<(), Reason> {
        let before = &parent.authority.record;
        if next.record.adds_to(before) && !self.recorded.whole {
            self.record_history()?;
            self.recorded.whole = true;
        }
        match self.recorded.revocations.lost_in(&next.record, before) {
            None => Ok(()),
            Some(key) => Err(Reason::new(
                ReasonCode::RevocationDropped,
                format!(
                    "the key {key} has lost a revocation that an accepted policy had of it, or of a part or another form of it"
                ),
            )),
        }
    }

    /// Records the key files of every commit from the floor back to the introduction, and of the commits that
    /// rollbacks left.
    fn record_history(&mut self) -> Result<(), Reason> {
        let mut pending: Vec<Oid> = self.inputs.floor.into_iter().collect();
        let (mut commits, mut folders) = (HashSet::new(), HashSet::new());
        while let Some(id) = pending.pop() {
            if !commits.insert(id) {
                continue;
            }
            let raw = read(self.objects, &id)?;
            let commit = parse(&raw, &id)?;
            if let Some(trust) = self.trees.trust(&commit.tree)?
                && let Some(keys) = self.trees.folder(&trust, keys_folder())?
                && folders.insert(keys)
            {
                let record = record_of(self.objects, &keys)?;
                self.recorded.revocations.add(&record);
            }
            if id != self.inputs.introduction {
                let below = commit.parents.first().copied();
                let trailers = Trailers::parse(commit.message).unwrap_or_default();
                pending.extend(below.into_iter().chain(left_by(&trailers, below)));
            }
        }
        Ok(())
    }
}

/// Returns the name of the folder of keys within `trust`.
fn keys_folder() -> &'static str {
    KEYS_PATH
        .strip_prefix(TRUST_PATH)
        .map_or(KEYS_PATH, |rest| rest.trim_start_matches('/'))
}

/// Returns the revocations in a folder of keys. Skips files that aren't keys, because those never counted.
fn record_of(objects: Checked<'_>, keys: &Oid) -> Result<KeyRecord, Reason> {
    let mut files = HashMap::new();
    for entry in entries(objects.0, keys).take(limits::TRUST_FILES) {
        let entry = entry.map_err(|e| Reason::new(ReasonCode::MissingObject, e.to_string()))?;
        let bytes = objects.read(&entry.id, ObjectKind::Blob, limits::TRUST_FILE)?;
        if let Ok(file) = KeyFile::parse(&bytes) {
            files.insert(file.name(), file);
        }
    }
    Ok(KeyRecord::of_files(&files))
}
