//! `authorizedKeys`: expands into one file of keys for each user, and sshd's configuration that reads them.

use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::resource::AuthorizedKeysSpec;

use super::{ExpandContext, Outcome, Part, TypedResource, each};

const CONFIGURATION: &str = "/etc/ssh/sshd_config.d/10-plumb-keys.conf";

/// Expands each resource into a file of its own. All resources share one configuration file of sshd.
pub(super) fn expand(
    all: &[TypedResource<'_, AuthorizedKeysSpec>],
    _: &ExpandContext<'_>,
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
    each(all, |one| {
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
        vec![keys_file, configuration, service]
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
