//! `keypair`: a private key that is made on the host.

use serde::{Deserialize, Serialize};

use super::field::{FileType, Manage, Mode, Presence, Principal};
use super::{
    Dependency, LIFELINE_PATHS, Owners, Problem, Resource, check_path, differs, lies_in, parents,
    principals,
};
use crate::name::Address;
use crate::plan::FieldChange;

/// A private key that is made on the host and never leaves it. The name is the absolute path of its file.
///
/// The host makes the key with its own randomness. The file belongs to root with mode `0600` unless the
/// manifest says otherwise. Only the public half is ever read for a comparison; the private one is in no
/// plan, log, ledger or stored original.
///
/// Without `publicKey`, a missing key is made, and the host's events show its public half. Write it into the
/// manifest as `publicKey`: from then on, a missing file or another key is an error, and never replaced. A
/// key that was there before is taken as it is. When the resource leaves git, a key that Plumb made is
/// removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeypairSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// `wireguard`: the base64 form that `wg genkey` prints; `ssh`: an Ed25519 key in OpenSSH's form, without
    /// a passphrase.
    #[serde(rename = "type")]
    pub key_type: KeyType,
    /// The public half: as `wg pubkey` prints it, or `ssh-ed25519 AAAA…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The owning user; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The owning group; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The permission bits, without any for others; `0600` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The type of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum KeyType {
    /// A Curve25519 key in base64.
    Wireguard,
    /// An Ed25519 key in OpenSSH's format.
    Ssh,
}

/// The observed state of a key's path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeypairObserved {
    /// The file type at the path.
    pub file_type: FileType,
    /// The type of the key; `None` if the file has no key of a known type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub key_type: Option<KeyType>,
    /// The public half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
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

impl KeypairSpec {
    /// Returns a spec of this type without any other field.
    pub fn of(key_type: KeyType, state: Presence) -> Self {
        Self {
            state,
            key_type,
            public_key: None,
            owner: None,
            group: None,
            mode: None,
            after: Vec::new(),
            manage: Manage::Always,
        }
    }

    /// Returns the permission bits that the file is to have.
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or(Mode::from_bits(0o600))
    }
}

/// Returns a public key without the comment that may follow it.
fn without_comment(key: &str) -> String {
    key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// True if the text has the form of a public key of this type.
fn is_public_key(key_type: KeyType, text: &str) -> bool {
    let is_base64 = |text: &str| {
        let text = text.trim_end_matches('=');
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    };
    match key_type {
        KeyType::Wireguard => text.len() == 44 && text.ends_with('=') && is_base64(text),
        KeyType::Ssh => {
            let mut words = text.split_whitespace();
            let algorithm = words.next() == Some("ssh-ed25519");
            let key = words.next().unwrap_or_default();
            algorithm && key.len() == 68 && key.starts_with("AAAA") && is_base64(key)
        }
    }
}

impl Resource for KeypairSpec {
    type Observed = KeypairObserved;

    const EXAMPLE: &'static str = r#"keypair:
  /etc/wireguard/wg.key:
    type: wireguard
    publicKey: "wDpVTtWJrHRy2dQOnQ2Ef1kWWNIhkYMq9zZzN0Y0rVE="
  /root/.ssh/id_ed25519: {type: ssh}
"#;

    const RANK: u8 = 44;

    fn check_name(name: &str) -> Result<(), String> {
        check_path(name)
    }

    fn path(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(key) = &self.public_key {
            if !is_public_key(self.key_type, key) {
                let (form, program) = match self.key_type {
                    KeyType::Wireguard => ("44 characters that end with `=`", "wg pubkey"),
                    KeyType::Ssh => ("`ssh-ed25519 AAAA…`", "ssh-keygen -y -f FILE"),
                };
                problems.push(Problem {
                    field: "publicKey",
                    message: format!("`publicKey` isn't {form}"),
                    hint: format!("write what `{program}` prints"),
                });
            }
            if self.wants_absent() {
                problems.push(Problem {
                    field: "state",
                    message: "an absent key has no public half".to_owned(),
                    hint: "remove `publicKey`, or remove `state: absent`".to_owned(),
                });
            }
        }
        if self.mode().bits() & 0o7007 != 0 {
            problems.push(Problem {
                field: "mode",
                message: "a private key is for its owner and group alone".to_owned(),
                hint: "write \"0600\" or \"0640\"".to_owned(),
            });
        }
        problems
    }

    fn compare(&self, observed: &KeypairObserved) -> Vec<FieldChange> {
        let desired = if self.wants_absent() {
            FileType::Absent
        } else {
            FileType::File
        };
        let mut changes = Vec::new();
        differs(
            &mut changes,
            "state",
            Some(&desired),
            Some(&observed.file_type),
        );
        if self.wants_absent() {
            return changes;
        }
        if observed.file_type == FileType::File {
            differs(
                &mut changes,
                "type",
                Some(&self.key_type),
                observed.key_type.as_ref(),
            );
            let desired = self.public_key.as_deref().map(without_comment);
            differs(
                &mut changes,
                "publicKey",
                desired.as_ref(),
                observed.public_key.as_ref(),
            );
        }
        differs(
            &mut changes,
            "owner",
            self.owner.as_ref(),
            observed.owner.as_ref(),
        );
        differs(
            &mut changes,
            "group",
            self.group.as_ref(),
            observed.group.as_ref(),
        );
        differs(
            &mut changes,
            "mode",
            Some(&self.mode()),
            observed.mode.as_ref(),
        );
        changes
    }

    fn requires(&self, name: &str) -> Vec<Dependency> {
        let mut all = parents(name);
        all.extend(principals(self.owners()));
        all
    }

    fn exists(observed: &KeypairObserved) -> bool {
        observed.file_type != FileType::Absent
    }

    fn lifeline(name: &str) -> bool {
        lies_in(name, LIFELINE_PATHS)
    }

    fn wants_absent(&self) -> bool {
        self.state == Presence::Absent
    }

    fn owners(&self) -> Owners<'_> {
        Owners {
            user: self.owner.as_ref(),
            group: self.group.as_ref(),
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
    use serde_json::json;

    use super::*;

    const KEY: &str = "wDpVTtWJrHRy2dQOnQ2Ef1kWWNIhkYMq9zZzN0Y0rVE=";

    fn problems(spec: serde_json::Value) -> Vec<&'static str> {
        let spec: KeypairSpec = serde_json::from_value(spec).unwrap();
        let problems = spec.check("/etc/wireguard/wg.key");
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn public_key_has_the_form_of_its_type_and_mode_is_private() {
        let ssh =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me";
        assert!(
            problems(json!({"type": "wireguard", "publicKey": KEY, "mode": "0640"})).is_empty()
        );
        assert!(problems(json!({"type": "ssh", "publicKey": ssh})).is_empty());
        assert_eq!(
            problems(json!({"type": "ssh", "publicKey": KEY})),
            ["publicKey"]
        );
        assert_eq!(
            problems(json!({"type": "wireguard", "publicKey": "…"})),
            ["publicKey"]
        );
        assert_eq!(
            problems(json!({"type": "wireguard", "mode": "0644"})),
            ["mode"]
        );
    }

    #[test]
    fn only_the_public_half_and_the_rights_are_compared() {
        let spec = KeypairSpec {
            public_key: Some(KEY.to_owned()),
            ..KeypairSpec::of(KeyType::Wireguard, Presence::Present)
        };
        let mut observed = KeypairObserved {
            file_type: FileType::File,
            key_type: Some(KeyType::Wireguard),
            public_key: Some(KEY.to_owned()),
            mode: Some(Mode::from_bits(0o600)),
            ..KeypairObserved::default()
        };
        assert!(spec.compare(&observed).is_empty());
        observed.mode = Some(Mode::from_bits(0o644));
        observed.public_key = Some("another".to_owned());
        let changes = spec.compare(&observed);
        let fields: Vec<_> = changes.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(fields, ["publicKey", "mode"]);
    }
}
