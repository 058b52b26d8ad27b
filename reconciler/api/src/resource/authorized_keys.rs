//! `authorizedKeys`: the SSH keys that may log in as a user.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::contract::Problem;
use super::field::{Manage, Principal};
use crate::address::AnyAddress;

/// The SSH keys that may log in as a user. The name is that of the user. It expands to the file
/// `/etc/ssh/authorized_keys.d/USER`, owned by root. All resources of this type on a host together also
/// expand to `/etc/ssh/sshd_config.d/10-plumb-keys.conf`, which makes sshd read that folder, and to the
/// service `ssh`, which reloads.
///
/// sshd also accepts the keys in a user's own `~/.ssh/authorized_keys`, unless `exclusive` is true for that
/// user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizedKeysSpec {
    /// The public keys: `ssh-ed25519 AAAA… comment`, or `{key: …, options: [restrict]}`.
    pub keys: Vec<AuthorizedKey>,
    /// True if no other keys may log in as the user: sshd ignores the user's own `~/.ssh/authorized_keys`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// A public key with its options in `authorized_keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizedKey {
    /// The key: type, base64, and optionally a comment.
    pub key: String,
    /// Options of sshd(8): `restrict`, `from=\"10.0.0.0/8\"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl<'de> Deserialize<'de> for AuthorizedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct WithOptions {
            key: String,
            #[serde(default)]
            options: Vec<String>,
        }

        impl<'de> Visitor<'de> for Either {
            type Value = AuthorizedKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a public key, or {key: …, options: […]}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AuthorizedKey, E> {
                Ok(AuthorizedKey {
                    key: text.to_owned(),
                    options: Vec::new(),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AuthorizedKey, A::Error> {
                let map = de::value::MapAccessDeserializer::new(map);
                let WithOptions { key, options } = WithOptions::deserialize(map)?;
                Ok(AuthorizedKey { key, options })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for AuthorizedKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AuthorizedKey".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "title": "public key, or `{key, options}`",
            "oneOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {
                        "key": {"type": "string"},
                        "options": {"type": "array", "items": {"type": "string"}},
                    },
                    "required": ["key"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// True if a text is a public key of `authorized_keys(5)`, without options.
pub(crate) fn is_public_key(text: &str) -> bool {
    let mut words = text.split(' ');
    let kind = words.next().unwrap_or_default();
    let data = words.next().unwrap_or_default();
    let known = [
        "ssh-ed25519",
        "ssh-rsa",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    (known.contains(&kind) || kind.starts_with("ecdsa-sha2-nistp"))
        && data.starts_with("AAAA")
        && data
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
        && !text.contains(char::is_control)
}

impl Composite for AuthorizedKeysSpec {
    const EXAMPLE: &'static str = r"user:
  john: {shell: /bin/bash}
authorizedKeys:
  john:
    keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl john
    exclusive: true
";

    const SETS: &'static [&'static str] = &["after", "keys"];

    fn check_name(name: &str) -> Result<(), String> {
        match name.parse::<Principal>() {
            Ok(principal) if principal.name().is_some() => Ok(()),
            _ => Err("name it like the user".to_owned()),
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(wrong) = self.keys.iter().find(|key| !is_public_key(&key.key)) {
            let shown: String = wrong
                .key
                .chars()
                .filter(|c| !c.is_control())
                .take(24)
                .collect();
            problems.push(Problem {
                field: "keys",
                message: format!("`{shown}` isn't a public key"),
                hint: "write the one line of a .pub file; options go into `{key: …, options: […]}`"
                    .to_owned(),
            });
        }
        let good = |option: &String| !option.is_empty() && !option.contains(char::is_control);
        if !self.keys.iter().all(|key| key.options.iter().all(good)) {
            problems.push(Problem {
                field: "keys",
                message: "an option must be one line".to_owned(),
                hint: "write options: [restrict, \"from=\\\"10.0.0.0/8\\\"\"]".to_owned(),
            });
        }
        if self.keys.is_empty() && !self.exclusive {
            problems.push(Problem {
                field: "keys",
                message: "it has no key".to_owned(),
                hint: "add one, or write `exclusive: true` to forbid logins by key".to_owned(),
            });
        }
        problems
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
