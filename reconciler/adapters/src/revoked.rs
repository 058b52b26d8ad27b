//! Reads the folder of keys that this machine's configuration revokes.
//!
//! Each file names keys: fingerprints, one per line, or one certificate or public key. An unreadable
//! file is an error and is never skipped: the key that it should name would keep its authority.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use plumb_trust::{Revocations, RevocationsError};

/// The maximum size of one file, in bytes.
pub const MAX_FILE: u64 = 256 << 10;

/// The maximum number of files in the folder.
pub const MAX_FILES: usize = 1000;

/// The folder of revoked keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RevokedError {
    /// The folder can't be read.
    #[error("can't read the folder of revoked keys {path}: {error}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The I/O error.
        #[source]
        error: io::Error,
    },
    /// The folder has more than [`MAX_FILES`] files.
    #[error("the folder of revoked keys {path} has more than {MAX_FILES} files")]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// A file can't be read.
    #[error("can't read the file of revoked keys {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        error: io::Error,
    },
    /// An entry of the folder isn't a regular file.
    #[error("{path} in the folder of revoked keys isn't a regular file")]
    NoFile {
        /// The entry.
        path: PathBuf,
    },
    /// A file is longer than [`MAX_FILE`].
    #[error("the file of revoked keys {path} is longer than {MAX_FILE} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file isn't a list of fingerprints, a certificate or a public key.
    #[error("the file of revoked keys {path} is invalid: {error}")]
    Garbled {
        /// The file.
        path: PathBuf,
        /// The parse error.
        #[source]
        error: RevocationsError,
    },
    /// A file names no key, as if it was written only in part.
    #[error("the file of revoked keys {path} names no key: finish it, or remove it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The folder that names revoked keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokedFolder {
    /// A configured folder; it is an error if it is missing.
    Named(PathBuf),
    /// The default folder; it may be missing.
    Usual(PathBuf),
}

impl RevokedFolder {
    /// Reads all keys in the folder. It skips names that begin with a dot: editors leave such files behind.
    ///
    /// # Errors
    /// Returns an error if the folder or any file in it can't be read or parsed.
    pub fn read(&self) -> Result<Revocations, RevokedError> {
        let mut all = Revocations::default();
        for path in self.files()? {
            let mut named = Revocations::default();
            let bytes = read_file(&path)?;
            if let Err(error) = named.read(&bytes) {
                return Err(RevokedError::Garbled { path, error });
            }
            if named.is_empty() {
                return Err(RevokedError::Empty { path });
            }
            for key in named.iter() {
                all.insert(key.clone());
            }
        }
        Ok(all)
    }

    fn files(&self) -> Result<Vec<PathBuf>, RevokedError> {
        let (Self::Named(path) | Self::Usual(path)) = self;
        let wrong = |error| RevokedError::Folder {
            path: path.clone(),
            error,
        };
        let entries = match (fs::read_dir(path), self) {
            (Err(error), Self::Usual(_)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            (entries, _) => entries.map_err(wrong)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(wrong)?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if files.len() == MAX_FILES {
                return Err(RevokedError::TooMany { path: path.clone() });
            }
            files.push(entry.path());
        }
        files.sort();
        Ok(files)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, RevokedError> {
    let wrong = |error| RevokedError::File {
        path: path.to_owned(),
        error,
    };
    // Non-blocking: opening a pipe would otherwise wait for a writer before the check below rejects it.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(wrong)?;
    if !file.metadata().map_err(wrong)?.is_file() {
        return Err(RevokedError::NoFile {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(RevokedError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSH: &str = "SHA256:uNiVztksCsDhcc0u9e8BrrSB1pC1FRPnY3U2VW3e0c8";
    const OPENPGP: &str = "77AA0B3C0D1E2F405162738495A6B7C8D9EAFB0C";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn read(folder: &tempfile::TempDir) -> Result<Revocations, RevokedError> {
        RevokedFolder::Named(folder.path().to_owned()).read()
    }

    #[test]
    fn every_file_takes_away() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMuqvAQa0cgFMT1d4gcAZTkFdv0pEyf7ztceyhK94lbB mallory\n";
        let folder = folder(&[
            ("a", &format!("# stolen in May\n{SSH}\n{OPENPGP} # lost\n")),
            ("mallory.pub", key),
            (".a.swp", "\0editor's own"),
        ]);
        let all = read(&folder).unwrap();
        assert_eq!(all.iter().count(), 3);
        assert!(all.contains(&SSH.parse().unwrap()) && all.contains(&OPENPGP.parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_read_is_never_left_out() {
        let said = |files: &[(&str, &str)]| read(&folder(files)).unwrap_err().to_string();
        assert!(said(&[("a", SSH), ("b", "mallory\n")]).contains("/b is invalid: line 1"));
        assert!(said(&[("a", "")]).contains("/a names no key"));
        assert!(said(&[("a", "# nothing yet\n")]).contains("names no key"));
        let long = "#".repeat(usize::try_from(MAX_FILE).unwrap() + 1);
        assert!(said(&[("a", &long)]).contains("longer than"));
        let deep = folder(&[]);
        fs::create_dir(deep.path().join("more")).unwrap();
        assert!(
            read(&deep)
                .unwrap_err()
                .to_string()
                .contains("isn't a regular file")
        );
        let dangling = folder(&[]);
        std::os::unix::fs::symlink("nowhere", dangling.path().join("a")).unwrap();
        assert!(matches!(read(&dangling), Err(RevokedError::File { .. })));
    }

    #[test]
    fn only_the_usual_folder_may_be_missing() {
        let gone = folder(&[]).path().join("gone");
        assert!(
            RevokedFolder::Usual(gone.clone())
                .read()
                .unwrap()
                .is_empty()
        );
        let error = RevokedFolder::Named(gone.clone()).read().unwrap_err();
        assert!(matches!(error, RevokedError::Folder { .. }), "{error}");
        let file = folder(&[("a", SSH)]);
        let error = RevokedFolder::Usual(file.path().join("a")).read();
        assert!(matches!(error, Err(RevokedError::Folder { .. })));
    }
}
