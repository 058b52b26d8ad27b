//! The value of another program's setting: a text, a whole number, or a boolean, which is written as `yes` or
//! `no`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// The value of another program's setting, as it is written in that program's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting(String);

impl Setting {
    /// Returns the value as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if the value fits in one line.
    pub fn is_line(&self) -> bool {
        !self.0.is_empty() && !self.0.contains(char::is_control)
    }
}

impl From<String> for Setting {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, true or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Setting, E> {
                Ok(Setting(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Setting, E> {
                Ok(Setting(if value { "yes" } else { "no" }.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Setting, E> {
                Ok(Setting(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Setting, E> {
                Ok(Setting(value.to_string()))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Setting {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Setting".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"title": "text, number, true or false", "type": ["string", "integer", "boolean"]})
    }
}
