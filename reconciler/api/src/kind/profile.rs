//! `Profile`: what several hosts have in common, with parameters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Blocks;

/// The spec of a profile.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileSpec {
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// Profiles that come along, by key, with their parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub includes: BTreeMap<String, Option<BTreeMap<String, Value>>>,
    /// What it offers to others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, Value>,
    /// An expression over static facts; when it is false, the resources are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What is to be on the host, at the middle priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: Blocks,
    /// The same at the lowest priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: Blocks,
    /// The same at the highest priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub force: Blocks,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Param {
    /// Its type.
    #[serde(rename = "type")]
    pub param_type: ParamType,
    /// Its value when none is given; without one it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// All the values that it may have.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Value>,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// The greatest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// A regular expression that a text must match as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What a list's items are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Box<Param>>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A parameter's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ParamType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A mapping.
    Object,
}

/// Something that a host offers to others: the only way to open a port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSpec {
    /// Its ports.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// `tcp` when left out.
    #[serde(default = "tcp", skip_serializing_if = "Vec::is_empty")]
    pub protocol: Vec<Protocol>,
    /// The networks that it is offered in; all of the host's when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// How Prometheus reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape: Option<ScrapeSpec>,
}

fn tcp() -> Vec<Protocol> {
    vec![Protocol::Tcp]
}

/// A port, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The first.
    pub first: u16,
    /// The last; the first where it is one.
    pub last: u16,
}

impl serde::Serialize for Port {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            serializer.serialize_u16(self.first)
        } else {
            serializer.collect_str(&format_args!("{}-{}", self.first, self.last))
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;

        impl serde::de::Visitor<'_> for PortVisitor {
            type Value = Port;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a port from 1 to 65535, or a range such as 47984-48010,")
            }

            fn visit_u64<E: serde::de::Error>(self, port: u64) -> Result<Port, E> {
                match u16::try_from(port) {
                    Ok(port) if port > 0 => Ok(Port {
                        first: port,
                        last: port,
                    }),
                    _ => Err(E::invalid_value(
                        serde::de::Unexpected::Unsigned(port),
                        &self,
                    )),
                }
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Port, E> {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                match (first.trim().parse(), last.trim().parse()) {
                    (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Port { first, last }),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(PortVisitor)
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// How Prometheus reads an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScrapeSpec {
    /// The job's name.
    pub job: String,
    /// How often, such as `15s`; Prometheus' own default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// The path; `/metrics` when left out.
    #[serde(default = "metrics")]
    pub path: String,
    /// Labels that every sample gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn metrics() -> String {
    "/metrics".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_one_or_a_range() {
        let ports: Vec<Port> = serde_json::from_str(r#"[9100, "47984-48010", "80"]"#).unwrap();
        assert_eq!(
            ports[1],
            Port {
                first: 47984,
                last: 48010
            }
        );
        assert_eq!(
            serde_json::to_string(&ports).unwrap(),
            r#"[9100,"47984-48010",80]"#
        );
        for wrong in ["0", "70000", r#""9-1""#, r#""http""#] {
            assert!(serde_json::from_str::<Port>(wrong).is_err(), "{wrong}");
        }
    }
}
