//! `journald`: expands into one drop-in, and a restart of the journal's service.

use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::resource::{JournalStorage, JournaldSpec, Switch};

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands each resource into a drop-in of its own. All resources share one service.
pub(super) fn expand(
    all: &[TypedResource<'_, JournaldSpec>],
    _: &ExpandContext<'_>,
) -> Vec<Outcome> {
    let path = |name: &str| format!("/etc/systemd/journald.conf.d/90-{name}.conf");
    let inputs: Vec<String> = all
        .iter()
        .map(|one| format!("file:{}", path(one.name)))
        .collect();
    each(all, |one| {
        let file = Part::root_file(path(one.name)).field("content", content(one.spec));
        let service =
            Part::new(Kind::Service, "systemd-journald").field("restartOn", inputs.clone());
        vec![file, service]
    })
}

fn content(spec: &JournaldSpec) -> String {
    let mut text = String::from("# Written by plumb.\n[Journal]\n");
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{name}={value}");
        }
    };
    line(
        "Storage",
        spec.storage.map(JournalStorage::as_str).map(str::to_owned),
    );
    line(
        "SystemMaxUse",
        spec.max_use.map(|size| size.bytes().to_string()),
    );
    line(
        "SystemKeepFree",
        spec.keep_free.map(|size| size.bytes().to_string()),
    );
    line(
        "MaxRetentionSec",
        spec.max_age
            .map(|age| format!("{}s", age.duration().as_secs().max(1))),
    );
    if spec.rate_limit == Some(Switch::Off) {
        line("RateLimitIntervalSec", Some("0".to_owned()));
        line("RateLimitBurst", Some("0".to_owned()));
    }
    let yes_or_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
    line("ForwardToSyslog", spec.forward_to_syslog.map(yes_or_no));
    text
}
