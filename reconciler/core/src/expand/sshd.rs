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
    if let Some(problem) = context
        .connect_users()
        .find_map(|user| lock_out(spec, user))
    {
        return Err(problem);
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

/// Returns the problem of a configuration with which this user can't log in by key and run programs, as far
/// as the manifest tells. Patterns and groups don't tell.
fn lock_out(spec: &SshdSpec, user: &str) -> Option<Problem> {
    let problem = |field: &'static str, hint: String| Problem {
        field,
        message: format!("it would lock out `{user}`, as whom Plumb connects to this host"),
        hint,
    };
    let may_match = |allowed: &String| allowed == user || allowed.contains(['*', '?', '!', '@']);
    if !spec.allow_users.is_empty() && !spec.allow_users.iter().any(may_match) {
        let hint = format!("add `{user}`, or connect as another user");
        return Some(problem("allowUsers", hint));
    }
    if user == "root" && spec.root == Some(false) {
        let hint = "connect as another user, or remove `root: false`".to_owned();
        return Some(problem("root", hint));
    }
    let of_user = |one: &&SshdMatch| {
        one.user.as_deref() == Some(user) && one.group.is_none() && one.address.is_none()
    };
    let matches = spec.matches.iter().filter(of_user);
    let matches = matches.map(|one| ("match", &one.settings));
    let (field, name) = [("settings", &spec.settings)]
        .into_iter()
        .chain(matches)
        .find_map(|(field, all)| {
            let refusing = all
                .iter()
                .find(|(name, value)| refuses(name, value.as_str(), user));
            Some((field, refusing?.0))
        })?;
    let hint = format!("remove `{name}`, or connect as another user");
    Some(problem(field, hint))
}

/// True if a setting of `sshd_config(5)` keeps a user from logging in by key and running programs.
fn refuses(name: &str, value: &str, user: &str) -> bool {
    match name.to_ascii_lowercase().as_str() {
        "pubkeyauthentication" => value == "no",
        "authorizedkeysfile" => value == "none",
        "maxsessions" => value == "0",
        "forcecommand" => value != "none",
        "denyusers" => value.split_whitespace().any(|denied| denied == user),
        _ => false,
    }
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
