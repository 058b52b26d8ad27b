//! `kernelModule`: files that load, configure or blacklist a module at boot, and the module in the running
//! kernel.

use std::collections::BTreeMap;
use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{
    BootCopy, Content, KernelModuleObserved, KernelModuleSpec, Mode, ModulePresence, ModuleState,
    OwnFiles, Setting,
};
use plumb_api::{Address, Kind, Observed, Spec};

use super::at_path::{self, Bytes, Put, ROOT};
use super::kernel_module_files::{self as files, BootSettings};
use super::running_kernel::{RunningKernel, parameter};
use super::{
    ApplyContext, AtNextBoot, Batch, Effect, GiveBack, Identity, Item, ItemChange, Lane,
    ObserveContext, Provider, Sandbox, wrong_type,
};
use crate::error::Result;
use crate::sys::{FileKind, Program, Sys};

pub(crate) struct KernelModules;

/// Maximum time for building the initial RAM disks of all kernels.
const BUILD: Duration = Duration::from_secs(15 * 60);

/// Says whether the initial RAM disk must be built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rebuild {
    Needed,
    No,
}

fn observe(sys: &Sys, item: &Item<'_>) -> Result<Observed> {
    let Spec::KernelModule(spec) = item.spec else {
        return wrong_type(item.address);
    };
    let name = item.address.name();
    let (settings, files) = files::read(sys, name)?;
    let mut observed = KernelModuleObserved {
        state: settings.state,
        options: settings.options,
        files,
        ..KernelModuleObserved::default()
    };
    if sys.is_sandbox() {
        // A sandbox has no kernel of its own, so what is set for boot counts.
        if observed.state == Some(ModuleState::Loaded) {
            observed.running = ModulePresence::Loaded;
        }
        return Ok(Observed::KernelModule(observed));
    }
    let kernel = RunningKernel::new();
    let module = KernelModuleSpec::module(name);
    observed.running = kernel.presence(&module);
    if observed.running == ModulePresence::Loaded {
        let options = spec.options.keys();
        observed.parameters = options
            .filter_map(|option| Some((option.clone(), parameter(&module, option)?)))
            .collect();
    }
    if spec.initramfs {
        observed.initramfs = initramfs(sys, &kernel, name)?;
    }
    Ok(Observed::KernelModule(observed))
}

/// Compares the time of the file with the options to that of the initial RAM disk with its copy.
fn initramfs(sys: &Sys, kernel: &RunningKernel, name: &str) -> Result<BootCopy> {
    let modified = |path: &str| Ok(sys.root().look(path)?.map(|found| found.modified));
    let file = modified(&KernelModuleSpec::options_file(name))?;
    let image = modified(&format!("/boot/initrd.img-{}", kernel.release))?;
    Ok(match (file, image) {
        (Some(file), Some(image)) if file > image => BootCopy::Outdated,
        _ => BootCopy::Current,
    })
}

impl Provider for KernelModules {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn lane(&self) -> Lane {
        Lane::Own(Kind::KernelModule)
    }

    fn batch(&self) -> Batch {
        Batch::Whole
    }

    fn identities(&self, _cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        let one = |item: &Item<'_>| Identity::new(KernelModuleSpec::module(item.address.name()));
        items.iter().map(one).collect()
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        items.iter().map(|item| observe(cx.sys, item)).collect()
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let (Spec::KernelModule(spec), Observed::KernelModule(observed)) =
            (change.spec, change.observed)
        else {
            return wrong_type(change.address);
        };
        if change.original.is_some() || spec.state == ModuleState::Absent || cx.sys.is_sandbox() {
            return Ok(());
        }
        let name = change.address.name();
        match observed.running {
            ModulePresence::BuiltIn => Err(built_in(name, spec)),
            ModulePresence::Unloaded if spec.state == ModuleState::Loaded => is_offered(name),
            ModulePresence::Unloaded | ModulePresence::Loaded => Ok(()),
        }
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        let mut prepared: Vec<Result<Rebuild>> = work.iter().map(|one| prepare(cx, one)).collect();
        if prepared.contains(&Ok(Rebuild::Needed)) {
            if let Err(error) = build_initramfs(cx.sys) {
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

impl AtNextBoot for KernelModules {
    fn pending(&self, address: &Address, spec: &Spec, observed: &Observed) -> Option<String> {
        let (Spec::KernelModule(spec), Observed::KernelModule(observed)) = (spec, observed) else {
            return None;
        };
        let name = address.name();
        let is_loaded = observed.running == ModulePresence::Loaded;
        match spec.state {
            ModuleState::Blacklisted if is_loaded => Some(format!(
                "kernel module {name} is blacklisted and still loaded"
            )),
            ModuleState::Loaded if is_loaded => {
                let other = spec.options.iter().find_map(|(option, value)| {
                    let shown = observed.parameters.get(option)?;
                    let value = value.as_str();
                    let same = KernelModuleSpec::same_value(value, shown);
                    (!same).then_some((option, shown, value))
                });
                let (option, shown, value) = other?;
                Some(format!(
                    "kernel module {name} runs with {option}={shown}, not {value}"
                ))
            }
            ModuleState::Loaded | ModuleState::Blacklisted | ModuleState::Absent => None,
        }
    }
}

impl GiveBack for KernelModules {
    fn full_spec(&self) -> Spec {
        Spec::KernelModule(KernelModuleSpec::default())
    }

    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let (state, options) = match original {
            Observed::KernelModule(original) => (original.state, original.options.clone()),
            _ => (None, BTreeMap::new()),
        };
        let options = options.into_iter();
        Spec::KernelModule(KernelModuleSpec {
            state: state.unwrap_or(ModuleState::Absent),
            options: options
                .map(|(option, value)| (option, Setting::from(value)))
                .collect(),
            initramfs: matches!(managed, Some(Spec::KernelModule(managed)) if managed.initramfs),
            ..KernelModuleSpec::default()
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::KernelModule(original) = original else {
            return None;
        };
        (original.files != OwnFiles::Absent).then(|| "its settings at boot".to_owned())
    }
}

/// Returns the error for settings that a module in the kernel's image can't have.
fn built_in(name: &str, spec: &KernelModuleSpec) -> AgentError {
    let error = |message| AgentError::new(ErrorCode::Refused, message);
    match spec.state {
        ModuleState::Blacklisted => error(format!(
            "{name} is built into the kernel, so it can't be blacklisted"
        ))
        .hint("remove it from the manifest"),
        ModuleState::Loaded | ModuleState::Absent => error(format!(
            "{name} is built into the kernel, so modprobe doesn't set its options"
        ))
        .hint(format!(
            "use `kernelParameter: {{{name}.OPTION: {{value: …}}}}`"
        )),
    }
}

/// Fails if the module isn't on disk for the running kernel.
fn is_offered(name: &str) -> Result<()> {
    let kernel = RunningKernel::new();
    let release = &kernel.release;
    let error = |message| Err(AgentError::new(ErrorCode::NotFound, message));
    match kernel.offers(&KernelModuleSpec::module(name)) {
        Some(true) => Ok(()),
        Some(false) => error(format!("kernel {release} has no module {name}")).map_err(|error| {
            error.hint("check its name with `modinfo`, or put `after` the package that brings it")
        }),
        None => error(format!(
            "this host has no modules of its running kernel {release}"
        ))
        .map_err(|error| {
            error.hint("reboot into an installed kernel; for a container, load it on its host")
        }),
    }
}

/// Writes the files of a module, and loads it.
fn prepare(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Rebuild> {
    let Spec::KernelModule(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let name = work.address.name();
    let module = KernelModuleSpec::module(name);
    let path = KernelModuleSpec::options_file(name);
    let before = cx.sys.root().read(&path, files::MAX_FILE)?;
    if spec.state == ModuleState::Absent {
        return remove_options(cx, name, spec, before.as_deref());
    }
    let settings = BootSettings {
        state: Some(spec.state),
        options: spec.written_options(),
    };
    let after = settings.options_text(&module);
    put_or_remove(cx, &path, after.as_deref())?;
    if spec.state == ModuleState::Loaded && work.changes("running") && !cx.sys.is_sandbox() {
        Program::new("modprobe", ["--", module.as_str()]).check(cx.sys)?;
    }
    let load = settings.load_text(&module);
    put_or_remove(cx, &KernelModuleSpec::load_file(name), load.as_deref())?;
    let is_same = before.as_deref() == after.as_ref().map(String::as_bytes);
    if spec.initramfs && (!is_same || work.changes("initramfs")) {
        return Ok(Rebuild::Needed);
    }
    Ok(Rebuild::No)
}

/// Removes the file with the options. If the initial RAM disk may have a copy of it, the other file stays,
/// without the module, until the disk is built: so a failed build is tried again.
fn remove_options(
    cx: &mut ApplyContext<'_>,
    name: &str,
    spec: &KernelModuleSpec,
    before: Option<&[u8]>,
) -> Result<Rebuild> {
    let load = KernelModuleSpec::load_file(name);
    let mark = files::HEAD.as_bytes();
    let is_marked = || -> Result<bool> {
        let text = cx.sys.root().read(&load, files::MAX_FILE)?;
        Ok(text.as_deref() == Some(mark))
    };
    let rebuild = if spec.initramfs && (before.is_some() || is_marked()?) {
        put_or_remove(cx, &load, Some(files::HEAD))?;
        Rebuild::Needed
    } else {
        Rebuild::No
    };
    put_or_remove(cx, &KernelModuleSpec::options_file(name), None)?;
    Ok(rebuild)
}

/// Removes the files of a module that is to have none, and unloads it if Plumb loaded it and nothing uses it.
fn finish(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::KernelModule(spec) = work.spec else {
        return wrong_type(work.address);
    };
    if spec.state != ModuleState::Absent {
        return Ok(Effect::Done);
    }
    let name = work.address.name();
    at_path::remove(cx, &KernelModuleSpec::load_file(name), FileKind::File)?;
    at_path::remove_made(cx, work.original)?;
    let was_unloaded = work.original.is_some_and(|original| {
        matches!(&original.observed, Observed::KernelModule(before) if before.running == ModulePresence::Unloaded)
    });
    if was_unloaded && !cx.sys.is_sandbox() {
        unload(cx, &KernelModuleSpec::module(name))?;
    }
    Ok(Effect::Done)
}

/// Unloads a module, unless something uses it. Modules that it needed stay, because others may rely on them.
fn unload(cx: &mut ApplyContext<'_>, module: &str) -> Result<()> {
    let kernel = RunningKernel::new();
    if kernel.presence(module) != ModulePresence::Loaded || kernel.uses(module) {
        return Ok(());
    }
    let output = Program::new("rmmod", [module]).run(cx.sys)?;
    if output.status != 0 {
        let complaint = output.complaint();
        cx.warnings
            .push(format!("kernel module {module} stays loaded: {complaint}"));
    }
    Ok(())
}

fn build_initramfs(sys: &Sys) -> Result<()> {
    if sys.is_sandbox() {
        return Ok(());
    }
    Program::new("update-initramfs", ["-u", "-k", "all"])
        .limit(BUILD)
        .check(sys)
        .map(|_| ())
}

/// Writes a file, or removes it if there is to be none.
fn put_or_remove(cx: &mut ApplyContext<'_>, path: &str, text: Option<&str>) -> Result<()> {
    let Some(text) = text else {
        return at_path::remove(cx, path, FileKind::File);
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
    at_path::put_bytes(cx, path, &put, text.as_bytes())
}
