//! Endpoints: the services that a host offers to others.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resource::Zone;

/// A service that a host offers to others. It opens its ports where the host has a firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSpec {
    /// Ports of the service.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Transport protocols; `[tcp]` when left out.
    #[serde(default = "tcp", skip_serializing_if = "Vec::is_empty")]
    pub protocol: Vec<Protocol>,
    /// Where the service is offered: networks, and interfaces outside of all networks (`interface:NAME`). `[]`
    /// is loopback alone, `"*"` every interface.
    pub on: EndpointOn,
    /// Settings with which Prometheus scrapes the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape: Option<ScrapeSpec>,
}

fn tcp() -> Vec<Protocol> {
    vec![Protocol::Tcp]
}

/// The networks and interfaces on which an endpoint is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointOn {
    /// Every interface. Manifests write `"*"`.
    Everywhere,
    /// These networks and interfaces; loopback alone if there are none.
    Zones(Vec<Zone>),
}

impl EndpointOn {
    /// Returns the networks and interfaces that are listed.
    pub fn zones(&self) -> &[Zone] {
        match self {
            Self::Everywhere => &[],
            Self::Zones(zones) => zones,
        }
    }

    /// True if only the host itself reaches the endpoint.
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Zones(zones) if zones.is_empty())
    }

    /// True if the endpoint is offered in this network.
    pub fn includes(&self, network: &str) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Zones(zones) => zones
                .iter()
                .any(|zone| matches!(zone, Zone::Network(name) if name == network)),
        }
    }
}

impl Serialize for EndpointOn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Everywhere => serializer.serialize_str("*"),
            Self::Zones(zones) => zones.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for EndpointOn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnVisitor;

        impl<'de> serde::de::Visitor<'de> for OnVisitor {
            type Value = EndpointOn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of networks, or \"*\" for every interface")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<EndpointOn, E> {
                if text == "*" {
                    Ok(EndpointOn::Everywhere)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<EndpointOn, A::Error> {
                let mut zones = Vec::new();
                while let Some(zone) = items.next_element()? {
                    zones.push(zone);
                }
                Ok(EndpointOn::Zones(zones))
            }
        }

        deserializer.deserialize_any(OnVisitor)
    }
}

/// A port, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The first port.
    pub first: u16,
    /// The last port; equal to `first` for a single one.
    pub last: u16,
}

impl From<u16> for Port {
    fn from(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
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

impl Protocol {
    /// Returns the word in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// The settings with which Prometheus scrapes an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScrapeSpec {
    /// The job's name.
    pub job: String,
    /// The scrape interval, such as `15s`; Prometheus' own default when left out.
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
    #[test]
    fn networks_interfaces_and_everything_are_places() {
        let on = |text: &str| serde_json::from_str::<EndpointOn>(text);
        assert!(on("[]").unwrap().is_loopback());
        assert_eq!(on(r#""*""#).unwrap(), EndpointOn::Everywhere);
        let zones = on(r#"["lan", "interface:eth1"]"#).unwrap();
        assert!(zones.includes("lan") && !zones.includes("eth1") && !zones.includes("wg"));
        assert_eq!(
            serde_json::to_string(&zones).unwrap(),
            r#"["lan","interface:eth1"]"#
        );
        assert!(on(r#""lan""#).is_err() && on(r#"["Not a network"]"#).is_err());
    }
}
