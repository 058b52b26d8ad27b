//! The repository's folder on a command line: `-C DIR` for every command. Commands that took the folder as
//! their first word in earlier versions still accept it.

use std::path::{Path, PathBuf};

use clap::Args;

/// The repository's folder.
#[derive(Debug, Args)]
pub(super) struct RepositoryFolder {
    /// The repository's folder
    #[arg(short = 'C', long = "repo", value_name = "DIR")]
    named: Option<PathBuf>,
}

impl RepositoryFolder {
    /// Returns the folder; by default the present one.
    pub(super) fn path(&self) -> &Path {
        self.named.as_deref().unwrap_or(Path::new("."))
    }

    /// Splits words into the folder and host names. Without `-C`, the first word is the folder if it looks
    /// like a path or names a fleet's folder.
    pub(super) fn and_hosts(&self, mut words: Vec<String>) -> (PathBuf, Vec<String>) {
        if let Some(named) = &self.named {
            return (named.clone(), words);
        }
        let is_folder = words.first().is_some_and(|word| {
            word.contains('/') || word == "." || Path::new(word).join("fleet.yaml").exists()
        });
        let folder = if is_folder {
            words.remove(0)
        } else {
            ".".to_owned()
        };
        (PathBuf::from(folder), words)
    }
}

/// The repository's folder, by `-C` or as the only word.
#[derive(Debug, Args)]
pub(super) struct RepositoryFolderOrWord {
    #[command(flatten)]
    folder: RepositoryFolder,

    /// The repository's folder, as earlier versions took it
    #[arg(value_name = "DIR", hide = true, conflicts_with = "named")]
    word: Option<PathBuf>,
}

impl RepositoryFolderOrWord {
    /// Returns the folder; by default the present one.
    pub(super) fn path(&self) -> &Path {
        self.word.as_deref().unwrap_or(self.folder.path())
    }
}
