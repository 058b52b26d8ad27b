//! A text of a composite: written in the manifest, or a file of the repository.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// A text: written in the manifest, or `{file: files/NAME}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSource {
    /// The text itself.
    Text(String),
    /// The path of a file of the repository.
    File(String),
}

impl Serialize for TextSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::File(path) => serialize_file(path, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TextSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrFile {
            expected: "a text, or {file: files/NAME}",
            text: |text| Ok(Self::Text(text.to_owned())),
            file: Self::File,
        })
    }
}

/// Writes `{file: PATH}`.
pub(super) fn serialize_file<S: Serializer>(path: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("file", path)?;
    map.end()
}

/// Reads a value that is a text or `{file: PATH}`.
pub(super) struct TextOrFile<T> {
    /// Both forms, for errors.
    pub(super) expected: &'static str,
    /// Makes the value of a text; fails with the mistake in it.
    pub(super) text: fn(&str) -> Result<T, String>,
    /// Makes the value of a path.
    pub(super) file: fn(String) -> T,
}

impl<'de, T> Visitor<'de> for TextOrFile<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            file: String,
        }

        let File { file } = File::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok((self.file)(file))
    }
}

/// Returns the schema of a text or `{file: PATH}`.
#[cfg(feature = "schema")]
pub(super) fn text_or_file_schema(title: &str) -> schemars::Schema {
    schemars::json_schema!({
        "title": title,
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

#[cfg(feature = "schema")]
impl schemars::JsonSchema for TextSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TextSource".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        text_or_file_schema("text, or `{file: files/NAME}`")
    }
}
