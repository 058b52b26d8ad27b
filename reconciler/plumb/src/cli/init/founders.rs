//! Reads the first keys of a new policy and builds the policy, for `plumb init` and `plumb trust init`.

use std::path::{Path, PathBuf};

use clap::Args;
use plumb_trust::policy::BindRef;

use super::new_policy::{NewPolicy, Person, Rule};
use crate::git::Git;
use crate::public_key::PublicKey;
use crate::report::Failure;

/// The options that name the keys of a new policy.
#[derive(Debug, Args)]
pub(in crate::cli) struct Founders {
    /// The file of an SSH public key; name the person too if there are several
    #[arg(long, value_name = "[NAME=]FILE")]
    pub(in crate::cli) ssh_key: Vec<String>,

    /// The file of an OpenPGP certificate
    #[arg(long, value_name = "[NAME=]FILE")]
    pub(in crate::cli) openpgp: Vec<String>,
}

/// A person of a new policy.
#[derive(Debug)]
pub(in crate::cli) struct Founder {
    pub(in crate::cli) identity: String,
    pub(in crate::cli) key: PublicKey,
}

impl Founders {
    /// Reads the given keys, or else the one that git signs with in this folder.
    pub(in crate::cli) fn read(&self, folder: &Path) -> Result<Vec<Founder>, Failure> {
        let mut founders = Vec::new();
        for given in self.ssh_key.iter().chain(&self.openpgp) {
            founders.push(Founder::from_file(given)?);
        }
        if founders.is_empty() {
            let folder = if folder.is_dir() {
                folder
            } else {
                Path::new(".")
            };
            let git = Git::at(folder);
            let key = PublicKey::of_git(&git)?;
            let identity = user_name(&git).unwrap_or_else(|| "me".to_owned());
            founders.push(Founder::new(&identity, key)?);
        }
        for (at, founder) in founders.iter().enumerate() {
            let before = &founders[..at];
            if before
                .iter()
                .any(|other| other.identity == founder.identity)
            {
                return Err(
                    Failure::new(format!("two keys have the name {}", founder.identity))
                        .hint("name each person: --ssh-key alice=FILE --openpgp bob=FILE"),
                );
            }
            if before
                .iter()
                .any(|other| other.key.name == founder.key.name)
            {
                return Err(Failure::new("the same key is given twice")
                    .hint("give keys of two people: two signatures by one key count as one"));
            }
        }
        Ok(founders)
    }
}

impl Founder {
    /// Reads `FILE` or `NAME=FILE`.
    pub(in crate::cli) fn from_file(given: &str) -> Result<Self, Failure> {
        let (name, file) = match given.split_once('=') {
            Some((name, file)) => (Some(name.to_owned()), file),
            None => (None, given),
        };
        let path = PathBuf::from(file);
        let key = PublicKey::of_file(&path)?;
        let identity = name
            .or_else(|| user_name(&Git::at(Path::new("."))))
            .or_else(|| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .unwrap_or_default();
        Self::new(&identity, key)
    }

    fn new(identity: &str, key: PublicKey) -> Result<Self, Failure> {
        let identity = word(identity);
        if identity.is_empty() {
            return Err(
                Failure::new(format!("cannot tell whose key {} is", key.origin))
                    .hint("name the person: --ssh-key alice=FILE"),
            );
        }
        Ok(Self { identity, key })
    }
}

/// Turns a person's name into a valid name for an identity.
pub(in crate::cli) fn word(name: &str) -> String {
    let word: String = name
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
                c
            } else {
                '-'
            }
        })
        .collect();
    let word = word.trim_matches(['-', '.', '_']);
    word.chars().take(64).collect()
}

/// Returns a short name of git's user.
pub(in crate::cli) fn user_name(git: &Git) -> Option<String> {
    let email = git.try_ask(&["config", "user.email"]);
    let local = email.as_deref().and_then(|email| email.split('@').next());
    local.map(str::to_owned).or_else(|| {
        git.try_ask(&["config", "user.name"])?
            .split(' ')
            .next()
            .map(str::to_owned)
    })
}

/// Builds the first policy. With one founder, every change needs one signature, and commits don't need the
/// line `Deploy-Ref:`. With several founders, they do, and changes of trust/ and fleet.yaml need two
/// signatures.
pub(in crate::cli) fn first_policy(founders: Vec<Founder>) -> NewPolicy {
    let names: Vec<String> = founders.iter().map(|f| f.identity.clone()).collect();
    let two = names.len() > 1;
    let rule = |path: &str, count| Rule {
        paths: vec![path.to_owned()],
        needs: vec![("ops".to_owned(), count)],
    };
    let mut rules = vec![rule("**", 1)];
    if two {
        rules.push(rule("fleet.yaml", 2));
    }
    rules.push(rule("trust/**", if two { 2 } else { 1 }));
    let identities = founders.into_iter().map(|founder| Person {
        name: founder.identity,
        keys: vec![(founder.key, None)],
    });
    NewPolicy {
        bind: if two { BindRef::Trailer } else { BindRef::None },
        identities: identities.collect(),
        groups: vec![("ops".to_owned(), names)],
        rules,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::new_policy::random_id;
    use super::*;
    use crate::cli::trust::policy_edit::PolicyEdit;

    const ALICE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7rxd7g5rDhyfqFo4wbFqNOCKV1gPk0iYLZZ7UdtG1C alice\n";
    const BOB: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL0mJZ3y4Bd2Vv2Q2xD1m0vJ0m8q5wJ0Xr3B9m7pK4aT bob\n";

    fn founder(folder: &Path, name: &str, text: &str) -> Founder {
        let path = folder.join(format!("{name}.pub"));
        fs::write(&path, text).unwrap();
        Founder::from_file(&format!("{name}={}", path.display())).unwrap()
    }

    fn policy_of(founders: Vec<Founder>) -> plumb_trust::Policy {
        let folder = tempfile::tempdir().unwrap();
        let new = first_policy(founders);
        let text = new.text(&random_id().unwrap(), "main");
        let authority = PolicyEdit::create(folder.path(), &new, &text)
            .finish("Begin")
            .unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}"))
            .authority;
        assert!(authority.warnings.is_empty(), "{:?}", authority.warnings);
        authority.policy
    }

    #[test]
    fn one_key_makes_a_one_person_policy() {
        let folder = tempfile::tempdir().unwrap();
        let policy = policy_of(vec![founder(folder.path(), "alice", ALICE)]);
        assert_eq!(policy.bind_ref, BindRef::None);
        assert!(policy.rules.iter().all(|rule| rule.need[0].count == 1));
    }

    #[test]
    fn two_keys_make_a_two_person_policy() {
        let folder = tempfile::tempdir().unwrap();
        let policy = policy_of(vec![
            founder(folder.path(), "alice", ALICE),
            founder(folder.path(), "bob", BOB),
        ]);
        assert_eq!(policy.bind_ref, BindRef::Trailer);
        let trust: Vec<_> = policy.rules_for("trust/policy.yaml").collect();
        assert!(trust.iter().any(|(_, rule)| rule.need[0].count == 2));
    }

    #[test]
    fn a_private_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        let error = Founder::from_file(&format!("alice={}", path.display())).unwrap_err();
        let text = error.render(crate::output::Palette::plain());
        assert!(
            text.contains("secret key") && text.contains("FILE.pub"),
            "{text}"
        );
    }

    #[test]
    fn names_become_identities() {
        assert_eq!(word("Neal H. Walfield"), "neal-h.-walfield");
        assert_eq!(word("@alice"), "alice");
        assert_eq!(word("¡!"), "");
    }
}
