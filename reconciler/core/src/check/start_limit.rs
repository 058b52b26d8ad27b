//! Finds services that systemd would restart without end.

use plumb_api::Kind;
use plumb_document::Diagnostic;

use super::{HostView, unit_text};
use crate::manifest::code;

/// Returns a warning for each unit file with `Restart=` for failures and without a start limit of its own.
/// systemd's default limit, 5 starts in 10 seconds, never takes effect with a longer `RestartSec`.
pub(super) fn check(host: &HostView<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in host.of(Kind::Unit) {
        let name = one.address.name();
        if !name.ends_with(".service") || !one.is_wanted() {
            continue;
        }
        let Some(text) = one.text() else { continue };
        let restart = unit_text::value(text, "Restart");
        let Some(restart) = restart.filter(|value| {
            [
                "always",
                "on-failure",
                "on-abnormal",
                "on-abort",
                "on-watchdog",
            ]
            .contains(value)
        }) else {
            continue;
        };
        let own = format!("{name}.d/");
        let drop_ins = host
            .of(Kind::Unit)
            .iter()
            .filter(|other| other.address.name().starts_with(&own))
            .filter_map(|other| other.text());
        if std::iter::once(text).chain(drop_ins).any(has_limit) {
            continue;
        }
        let message =
            format!("`Restart={restart}` without a start limit restarts a broken service for ever");
        found.push(
            Diagnostic::warning(code::START_LIMIT, one.place_of("content"), message)
                .hint("add `StartLimitIntervalSec=10min` and `StartLimitBurst=5` under `[Unit]`"),
        );
    }
    found
}

fn has_limit(text: &str) -> bool {
    unit_text::directives(text).any(|(key, _)| {
        [
            "StartLimitIntervalSec",
            "StartLimitInterval",
            "StartLimitBurst",
        ]
        .contains(&key)
    })
}
