//! Finds resources in folders that are to be removed.

use plumb_api::Kind;
use plumb_document::Diagnostic;

use super::HostView;
use crate::manifest::code;

/// Returns an error for each resource whose path lies in a folder that the host is to remove.
pub(super) fn check(host: &HostView<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for kind in [Kind::Directory, Kind::Archive, Kind::Git] {
        for folder in host.of(kind).iter().filter(|one| !one.is_wanted()) {
            let inside = |path: &String| {
                path.strip_prefix(folder.address.name())
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            for one in host.placed {
                if one.is_wanted() && one.built.path.as_ref().is_some_and(inside) {
                    let message = format!("{one} lies in {folder}, which is to be absent");
                    found.push(
                        Diagnostic::error(code::REMOVED_FOLDER, one.span, message)
                            .related(folder.span, "absent here")
                            .hint("remove `state: absent` of the folder, or move what lies in it"),
                    );
                }
            }
        }
    }
    found
}
