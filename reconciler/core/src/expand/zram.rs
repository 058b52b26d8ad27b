//! `zram`: expands into Debian's zram-tools, its configuration and its service.

use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::resource::ZramSpec;

use super::{ExpandContext, Outcome, Part, TypedResource, each};

const PATH: &str = "/etc/default/zramswap";

/// Expands the resource.
pub(super) fn expand(all: &[TypedResource<'_, ZramSpec>], _: &ExpandContext<'_>) -> Vec<Outcome> {
    each(all, |one| {
        let mut text = format!("# Written by plumb.\nPERCENT={}\n", one.spec.percent);
        if let Some(algorithm) = &one.spec.algorithm {
            let _ = writeln!(text, "ALGO={algorithm}");
        }
        let _ = writeln!(text, "PRIORITY={}", one.spec.priority.unwrap_or(100));
        let file = Part::root_file(PATH)
            .field("content", text)
            .field("after", vec!["package:zram-tools"]);
        let service = Part::new(Kind::Service, "zramswap")
            .field("state", "started")
            .field("enabled", true)
            .field("restartOn", vec![format!("file:{PATH}")])
            .field("after", vec!["package:zram-tools"]);
        vec![Part::new(Kind::Package, "zram-tools"), file, service]
    })
}
