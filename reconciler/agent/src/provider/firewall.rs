//! `firewall`: Plumb's own nftables table, and the file and unit that load it at boot.
//!
//! The rules are loaded before the file is written, so that a restart of the machine undoes a change that cut
//! it off before the file was in place.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{
    BootLoading, Content, FirewallObserved, FirewallSpec, Masquerade, Mode, Presence, ReversePath,
    RulesReading, UnitSpec,
};
use plumb_api::{Observed, Spec};
use serde::Deserialize;
use serde_json::{Value, json};

use super::at_path::{self, Bytes, Put, ROOT};
use super::{
    ApplyContext, Effect, GiveBack, Inquiry, Item, ItemChange, ObserveContext, Provider, each,
    systemd, wrong_type,
};
use crate::error::{Result, fail};
use crate::sys::{FileKind, Output, Program, Sys};

/// Maximum size of the file with the rules, in bytes.
const MAX_FILE: u64 = 4 << 20;

pub(crate) struct Firewalls;

impl Provider for Firewalls {
    fn inquiry(&self) -> Inquiry {
        Inquiry::Programs("nft")
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |_: &Item<'_>| observe(cx.sys).map(Observed::Firewall);
        items.iter().map(one).collect()
    }

    /// A later `nft` may list rules in another form than the one that it was given.
    fn read_back_fields(&self) -> &'static [&'static str] {
        &["rules"]
    }

    fn losses(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Vec<String> {
        match change.observed {
            Observed::Firewall(found)
                if found.rules.is_some()
                    && found.boot == BootLoading::Absent
                    && cx.inputs.ledger.entry(change.address).is_none() =>
            {
                vec!["the rules of a table `inet plumb` that Plumb didn't load".to_owned()]
            }
            _ => Vec::new(),
        }
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let Spec::Firewall(spec) = change.spec else {
            return wrong_type(change.address);
        };
        systemd::running(cx.sys)?;
        let unit = UnitSpec::path_in_folder(FirewallSpec::UNIT);
        for path in [FirewallSpec::FILE, unit.as_str()] {
            at_path::check_change(cx, path, FileKind::File, change)?;
        }
        if spec.state == Presence::Absent {
            return Ok(());
        }
        if let Some(network) = spec.unresolved() {
            return fail(
                ErrorCode::Protocol,
                format!(
                    "{} came without the interface of `{network}`",
                    change.address
                ),
            );
        }
        if has_nft(cx.sys) {
            check(cx.sys, spec)
        } else {
            // A change of the same plan may bring it.
            Ok(())
        }
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Firewalls {
    fn full_spec(&self) -> Spec {
        Spec::Firewall(FirewallSpec::default())
    }

    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let saved = match original {
            Observed::Firewall(found) => found.saved.as_deref().cloned(),
            _ => None,
        };
        Spec::Firewall(saved.unwrap_or_else(|| FirewallSpec {
            state: Presence::Absent,
            ..FirewallSpec::default()
        }))
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        match original {
            Observed::Firewall(found) if found.saved.is_some() => {
                Some("the rules that were loaded at boot".to_owned())
            }
            _ => None,
        }
    }
}

/// A listing of `nft --json`.
#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Value>,
}

fn observe(sys: &Sys) -> Result<FirewallObserved> {
    let root = sys.root();
    let file = root.read(FirewallSpec::FILE, MAX_FILE)?;
    let unit = root.read(&UnitSpec::path_in_folder(FirewallSpec::UNIT), MAX_FILE)?;
    let link = UnitSpec::path_in_folder(&format!(
        "{}.wants/{}",
        FirewallSpec::TARGET,
        FirewallSpec::UNIT
    ));
    let linked = sys.exists(&link);
    let text = file
        .as_deref()
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    let saved = text.and_then(FirewallSpec::of_file).map(Box::new);
    let is_ours = unit.as_deref() == Some(FirewallSpec::UNIT_TEXT.as_bytes());
    let boot = if file.is_none() && unit.is_none() && !linked {
        BootLoading::Absent
    } else if saved.is_some() && is_ours && linked {
        BootLoading::Enabled
    } else {
        BootLoading::Changed
    };
    Ok(FirewallObserved {
        rules: rules(sys)?,
        saved,
        boot,
    })
}

/// Returns the rules in the kernel; `None` if Plumb's table isn't there, or the host has no `nft` yet.
fn rules(sys: &Sys) -> Result<Option<RulesReading>> {
    if !has_nft(sys) {
        return Ok(None);
    }
    let tables = list(sys, &["--json", "list", "tables"])?;
    if !tables.nftables.iter().any(FirewallSpec::is_table) {
        return Ok(None);
    }
    let table = list(sys, &FirewallSpec::listing())?;
    Ok(Some(RulesReading::of(&table.nftables)))
}

fn list(sys: &Sys, args: &[&str]) -> Result<Listing> {
    let output = nft(sys, args, None)?;
    if output.status != 0 {
        return Err(AgentError::new(
            ErrorCode::Unsupported,
            format!("nft can't list the kernel's tables: {}", output.complaint()),
        )
        .hint("load the kernel module `nf_tables`; a container's host must load it, and allow the container to manage its network"));
    }
    serde_json::from_str(&output.stdout).map_err(|error| {
        AgentError::new(
            ErrorCode::Internal,
            format!("cannot read the listing of nft: {error}"),
        )
    })
}

/// Runs `nft`. If the host doesn't have it, the error says what to do.
fn nft(sys: &Sys, args: &[&str], input: Option<&str>) -> Result<Output> {
    let mut program = Program::new("nft", args.iter().copied());
    program.input = input.map(str::as_bytes);
    program.run(sys).map_err(|error| match error.code {
        ErrorCode::Unsupported => error.hint("add `package: {nftables: {}}` to the manifest"),
        _ => error,
    })
}

/// True if the host has `nft`.
fn has_nft(sys: &Sys) -> bool {
    ["/usr/sbin/nft", "/sbin/nft"]
        .iter()
        .any(|path| sys.exists(path))
}

/// Carries out commands in one transaction.
fn load(sys: &Sys, commands: &[Value]) -> Result<()> {
    let input = json!({ "nftables": commands }).to_string();
    let output = nft(sys, &["--json", "--file", "-"], Some(&input))?;
    if output.status == 0 {
        return Ok(());
    }
    fail(
        ErrorCode::CommandFailed,
        format!("nft can't load the firewall: {}", output.complaint()),
    )
}

/// Has `nft` and the kernel check the rules of a spec, without loading them.
fn dry_run(sys: &Sys, spec: &FirewallSpec) -> Result<Output> {
    let input = json!({ "nftables": spec.transaction() }).to_string();
    nft(sys, &["--json", "--check", "--file", "-"], Some(&input))
}

/// Fails if the kernel wouldn't take the rules. If it lacks a part of nftables, the error names the field that
/// needs it.
fn check(sys: &Sys, spec: &FirewallSpec) -> Result<()> {
    let output = dry_run(sys, spec)?;
    if output.status == 0 {
        return Ok(());
    }
    for (field, module, without) in [
        (
            "reversePath",
            "nft_fib_inet",
            FirewallSpec {
                reverse_path: ReversePath::Off,
                ..spec.clone()
            },
        ),
        (
            "masquerade",
            "nft_masq",
            FirewallSpec {
                masquerade: Vec::<Masquerade>::new(),
                ..spec.clone()
            },
        ),
    ] {
        if without != *spec && dry_run(sys, &without)?.status == 0 {
            return Err(AgentError::new(
                ErrorCode::Unsupported,
                format!(
                    "the kernel can't do what `{field}` of the firewall needs: {}",
                    output.complaint()
                ),
            )
            .hint(format!(
                "load the kernel module `{module}` (a container's host must load it), or leave `{field}` out"
            )));
        }
    }
    Err(AgentError::new(
        ErrorCode::Refused,
        format!("nft doesn't take the firewall: {}", output.complaint()),
    )
    .hint("if it lacks a part of the kernel, load the modules `nft_ct` and `nf_conntrack`; a container's host must load them"))
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let (Spec::Firewall(spec), Observed::Firewall(found)) = (work.spec, work.observed) else {
        return wrong_type(work.address);
    };
    if spec.state == Presence::Absent {
        remove(cx, work, found)?;
        return Ok(Effect::Done);
    }
    check(cx.sys, spec)?;
    load(cx.sys, &spec.transaction())?;
    put(cx, FirewallSpec::FILE, spec.file().as_bytes())?;
    let unit = UnitSpec::path_in_folder(FirewallSpec::UNIT);
    if found.boot != BootLoading::Enabled {
        put(cx, &unit, FirewallSpec::UNIT_TEXT.as_bytes())?;
        systemd::reload(cx.sys)?;
    }
    control(cx.sys, "enable")?;
    control(cx.sys, "start")?;
    Ok(Effect::Done)
}

/// Deletes the table, the unit and the file.
fn remove(
    cx: &mut ApplyContext<'_>,
    work: &ItemChange<'_>,
    found: &FirewallObserved,
) -> Result<()> {
    if found.rules.is_some() {
        load(cx.sys, &FirewallSpec::removal())?;
    }
    let unit = UnitSpec::path_in_folder(FirewallSpec::UNIT);
    if cx.sys.exists(&unit) {
        control(cx.sys, "stop")?;
        control(cx.sys, "disable")?;
        at_path::remove(cx, &unit, FileKind::File)?;
        systemd::reload(cx.sys)?;
    }
    at_path::remove(cx, FirewallSpec::FILE, FileKind::File)?;
    at_path::remove_made(cx, work.original)
}

fn control(sys: &Sys, verb: &str) -> Result<()> {
    let output = systemd::control(sys, &[verb, "--quiet", "--", FirewallSpec::UNIT])?;
    if output.status == 0 {
        return Ok(());
    }
    Err(systemd::failure(sys, FirewallSpec::UNIT, verb, &output))
}

fn put(cx: &mut ApplyContext<'_>, path: &str, bytes: &[u8]) -> Result<()> {
    let root = ROOT.parse().ok();
    let put = Put {
        bytes: Bytes::New(Content::of(bytes)),
        owner: root.as_ref(),
        group: root.as_ref(),
        mode: Some(Mode::from_bits(0o644)),
        validate: &[],
        attributes: None,
    };
    at_path::put_bytes(cx, path, &put, bytes)
}
