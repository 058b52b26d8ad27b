//! Reads an existing repository in place, for `plumb verify --git-dir` and for hooks.

use std::path::{Path, PathBuf};

use gix::bstr::ByteSlice;
use plumb_trust::object::{ObjectKind, Objects, limits};
use plumb_trust::{Affected, Effects, ObjectFormat, Oid, TagRef};

use super::effects::{Summaries, TreeEffects};
use super::error::innermost;
use super::fetch::TAGS;
use super::objects::{self, ObjectStore, Open};

/// The folders in which git keeps pushed objects until the hooks accept them, from a hook's
/// `GIT_OBJECT_DIRECTORY` and `GIT_ALTERNATE_OBJECT_DIRECTORIES`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quarantine {
    /// The folder of the new objects.
    pub objects: Option<PathBuf>,
    /// The folders of the objects that existed before.
    pub alternates: Vec<PathBuf>,
}

impl Quarantine {
    /// Parses the values of git's variables in a hook. An alternate that begins with a quote is unquoted as a
    /// C string.
    pub fn from_values(objects: Option<&str>, alternates: Option<&str>) -> Self {
        Self {
            objects: objects.filter(|path| !path.is_empty()).map(PathBuf::from),
            alternates: alternates.map(split).unwrap_or_default(),
        }
    }
}

fn split(list: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        if let Ok((unquoted, consumed)) = gix::quote::ansi_c::undo(rest.as_bytes().as_bstr())
            && rest.starts_with('"')
        {
            folders.push(PathBuf::from(unquoted.to_str_lossy().into_owned()));
            rest = rest.get(consumed..).unwrap_or_default();
            rest = rest.strip_prefix(':').unwrap_or(rest);
        } else {
            let (folder, after) = rest.split_once(':').unwrap_or((rest, ""));
            if !folder.is_empty() {
                folders.push(PathBuf::from(folder));
            }
            rest = after;
        }
    }
    folders
}

/// A repository in place. It ignores replace refs, grafts and shallow boundaries.
pub struct Repository {
    gix: gix::Repository,
    objects: ObjectStore,
    summaries: Summaries,
}

/// A repository, or something in it, that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// There is no repository.
    #[error("there is no git repository at {path}: {reason}")]
    Missing {
        /// The path.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// The objects can't be read.
    #[error("the objects of {path} can't be read: {reason}")]
    Objects {
        /// The repository's path.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// The branches and tags can't be read.
    #[error("the branches and tags of {path} can't be read: {reason}")]
    Refs {
        /// The git folder.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// No commit here has this name.
    #[error("{0:?} isn't a commit of this repository")]
    Unknown(String),
    /// A name is ambiguous. It isn't guessed, because whoever may push a tag chooses its name.
    #[error("{name:?} is ambiguous: {}", meanings.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// The full names of all meanings.
        meanings: Vec<String>,
    },
    /// The repository belongs to another user, who could have configured what is trusted.
    #[error("the repository at {0} belongs to another user")]
    Foreign(PathBuf),
    /// The name names an existing object that isn't a commit.
    #[error("{0:?} is a file or a folder, not a commit")]
    NoCommit(String),
}

impl Repository {
    /// Opens the repository at a path: a git folder, or a folder that contains `.git`.
    pub fn open(path: &Path) -> Result<Self, RepositoryError> {
        Self::open_with(path, &Quarantine::default())
    }

    /// Opens the repository with a hook's quarantine.
    pub fn open_with(path: &Path, quarantine: &Quarantine) -> Result<Self, RepositoryError> {
        // Isolated: the configuration of the machine and the user must not change what is read.
        let gix = gix::open_opts(path, gix::open::Options::isolated()).map_err(|error| {
            RepositoryError::Missing {
                path: path.to_owned(),
                reason: innermost(&error),
            }
        })?;
        let mut folders: Vec<PathBuf> = Vec::new();
        let own = gix.common_dir().join("objects");
        for folder in quarantine
            .objects
            .iter()
            .chain(&quarantine.alternates)
            .chain([&own])
        {
            if !folders.contains(folder) {
                folders.push(folder.clone());
            }
        }
        let objects =
            ObjectStore::open(&folders, objects::format(gix.object_hash()), Open::Shortly)
                .map_err(|error| RepositoryError::Objects {
                    path: path.to_owned(),
                    reason: error.to_string(),
                })?;
        Ok(Self {
            gix,
            objects,
            summaries: Summaries::default(),
        })
    }

    /// The git folder of the repository.
    pub fn git_dir(&self) -> &Path {
        self.gix.git_dir()
    }

    /// The hash algorithm that names the repository's objects.
    pub fn format(&self) -> ObjectFormat {
        self.objects.format()
    }

    /// The object store of the repository.
    pub fn objects(&self) -> &ObjectStore {
        &self.objects
    }

    /// Returns the tags under `approve/`, `alive/` and `revoke/`, sorted by name.
    pub fn tags(&self) -> Result<Vec<TagRef>, RepositoryError> {
        let failed = |error: &gix::Error| self.refs_error(error);
        let mut tags = Vec::new();
        let platform = self.gix.references().map_err(|error| failed(&error))?;
        for folder in TAGS {
            let found = platform.prefixed(folder).map_err(|error| failed(&error))?;
            for reference in found {
                let reference = reference.map_err(|error| self.refs_error(&error))?;
                let Ok(name) = reference.name().as_bstr().to_str().map(str::to_owned) else {
                    continue;
                };
                if let Some(target) = reference.target().try_id().and_then(objects::oid) {
                    tags.push(TagRef { name, target });
                }
            }
        }
        tags.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tags)
    }

    /// Returns the object that a ref (full name) names, unpeeled.
    pub fn reference(&self, name: &str) -> Result<Option<Oid>, RepositoryError> {
        let found = self
            .gix
            .try_find_reference(name)
            .map_err(|error| self.refs_error(&error))?;
        let Some(mut found) = found else {
            return Ok(None);
        };
        let id = match found.target().try_id() {
            Some(id) => id.to_owned(),
            None => found
                .follow_to_object()
                .map_err(|error| self.refs_error(&error))?
                .detach(),
        };
        Ok(objects::oid(&id))
    }

    /// True if the current user owns the git folder, or under `sudo` the user who called it.
    pub fn is_own(&self) -> bool {
        gix::sec::identity::is_path_owned_by_current_user(self.gix.git_dir()).unwrap_or(false)
    }

    /// Resolves a full or short hash, `HEAD`, a branch, a tag or `X~2` to a commit. An ambiguous name is an
    /// error. Git would choose one meaning (a tag before a branch, a branch before a short hash) and at most
    /// warn.
    pub fn resolve(&self, text: &str) -> Result<Oid, RepositoryError> {
        let unknown = || RepositoryError::Unknown(text.to_owned());
        let commit = |id: Oid| {
            let no_commit = || RepositoryError::NoCommit(text.to_owned());
            self.peel(id).ok_or_else(no_commit)
        };
        if let Ok(id) = text.parse::<Oid>() {
            return if self.objects.has(&id) {
                commit(id)
            } else {
                Err(unknown())
            };
        }
        let meanings = self.meanings(text);
        if meanings.len() > 1 {
            return Err(RepositoryError::Ambiguous {
                name: text.to_owned(),
                meanings,
            });
        }
        let mut gix = self.gix.clone();
        gix.objects.ignore_replacements = true;
        let id = gix
            .rev_parse_single(text.as_bytes().as_bstr())
            .map_err(|_| unknown())?
            .detach();
        commit(objects::oid(&id).ok_or_else(unknown)?)
    }

    /// Lists all refs and objects that the name at the beginning of an expression could mean.
    fn meanings(&self, text: &str) -> Vec<String> {
        let end = text.find(['^', '~', ':']).or_else(|| text.find("@{"));
        let name = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        if matches!(name, "" | "HEAD" | "@") || name.starts_with("refs/") {
            return Vec::new();
        }
        let full = [
            format!("refs/{name}"),
            format!("refs/tags/{name}"),
            format!("refs/heads/{name}"),
            format!("refs/remotes/{name}"),
            format!("refs/remotes/{name}/HEAD"),
        ];
        let is_there = |full: &String| {
            let found = self.gix.try_find_reference(full.as_str()).ok().flatten();
            found.is_some_and(|found| found.name().as_bstr() == full.as_str())
        };
        let mut meanings: Vec<String> = full.into_iter().filter(is_there).collect();
        // A name of 7 or more hex digits may be meant as a short hash even if no such object exists here,
        // because people are shown hashes of that length.
        let hash = gix::hash::Prefix::from_hex(name).ok();
        let meant = |prefix| {
            name.len() >= 7
                || self
                    .gix
                    .objects
                    .lookup_prefix(prefix, None)
                    .is_ok_and(|found| found.is_some())
        };
        if hash.is_some_and(meant) {
            meanings.push(format!("the object {name}"));
        }
        meanings
    }

    /// Returns the commit behind a tag.
    fn peel(&self, mut id: Oid) -> Option<Oid> {
        for _ in 0..8 {
            match self.objects.kind(&id)? {
                ObjectKind::Commit => return Some(id),
                ObjectKind::Tag => {
                    let raw = self.objects.read(&id, ObjectKind::Tag, limits::TAG).ok()?;
                    let target = raw
                        .strip_prefix(b"object ")?
                        .split(|b| *b == b'\n')
                        .next()?;
                    id = Oid::from_hex(target).ok()?;
                }
                ObjectKind::Tree | ObjectKind::Blob => return None,
            }
        }
        None
    }

    /// Returns a value of the repository's own configuration, for example `plumb.introduction`.
    pub fn config(&self, key: &str) -> Option<String> {
        self.gix
            .config_snapshot()
            .string(key)
            .map(|value| value.to_str_lossy().into_owned())
    }

    fn refs_error(&self, error: &gix::Error) -> RepositoryError {
        RepositoryError::Refs {
            path: self.git_dir().to_owned(),
            reason: innermost(error),
        }
    }
}

impl Effects for Repository {
    fn between(&self, before: &Oid, after: &Oid) -> Affected {
        TreeEffects::new(&self.objects, &self.summaries).between(before, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hooks_variables_are_taken_apart_as_git_writes_them() {
        let quarantine = Quarantine::from_values(
            Some("/srv/x.git/./objects/tmp_objdir-incoming-1"),
            Some("/srv/x.git/./objects:\"/odd\\\"one\":/third"),
        );
        assert_eq!(
            quarantine.objects.unwrap(),
            Path::new("/srv/x.git/./objects/tmp_objdir-incoming-1")
        );
        assert_eq!(
            quarantine.alternates,
            [
                Path::new("/srv/x.git/./objects"),
                Path::new("/odd\"one"),
                Path::new("/third")
            ]
        );
        assert_eq!(
            Quarantine::from_values(None, Some("")),
            Quarantine::default()
        );
    }
}
