//! `sysctl`: the kernel's current value in `/proc/sys`, and a file that sets it at the next boot.

use std::io::ErrorKind;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, Mode, Presence, SysctlObserved, SysctlSpec};
use plumb_api::{Observed, Spec};
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;

use super::at_path::{self, Bytes, Put, ROOT};
use super::{
    ApplyContext, Effect, GiveBack, Identity, Item, ItemChange, ObserveContext, Provider,
    RefusedField, Sandbox, each, sysctl_files, wrong_type,
};
use crate::error::{Result, fail};
use crate::sys::{FileKind, Sys};

pub(crate) struct Sysctls;

/// Returns the path of a key below `/proc/sys`.
fn kernel_path(key: &str) -> String {
    format!("/proc/sys/{}", SysctlSpec::kernel_name(key))
}

/// The result of reading a key from the kernel.
enum Running {
    /// The value, with white space normalized.
    Value(String),
    /// The key has no value until it is set for the first time.
    Unset,
    /// The key can only be written.
    WriteOnly,
    /// The kernel has no such key.
    Missing,
}

fn persisted(sys: &Sys, key: &str) -> Result<Option<String>> {
    let Some(bytes) = sys.root().read(&SysctlSpec::file(key), 64 << 10)? else {
        let former = SysctlSpec::former_file(key).filter(|former| sys.exists(former));
        return Ok(former.map(|_| NO_VALUE.to_owned()));
    };
    let text = String::from_utf8_lossy(&bytes);
    let value = text
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| name.trim() == key)
        .map(|(_, value)| SysctlSpec::fold(value))
        .next_back();
    // If Plumb's file doesn't set the key, that is a difference, even if the desired value is empty.
    Ok(Some(value.unwrap_or_else(|| NO_VALUE.to_owned())))
}

/// Returns the value that systemd will set at boot: the value in Plumb's own file, or the value and path of
/// another file that overrides it.
fn at_boot(sys: &Sys, key: &str, value: &str, own: Option<String>) -> Option<String> {
    match sysctl_files::overriding(sys, key, value) {
        Some((path, other)) if own.is_some() => Some(format!("{other} ({path})")),
        _ => own,
    }
}

/// The persisted value if Plumb's file exists but doesn't set the key, or if it has the name that an earlier
/// version of Plumb gave it.
const NO_VALUE: &str = "(none)";

fn running(key: &str) -> Result<Running> {
    /// The kernel returns this error for `stable_secret` until it is set.
    const EIO: i32 = 5;
    match std::fs::read_to_string(kernel_path(key)) {
        Ok(text) => Ok(Running::Value(SysctlSpec::fold(&text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Running::Missing),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Running::WriteOnly),
        Err(error) if error.raw_os_error() == Some(EIO) => Ok(Running::Unset),
        Err(error) => fail(
            ErrorCode::Io,
            format!("can't read {}: {error}", kernel_path(key)),
        ),
    }
}

/// Observes a key. A sandbox has no kernel of its own, so there only the file is observed.
fn observe(sys: &Sys, item: &Item<'_>) -> Result<Observed> {
    let Spec::Sysctl(spec) = item.spec else {
        return wrong_type(item.address);
    };
    let key = item.address.name();
    let own = persisted(sys, key)?;
    let persisted = match &spec.value {
        Some(value) if spec.state == Presence::Present => at_boot(sys, key, value, own),
        _ => own,
    };
    if sys.is_sandbox() {
        let running = persisted.clone();
        return Ok(Observed::Sysctl(SysctlObserved { running, persisted }));
    }
    let wanted = spec
        .value
        .as_deref()
        .filter(|_| spec.state == Presence::Present);
    let running = match running(key)? {
        Running::Value(value) => Some(value),
        Running::Missing => {
            // The file is already as desired, and nothing more can be changed, so report the missing key as
            // an error.
            let value = wanted.map(SysctlSpec::fold);
            if value.is_some() && value == persisted {
                return Err(missing(key));
            }
            None
        }
        Running::WriteOnly if wanted.is_some() => {
            return Err(AgentError::new(
                ErrorCode::Refused,
                format!("sysctl {key} can only be written: it has no value to keep"),
            )
            .hint("use a `command` that writes it"));
        }
        Running::Unset | Running::WriteOnly => None,
    };
    Ok(Observed::Sysctl(SysctlObserved { running, persisted }))
}

/// Returns the error for a key that the kernel doesn't have. If the kernel has the key in another spelling,
/// the error names it.
fn missing(key: &str) -> AgentError {
    let error = |message: String| AgentError::new(ErrorCode::NotFound, message);
    if let Some(path) = spelled(&SysctlSpec::kernel_name(key)) {
        let right = SysctlSpec::dotted(&path);
        return error(format!("the kernel has no sysctl {key}; it has {right}")).hint(format!(
            "write `{right}`: a dot within a name is written `/`"
        ));
    }
    let file = SysctlSpec::file(key);
    match SysctlSpec::interface(key) {
        Some(interface) => error(format!("there is no network interface {interface} for sysctl {key}"))
            .hint(format!("{file} has the value for when the interface comes")),
        None => error(format!("the kernel has no sysctl {key}")).hint(format!(
            "check its name, or load the module that brings it; {file} has the value for when it comes"
        )),
    }
}

/// Finds a key that contains names with dots, if some of its dots were taken for separators. Returns its path
/// in `/proc/sys`.
fn spelled(path: &str) -> Option<String> {
    fn walk(above: &str, parts: &[&str]) -> Option<String> {
        if parts.is_empty() {
            return Some(above.to_owned());
        }
        (1..=parts.len()).find_map(|taken| {
            let name = parts[..taken].join(".");
            let path = if above.is_empty() {
                name
            } else {
                format!("{above}/{name}")
            };
            let exists = std::fs::symlink_metadata(format!("/proc/sys/{path}")).is_ok();
            exists.then(|| walk(&path, &parts[taken..])).flatten()
        })
    }
    let parts: Vec<&str> = path.split(['/', '.']).collect();
    walk("", &parts).filter(|found| found != path)
}

impl Provider for Sysctls {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn written(&self, change: &ItemChange<'_>) -> Option<String> {
        let persists = change.changes("persisted") || change.changes("state");
        persists.then(|| SysctlSpec::file(change.address.name()))
    }

    /// A key with a desired value has the identity of the kernel value that it sets, in any spelling of the
    /// key. A key without a desired value has the identity of its file.
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
        items.iter().map(|item| observe(cx.sys, item)).collect()
    }

    /// If `/proc/sys` is read-only, as in most containers, the host refuses every change of a running value.
    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let key = change.address.name();
        let Spec::Sysctl(spec) = change.spec else {
            return wrong_type(change.address);
        };
        let is_set = change.changes("running") && !cx.sys.is_sandbox();
        match spec
            .value
            .as_deref()
            .filter(|_| is_set && is_read_only(key))
        {
            Some(value) => Err(not_taken(key, value, &Errno::ROFS.into())),
            None => Ok(()),
        }
    }

    /// If another file sets the key to another value after Plumb's file at boot, the host refuses the
    /// persisted value.
    fn refused_fields(
        &self,
        cx: &ObserveContext<'_>,
        change: &ItemChange<'_>,
    ) -> Vec<RefusedField> {
        let key = change.address.name();
        let value = match change.spec {
            Spec::Sysctl(spec) if spec.state == Presence::Present => spec.value.as_deref(),
            _ => None,
        };
        let Some(value) = value.filter(|_| change.original.is_none()) else {
            return Vec::new();
        };
        let later = sysctl_files::overriding(cx.sys, key, value);
        let Some((path, other)) = later.filter(|_| change.changes("persisted")) else {
            return Vec::new();
        };
        let error = AgentError::new(
            ErrorCode::Refused,
            format!(
                "{path} sets {key} to `{other}` at boot, after Plumb's own {}",
                SysctlSpec::file(key)
            ),
        )
        .hint(format!(
            "remove the line on the host, or manage `file: {{{path}: …}}` too"
        ));
        // A sandbox has no kernel of its own: its running value is the persisted one.
        let fields: &[&'static str] = if cx.sys.is_sandbox() {
            &["persisted", "running"]
        } else {
            &["persisted"]
        };
        let refused = |field: &&'static str| RefusedField {
            field,
            error: error.clone(),
        };
        fields.iter().map(refused).collect()
    }

    /// The kernel may round, sort or truncate the value that is written.
    fn read_back_fields(&self) -> &'static [&'static str] {
        &["running"]
    }

    fn compare(&self, spec: &Spec, observed: &Observed) -> Vec<FieldChange> {
        let mut changes = spec.compare(observed);
        if let (Spec::Sysctl(spec), Observed::Sysctl(found)) = (spec, observed) {
            // If the kernel has no such key, there is no running value to restore.
            let give_back = spec.state == Presence::Absent && found.running.is_some();
            if let Some(value) = spec.value.as_ref().filter(|_| give_back) {
                let value = SysctlSpec::fold(value);
                let running = found.running.as_ref();
                if running.is_none_or(|running| !SysctlSpec::same(running, &value)) {
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

    /// If the original had no file, the returned spec means "no file, and the running value as before". No
    /// manifest can express this.
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

    /// A manifest sets the running value, whether or not a file keeps it today.
    fn adopt_spec(&self, observed: &Observed) -> Option<Spec> {
        let Observed::Sysctl(found) = observed else {
            return None;
        };
        Some(Spec::Sysctl(SysctlSpec {
            value: Some(found.running.clone().or(found.persisted.clone())?),
            ..SysctlSpec::default()
        }))
    }

    /// Removes only the file of this spelling. The running value belongs to the resource with the other
    /// spelling.
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
    let mut later = None;
    if let Some(value) = spec.value.as_deref().filter(|_| work.changes("running")) {
        if !cx.sys.is_sandbox() {
            match set(key, value) {
                // Write the file anyway, because the key may appear later.
                Err(error) if error.code == ErrorCode::NotFound => later = Some(error),
                outcome => outcome?,
            }
        }
    }
    if work.changes("persisted") {
        persist(cx, work, spec)?;
    }
    later.map_or(Ok(Effect::Done), Err)
}

/// Writes or removes Plumb's own file for a key.
fn persist(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>, spec: &SysctlSpec) -> Result<()> {
    let key = work.address.name();
    let path = SysctlSpec::file(key);
    if let Some(former) = SysctlSpec::former_file(key).filter(|former| cx.sys.exists(former)) {
        at_path::remove(cx, &former, FileKind::File)?;
    }
    if spec.state == Presence::Absent {
        at_path::remove(cx, &path, FileKind::File)?;
        at_path::remove_made(cx, work.original)?;
    } else if let Some(value) = &spec.value {
        let text = format!("# Written by plumb.\n{key} = {}\n", SysctlSpec::fold(value));
        put_text(cx, &path, &text)?;
    }
    Ok(())
}

/// Sets the running value. The agent does this before it writes the file, so that no value that the kernel
/// rejects is set at the next boot.
fn set(key: &str, value: &str) -> Result<()> {
    // Writing zero bytes has no effect. The newline is needed to empty a list.
    match std::fs::write(kernel_path(key), format!("{value}\n")) {
        Ok(()) => Ok(()),
        // The kernel returns the same error if the value names something that it doesn't have.
        Err(error) if error.kind() == ErrorKind::NotFound && !is_there(key) => Err(missing(key)),
        Err(error) => Err(not_taken(key, value, &error)),
    }
}

/// Returns the error for a running value that can't be written.
fn not_taken(key: &str, value: &str, error: &std::io::Error) -> AgentError {
    let refused = AgentError::new(
        ErrorCode::Refused,
        format!("the kernel doesn't take `{value}` for {key}: {error}"),
    );
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => {
            refused.hint("in a container most of /proc/sys can't be written")
        }
        ErrorKind::NotFound => refused.hint(
            "the value names something that the kernel doesn't have: load the module that brings it",
        ),
        _ => refused,
    }
}

/// True if a key lies on a read-only mount of `/proc/sys`.
fn is_read_only(key: &str) -> bool {
    statvfs(kernel_path(key)).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn is_there(key: &str) -> bool {
    std::fs::symlink_metadata(kernel_path(key)).is_ok()
}

fn put_text(cx: &mut ApplyContext<'_>, path: &str, text: &str) -> Result<()> {
    let root = ROOT.parse().ok();
    let put = Put {
        bytes: Bytes::New(Content::of(text.as_bytes())),
        owner: root.as_ref(),
        group: root.as_ref(),
        mode: Some(Mode::from_bits(0o644)),
        validate: &[],
        attributes: None,
    };
    at_path::put_bytes(cx, path, &put, text.as_bytes())
}
