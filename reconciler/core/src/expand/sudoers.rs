//! `sudoers`: expands into one file in `/etc/sudoers.d`, which `visudo` checks.

use plumb_api::Kind;
use plumb_api::resource::{Principal, SudoersSpec};

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands each resource into a file of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, SudoersSpec>],
    _: &ExpandContext<'_>,
) -> Vec<Outcome> {
    each(all, |one| vec![part(one.name, one.spec)])
}

fn part(name: &str, spec: &SudoersSpec) -> Part {
    let who = match (&spec.user, &spec.group) {
        (Some(user), _) => principal(user),
        (None, Some(group)) => format!("%{}", principal(group)),
        (None, None) => String::new(),
    };
    let run_as = spec
        .run_as
        .as_ref()
        .map_or_else(|| "ALL:ALL".to_owned(), principal);
    let tag = if spec.no_password { "NOPASSWD: " } else { "" };
    let commands: Vec<String> = spec.commands.iter().map(|one| command(one)).collect();
    let text = format!(
        "# Written by plumb.\n{who} ALL=({run_as}) {tag}{}\n",
        commands.join(", ")
    );
    Part::new(Kind::File, format!("/etc/sudoers.d/{name}"))
        .field("content", text)
        .field("owner", "root")
        .field("group", "root")
        .field("mode", "0440")
        .field("validate", vec!["visudo", "-cf", "%s"])
}

/// Formats a user or a group: sudoers(5) marks a numeric id with `#`.
fn principal(who: &Principal) -> String {
    match who.id() {
        Some(id) => format!("#{id}"),
        None => who.to_string(),
    }
}

/// Escapes the characters of a command that sudoers(5) treats specially.
fn command(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ',' | ':' | '=' | '\\' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_sudoers_reads_into() {
        assert_eq!(command("ALL"), "ALL");
        assert_eq!(
            command("/usr/bin/mount -o ro,uid=0 /mnt"),
            r"/usr/bin/mount -o ro\,uid\=0 /mnt"
        );
    }
}
