//! Services in a sandbox, where nothing runs: a service is enabled by links, and masked by a link to
//! `/dev/null`.

use plumb_api::Address;
use plumb_api::report::ErrorCode;
use plumb_api::resource::{ServiceObserved, ServiceSpec, Stale, UnitSpec};

use super::{Effect, ItemChange, aliases, not_in_a_sandbox};
use crate::error::{At, Result, fail};
use crate::sys::{FileKind, Sys};

/// Observes a unit's links.
pub(super) fn observe(sys: &Sys, address: &Address, spec: &ServiceSpec) -> Result<ServiceObserved> {
    if spec.state.is_some() {
        return Err(not_in_a_sandbox("running services")
            .hint("in a sandbox a service may say `enabled` and `masked`, not `state`"));
    }
    let unit = ServiceSpec::unit(address.name());
    let masked = link(sys, &UnitSpec::path_in_folder(&unit))?.as_deref() == Some("/dev/null");
    let text = unit_text(sys, &unit);
    let wanted = text.as_deref().map(install_links).unwrap_or_default();
    let mut there = 0;
    for folder in &wanted {
        if link(sys, &UnitSpec::path_in_folder(&format!("{folder}/{unit}")))?.is_some() {
            there += 1;
        }
    }
    let enabled = match &text {
        Some(_) if wanted.is_empty() => None,
        Some(_) => Some(there == wanted.len()),
        // Enablement links that a removed unit left behind would start the unit as soon as it exists again.
        None => Some(!aliases::enablement_links(sys, &unit)?.is_empty()),
    };
    Ok(ServiceObserved {
        known: text.is_some(),
        state: None,
        enabled,
        masked,
        stale: Stale::No,
        alias_of: None,
    })
}

fn link(sys: &Sys, path: &str) -> Result<Option<String>> {
    match sys.root().parent(path)? {
        Some((dir, leaf)) => dir.target(leaf),
        None => Ok(None),
    }
}

fn unit_text(sys: &Sys, unit: &str) -> Option<String> {
    let file = |name: &str| {
        [UnitSpec::FOLDER]
            .iter()
            .chain(&UnitSpec::VENDOR_FOLDERS)
            .find_map(|folder| sys.text(&format!("{folder}/{name}")))
    };
    file(unit).or_else(|| file(&template_of(unit)?))
}

/// Returns the template of an instance: `worker@a.service` → `worker@.service`.
fn template_of(unit: &str) -> Option<String> {
    let (stem, instance) = unit.split_once('@')?;
    let (_, ending) = instance.rsplit_once('.')?;
    Some(format!("{stem}@.{ending}"))
}

/// Returns the folders in which an enabled unit has a link, according to the `[Install]` section of its file.
fn install_links(text: &str) -> Vec<String> {
    let good = |target: &&str| {
        target
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
    };
    [("WantedBy", "wants"), ("RequiredBy", "requires")]
        .iter()
        .flat_map(|(key, ending)| {
            aliases::values(text, "[Install]", key)
                .into_iter()
                .filter(good)
                .map(move |target| format!("{target}.{ending}"))
        })
        .collect()
}

/// Creates a link, replacing an existing link.
pub(crate) fn put_link(sys: &Sys, path: &str, target: &str) -> Result<()> {
    let (dir, leaf, _) = sys.root().make_parent(path)?;
    match dir.look(leaf)? {
        Some(found) if found.kind != FileKind::Link => {
            return Err(super::at_path::in_the_way(path, found.kind, "a link"));
        }
        Some(_) => {
            dir.unlink(leaf)?;
        }
        None => {}
    }
    rustix::fs::symlinkat(target, dir.fd(), leaf).at("make the link", path)?;
    dir.sync()
}

/// Removes a link, if there is one.
pub(crate) fn remove_link(sys: &Sys, path: &str) -> Result<()> {
    match sys.root().parent(path)? {
        Some((dir, leaf)) if dir.target(leaf)?.is_some() => {
            dir.unlink(leaf)?;
            dir.sync()
        }
        _ => Ok(()),
    }
}

pub(super) fn apply(
    sys: &Sys,
    unit: &str,
    work: &ItemChange<'_>,
    spec: &ServiceSpec,
) -> Result<Effect> {
    if work.changes("masked") && spec.masked == Some(false) {
        remove_link(sys, &UnitSpec::path_in_folder(unit))?;
    }
    if work.changes("enabled") {
        let text = unit_text(sys, unit).unwrap_or_default();
        let folders = install_links(&text);
        if folders.is_empty() && spec.enabled == Some(true) {
            return fail(
                ErrorCode::NotFound,
                format!("{unit} can't be enabled: no such unit with an [Install] section"),
            );
        }
        if spec.enabled == Some(false) {
            for path in aliases::enablement_links(sys, unit)? {
                remove_link(sys, &path)?;
            }
        }
        for folder in folders {
            let path = UnitSpec::path_in_folder(&format!("{folder}/{unit}"));
            if spec.enabled == Some(true) {
                put_link(sys, &path, &UnitSpec::path_in_folder(unit))?;
            }
        }
    }
    if work.changes("masked") && spec.masked == Some(true) {
        put_link(sys, &UnitSpec::path_in_folder(unit), "/dev/null")?;
    }
    Ok(Effect::Done)
}
