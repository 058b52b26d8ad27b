//! The credentials of a composite's program.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::Kind;
use super::check_path;
use super::contract::Problem;
use crate::name::Address;

/// A program's credentials, as lines `NAME='VALUE'` in the shell's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The absolute path of a file on the host. Only root should be able to read it.
    File(String),
    /// The address of a secret with the lines.
    Secret(Address),
}

impl Credentials {
    /// Returns the problem of the path or the address, if any.
    pub(super) fn problem(&self, field: &'static str) -> Option<Problem> {
        let (message, hint) = match self {
            Self::File(path) => (
                check_path(path).err()?,
                "write credentials: {file: /etc/backup/photos.env}".to_owned(),
            ),
            Self::Secret(address) => return secret_problem(field, address),
        };
        Some(Problem {
            field,
            message,
            hint,
        })
    }
}

/// Returns the problem of a field that must be the address of a secret, if any.
pub(super) fn secret_problem(field: &'static str, address: &Address) -> Option<Problem> {
    (address.kind() != Kind::Secret).then(|| Problem {
        field,
        message: format!("`{address}` isn't a secret"),
        hint: "write the address of a secret, such as secret:restic/env".to_owned(),
    })
}

impl Serialize for Credentials {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Secret(address) => address.serialize(serializer),
            Self::File(path) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("file", path)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Credentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            file: String,
        }

        impl<'de> Visitor<'de> for Either {
            type Value = Credentials;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("secret:NAME/KEY, or {file: PATH}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Credentials, E> {
                text.parse().map(Credentials::Secret).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Credentials, A::Error> {
                let File { file } = File::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Credentials::File(file))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Credentials {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Credentials".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "title": "`secret:NAME/KEY`, or `{file: PATH}`",
            "oneOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"file": {"type": "string"}},
                    "required": ["file"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}
