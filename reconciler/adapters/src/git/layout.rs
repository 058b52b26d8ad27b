//! Creates bare repositories and reads their object format.

use std::fs;
use std::io;
use std::path::Path;

use plumb_trust::ObjectFormat;

/// The object format of a repository can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayoutError {
    /// An I/O error.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The repository has a format that Plumb doesn't support.
    #[error("it has the unknown object format {0}")]
    UnknownFormat(String),
}

/// Creates an empty bare repository in an existing folder.
pub(super) fn create(folder: &Path, format: ObjectFormat, head: &str) -> io::Result<()> {
    for part in [
        "objects/info",
        "objects/pack",
        "refs/heads",
        "refs/tags",
        "hooks",
        "info",
    ] {
        fs::create_dir_all(folder.join(part))?;
    }
    let config = match format {
        ObjectFormat::Sha1 => {
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
        }
        ObjectFormat::Sha256 => {
            "[core]\n\trepositoryformatversion = 1\n\tfilemode = true\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
        }
    };
    fs::write(folder.join("config"), config)?;
    // Written last: git takes a folder for a repository once it has `HEAD`.
    fs::write(folder.join("HEAD"), format!("ref: {head}\n"))
}

/// Returns the object format of a repository that [`create`] made.
pub(super) fn format(folder: &Path) -> Result<ObjectFormat, LayoutError> {
    let config = fs::read_to_string(folder.join("config"))?;
    let mut named = config.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case("objectformat")
            .then(|| value.trim().to_owned())
    });
    match named.next().as_deref() {
        None | Some("sha1") => Ok(ObjectFormat::Sha1),
        Some("sha256") => Ok(ObjectFormat::Sha256),
        Some(other) => Err(LayoutError::UnknownFormat(other.to_owned())),
    }
}
