//! Turns the hosts of other tools into Host manifests: Ansible's inventories and ssh's configuration.
//!
//! Every part that a manifest can't express is reported. Nothing is dropped in silence.

pub(crate) mod ansible;
mod ansible_ini;
mod ansible_yaml;
mod host_range;
pub(crate) mod ssh_config;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use plumb_api::HostName;
use serde_json::Value;

/// The hosts that were read, and what has no equivalent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    /// The hosts, in the order of their names.
    pub(crate) hosts: Vec<ImportedHost>,
    /// What has no equivalent, in the order in which it was found.
    pub(crate) left_out: Vec<String>,
}

/// A host of another tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ForeignHost {
    /// The name in the other tool.
    pub(crate) name: String,
    /// Groups of the host.
    pub(crate) groups: BTreeSet<String>,
    /// The address, if it isn't the name.
    pub(crate) address: Option<String>,
    /// The port, if it isn't 22.
    pub(crate) port: Option<u16>,
    /// The user to log in as.
    pub(crate) user: Option<String>,
}

/// A host with its name in the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImportedHost {
    /// The name in the fleet.
    pub(crate) name: HostName,
    /// The host as the other tool has it.
    pub(crate) host: ForeignHost,
}

impl Imported {
    /// Gives each host a name of the fleet.
    fn new(hosts: Vec<ForeignHost>, left_out: Vec<String>) -> Self {
        let mut imported = Self {
            hosts: Vec::new(),
            left_out,
        };
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        for host in &hosts {
            *taken.entry(short(&host.name)).or_default() += 1;
        }
        for host in hosts {
            let short = short(&host.name);
            let unique = taken.get(&short) == Some(&1);
            let name = if unique { short } else { label(&host.name) };
            match name.parse::<HostName>() {
                Ok(name) if !imported.hosts.iter().any(|other| other.name == name) => {
                    imported.hosts.push(ImportedHost { name, host });
                }
                Ok(name) => imported.left_out.push(format!(
                    "the host `{}`: another one has the name `{name}`",
                    host.name
                )),
                Err(_) => imported.left_out.push(format!(
                    "the host `{}`: no name of a host can be made of it",
                    host.name
                )),
            }
        }
        imported.hosts.sort_by(|a, b| a.name.cmp(&b.name));
        imported
    }
}

/// Returns the first part of a DNS name as a label. An address stays whole.
fn short(name: &str) -> String {
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    let first = name.split('.').next().unwrap_or(name);
    label(if is_address { name } else { first })
}

/// Turns a name into an RFC 1123 label as far as it can be one.
fn label(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let name = if name.parse::<std::net::IpAddr>().is_ok() {
        format!("host-{name}")
    } else {
        name
    };
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.chars().map(fit).take(63).collect();
    name.trim_matches('-').to_owned()
}

impl ImportedHost {
    /// Returns the path of the manifest in the repository.
    pub(crate) fn path(&self) -> String {
        format!("hosts/{}.yaml", self.name)
    }

    /// Returns the manifest.
    pub(crate) fn manifest(&self) -> String {
        let mut text = String::new();
        let ForeignHost {
            name,
            groups,
            address,
            port,
            user,
        } = &self.host;
        if name != self.name.as_str() {
            let _ = writeln!(text, "# `{name}` in the file that this was imported from.");
        }
        let labels: Vec<String> = groups
            .iter()
            .map(|group| format!("{}: \"true\"", scalar(group)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!(", labels: {{{}}}", labels.join(", ")),
        };
        let _ = writeln!(
            text,
            "kind: Host\nmetadata: {{name: {}{labels}}}",
            self.name
        );
        let mut connect = Vec::new();
        if let Some(user) = user {
            connect.push(format!("user: {}", scalar(user)));
        }
        let address = address.as_ref().unwrap_or(name);
        connect.push(format!("address: {}", scalar(address)));
        if let Some(port) = port {
            connect.push(format!("port: {port}"));
        }
        let _ = writeln!(text, "spec:\n  connect: [{{{}}}]", connect.join(", "));
        text
    }
}

/// Writes a text as a YAML scalar of a flow mapping.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
    let reserved = ["true", "false", "null", "yes", "no", "on", "off"];
    if (is_word || is_address) && !reserved.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> ForeignHost {
        ForeignHost {
            name: name.to_owned(),
            ..ForeignHost::default()
        }
    }

    fn names(hosts: &[&str]) -> Vec<String> {
        let all = hosts.iter().map(|name| host(name)).collect();
        let imported = Imported::new(all, Vec::new());
        imported
            .hosts
            .iter()
            .map(|host| host.name.to_string())
            .collect()
    }

    #[test]
    fn a_host_is_named_by_the_first_part_of_its_name_if_that_is_unique() {
        assert_eq!(names(&["web.fleet.example"]), ["web"]);
        assert_eq!(
            names(&["web.a.example", "web.b.example"]),
            ["web-a-example", "web-b-example"]
        );
        assert_eq!(names(&["Web_1", "192.0.2.7"]), ["host-192-0-2-7", "web-1"]);
    }

    #[test]
    fn two_hosts_of_one_name_are_reported() {
        let imported = Imported::new(vec![host("web_1"), host("web-1")], Vec::new());
        assert_eq!(imported.hosts.len(), 1);
        assert_eq!(
            imported.left_out,
            ["the host `web-1`: another one has the name `web-1`"]
        );
    }

    #[test]
    fn a_manifest_has_labels_and_the_way_to_the_host() {
        let host = ImportedHost {
            name: "web".parse().unwrap(),
            host: ForeignHost {
                name: "web.fleet.example".to_owned(),
                groups: ["cloud".to_owned(), "on".to_owned()].into(),
                address: Some("2001:db8::7".to_owned()),
                port: Some(2222),
                user: Some("deploy".to_owned()),
            },
        };
        assert_eq!(
            host.manifest(),
            "# `web.fleet.example` in the file that this was imported from.\nkind: Host\nmetadata: {name: web, labels: {cloud: \"true\", \"on\": \"true\"}}\nspec:\n  connect: [{user: deploy, address: \"2001:db8::7\", port: 2222}]\n"
        );
    }
}
