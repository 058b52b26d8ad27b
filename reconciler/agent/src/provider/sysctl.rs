//! `sysctl`: the running value in `/proc/sys`, and a file for the next boot.

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, Mode, Presence, SysctlObserved, SysctlSpec};
use plumb_api::{Observed, Spec};

use super::at_path::{self, Bytes, Put, ROOT};
use super::{
    ApplyContext, Effect, GiveBack, Identity, Item, ItemChange, ObserveContext, Provider, Sandbox,
    each, wrong_type,
};
use crate::error::{Result, fail};
use crate::sys::{FileKind, Sys};

pub(crate) struct Sysctls;

/// Returns the path of a key below `/proc/sys`.
fn kernel_path(key: &str) -> String {
    format!("/proc/sys/{}", SysctlSpec::kernel_name(key))
}

fn persisted(sys: &Sys, key: &str) -> Result<Option<String>> {
    let Some(bytes) = sys.root().read(&SysctlSpec::file(key), 64 << 10)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let value = text
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| name.trim() == key)
        .map(|(_, value)| SysctlSpec::fold(value))
        .next_back();
    // A file of Plumb's without the key is a difference too.
    Ok(Some(value.unwrap_or_default()))
}

fn running(key: &str) -> Result<Option<String>> {
    match std::fs::read_to_string(kernel_path(key)) {
        Ok(text) => Ok(Some(SysctlSpec::fold(&text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // A write-only key has no value to compare.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => fail(
            ErrorCode::Io,
            format!("can't read {}: {error}", kernel_path(key)),
        ),
    }
}

impl Provider for Sysctls {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    /// A key is the kernel's value that it shows, whatever it is called. A resource without a value is its own
    /// file alone.
    fn identities(&self, _cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        let one = |item: &Item<'_>| {
            let key = item.address.name();
            let value = match item.spec {
                Spec::Sysctl(spec) => spec.value.as_deref(),
                _ => None,
            };
            Identity::new(match value {
                Some(value) => SysctlSpec::kernel_value(key, value),
                None => SysctlSpec::file(key),
            })
        };
        items.iter().map(one).collect()
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let key = item.address.name();
            let persisted = persisted(cx.sys, key)?;
            // A sandbox has no kernel of its own, so only the file counts.
            let running = if cx.sys.is_sandbox() {
                persisted.clone()
            } else {
                running(key)?
            };
            Ok(Observed::Sysctl(SysctlObserved { running, persisted }))
        };
        items.iter().map(one).collect()
    }

    fn compare(&self, spec: &Spec, observed: &Observed) -> Vec<FieldChange> {
        let mut changes = spec.compare(observed);
        if let (Spec::Sysctl(spec), Observed::Sysctl(found)) = (spec, observed) {
            // If the kernel has no such key, there is no running value to restore.
            let give_back = spec.state == Presence::Absent && found.running.is_some();
            if let Some(value) = spec.value.as_ref().filter(|_| give_back) {
                let value = SysctlSpec::fold(value);
                if found.running.as_ref() != Some(&value) {
                    changes.push(FieldChange::of(
                        "running",
                        found.running.as_ref(),
                        Some(&value),
                    ));
                }
            }
        }
        changes
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Sysctls {
    fn full_spec(&self) -> Spec {
        Spec::Sysctl(SysctlSpec::default())
    }

    /// Returns "not persisted, and running as before" for an original without a file, which no manifest can
    /// express.
    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let (running, persisted) = match original {
            Observed::Sysctl(original) => (original.running.clone(), original.persisted.clone()),
            _ => (None, None),
        };
        Spec::Sysctl(SysctlSpec {
            state: if persisted.is_some() {
                Presence::Present
            } else {
                Presence::Absent
            },
            value: persisted.or(running),
            ..SysctlSpec::default()
        })
    }

    /// Removes the file of this name; the running value is the other name's.
    fn surrender_spec(&self) -> Option<Spec> {
        Some(Spec::Sysctl(SysctlSpec {
            state: Presence::Absent,
            ..SysctlSpec::default()
        }))
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::Sysctl(original) = original else {
            return None;
        };
        let value = original.running.as_ref()?;
        Some(format!("the value {value}"))
    }
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Sysctl(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let key = work.address.name();
    if let Some(value) = spec.value.as_deref().filter(|_| work.changes("running")) {
        if !cx.sys.is_sandbox() {
            set(key, value)?;
        }
    }
    if work.changes("persisted") {
        let path = SysctlSpec::file(key);
        if spec.state == Presence::Absent {
            at_path::remove(cx, &path, FileKind::File)?;
            at_path::remove_made(cx, work.original)?;
        } else if let Some(value) = &spec.value {
            let text = format!("# Written by plumb.\n{key} = {}\n", SysctlSpec::fold(value));
            put_text(cx, &path, &text)?;
        }
    }
    Ok(Effect::Done)
}

/// Sets the running value. This comes before the file: a value that the kernel rejects must not stay for the
/// next boot.
fn set(key: &str, value: &str) -> Result<()> {
    let path = kernel_path(key);
    match std::fs::write(&path, value) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(AgentError::new(
            ErrorCode::NotFound,
            format!("the kernel has no sysctl {key}"),
        )
        .hint("a module that isn't loaded may bring it")),
        Err(error) => Err(AgentError::new(
            ErrorCode::Refused,
            format!("the kernel doesn't take `{value}` for {key}: {error}"),
        )
        .hint("in a container most of /proc/sys can't be written")),
    }
}

fn put_text(cx: &mut ApplyContext<'_>, path: &str, text: &str) -> Result<()> {
    let root = ROOT.parse().ok();
    let put = Put {
        bytes: Bytes::New(Content::of(text.as_bytes())),
        owner: root.as_ref(),
        group: root.as_ref(),
        mode: Some(Mode::from_bits(0o644)),
        validate: &[],
    };
    at_path::put_bytes(cx, path, &put, text.as_bytes())
}
