//! Reads public keys as people give them: a file, a fingerprint, the key itself, or the one that git signs
//! with. Private keys are never read.

use std::path::{Path, PathBuf};
use std::process::Command;

use plumb_trust::KeyName;
use plumb_trust::policy::{KEYS_PATH, KeyFile, KeyFileError, Unusable};

use crate::git::Git;
use crate::report::{Failure, OrFail as _};
use crate::yaml_edit::scalar;

/// A public key, and the text of its file in `trust/keys/`.
#[derive(Debug, Clone)]
pub(crate) struct PublicKey {
    pub(crate) name: KeyName,
    pub(crate) file: KeyFile,
    pub(crate) text: String,
    /// The source of the key, for messages.
    pub(crate) origin: String,
}

/// The prefixes of an SSH public key's line.
const SSH_KINDS: [&str; 3] = ["ssh-", "ecdsa-", "sk-"];

impl PublicKey {
    /// Reads a file, a fingerprint that gpg or the SSH agent knows, or an SSH public key itself.
    pub(crate) fn of(given: &str) -> Result<Self, Failure> {
        let literal = given.strip_prefix("key::").unwrap_or(given);
        let is_literal = SSH_KINDS.iter().any(|kind| literal.starts_with(kind));
        if is_literal && literal.contains(' ') {
            return Self::read(literal.as_bytes(), "the given key");
        }
        let path = expand(given);
        if path.is_file() {
            return Self::of_file(&path);
        }
        match given.parse::<KeyName>() {
            Ok(KeyName::OpenPgp(fingerprint)) => Self::of_gpg(&fingerprint),
            Ok(KeyName::Ssh(_)) => Self::of_agent(given),
            Err(_) => Err(Failure::new(format!(
                "`{given}` isn't a file, a fingerprint or an SSH public key"
            ))
            .hint("give a file, such as ~/.ssh/id_ed25519.pub or the output of `gpg --armor --export NAME`")
            .hint("or give a fingerprint: 40 hexadecimal digits (`gpg --list-keys`) or SHA256:… (`ssh-add -l`)")
            .hint("or give the key itself in quotes: 'ssh-ed25519 AAAA… alice'")),
        }
    }

    /// Reads a file.
    pub(crate) fn of_file(path: &Path) -> Result<Self, Failure> {
        let path = expand(&path.to_string_lossy());
        let bytes =
            std::fs::read(&path).or_fail(|| format!("cannot read the key {}", path.display()))?;
        Self::read(&bytes, &path.display().to_string())
    }

    /// Reads the key that the user's git signs with.
    pub(crate) fn of_git(git: &Git) -> Result<Self, Failure> {
        let none = || {
            Failure::new("git's `user.signingkey` isn't set, so there is no key to trust")
                .hint("name a key: --ssh-key ~/.ssh/id_ed25519.pub, or --openpgp FILE from `gpg --armor --export`")
                .hint("or set one: git config --global gpg.format ssh && git config --global user.signingkey ~/.ssh/id_ed25519.pub")
        };
        let key = git
            .try_ask(&["config", "user.signingkey"])
            .ok_or_else(none)?;
        let format = git.try_ask(&["config", "gpg.format"]).unwrap_or_default();
        match format.as_str() {
            "ssh" => Self::ssh_of_git(&key),
            "" | "openpgp" => Self::of_gpg(&key)
                .map_err(|failure| failure.hint("name the certificate's file with --openpgp")),
            other => Err(Failure::new(format!(
                "git's `gpg.format` is `{other}`, which Plumb doesn't support"
            ))
            .hint("use gpg.format ssh or openpgp")),
        }
    }

    fn ssh_of_git(key: &str) -> Result<Self, Failure> {
        let literal = key
            .strip_prefix("key::")
            .or_else(|| key.starts_with("ssh-").then_some(key));
        if let Some(text) = literal {
            return Self::read(text.as_bytes(), "user.signingkey");
        }
        // `user.signingkey` may name the private key's file; the public one lies beside it.
        let path = expand(key);
        let public = PathBuf::from(format!("{}.pub", path.display()));
        let is_public = path.extension().is_some_and(|e| e == "pub");
        Self::of_file(if is_public || !public.exists() {
            &path
        } else {
            &public
        })
    }

    /// Exports a key from gpg without other people's certifications.
    fn of_gpg(name: &str) -> Result<Self, Failure> {
        // A `!` picks one subkey to sign with; the policy trusts the whole certificate.
        let name = name.trim_end_matches('!');
        let output = Command::new("gpg")
            .args(["--batch", "--armor", "--export"])
            .args(["--export-options", "export-minimal", "--", name])
            .output()
            .or_fail(|| format!("cannot run gpg to export the key {name}"))?;
        if output.stdout.is_empty() {
            return Err(
                Failure::new(format!("gpg doesn't have the public key {name}"))
                    .hint("import it with `gpg --import FILE`, or name its file"),
            );
        }
        Self::read(&output.stdout, &format!("the key {name} from gpg"))
    }

    /// Finds the key of this fingerprint in the SSH agent.
    fn of_agent(fingerprint: &str) -> Result<Self, Failure> {
        let none = |failure: Failure| {
            failure.hint(
                "name its file, such as ~/.ssh/id_ed25519.pub, or give the key itself in quotes",
            )
        };
        let output = Command::new("ssh-add")
            .arg("-L")
            .output()
            .or_fail(|| "cannot run ssh-add to get the key from the SSH agent".to_owned())
            .map_err(none)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let found = text
            .lines()
            .filter_map(|line| Self::read(line.as_bytes(), "the SSH agent's key").ok())
            .find(|key| key.name.to_string() == fingerprint);
        found.ok_or_else(|| {
            none(Failure::new(format!(
                "the SSH agent doesn't have the key {fingerprint}"
            )))
        })
    }

    /// Parses a file's bytes.
    pub(crate) fn read(bytes: &[u8], origin: &str) -> Result<Self, Failure> {
        let refused = |error: &KeyFileError| {
            let failure = Failure::new(format!("{origin} is {error}"));
            match error {
                KeyFileError::Secret => failure.hint(
                    "give the public key: FILE.pub from ssh-keygen, or the output of `gpg --armor --export NAME`",
                ),
                KeyFileError::Several => {
                    failure.hint("export one of them: gpg --armor --export FINGERPRINT")
                }
                _ => failure,
            }
        };
        let file = KeyFile::parse(bytes).map_err(|error| refused(&error))?;
        Self::of_key_file(file, origin)
    }

    /// Creates a public key from a parsed key file.
    pub(crate) fn of_key_file(file: KeyFile, origin: &str) -> Result<Self, Failure> {
        let text = file
            .to_text()
            .or_fail(|| format!("cannot re-encode {origin}"))?;
        Ok(Self {
            name: file.name(),
            file,
            text,
            origin: origin.to_owned(),
        })
    }

    /// Returns the error for a key whose signatures could never count.
    pub(crate) fn unverifiable(&self, unusable: &Unusable) -> Failure {
        let failure = Failure::new(format!(
            "signatures by {} ({}) wouldn't count: {unusable}",
            self.origin, self.name
        ));
        match &unusable.hint {
            Some(hint) => failure.hint(hint.clone()),
            None => failure.hint("create another key: `ssh-keygen -t ed25519`, or `gpg --quick-generate-key NAME ed25519 sign`"),
        }
    }

    /// Returns a path for the key's file in the repository that isn't taken.
    pub(crate) fn path(&self, identity: &str, taken: impl Fn(&str) -> bool) -> String {
        let ending = match self.name {
            KeyName::OpenPgp(_) => "asc",
            KeyName::Ssh(_) => "pub",
        };
        let first = format!("{KEYS_PATH}/{identity}.{ending}");
        if !taken(&first) {
            return first;
        }
        let mut number = 2_u32;
        loop {
            let path = format!("{KEYS_PATH}/{identity}-{number}.{ending}");
            if !taken(&path) {
                return path;
            }
            number = number.saturating_add(1);
        }
    }

    /// Renders the key as it is written in a policy.
    pub(crate) fn policy_form(&self) -> String {
        match self.name {
            // YAML would read a fingerprint of digits only as a number.
            KeyName::OpenPgp(_) => format!("{{openpgp: {}}}", scalar(&self.name.to_string())),
            KeyName::Ssh(_) => format!("{{ssh: \"{}\"}}", self.name),
        }
    }
}

/// Expands `~/` as shells and git do.
fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}
