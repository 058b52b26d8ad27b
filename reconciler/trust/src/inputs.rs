//! Inputs of a verification.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effects::Effects;
use crate::key_name::KeyName;
use crate::oid::Oid;
use crate::policy::{KeyFile, Material};

/// A tag of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRef {
    /// Full name of the ref: `refs/tags/…`.
    pub name: String,
    /// The tag object; for a lightweight tag, the commit.
    pub target: Oid,
}

/// The configured root of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introduction {
    /// The commit that is trusted by configuration. Its policy is the first one.
    pub commit: Oid,
}

/// A set of revoked keys, such as those that this machine's configuration revokes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    keys: BTreeSet<KeyName>,
    /// Key material of the revoked keys that were given as whole keys and not as fingerprints. It also
    /// revokes the same keys in another format (`OpenPGP` or SSH).
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

/// A file of revoked keys can't be parsed. Callers mustn't skip such a file, because the keys that it names
/// would keep their authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} is no fingerprint; write 40 hexadecimal digits for OpenPGP or SHA256:… for SSH, one to a line"
)]
pub struct RevocationsError {
    /// Number of the line that isn't a fingerprint, starting at 1.
    pub line: usize,
}

impl Revocations {
    /// Revokes a key.
    pub fn insert(&mut self, key: KeyName) {
        self.keys.insert(key);
    }

    /// Revokes the keys in a file. The file has one fingerprint per line, with comments after `#`, or it is
    /// one `OpenPGP` certificate or SSH public key.
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

    /// Returns the key material of the keys that were given as whole keys.
    pub(crate) fn material(&self) -> &Material {
        &self.material
    }

    /// Returns the fingerprints of the revoked keys.
    pub fn iter(&self) -> impl Iterator<Item = &KeyName> {
        self.keys.iter()
    }
}

/// The amount of detail in an outcome about accepted commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// Only the verdict.
    #[default]
    Brief,
    /// Signers and needs of this number of the newest accepted commits; only the verdict of older ones.
    Newest(usize),
    /// Signers and needs of all accepted commits.
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
    /// Number of commits verified so far.
    pub done: usize,
    /// Number of commits to verify in total.
    pub total: usize,
}

/// Inputs of a verification, other than the objects, which are an argument of [`verify`](crate::verify).
#[derive(Clone)]
#[non_exhaustive]
pub struct Inputs<'a> {
    /// The commit that is trusted by configuration: the root of trust.
    pub introduction: Oid,
    /// The last accepted commit, which is trusted without verification; `None` means the introduction.
    pub floor: Option<Oid>,
    /// The commit to verify up to.
    pub head: Oid,
    /// The repository's tags, in any order.
    pub tags: &'a [TagRef],
    /// The current time, against which dates and expiries are checked.
    pub now: Timestamp,
    /// Full name of the branch that the policy must be for, such as `refs/heads/main`; `None` allows any
    /// branch.
    pub reference: Option<&'a str>,
    /// Times at which this machine first saw commits and tags. An object that isn't in the map is history,
    /// whose age isn't checked.
    pub first_seen: Option<&'a BTreeMap<Oid, Timestamp>>,
    /// Keys that this machine's configuration revokes.
    pub revoked: Option<&'a Revocations>,
    /// Keys that signed tags revoked in the past. They stay revoked even if the tags are gone: deleting a tag
    /// gives no authority back.
    pub revoked_before: Option<&'a Revocations>,
    /// Commits that were accepted once and then taken off the branch (tombstones). They aren't accepted
    /// again.
    pub tombstones: Option<&'a BTreeSet<Oid>>,
    /// Commits that hosts have run. The outcome lists those that aren't on the accepted chain.
    pub lower_bounds: &'a [Oid],
    /// The amount of detail in the outcome about accepted commits.
    pub detail: Detail,
    /// Comparison of the hosts of two trees, for rules and freezes by `hosts`. Without it, every change affects
    /// every host.
    pub effects: Option<&'a dyn Effects>,
    /// Callback for the progress, called every 256 commits and at the end.
    pub progress: Option<&'a dyn Fn(Progress)>,
    /// Number of extra threads that verify signatures in advance on a long chain; 0 by default. No verdict
    /// depends on it.
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
            effects: None,
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

    /// Sets the keys that signed tags revoked in the past.
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

    /// Requests signers and needs of all accepted commits.
    #[must_use]
    pub const fn explain(self) -> Self {
        self.detail(Detail::Explain)
    }

    /// Sets the amount of detail in the outcome about accepted commits.
    #[must_use]
    pub const fn detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// Sets the comparison of the hosts of two trees.
    #[must_use]
    pub const fn effects(mut self, effects: &'a dyn Effects) -> Self {
        self.effects = Some(effects);
        self
    }

    /// Sets the callback for the progress.
    #[must_use]
    pub const fn progress(mut self, progress: &'a dyn Fn(Progress)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Sets the number of threads that verify signatures in advance.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}
