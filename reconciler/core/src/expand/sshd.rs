//! `sshd`: expands into one drop-in of the SSH server's configuration.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::resource::{Problem, Setting, SshdMatch, SshdSpec};

use super::{ExpandContext, Outcome, Part, TypedResource};

/// Expands each resource into a drop-in of its own. All resources share one service.
pub(super) fn expand(
    all: &[TypedResource<'_, SshdSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| parts(one.name, one.spec, context).map_err(|problem| vec![problem]))
        .collect()
}

fn parts(name: &str, spec: &SshdSpec, context: &ExpandContext<'_>) -> Result<Vec<Part>, Problem> {
    let locked_out = context.connect_users().find(|user| {
        !spec.allow_users.is_empty() && !spec.allow_users.iter().any(|allowed| allowed == user)
    });
    if let Some(user) = locked_out {
        return Err(Problem {
            field: "allowUsers",
            message: format!("it would lock out `{user}`, as whom Plumb connects to this host"),
            hint: format!("add `{user}`, or connect as another user"),
        });
    }
    let addresses = context.addresses(&spec.on)?;
    let path = format!("/etc/ssh/sshd_config.d/10-plumb-{name}.conf");
    let file = Part::root_file(&path)
        .field("content", content(spec, &addresses))
        .field("validate", vec!["/usr/sbin/sshd", "-t", "-f", "%s"]);
    let service = Part::new(Kind::Service, "ssh").field("reloadOn", vec![format!("file:{path}")]);
    let mut parts = vec![file, service];
    if !spec.ports.is_empty() || !addresses.is_empty() {
        let text = socket(&spec.ports, &addresses);
        parts.push(
            Part::new(Kind::Unit, format!("ssh.socket.d/10-plumb-{name}.conf"))
                .field("content", text),
        );
    }
    Ok(parts)
}

fn content(spec: &SshdSpec, addresses: &[String]) -> String {
    let mut text = String::from("# Written by plumb.\n");
    let yes_or_no = |value: bool| if value { "yes" } else { "no" };
    for port in &spec.ports {
        let _ = writeln!(text, "Port {port}");
    }
    for address in addresses {
        let _ = writeln!(text, "ListenAddress {address}");
    }
    if let Some(passwords) = spec.passwords {
        let _ = writeln!(text, "PasswordAuthentication {}", yes_or_no(passwords));
        let _ = writeln!(
            text,
            "KbdInteractiveAuthentication {}",
            yes_or_no(passwords)
        );
    }
    if let Some(root) = spec.root {
        let value = if root { "prohibit-password" } else { "no" };
        let _ = writeln!(text, "PermitRootLogin {value}");
    }
    if !spec.allow_users.is_empty() {
        let _ = writeln!(text, "AllowUsers {}", spec.allow_users.join(" "));
    }
    settings(&mut text, "", &spec.settings);
    for one in &spec.matches {
        let _ = writeln!(text, "Match {}", criteria(one));
        settings(&mut text, "    ", &one.settings);
    }
    text
}

fn criteria(one: &SshdMatch) -> String {
    let all = [
        ("User", &one.user),
        ("Group", &one.group),
        ("Address", &one.address),
    ];
    let said = all
        .iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
    said.collect::<Vec<_>>().join(" ")
}

fn settings(text: &mut String, indent: &str, settings: &BTreeMap<String, Setting>) {
    for (name, value) in settings {
        let _ = writeln!(text, "{indent}{name} {}", value.as_str());
    }
}

/// Returns the drop-in for `ssh.socket`. Where that socket is enabled, it listens instead of sshd.
fn socket(ports: &[u16], addresses: &[String]) -> String {
    let ports = if ports.is_empty() { &[22] } else { ports };
    let mut text = String::from("# Written by plumb.\n[Socket]\nListenStream=\n");
    for port in ports {
        if addresses.is_empty() {
            let _ = writeln!(text, "ListenStream={port}");
        }
        for address in addresses {
            if address.contains(':') {
                let _ = writeln!(text, "ListenStream=[{address}]:{port}");
            } else {
                let _ = writeln!(text, "ListenStream={address}:{port}");
            }
        }
    }
    text
}
