//! `authorizedKeys`: expands into one file of keys for each user, and sshd's configuration that reads them.

use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::resource::{AuthorizedKey, AuthorizedKeysSpec, Problem};

use super::{ExpandContext, Outcome, Part, TypedResource};

const CONFIGURATION: &str = "/etc/ssh/sshd_config.d/10-plumb-keys.conf";

/// Expands each resource into a file of its own. All resources share one configuration file of sshd.
pub(super) fn expand(
    all: &[TypedResource<'_, AuthorizedKeysSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    let mut text = String::from(
        "# Written by plumb.\nAuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2 /etc/ssh/authorized_keys.d/%u\n",
    );
    for exclusive in all.iter().filter(|one| one.spec.exclusive) {
        let _ = writeln!(
            text,
            "Match User {}\n    AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u",
            exclusive.name
        );
    }
    let parts = |one: &TypedResource<'_, AuthorizedKeysSpec>| {
        if let Some(problem) = lock_out(one.name, one.spec, context) {
            return Err(vec![problem]);
        }
        let lines: Vec<String> = one
            .spec
            .keys
            .iter()
            .map(|key| line(&key.options, &key.key))
            .collect();
        let keys = format!("/etc/ssh/authorized_keys.d/{}", one.name);
        let keys_file = file(&keys, format!("# Written by plumb.\n{}", lines.concat()));
        let configuration = file(CONFIGURATION, text.clone())
            .field("validate", vec!["/usr/sbin/sshd", "-t", "-f", "%s"])
            .field("after", vec![format!("file:{keys}")]);
        let service = Part::new(Kind::Service, "ssh")
            .field("reloadOn", vec![format!("file:{CONFIGURATION}")]);
        Ok(vec![keys_file, configuration, service])
    };
    all.iter().map(parts).collect()
}

/// Returns the problem of an exclusive list in which no key lets Plumb run its agent, if Plumb connects as the
/// user.
fn lock_out(name: &str, spec: &AuthorizedKeysSpec, context: &ExpandContext<'_>) -> Option<Problem> {
    let runs_programs = |key: &AuthorizedKey| {
        let forced = |option: &String| option.to_ascii_lowercase().starts_with("command=");
        !key.options.iter().any(forced)
    };
    let locked_out = spec.exclusive
        && context.connect_users().any(|user| user == name)
        && !spec.keys.iter().any(runs_programs);
    locked_out.then(|| Problem {
        field: "keys",
        message: format!("it would lock out `{name}`, as whom Plumb connects to this host"),
        hint: "add the controller's key without `command=`, or remove `exclusive`".to_owned(),
    })
}

/// Returns a line of `authorized_keys(5)`.
fn line(options: &[String], key: &str) -> String {
    match options {
        [] => format!("{key}\n"),
        options => format!("{} {key}\n", options.join(",")),
    }
}

fn file(path: &str, text: String) -> Part {
    Part::root_file(path).field("content", text)
}
