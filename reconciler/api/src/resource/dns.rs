//! `dns`: a DNS server for the fleet's names.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::check::is_certificate_name;
use super::composite::Composite;
use super::composite_name::check_only_name;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;
use crate::name::HostName;

/// A DNS server for the fleet's names. A host can have one; its name is `fleet`. It expands to the package
/// `dnsmasq-base` and, for each network in `on`, to the service `dnsmasq-NETWORK` with its files in
/// `/etc/dnsmasq-NETWORK.d`. `dnsmasq --test` checks a configuration before it is used. New names need a
/// reload, and a new configuration a restart.
///
/// Each network has a view of its own, in IPv4 and IPv6. Every host and member has its name, its hostname and
/// both with the fleet's domain; each name that a host publishes, and each record, stands for its host. All of
/// them have the host's addresses in the network from which the question comes. A host that isn't in that
/// network, or doesn't publish the name there, has its addresses in the first network of `on` where it does.
/// `NAME.NETWORK.DOMAIN` is a host's address in that network, wherever the question comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsSpec {
    /// The networks in which the server answers, on the host's addresses there.
    pub on: Vec<String>,
    /// The servers that know all other names: `9.9.9.9`, or `192.0.2.3:5353`. When left out, those in the
    /// host's `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<String>,
    /// Additional names, each with a host, a member of a network, or an address. `*.apps.fleet.example` stands
    /// for all names below `apps.fleet.example`, and for that name too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<String, String>,
    /// Domains whose names no upstream is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// True if a text is an address, with a port or without.
fn is_server(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok()
}

impl Composite for DnsSpec {
    const EXAMPLE: &'static str = r#"dns:
  fleet:
    on: [wg]
    upstreams: ["9.9.9.9", "2620:fe::fe"]
    records: {nas.fleet.example: web, "*.apps.fleet.example": web, printer.fleet.example: 192.0.2.9}
    local: [fleet.example]
"#;

    const SETS: &'static [&'static str] = &["after", "local", "on"];

    fn check_name(name: &str) -> Result<(), String> {
        check_only_name(name, "fleet")
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &'static str, message: String, hint: &str| {
            problems.push(Problem {
                field,
                message,
                hint: hint.to_owned(),
            });
        };
        if self.on.is_empty() {
            let message = "a DNS server needs a network in which it answers".to_owned();
            wrong("on", message, "write on: [lan]");
        }
        if let Some(server) = self.upstreams.iter().find(|one| !is_server(one)) {
            let message = format!("`{server}` isn't the address of a server");
            wrong("upstreams", message, "write upstreams: [\"9.9.9.9\"]");
        }
        for (name, target) in &self.records {
            if !is_certificate_name(name) {
                let message = format!("`{name}` isn't a DNS name");
                wrong(
                    "records",
                    message,
                    "write records: {nas.fleet.example: HOST}",
                );
            }
            if target.parse::<IpAddr>().is_err() && target.parse::<HostName>().is_err() {
                let message = format!("`{target}` is neither a host nor an address");
                wrong(
                    "records",
                    message,
                    "write records: {nas.fleet.example: HOST}",
                );
            }
        }
        let domain = |name: &String| is_certificate_name(name) && !name.starts_with('*');
        if let Some(name) = self.local.iter().find(|name| !domain(name)) {
            let message = format!("`{name}` isn't a domain");
            wrong("local", message, "write local: [fleet.example]");
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
