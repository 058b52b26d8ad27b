//! Finds timers whose service isn't there.

use plumb_api::Kind;
use plumb_document::Diagnostic;

use super::{HostView, debian, unit_text};
use crate::manifest::code;

/// Returns a warning for each timer unit that starts a service of which the host has no unit.
pub(super) fn check(host: &HostView<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in host.of(Kind::Unit) {
        let (true, Some(stem)) = (
            one.is_wanted() && one.origin.is_none(),
            one.address.name().strip_suffix(".timer"),
        ) else {
            continue;
        };
        let Some(text) = one.text() else { continue };
        let named = unit_text::value(text, "Unit").filter(|unit| !unit.is_empty());
        let service = named.map_or_else(|| format!("{stem}.service"), str::to_owned);
        let Some(base) = service.strip_suffix(".service") else {
            continue;
        };
        if service.contains('%')
            || host.has_unit(&service)
            || debian::has_unit(&service)
            || host.may_be_packaged(base)
            || HostView::may_bring(one.spec().after())
        {
            continue;
        }
        let message = format!("the timer starts `{service}`, which nothing on this host brings");
        found.push(
            Diagnostic::warning(code::MISSING_UNIT, one.place_of("content"), message).hint(
                format!(
                    "add `unit: {{{service}: …}}`, or name the service with `Unit=` in the timer"
                ),
            ),
        );
    }
    found
}
