//! `kernelParameter`: the boot loader's configuration, and the command line of the running kernel.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{
    BootCopy, Content, KernelParameterObserved, KernelParameterSpec, Mode, Presence, Setting,
};
use plumb_api::{Address, Kind, Observed, Spec};

use super::at_path::{self, Bytes, Put, ROOT};
use super::boot_loader::{self, BootLoader};
use super::command_line;
use super::{
    ApplyContext, AtNextBoot, Batch, Effect, GiveBack, Identity, Item, ItemChange, Lane,
    ObserveContext, Provider, Sandbox, wrong_type,
};
use crate::error::Result;
use crate::sys::{FileKind, Sys};

pub(crate) struct KernelParameters;

/// Says whether the boot loader's menu must be built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rebuild {
    Needed,
    No,
}

fn observe(sys: &Sys, item: &Item<'_>) -> Result<Observed> {
    let name = item.address.name();
    let mut observed = KernelParameterObserved::default();
    if let Some(loader) = BootLoader::of(sys) {
        let found = loader.observe(sys, name)?;
        observed.configured = found.value;
        observed.files = found.files;
        observed.menu = found.menu;
    }
    observed.running = if sys.is_sandbox() {
        observed.configured.clone()
    } else {
        let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        command_line::value(line.trim_end(), name)
    };
    Ok(Observed::KernelParameter(observed))
}

impl Provider for KernelParameters {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn lane(&self) -> Lane {
        Lane::Own(Kind::KernelParameter)
    }

    fn batch(&self) -> Batch {
        Batch::Whole
    }

    fn identities(&self, _cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        let one = |item: &Item<'_>| Identity::new(item.address.name().replace('-', "_"));
        items.iter().map(one).collect()
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        items.iter().map(|item| observe(cx.sys, item)).collect()
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let name = change.address.name();
        match BootLoader::of(cx.sys) {
            Some(BootLoader::RaspberryPi(path)) => {
                let text = boot_loader::read(cx.sys, path)?.unwrap_or_default();
                let count = command_line::places(command_line::first_line(&text), name).len();
                if count > 1 {
                    return Err(AgentError::new(
                        ErrorCode::Refused,
                        format!("{path} has {name} {count} times, so no single value is managed"),
                    )
                    .hint("manage the line with `file`, or remove all but one on the host"));
                }
                Ok(())
            }
            Some(BootLoader::Grub) => Ok(()),
            None if change.spec.wants_absent() => Ok(()),
            None => Err(AgentError::new(
                ErrorCode::Unsupported,
                "this host has neither GRUB's `update-grub` nor a Raspberry Pi's cmdline.txt",
            )
            .hint("set the parameter where the host's boot loader has it")),
        }
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        let mut prepared: Vec<Result<Rebuild>> = work.iter().map(|one| prepare(cx, one)).collect();
        if prepared.contains(&Ok(Rebuild::Needed)) {
            if let Err(error) = boot_loader::update_grub(cx.sys) {
                for one in &mut prepared {
                    if *one == Ok(Rebuild::Needed) {
                        *one = Err(error.clone());
                    }
                }
            }
        }
        let finished = prepared.into_iter().zip(work);
        finished
            .map(|(prepared, one)| prepared.and_then(|_| finish(cx, one)))
            .collect()
    }

    fn at_next_boot(&self) -> Option<&dyn AtNextBoot> {
        Some(self)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl AtNextBoot for KernelParameters {
    fn pending(&self, address: &Address, spec: &Spec, observed: &Observed) -> Option<String> {
        let (Spec::KernelParameter(spec), Observed::KernelParameter(observed)) = (spec, observed)
        else {
            return None;
        };
        let value = (spec.state == Presence::Present).then(|| spec.value())?;
        let is_set = observed.configured.as_deref() == Some(value);
        // Without the menu, a reboot would change nothing.
        if !is_set || observed.menu == BootCopy::Outdated {
            return None;
        }
        let name = address.name();
        let desired = KernelParameterSpec::word(name, value);
        match &observed.running {
            None => Some(format!("the kernel runs without {desired}")),
            Some(running) if running != value => {
                let running = KernelParameterSpec::word(name, running);
                Some(format!("the kernel runs with {running}, not {desired}"))
            }
            Some(_) => None,
        }
    }
}

impl GiveBack for KernelParameters {
    fn full_spec(&self) -> Spec {
        Spec::KernelParameter(KernelParameterSpec::default())
    }

    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let configured = match original {
            Observed::KernelParameter(original) => original.configured.clone(),
            _ => None,
        };
        Spec::KernelParameter(KernelParameterSpec {
            state: match configured {
                Some(_) => Presence::Present,
                None => Presence::Absent,
            },
            value: configured
                .filter(|value| !value.is_empty())
                .map(Setting::from),
            ..KernelParameterSpec::default()
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::KernelParameter(original) = original else {
            return None;
        };
        original
            .configured
            .as_ref()
            .map(|value| match value.as_str() {
                "" => "without a value".to_owned(),
                value => format!("the value {value}"),
            })
    }
}

/// Changes the configuration. A file for GRUB that is to be removed is only emptied, so that a menu that can't
/// be built is built at the next try.
fn prepare(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Rebuild> {
    let Spec::KernelParameter(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let name = work.address.name();
    match BootLoader::of(cx.sys) {
        Some(BootLoader::Grub) => {
            let text = match spec.state {
                Presence::Present => boot_loader::grub_text(name, spec.value()),
                Presence::Absent => boot_loader::HEAD.to_owned(),
            };
            let root = ROOT.parse().ok();
            let put = Put {
                bytes: Bytes::New(Content::of(text.as_bytes())),
                owner: root.as_ref(),
                group: root.as_ref(),
                mode: Some(Mode::from_bits(0o644)),
                validate: &[],
                attributes: None,
            };
            let path = KernelParameterSpec::grub_file(name);
            at_path::put_bytes(cx, &path, &put, text.as_bytes())?;
            Ok(Rebuild::Needed)
        }
        Some(BootLoader::RaspberryPi(path)) => {
            let before = boot_loader::read(cx.sys, path)?.unwrap_or_default();
            let after = match spec.state {
                Presence::Present => {
                    let desired = KernelParameterSpec::word(name, spec.value());
                    command_line::with(&before, name, &desired)
                }
                Presence::Absent => command_line::without(&before, name),
            };
            // The file system is often FAT, which keeps no owner and no mode.
            let put = Put {
                bytes: Bytes::New(Content::of(after.as_bytes())),
                owner: None,
                group: None,
                mode: None,
                validate: &[],
                attributes: None,
            };
            at_path::put_bytes(cx, path, &put, after.as_bytes())?;
            Ok(Rebuild::No)
        }
        None => Ok(Rebuild::No),
    }
}

/// Removes the file of a parameter that is to have none.
fn finish(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    if work.spec.wants_absent() {
        let path = KernelParameterSpec::grub_file(work.address.name());
        at_path::remove(cx, &path, FileKind::File)?;
        at_path::remove_made(cx, work.original)?;
    }
    Ok(Effect::Done)
}

#[cfg(test)]
mod tests {
    use plumb_api::resource::OwnFiles;

    use super::*;

    fn pending(observed: &KernelParameterObserved) -> Option<String> {
        let spec = KernelParameterSpec {
            value: Some(Setting::from("256M".to_owned())),
            ..KernelParameterSpec::default()
        };
        let address = Address::new(Kind::KernelParameter, "cma").unwrap();
        let observed = Observed::KernelParameter(observed.clone());
        KernelParameters.pending(&address, &Spec::KernelParameter(spec), &observed)
    }

    #[test]
    fn reboot_is_needed_once_the_boot_loader_has_the_value() {
        let mut observed = KernelParameterObserved::default();
        assert_eq!(pending(&observed), None);
        observed.configured = Some("256M".to_owned());
        observed.files = OwnFiles::Written;
        let reason = pending(&observed).unwrap();
        assert_eq!(reason, "the kernel runs without cma=256M");
        observed.running = Some("64M".to_owned());
        let reason = pending(&observed).unwrap();
        assert_eq!(reason, "the kernel runs with cma=64M, not cma=256M");
        observed.running = Some("256M".to_owned());
        assert_eq!(pending(&observed), None);
    }
}
