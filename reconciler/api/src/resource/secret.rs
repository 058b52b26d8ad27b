//! `secret`: a value that is encrypted in the repository, and the files that it is delivered in.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::field::{Manage, Mode, Presence, Principal};
use super::{Claim, Dependency, Owners, Problem, Resource, check_path, lies_in, principals};
use crate::canonical::NotCanonical;
use crate::digest::Digest;
use crate::name::{Address, is_label};
use crate::plan::FieldChange;
use crate::secret::SecretBinding;

/// The folder below which secrets are delivered. It is in memory on every host.
const IN_MEMORY: &str = "/run";

/// A secret on a host. The name is `NAME/KEY`: the Secret object `NAME` and one of its values.
///
/// `plumb secret set NAME/KEY` writes the Secret object in `secrets/NAME.yaml`, and each host that its `hosts`
/// selects gets one resource per value. Other resources refer to it by its address: with `restartOn:
/// [secret:NAME/KEY]` a service is restarted when the value changes. A manifest may add `after` to the
/// resource; everything else comes from the Secret object.
///
/// The value is encrypted to the hosts and the operators. Only the host decrypts it, into files below `/run`,
/// which are in memory. Neither a plan, a log, a report nor the agent's own files have the value or a digest
/// of it. The host refuses a ciphertext that was made for another repository, secret, key, version, `hosts` or
/// delivery, and one that is older than the one it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The repository's identity in its trust policy.
    #[serde(default)]
    pub repository: String,
    /// The version of the value.
    #[serde(default)]
    pub version: u64,
    /// The digest of `hosts` of the Secret object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Digest>,
    /// The encrypted value, as an armored age file.
    #[serde(default)]
    pub ciphertext: String,
    /// The files that get the value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliver: Vec<SecretFile>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// A file that a host writes a secret to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretFile {
    /// The absolute path, below `/run`.
    pub path: String,
    /// The owning user; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The owning group; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The permission bits, without any for others; `0400` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

impl SecretFile {
    /// Returns the permission bits that the file is to have.
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or(Mode::from_bits(0o400))
    }

    /// Returns the state of the file when it is as desired. `root` stands for an owner that is left out.
    fn desired(&self, root: Option<&Principal>) -> SecretFileObserved {
        SecretFileObserved {
            path: self.path.clone(),
            content: SecretContent::Current,
            owner: self.owner.as_ref().or(root).cloned(),
            group: self.group.as_ref().or(root).cloned(),
            mode: Some(self.mode()),
        }
    }
}

/// The observed state of a secret: its files, in the order of the spec.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretObserved {
    /// The files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SecretFileObserved>,
}

/// The observed state of a file that a secret is delivered in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretFileObserved {
    /// The path.
    pub path: String,
    /// How the content compares with the value. Nothing else of the content leaves the host.
    pub content: SecretContent,
    /// The owner, in the spec's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The group, in the spec's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// How the content of a file compares with the value of its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretContent {
    /// There is no file.
    Missing,
    /// The file has the value.
    Current,
    /// The file has something else, such as an earlier version.
    Other,
}

impl SecretSpec {
    /// Returns the spec of a secret that isn't there, without files.
    pub fn absent() -> Self {
        Self {
            state: Presence::Absent,
            repository: String::new(),
            version: 0,
            hosts: None,
            ciphertext: String::new(),
            deliver: Vec::new(),
            after: Vec::new(),
            manage: Manage::Always,
        }
    }

    /// Splits a resource's name into the names of the object and of the key.
    pub fn split_name(name: &str) -> Option<(&str, &str)> {
        let (name, key) = name.split_once('/')?;
        (is_label(name) && is_label(key)).then_some((name, key))
    }

    /// Returns the digest of a delivery, which the envelope of the value has.
    ///
    /// # Errors
    /// If the files have no canonical form; none is known.
    pub fn digest_of_delivery(files: &[SecretFile]) -> Result<Digest, NotCanonical> {
        Digest::of("secret-delivery", &files)
    }

    /// Returns the binding that the envelope of this resource's value must have, or `None` if the name isn't
    /// one of a secret.
    pub fn binding(&self, name: &str) -> Option<SecretBinding> {
        let (name, key) = Self::split_name(name)?;
        Some(SecretBinding {
            repository: self.repository.clone(),
            name: name.to_owned(),
            key: key.to_owned(),
            version: self.version,
            hosts: self.hosts?,
            deliver: Self::digest_of_delivery(&self.deliver).ok()?,
        })
    }
}

/// Returns the mistake in the path of a delivery, if there is one.
pub fn check_secret_path(path: &str) -> Result<(), String> {
    check_path(path)?;
    if lies_in(path, &[IN_MEMORY]) {
        Ok(())
    } else {
        Err("a secret is delivered below /run, which is in memory".to_owned())
    }
}

impl Resource for SecretSpec {
    type Observed = SecretObserved;

    const EXAMPLE: &'static str = r"secret:
  nextcloud/admin: {after: [user:nextcloud]}
user:
  nextcloud: {system: true}
service:
  nextcloud: {state: started, restartOn: [secret:nextcloud/admin]}
";

    const ENCRYPTED: &'static [&'static str] = &["ciphertext"];

    const RANK: u8 = 40;

    fn check_name(name: &str) -> Result<(), String> {
        match Self::split_name(name) {
            Some(_) => Ok(()),
            None => Err(
                "the name of a secret is NAME/KEY, each with 1 to 63 of a-z, 0-9 and `-`"
                    .to_owned(),
            ),
        }
    }

    fn claims(&self, _name: &str) -> Vec<Claim> {
        let claim = |file: &SecretFile| Claim {
            path: file.path.clone(),
            hint: "deliver the secret to another path".to_owned(),
        };
        self.deliver.iter().map(claim).collect()
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |message: String, hint: &str| {
            problems.push(Problem {
                field: "deliver",
                message,
                hint: hint.to_owned(),
            });
        };
        if self.ciphertext.is_empty() && !self.wants_absent() {
            wrong(
                "no Secret object gives it a value on this host".to_owned(),
                "run `plumb secret set`, and let `hosts` in the Secret select this host",
            );
        }
        let mut seen = BTreeSet::new();
        for file in &self.deliver {
            if let Err(message) = check_secret_path(&file.path) {
                wrong(message, "write a path such as /run/plumb/secrets/NAME");
            }
            if file.mode().bits() & 0o7007 != 0 {
                wrong(
                    format!("the mode {} lets others read a secret", file.mode()),
                    "give it to a group: {group: app, mode: \"0440\"}",
                );
            }
            if !seen.insert(&file.path) {
                wrong(
                    format!("{} gets the value twice", file.path),
                    "remove one of the two",
                );
            }
        }
        problems
    }

    fn compare(&self, observed: &SecretObserved) -> Vec<FieldChange> {
        let exists = Self::exists(observed);
        if self.wants_absent() {
            return if exists {
                vec![FieldChange::new("state", "present", "absent")]
            } else {
                Vec::new()
            };
        }
        let root = "root".parse().ok();
        let desired: Vec<_> = self
            .deliver
            .iter()
            .map(|file| file.desired(root.as_ref()))
            .collect();
        if desired == observed.files {
            return Vec::new();
        }
        let mut changes = Vec::new();
        if !exists {
            changes.push(FieldChange::new("state", "absent", "present"));
        }
        changes.push(FieldChange::of(
            "deliver",
            Some(&observed.files),
            Some(&desired),
        ));
        changes
    }

    fn requires(&self, _name: &str) -> Vec<Dependency> {
        let owners = self.deliver.iter().map(|file| Owners {
            user: file.owner.as_ref(),
            group: file.group.as_ref(),
        });
        owners.flat_map(principals).collect()
    }

    fn exists(observed: &SecretObserved) -> bool {
        let mut files = observed.files.iter();
        files.any(|file| file.content != SecretContent::Missing)
    }

    fn wants_absent(&self) -> bool {
        self.state == Presence::Absent
    }

    fn owners(&self) -> Owners<'_> {
        let first = self.deliver.first();
        Owners {
            user: first.and_then(|file| file.owner.as_ref()),
            group: first.and_then(|file| file.group.as_ref()),
        }
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(files: &[(&str, &str)]) -> SecretSpec {
        SecretSpec {
            state: Presence::Present,
            ciphertext: "-----BEGIN".to_owned(),
            deliver: files
                .iter()
                .map(|(path, mode)| SecretFile {
                    path: (*path).to_owned(),
                    owner: None,
                    group: None,
                    mode: mode.parse().ok(),
                })
                .collect(),
            ..SecretSpec::absent()
        }
    }

    #[test]
    fn only_memory_and_never_for_everybody() {
        assert!(spec(&[("/run/a/b", "0440")]).check("a/b").is_empty());
        for files in [
            [("/etc/a", "0400")],
            [("/run/a", "0404")],
            [("/run/a", "4400")],
            [("/running/a", "0400")],
        ] {
            assert_eq!(spec(&files).check("a/b").len(), 1, "{files:?}");
        }
        let twice = spec(&[("/run/a", "0400"), ("/run/a", "0440")]);
        assert_eq!(twice.check("a/b").len(), 1);
    }

    #[test]
    fn names_are_those_of_an_object_and_a_key() {
        for name in ["a", "a/", "/b", "a/b/c", "A/b", "a/b_c", "a/../b"] {
            assert!(SecretSpec::check_name(name).is_err(), "{name}");
        }
        assert!(SecretSpec::check_name("nextcloud/admin").is_ok());
    }

    #[test]
    fn other_content_owner_and_mode_are_differences() {
        let spec = spec(&[("/run/a", "0440")]);
        let root = "root".parse().ok();
        let current = SecretObserved {
            files: vec![spec.deliver[0].desired(root.as_ref())],
        };
        assert!(spec.compare(&current).is_empty());
        let edits: [fn(&mut SecretFileObserved); 4] = [
            |file| file.content = SecretContent::Other,
            |file| file.owner = "app".parse().ok(),
            |file| file.group = "app".parse().ok(),
            |file| file.mode = "0400".parse().ok(),
        ];
        for edit in edits {
            let mut other = current.clone();
            edit(&mut other.files[0]);
            let changes = spec.compare(&other);
            assert_eq!(changes.len(), 1);
            assert_eq!(changes[0].field, "deliver");
        }
    }
}
