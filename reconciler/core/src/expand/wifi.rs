//! `wifi`: expands into a configuration of `wpa_supplicant` for each interface, and its service.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::resource::WifiSpec;
use plumb_api::secret::placeholder;

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands each resource into the file of its interface, which has the networks of all resources with this
/// interface.
pub(super) fn expand(all: &[TypedResource<'_, WifiSpec>], _: &ExpandContext<'_>) -> Vec<Outcome> {
    let mut interfaces: BTreeMap<&str, Vec<&TypedResource<'_, WifiSpec>>> = BTreeMap::new();
    for one in all {
        let interface = one.spec.interface.as_str();
        interfaces.entry(interface).or_default().push(one);
    }
    let texts: BTreeMap<&str, String> = interfaces
        .into_iter()
        .map(|(interface, networks)| (interface, content(networks)))
        .collect();
    each(all, |one| {
        let interface = one.spec.interface.as_str();
        let text = texts.get(interface).map_or("", String::as_str);
        parts(interface, text)
    })
}

fn parts(interface: &str, text: &str) -> Vec<Part> {
    let path = format!("/etc/wpa_supplicant/wpa_supplicant-{interface}.conf");
    vec![
        Part::new(Kind::Package, "wpasupplicant"),
        Part::root_file(&path)
            .field("content", text)
            .mode("0600")
            .field("after", vec!["package:wpasupplicant"]),
        // systemd reads a `-` in the name of an instance as `/`.
        Part::new(
            Kind::Service,
            format!("wpa_supplicant@{}", interface.replace('-', "\\x2d")),
        )
        .field("state", "started")
        .field("enabled", true)
        .field("reloadOn", vec![format!("file:{path}")])
        .field("after", vec!["package:wpasupplicant"]),
    ]
}

/// Returns the configuration of an interface, with its preferred network first.
fn content(mut networks: Vec<&TypedResource<'_, WifiSpec>>) -> String {
    networks.sort_by_key(|one| (Reverse(one.spec.priority), one.name));
    let mut text =
        String::from("# Written by plumb.\nctrl_interface=DIR=/run/wpa_supplicant GROUP=netdev\n");
    for one in networks {
        let spec = one.spec;
        // `wpa_supplicant` reads a quoted text up to the last quote of the line, so nothing is escaped.
        let _ = write!(
            text,
            "\n# {}\nnetwork={{\n\tssid=\"{}\"\n",
            one.name, spec.ssid
        );
        match &spec.psk {
            Some(psk) => {
                let _ = writeln!(text, "\tpsk=\"{}\"", placeholder(psk.name()));
            }
            None => text.push_str("\tkey_mgmt=NONE\n"),
        }
        if let Some(priority) = spec.priority {
            let _ = writeln!(text, "\tpriority={priority}");
        }
        if spec.hidden {
            text.push_str("\tscan_ssid=1\n");
        }
        text.push_str("}\n");
    }
    text
}
