//! A repository that is there already, read in place: for `plumb verify --git-dir` and for hooks.

use std::path::{Path, PathBuf};

use gix::bstr::ByteSlice;
use plumb_trust::object::{ObjectKind, Objects, limits};
use plumb_trust::{ObjectFormat, Oid, TagRef};

use super::error::innermost;
use super::fetch::TAGS;
use super::objects::{self, ObjectStore, Open};

/// Where git keeps pushed objects until the hooks have agreed: what `GIT_OBJECT_DIRECTORY` and
/// `GIT_ALTERNATE_OBJECT_DIRECTORIES` say to a hook.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quarantine {
    /// The folder of the new objects.
    pub objects: Option<PathBuf>,
    /// Folders of the objects that were there before.
    pub alternates: Vec<PathBuf>,
}

impl Quarantine {
    /// From the values of git's variables, as a hook gets them. A folder that begins with a quote is
    /// written as in C.
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

/// A repository in place. Replace refs, grafts and shallow boundaries don't show through it.
pub struct Repository {
    gix: gix::Repository,
    objects: ObjectStore,
}

/// Why a repository can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// There is none.
    #[error("there is no git repository at {path}: {reason}")]
    Missing {
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Its objects can't be read.
    #[error("the objects of {path} can't be read: {reason}")]
    Objects {
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Its branches and tags can't be read.
    #[error("the branches and tags of {path} can't be read: {reason}")]
    Refs {
        /// Where.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Something isn't in it.
    #[error("{0:?} names no commit here")]
    Unknown(String),
    /// A name means several things: whoever may push a tag chooses what it is called.
    #[error("{name:?} means more than one thing here: {}", meanings.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// What it could mean, in full.
        meanings: Vec<String>,
    },
    /// It is somebody else's, who could have said in it what is trusted.
    #[error("the repository at {0} belongs to another user")]
    Foreign(PathBuf),
    /// It is in it, and is something else.
    #[error("{0:?} is no commit, but a file or a folder of one")]
    NoCommit(String),
}

impl Repository {
    /// Opens the repository at this path: its git folder, or a folder whose `.git` it is.
    pub fn open(path: &Path) -> Result<Self, RepositoryError> {
        Self::open_with(path, &Quarantine::default())
    }

    /// Opens it as a hook sees it.
    pub fn open_with(path: &Path, quarantine: &Quarantine) -> Result<Self, RepositoryError> {
        // Nothing of the machine's or the user's configuration may change what is read here.
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
        Ok(Self { gix, objects })
    }

    /// Its git folder.
    pub fn git_dir(&self) -> &Path {
        self.gix.git_dir()
    }

    /// What its objects are named by.
    pub fn format(&self) -> ObjectFormat {
        self.objects.format()
    }

    /// Its raw objects.
    pub fn objects(&self) -> &ObjectStore {
        &self.objects
    }

    /// The tags that concern trust, by name.
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

    /// What a branch or tag (by its full name) names itself, unpeeled.
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

    /// Whether it is this process's user's, or of who ran `sudo`.
    pub fn is_own(&self) -> bool {
        gix::sec::identity::is_path_owned_by_current_user(self.gix.git_dir()).unwrap_or(false)
    }

    /// The commit that a person means: a full or short hash, `HEAD`, a branch, a tag, `X~2`. Git takes a tag
    /// before a branch and both before a short hash, and says so at most; here nothing is taken then.
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

    /// Everything that the name at the beginning of an expression could stand for.
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
        // A hash that isn't here may have been meant all the same, where the name is as long as one that is
        // shown to people.
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

    /// The commit behind a tag.
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

    /// A value of the repository's own configuration, `plumb.introduction` for example.
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
