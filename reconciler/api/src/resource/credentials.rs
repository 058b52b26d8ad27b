//! The credentials of a composite's program.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::contract::Problem;
use super::text_source::{TextOrFile, serialize_file};
use super::{Kind, check_path};
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
            Self::File(path) => serialize_file(path, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Credentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrFile {
            expected: "secret:NAME/KEY, or {file: PATH}",
            text: |text| {
                let address: Result<Address, _> = text.parse();
                address.map(Self::Secret).map_err(|error| error.to_string())
            },
            file: Self::File,
        })
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
        super::text_source::text_or_file_schema("`secret:NAME/KEY`, or `{file: PATH}`")
    }
}
