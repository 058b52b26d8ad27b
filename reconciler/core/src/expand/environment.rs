//! `environment`: expands all variables of a host into one file for systemd and one for shells.

use std::fmt::Write as _;

use plumb_api::resource::EnvironmentSpec;

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands each resource into the same two files, which contain the variables of all resources.
pub(super) fn expand(
    all: &[TypedResource<'_, EnvironmentSpec>],
    _: &ExpandContext<'_>,
) -> Vec<Outcome> {
    let mut systemd = String::from("# Written by plumb.\n");
    let mut shell = systemd.clone();
    for variable in all {
        let (name, value) = (variable.name, &variable.spec.value);
        let _ = writeln!(systemd, "{name}={}", for_systemd(value));
        let _ = writeln!(shell, "export {name}={}", for_shell(value));
    }
    let file = |path: &str, text: &str| Part::root_file(path).field("content", text);
    each(all, |_| {
        vec![
            file("/etc/environment.d/90-plumb.conf", &systemd),
            file("/etc/profile.d/plumb.sh", &shell),
        ]
    })
}

/// Quotes a value for environment.d(5), where `$` begins a variable.
fn for_systemd(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' | '`' => quoted.extend(['\\', c]),
            '$' => quoted.push_str("$$"),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Quotes a value for a POSIX shell.
fn for_shell(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_values_for_systemd_and_shell() {
        assert_eq!(for_systemd(r#"a "b" \ $HOME"#), r#""a \"b\" \\ $$HOME""#);
        assert_eq!(for_shell("it's $HOME"), r"'it'\''s $HOME'");
    }
}
