//! `tmpfiles`: expands into one file in `/etc/tmpfiles.d` and the command that creates what it lists.

use plumb_api::Kind;
use plumb_api::resource::TmpfilesSpec;

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands each resource into a file of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, TmpfilesSpec>],
    _: &ExpandContext<'_>,
) -> Vec<Outcome> {
    each(all, |one| {
        let path = format!("/etc/tmpfiles.d/{}.conf", one.name);
        let file = Part::root_file(&path).field(
            "content",
            format!("# Written by plumb.\n{}\n", one.spec.lines.join("\n")),
        );
        let create = Part::new(Kind::Command, format!("tmpfiles-{}", one.name))
            .field("run", vec!["/usr/bin/systemd-tmpfiles", "--create", &path])
            .field("refreshOn", vec![format!("file:{path}")]);
        vec![file, create]
    })
}
