//! Finds services that are to run although nothing on the host has their unit.

use plumb_api::resource::{ServiceSpec, ServiceState};
use plumb_api::{Kind, Spec};
use plumb_document::Diagnostic;

use super::{HostView, debian};
use crate::manifest::code;

/// Returns a warning for each service that is to run or to be enabled, and whose unit is neither a resource of
/// the host nor in a package of a similar name.
pub(super) fn check(host: &HostView<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in host.of(Kind::Service) {
        let Spec::Service(spec) = one.spec() else {
            continue;
        };
        let is_used = spec.state == Some(ServiceState::Started) || spec.enabled == Some(true);
        if !is_used || one.origin.is_some() {
            continue;
        }
        let unit = ServiceSpec::unit(one.address.name());
        let is_known_type = [".service", ".timer", ".socket", ".path"]
            .iter()
            .any(|ending| unit.ends_with(ending));
        let is_brought = [&spec.after, &spec.restart_on, &spec.reload_on]
            .into_iter()
            .any(|addresses| HostView::may_bring(addresses));
        let stem = unit.rsplit_once('.').map_or(&*unit, |(stem, _)| stem);
        if !is_known_type
            || is_brought
            || debian::has_unit(&unit)
            || host.has_unit(&unit)
            || host.may_be_packaged(stem)
        {
            continue;
        }
        let message = format!(
            "nothing on this host brings `{unit}`: no unit, and no package of a similar name"
        );
        found.push(
            Diagnostic::warning(code::MISSING_UNIT, one.span, message).hint(format!(
                "add the package or `unit: {{{unit}: …}}`; if a package of another name has it, write `after: [\"package:NAME\"]`"
            )),
        );
    }
    found
}
