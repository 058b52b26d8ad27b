//! Inputs of a verification.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::key_name::KeyName;
use crate::oid::Oid;
use crate::policy::{KeyFile, Material};

/// A tag of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRef {
    /// Its full name: `refs/tags/…`.
    pub name: String,
    /// The tag object, or the commit of a lightweight tag.
    pub target: Oid,
}

/// The configured root of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introduction {
    /// The commit that is trusted by configuration, and whose policy is the first.
    pub commit: Oid,
}

/// Keys that this machine's configuration revokes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    keys: BTreeSet<KeyName>,
    /// The material of keys that were given whole, so that the same key in another form is revoked too.
    material: Material,
}

impl FromIterator<KeyName> for Revocations {
    fn from_iter<I: IntoIterator<Item = KeyName>>(keys: I) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            material: Material::default(),
        }
    }
}

/// A file of local revocations that can't be read. It isn't skipped, because the keys that it names would
/// keep their authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} is no fingerprint; write 40 hexadecimal digits for OpenPGP or SHA256:… for SSH, one to a line"
)]
pub struct RevocationsError {
    /// The line, from 1.
    pub line: usize,
}

impl Revocations {
    /// Revokes a key.
    pub fn insert(&mut self, key: KeyName) {
        self.keys.insert(key);
    }

    /// Revokes the keys that a file names: fingerprints, one to a line, with `#` before comments; or one
    /// whole certificate or SSH public key.
    pub fn read(&mut self, file: &[u8]) -> Result<(), RevocationsError> {
        if let Ok(key) = KeyFile::parse(file) {
            self.insert(key.name());
            self.material.add(&key.material());
            return Ok(());
        }
        for (index, line) in file.split(|b| *b == b'\n').enumerate() {
            let wrong = RevocationsError { line: index + 1 };
            let line = std::str::from_utf8(line).map_err(|_| wrong.clone())?;
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                self.insert(line.parse().map_err(|_| wrong)?);
            }
        }
        Ok(())
    }

    /// True if `key` is revoked.
    pub fn contains(&self, key: &KeyName) -> bool {
        self.keys.contains(key)
    }

    /// True if no key is revoked.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the material of keys that were given whole.
    pub(crate) fn material(&self) -> &Material {
        &self.material
    }

    /// Returns the keys.
    pub fn iter(&self) -> impl Iterator<Item = &KeyName> {
        self.keys.iter()
    }
}

/// The amount of detail that is reported of accepted commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// Only that they are accepted: a few bytes for each.
    #[default]
    Brief,
    /// Signers and needs of this many of the newest; only the acceptance of the rest.
    Newest(usize),
    /// Signers and needs of all.
    Explain,
}

impl Detail {
    /// Returns the number of the newest accepted commits whose signers and needs are reported.
    pub(crate) const fn kept(self) -> usize {
        match self {
            Self::Brief => 0,
            Self::Newest(count) => count,
            Self::Explain => usize::MAX,
        }
    }
}

/// The progress of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Commits judged.
    pub done: usize,
    /// Commits to judge.
    pub total: usize,
}

/// Inputs of a verification, other than the objects, which are an argument of [`verify`](crate::verify).
#[derive(Clone)]
#[non_exhaustive]
pub struct Inputs<'a> {
    /// The root of trust.
    pub introduction: Oid,
    /// The last accepted commit, trusted as given; `None` means the introduction.
    pub floor: Option<Oid>,
    /// The candidate.
    pub head: Oid,
    /// The repository's tags, in any order.
    pub tags: &'a [TagRef],
    /// The time to verify at.
    pub now: Timestamp,
    /// The branch that the policy must be for, if it matters: `refs/heads/main`.
    pub reference: Option<&'a str>,
    /// Times of first sight of commits and tags on this machine. Objects that aren't in it are history, whose
    /// age isn't checked.
    pub first_seen: Option<&'a BTreeMap<Oid, Timestamp>>,
    /// Keys that this machine's configuration revokes.
    pub revoked: Option<&'a Revocations>,
    /// Keys that signed tags revoked before, even if those tags are gone: deleting a tag gives no authority
    /// back.
    pub revoked_before: Option<&'a Revocations>,
    /// Tombstones: commits that were accepted once and then taken off the branch.
    pub tombstones: Option<&'a BTreeSet<Oid>>,
    /// Commits that hosts have run: each must lie on the verified chain.
    pub lower_bounds: &'a [Oid],
    /// The amount of detail that is reported of accepted commits.
    pub detail: Detail,
    /// Called from time to time with the progress.
    pub progress: Option<&'a dyn Fn(Progress)>,
    /// Threads that check signatures ahead of the judge on a long chain; 0 by default. No verdict depends on
    /// it.
    pub threads: usize,
}

impl<'a> Inputs<'a> {
    /// Makes inputs from the required values. The introduction is the floor, and there are no tags.
    pub const fn new(introduction: Oid, head: Oid, now: Timestamp) -> Self {
        Self {
            introduction,
            floor: None,
            head,
            tags: &[],
            now,
            reference: None,
            first_seen: None,
            revoked: None,
            revoked_before: None,
            tombstones: None,
            lower_bounds: &[],
            detail: Detail::Brief,
            progress: None,
            threads: 0,
        }
    }

    /// Sets the last accepted commit.
    #[must_use]
    pub const fn floor(mut self, floor: Oid) -> Self {
        self.floor = Some(floor);
        self
    }

    /// Sets the repository's tags.
    #[must_use]
    pub const fn tags(mut self, tags: &'a [TagRef]) -> Self {
        self.tags = tags;
        self
    }

    /// Sets the branch that the policy must be for.
    #[must_use]
    pub const fn reference(mut self, reference: &'a str) -> Self {
        self.reference = Some(reference);
        self
    }

    /// Sets the times at which commits and tags were first seen.
    #[must_use]
    pub const fn first_seen(mut self, first_seen: &'a BTreeMap<Oid, Timestamp>) -> Self {
        self.first_seen = Some(first_seen);
        self
    }

    /// Sets the keys that this machine's configuration revokes.
    #[must_use]
    pub const fn revoked(mut self, revoked: &'a Revocations) -> Self {
        self.revoked = Some(revoked);
        self
    }

    /// Sets the keys that signed tags revoked before.
    #[must_use]
    pub const fn revoked_before(mut self, revoked: &'a Revocations) -> Self {
        self.revoked_before = Some(revoked);
        self
    }

    /// Sets the commits that were accepted once and then taken off the branch.
    #[must_use]
    pub const fn tombstones(mut self, tombstones: &'a BTreeSet<Oid>) -> Self {
        self.tombstones = Some(tombstones);
        self
    }

    /// Sets the commits that hosts have run.
    #[must_use]
    pub const fn lower_bounds(mut self, lower_bounds: &'a [Oid]) -> Self {
        self.lower_bounds = lower_bounds;
        self
    }

    /// Reports signers and needs of all accepted commits.
    #[must_use]
    pub const fn explain(self) -> Self {
        self.detail(Detail::Explain)
    }

    /// Sets the amount of detail that is reported of accepted commits.
    #[must_use]
    pub const fn detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// Sets the callback for progress.
    #[must_use]
    pub const fn progress(mut self, progress: &'a dyn Fn(Progress)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Sets the number of threads that check signatures ahead of the judge.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}
