//! What a verification is told from outside.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::oid::Oid;
use crate::policy::{KeyFile, Material};
use crate::signature::KeyName;

/// A tag of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRef {
    /// Its full name: `refs/tags/…`.
    pub name: String,
    /// What it names: the tag object, or a commit if it is a lightweight tag.
    pub target: Oid,
}

/// The configured root of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introduction {
    /// The commit that is believed because somebody wrote it down, and whose policy is the first.
    pub commit: Oid,
}

/// What this machine's own configuration takes authority away from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    keys: BTreeSet<KeyName>,
    /// The material of keys that were given whole, so that their other forms lose their authority too.
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

/// A file of local revocations that can't be read. It isn't skipped: what it was to take away would stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} is no fingerprint; write 40 hexadecimal digits for OpenPGP or SHA256:… for SSH, one to a line"
)]
pub struct RevocationsError {
    /// The line.
    pub line: usize,
}

impl Revocations {
    /// Takes a key's authority away.
    pub fn insert(&mut self, key: KeyName) {
        self.keys.insert(key);
    }

    /// Takes away what a file names: fingerprints, one to a line, `#` begins a comment; or a whole
    /// certificate or SSH public key.
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

    /// Whether a key has none left.
    pub fn contains(&self, key: &KeyName) -> bool {
        self.keys.contains(key)
    }

    /// Whether nothing is taken away.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The material of keys that were given whole.
    pub(crate) fn material(&self) -> &Material {
        &self.material
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &KeyName> {
        self.keys.iter()
    }
}

/// How much is told of accepted commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// Nothing but that they are: a few bytes each.
    #[default]
    Brief,
    /// The same; of so many of the newest, who signed and what was needed.
    Newest(usize),
    /// Who signed and what was needed.
    Explain,
}

impl Detail {
    /// Of how many of the newest accepted commits more is told than that they are.
    pub(crate) const fn kept(self) -> usize {
        match self {
            Self::Brief => 0,
            Self::Newest(count) => count,
            Self::Explain => usize::MAX,
        }
    }
}

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Commits looked at.
    pub done: usize,
    /// Commits to look at.
    pub total: usize,
}

/// What a verification is told from outside: objects are an argument of [`verify`](crate::verify) itself.
#[derive(Clone)]
#[non_exhaustive]
pub struct Inputs<'a> {
    /// The root of trust.
    pub introduction: Oid,
    /// The last accepted commit, trusted as given; without one, the introduction is it.
    pub floor: Option<Oid>,
    /// The candidate.
    pub head: Oid,
    /// The repository's tags. Their order means nothing.
    pub tags: &'a [TagRef],
    /// The time.
    pub now: Timestamp,
    /// The branch, if the policy must be of it: `refs/heads/main`.
    pub reference: Option<&'a str>,
    /// When commits and tags were first seen here. Those that aren't in it are history to us, and no age is asked of them.
    pub first_seen: Option<&'a BTreeMap<Oid, Timestamp>>,
    /// What this machine takes authority away from.
    pub revoked: Option<&'a Revocations>,
    /// What signed tags took away before, wherever those tags are now: whoever deletes a tag gives nothing back.
    pub revoked_before: Option<&'a Revocations>,
    /// Commits that were accepted once and then taken off the branch.
    pub tombstones: Option<&'a BTreeSet<Oid>>,
    /// Commits that hosts have run: each must lie on the verified chain.
    pub lower_bounds: &'a [Oid],
    /// How much is told of accepted commits.
    pub detail: Detail,
    /// Told now and then how far it is.
    pub progress: Option<&'a dyn Fn(Progress)>,
    /// How many other threads may look at signatures ahead of the judge, on a long way; none unless it
    /// is said. No verdict depends on it.
    pub threads: usize,
}

impl<'a> Inputs<'a> {
    /// The least that must be said. The introduction is the floor, there are no tags.
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

    /// With the last accepted commit.
    #[must_use]
    pub const fn floor(mut self, floor: Oid) -> Self {
        self.floor = Some(floor);
        self
    }

    /// With the repository's tags.
    #[must_use]
    pub const fn tags(mut self, tags: &'a [TagRef]) -> Self {
        self.tags = tags;
        self
    }

    /// With the branch that the policy must be of.
    #[must_use]
    pub const fn reference(mut self, reference: &'a str) -> Self {
        self.reference = Some(reference);
        self
    }

    /// With the times at which commits and tags were first seen.
    #[must_use]
    pub const fn first_seen(mut self, first_seen: &'a BTreeMap<Oid, Timestamp>) -> Self {
        self.first_seen = Some(first_seen);
        self
    }

    /// With what this machine takes authority away from.
    #[must_use]
    pub const fn revoked(mut self, revoked: &'a Revocations) -> Self {
        self.revoked = Some(revoked);
        self
    }

    /// With what signed tags took away before.
    #[must_use]
    pub const fn revoked_before(mut self, revoked: &'a Revocations) -> Self {
        self.revoked_before = Some(revoked);
        self
    }

    /// With the commits that were accepted once and then taken off the branch.
    #[must_use]
    pub const fn tombstones(mut self, tombstones: &'a BTreeSet<Oid>) -> Self {
        self.tombstones = Some(tombstones);
        self
    }

    /// With the commits that hosts have run.
    #[must_use]
    pub const fn lower_bounds(mut self, lower_bounds: &'a [Oid]) -> Self {
        self.lower_bounds = lower_bounds;
        self
    }

    /// With who signed accepted commits, and what they needed.
    #[must_use]
    pub const fn explain(self) -> Self {
        self.detail(Detail::Explain)
    }

    /// With how much is told of accepted commits.
    #[must_use]
    pub const fn detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// With somebody to tell how far it is.
    #[must_use]
    pub const fn progress(mut self, progress: &'a dyn Fn(Progress)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// With so many other threads that may look at signatures ahead of the judge.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}
