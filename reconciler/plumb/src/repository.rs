//! Opens the repository that a command works on, and explains why it can't be used.

use std::path::Path;

use plumb_adapters::git::{Repository, RepositoryError};

use crate::git::nothing_committed;
use crate::report::Failure;

/// Opens the repository that holds a folder. As in git, the folder may be anywhere inside it.
pub(crate) fn repository_of(folder: &Path) -> Result<Repository, RepositoryError> {
    let whole = folder.canonicalize().ok();
    let around = whole
        .iter()
        .flat_map(|folder| folder.ancestors())
        .find(|folder| folder.join(".git").exists());
    let repository = Repository::open(around.unwrap_or(folder))?;
    if repository.is_own() {
        Ok(repository)
    } else {
        Err(RepositoryError::Foreign(repository.git_dir().to_owned()))
    }
}

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Self {
        // `HEAD` is missing only if its branch has no commit yet.
        if matches!(&error, RepositoryError::Unknown(name) if name == "HEAD") {
            return nothing_committed();
        }
        let hint = match &error {
            RepositoryError::Missing { .. } => Some("name the repository's folder, or its .git"),
            RepositoryError::Unknown(_) => {
                Some("name a branch, a tag or a commit id; it may need `git fetch` first")
            }
            RepositoryError::Ambiguous { .. } => Some(
                "write the full name, such as refs/heads/main, or the full id; delete a tag that is named like a branch or an id: git tag -d NAME",
            ),
            RepositoryError::Foreign(_) => Some(
                "run this in a clone of your own, because that repository's settings could change what is trusted; `plumb verify --git-dir DIR` judges it from outside",
            ),
            RepositoryError::NoCommit(_)
            | RepositoryError::Objects { .. }
            | RepositoryError::Refs { .. } => None,
        };
        Self::new(error.to_string()).maybe_hint(hint.map(str::to_owned))
    }
}
