//! `hostname`: expands into `/etc/hostname`, the running kernel's hostname, and a setting that keeps
//! cloud-init from changing both.

use plumb_api::Kind;
use plumb_api::resource::HostnameSpec;

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands the resource.
pub(super) fn expand(
    all: &[TypedResource<'_, HostnameSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    let hostname = context.hostname();
    let file = |path: &str, text: String| Part::root_file(path).field("content", text);
    each(all, |_| {
        vec![
            file("/etc/hostname", format!("{hostname}\n")),
            Part::new(Kind::Sysctl, "kernel.hostname").field("value", hostname),
            file(
                "/etc/cloud/cloud.cfg.d/90-plumb-hostname.cfg",
                "# Written by plumb.\npreserve_hostname: true\n".to_owned(),
            ),
        ]
    })
}
