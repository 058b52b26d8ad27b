//! The public keys that a new fleet trusts.

use std::path::{Path, PathBuf};

use plumb_trust::KeyName;
use plumb_trust::policy::KeyFile;

use crate::git::Git;
use crate::report::{Failure, OrFail as _};

/// A public key and whose it is.
#[derive(Debug)]
pub(super) struct TrustedKey {
    pub(super) identity: String,
    pub(super) name: KeyName,
    pub(super) text: Vec<u8>,
}

impl TrustedKey {
    /// From `FILE` or `NAME=FILE`.
    pub(super) fn from_file(given: &str) -> Result<Self, Failure> {
        let (name, file) = match given.split_once('=') {
            Some((name, file)) => (Some(name.to_owned()), file),
            None => (None, given),
        };
        let path = expand(file);
        let text =
            std::fs::read(&path).or_fail(|| format!("the key {} can't be read", path.display()))?;
        let identity = match name {
            Some(name) => name,
            None => user_name(&Git::at(Path::new(".")))
                .or_else(|| {
                    path.file_stem()
                        .map(|stem| stem.to_string_lossy().into_owned())
                })
                .unwrap_or_default(),
        };
        Self::new(&identity, text, &path.display().to_string())
    }

    /// The key that the user's git signs with.
    pub(super) fn of_git(git: &Git) -> Result<Self, Failure> {
        let none = || {
            Failure::new("git has no `user.signingkey`, so it isn't known which key to trust")
                .hint("say one: --ssh-key ~/.ssh/id_ed25519.pub, or --openpgp FILE from `gpg --armor --export`")
                .hint("or set it: git config --global gpg.format ssh && git config --global user.signingkey ~/.ssh/id_ed25519.pub")
        };
        let key = git
            .try_ask(&["config", "user.signingkey"])
            .ok_or_else(none)?;
        let format = git.try_ask(&["config", "gpg.format"]).unwrap_or_default();
        let identity = user_name(git).unwrap_or_else(|| "me".to_owned());
        match format.as_str() {
            "ssh" => Self::ssh_of_git(&identity, &key),
            "" | "openpgp" => Self::openpgp_of_git(&identity, &key),
            other => Err(Failure::new(format!(
                "git signs in the format {other}, which Plumb doesn't take"
            ))
            .hint("use gpg.format ssh or openpgp")),
        }
    }

    fn ssh_of_git(identity: &str, key: &str) -> Result<Self, Failure> {
        let literal = key
            .strip_prefix("key::")
            .or_else(|| key.starts_with("ssh-").then_some(key));
        if let Some(text) = literal {
            return Self::new(
                identity,
                format!("{text}\n").into_bytes(),
                "user.signingkey",
            );
        }
        let path = expand(key);
        let public = PathBuf::from(format!("{}.pub", path.display()));
        let path = if path.extension().is_some_and(|e| e == "pub") || !public.exists() {
            path
        } else {
            public
        };
        let text = std::fs::read(&path)
            .or_fail(|| format!("git's signing key {} can't be read", path.display()))?;
        Self::new(identity, text, &path.display().to_string())
    }

    fn openpgp_of_git(identity: &str, key: &str) -> Result<Self, Failure> {
        let output = std::process::Command::new("gpg")
            .args([
                "--batch",
                "--armor",
                "--export",
                "--export-options",
                "export-minimal",
                "--",
                key,
            ])
            .output()
            .or_fail(|| "gpg can't be run to export the key that git signs with".to_owned())
            .map_err(|failure| failure.hint("say the certificate's file with --openpgp"))?;
        if output.stdout.is_empty() {
            return Err(
                Failure::new(format!("gpg has no public key {key}, which git signs with"))
                    .hint("say the certificate's file with --openpgp"),
            );
        }
        Self::new(identity, output.stdout, &format!("the key {key} of gpg"))
    }

    fn new(identity: &str, text: Vec<u8>, origin: &str) -> Result<Self, Failure> {
        let key = KeyFile::parse(&text).map_err(|error| {
            let failure = Failure::new(format!("{origin} is {error}"));
            match error {
                plumb_trust::policy::KeyFileError::Secret => {
                    failure.hint("give the public key: FILE.pub")
                }
                _ => failure,
            }
        })?;
        let identity: String = identity
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let identity = identity.trim_matches('-').to_owned();
        if identity.is_empty() {
            return Err(
                Failure::new(format!("it isn't known whose key {origin} is"))
                    .hint("name the person: --ssh-key alice=FILE"),
            );
        }
        Ok(Self {
            identity,
            name: key.name(),
            text,
        })
    }

    /// Where it lies in the repository.
    pub(super) fn path(&self) -> String {
        let ending = match self.name {
            KeyName::OpenPgp(_) => "asc",
            KeyName::Ssh(_) => "pub",
        };
        format!("trust/keys/{}.{ending}", self.identity)
    }

    /// How the policy names it.
    pub(super) fn policy_form(&self) -> String {
        match self.name {
            KeyName::OpenPgp(_) => format!("{{openpgp: {}}}", self.name),
            KeyName::Ssh(_) => format!("{{ssh: \"{}\"}}", self.name),
        }
    }
}

/// A short name for who uses this git.
fn user_name(git: &Git) -> Option<String> {
    let email = git.try_ask(&["config", "user.email"]);
    let local = email.as_deref().and_then(|email| email.split('@').next());
    local.map(str::to_owned).or_else(|| {
        git.try_ask(&["config", "user.name"])?
            .split(' ')
            .next()
            .map(str::to_owned)
    })
}

/// `~/` as shells and git have it.
fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}
