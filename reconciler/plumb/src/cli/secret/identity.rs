//! An operator's own age key, which decrypts every secret.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use plumb_agent::age::Identity;
use zeroize::Zeroizing;

use crate::report::{Failure, OrFail as _};

/// The file with an operator's private key.
#[derive(Debug, Args)]
pub(super) struct IdentityFile {
    /// The file with your private age key [default: ~/.config/plumb/age-identity]
    #[arg(long, env = "PLUMB_AGE_IDENTITY", value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl IdentityFile {
    /// Returns the path of the file.
    pub(super) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.identity {
            return Ok(path.clone());
        }
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let home = home.ok_or_else(|| {
            Failure::new("HOME isn't set, so there is no default for the private key")
                .hint("name the file with --identity")
        })?;
        Ok(home.join(".config/plumb/age-identity"))
    }

    /// True if the file exists.
    pub(super) fn exists(&self) -> bool {
        self.path().is_ok_and(|path| path.exists())
    }

    /// Reads the key.
    pub(super) fn read(&self) -> Result<Identity, Failure> {
        let path = self.path()?;
        let text = fs::read_to_string(&path)
            .map(Zeroizing::new)
            .map_err(|error| {
                Failure::new(format!("cannot read your private key {}", path.display()))
                    .because(&error)
                    .hint("name it with --identity, or make one with `plumb secret operator NAME`")
            })?;
        let mut lines = text.lines().map(str::trim);
        let key = lines.find_map(|line| line.parse::<Identity>().ok());
        key.ok_or_else(|| {
            Failure::new(format!("{} has no X25519 key of age", path.display()))
                .hint("it has a line that begins with AGE-SECRET-KEY-1")
        })
    }
}

/// Writes a private key to a new file that only its owner can read.
pub(super) fn write(path: &Path, identity: &Identity) -> Result<(), Failure> {
    let what = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).or_fail(what)?;
    }
    let text = identity.to_secret_text().or_fail(what)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .or_fail(what)?;
    let recipient = identity.recipient();
    write!(file, "# public key: {recipient}\n{}\n", *text).or_fail(what)
}
