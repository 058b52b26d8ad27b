//! `udev`: expands into one file of rules, and the commands that make udev apply them.

use plumb_api::Kind;
use plumb_api::resource::UdevSpec;

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands each resource into a file of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, UdevSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    each(all, |one| {
        let path = format!("/etc/udev/rules.d/90-{}.rules", one.name);
        let mut file = Part::root_file(&path).field(
            "content",
            format!("# Written by plumb.\n{}\n", one.spec.rules.join("\n")),
        );
        // `udevadm verify` came with systemd 254.
        if context.is_debian(13) {
            file = file.field("validate", vec!["udevadm", "verify", "%s"]);
        }
        let command = |step: &str, run: Vec<&str>| {
            Part::new(Kind::Command, format!("udev-{}-{step}", one.name))
                .field("run", run)
                .field("refreshOn", vec![format!("file:{path}")])
        };
        let reload = command("reload", vec!["/usr/bin/udevadm", "control", "--reload"]);
        let trigger = command(
            "trigger",
            vec!["/usr/bin/udevadm", "trigger", "--action=change"],
        )
        .field("after", vec![format!("command:udev-{}-reload", one.name)]);
        vec![file, reload, trigger]
    })
}
