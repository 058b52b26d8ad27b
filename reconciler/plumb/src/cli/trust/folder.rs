//! Reads `trust/` from the working tree and from commits.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use plumb_document::{Diagnostic, SourceMap};
use plumb_trust::policy::{Authority, KEYS_PATH, KeyFile, POLICY_PATH, TRUST_PATH};
use plumb_trust::{KeyName, Policy};

use crate::git::Git;
use crate::report::{Failure, OrFail as _};

/// A folder that holds `trust/`, with its content.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
    /// The policy's text.
    pub(super) policy: String,
    /// The files of `trust/keys/`, by path.
    pub(super) keys: BTreeMap<String, Vec<u8>>,
}

/// Returns the folder itself if it has a policy, and otherwise the root of the repository that holds it.
pub(super) fn top(folder: &Path) -> PathBuf {
    if folder.join(POLICY_PATH).exists() {
        return folder.to_owned();
    }
    Git::at(folder)
        .try_ask(&["rev-parse", "--show-toplevel"])
        .map_or_else(|| folder.to_owned(), PathBuf::from)
}

/// Fails if the folder doesn't exist.
pub(super) fn must_be_there(folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the folder {} doesn't exist",
        folder.display()
    )))
}

/// Refuses a symbolic link in `trust/`: a write through it would land wherever the commit's author wants.
fn refuse_link(root: &Path, path: &str) -> Result<(), Failure> {
    let link = fs::symlink_metadata(root.join(path)).is_ok_and(|found| found.is_symlink());
    if link {
        return Err(Failure::new(format!("{path} is a symbolic link"))
            .hint("find out who created it: a commit with a link under trust/ is rejected"));
    }
    Ok(())
}

impl Folder {
    /// Reads `trust/` from the working tree.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        must_be_there(folder)?;
        let root = top(folder);
        let path = root.join(POLICY_PATH);
        if !path.exists() {
            return Err(
                Failure::new(format!("{} has no {POLICY_PATH}", root.display())).hint(
                    "create a policy here with `plumb trust init`, or a whole fleet with `plumb init DIR`",
                ),
            );
        }
        for part in [TRUST_PATH, KEYS_PATH, POLICY_PATH] {
            refuse_link(&root, part)?;
        }
        let bytes = fs::read(&path).or_fail(|| format!("cannot read {}", path.display()))?;
        let policy =
            String::from_utf8(bytes).or_fail(|| format!("{} isn't UTF-8 text", path.display()))?;
        let mut keys = BTreeMap::new();
        read_keys(&root, KEYS_PATH, &mut keys)?;
        Ok(Self { root, policy, keys })
    }

    pub(super) fn git(&self) -> Git {
        Git::at(&self.root)
    }

    /// Parses the policy with its keys as of a time.
    pub(super) fn authority(&self, now: Timestamp) -> Result<Authority, Vec<Diagnostic>> {
        Authority::new(self.policy.as_bytes(), &self.keys, now)
    }

    /// Parses the policy, with errors for people.
    pub(super) fn usable(&self) -> Result<Authority, Failure> {
        self.authority(Timestamp::now()).map_err(|wrong| {
            Failure::new(format!("{POLICY_PATH} is invalid")).diagnostics(wrong, self.sources())
        })
    }

    /// Returns the texts of the files, for snippets.
    pub(super) fn sources(&self) -> SourceMap {
        let mut sources = SourceMap::default();
        sources.insert(POLICY_PATH.into(), self.policy.as_bytes().into());
        for (path, bytes) in &self.keys {
            sources.insert(path.as_str().into(), bytes.as_slice().into());
        }
        sources
    }

    /// Returns the file that holds a key.
    pub(super) fn file_of(&self, name: &KeyName) -> Option<(&str, KeyFile)> {
        self.keys.iter().find_map(|(path, bytes)| {
            let file = KeyFile::parse(bytes).ok()?;
            (file.name() == *name).then_some((path.as_str(), file))
        })
    }

    /// Returns the policy of the newest commit, which judges the next commit. Returns `None` before the first
    /// commit, or if the newest commit has no valid policy.
    pub(super) fn committed(&self) -> Option<Authority> {
        self.committed_in("HEAD")
    }

    /// Returns the policy of a commit.
    pub(super) fn committed_in(&self, commit: &str) -> Option<Authority> {
        let git = self.git();
        let policy = git.blob(&format!("{commit}:./{POLICY_PATH}")).ok()?;
        let names = git.try_ask(&[
            "ls-tree",
            "-r",
            "-z",
            "--name-only",
            commit,
            &format!("{KEYS_PATH}/"),
        ]);
        let names = names.unwrap_or_default();
        let keys = names
            .split('\0')
            .filter(|name| !name.is_empty())
            .filter_map(|name| {
                Some((
                    name.to_owned(),
                    git.blob(&format!("{commit}:./{name}")).ok()?,
                ))
            });
        Authority::new(&policy, keys, Timestamp::now()).ok()
    }

    /// Returns the remote-tracking name of the policy's branch, such as `origin/main`.
    pub(super) fn upstream(&self) -> Option<String> {
        let policy = Policy::parse(self.policy.as_bytes()).ok()?;
        let remote = self.git().remote_of(policy.branch());
        Some(format!("{remote}/{}", policy.branch()))
    }
}

/// Returns the identity that has a key.
pub(super) fn owner<'p>(policy: &'p Policy, key: &KeyName) -> Option<&'p str> {
    let has = |identity: &&plumb_trust::policy::Identity| {
        identity.keys.iter().any(|own| own.name == *key)
    };
    policy
        .identities
        .iter()
        .find(has)
        .map(|identity| identity.name.as_str())
}

fn read_keys(
    root: &Path,
    folder: &str,
    keys: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), Failure> {
    let whole = root.join(folder);
    if !whole.is_dir() {
        return Ok(());
    }
    let failed = || format!("cannot read {}", whole.display());
    for entry in fs::read_dir(&whole).or_fail(failed)? {
        let entry = entry.or_fail(failed)?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        refuse_link(root, &path)?;
        let kind = entry.file_type().or_fail(failed)?;
        if kind.is_dir() {
            read_keys(root, &path, keys)?;
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).or_fail(|| format!("cannot read {path}"))?;
            keys.insert(path, bytes);
        }
    }
    Ok(())
}
