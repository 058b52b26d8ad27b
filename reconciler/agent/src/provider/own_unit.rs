//! Unit files in `/etc/systemd/system` that other types than `unit` write, such as that of a mount.

use plumb_api::report::ErrorCode;
use plumb_api::resource::{Content, Mode, UnitSpec};

use super::at_path::{self, Bytes, Put, ROOT};
use super::{ApplyContext, systemd};
use crate::error::{Result, fail};
use crate::sys::{FileKind, Sys};

/// Maximum size of such a file, in bytes.
const MAX_TEXT: u64 = 64 << 10;

/// The file of a unit, and if it is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitState {
    /// The text of the file, or `None` if there is none.
    pub text: Option<String>,
    pub enabled: bool,
}

/// A unit that a resource writes, enables and starts.
pub(super) struct OwnUnit {
    name: String,
}

impl OwnUnit {
    pub(super) fn new(name: String) -> Self {
        Self { name }
    }

    pub(super) fn path(&self) -> String {
        UnitSpec::path_in_folder(&self.name)
    }

    /// Returns the text of the unit file, or `None` if there is none.
    pub(super) fn text(&self, sys: &Sys) -> Result<Option<String>> {
        let bytes = sys.root().read(&self.path(), MAX_TEXT)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// True if one of these targets wants the unit.
    pub(super) fn is_enabled(&self, sys: &Sys, targets: &[&str]) -> bool {
        targets.iter().any(|target| {
            let link = UnitSpec::path_in_folder(&format!("{target}.wants/{}", self.name));
            sys.root().look(&link).is_ok_and(|found| found.is_some())
        })
    }

    /// Writes or removes the unit file, and enables or disables the unit.
    pub(super) fn bring(
        &self,
        cx: &mut ApplyContext<'_>,
        found: &UnitState,
        wanted: &UnitState,
    ) -> Result<()> {
        // The new text may name another target, and a unit without a file can't be disabled.
        if found.enabled && found != wanted {
            self.control(cx.sys, "disable")?;
        }
        if found.text != wanted.text {
            self.put(cx, wanted.text.as_deref())?;
        }
        if wanted.enabled && found != wanted {
            self.control(cx.sys, "enable")?;
        }
        Ok(())
    }

    fn control(&self, sys: &Sys, verb: &str) -> Result<()> {
        let output = systemd::control(sys, &[verb, "--", &self.name])?;
        if output.status == 0 {
            return Ok(());
        }
        Err(systemd::failure(sys, &self.name, verb, &output))
    }

    /// Writes the unit file, or removes it, and lets systemd read it.
    pub(super) fn put(&self, cx: &mut ApplyContext<'_>, text: Option<&str>) -> Result<()> {
        let path = self.path();
        if let Some(text) = text {
            let root = ROOT.parse().ok();
            let put = Put {
                bytes: Bytes::New(Content::of(text.as_bytes())),
                owner: root.as_ref(),
                group: root.as_ref(),
                mode: Some(Mode::from_bits(0o644)),
                validate: &[],
                attributes: None,
            };
            at_path::put_bytes(cx, &path, &put, text.as_bytes())?;
        } else {
            at_path::remove(cx, &path, FileKind::File)?;
            // systemd would list a unit without a file as failed until the next boot.
            let _ = systemd::control(cx.sys, &["reset-failed", "--", &self.name]);
        }
        systemd::reload(cx.sys)
    }

    /// Starts the unit. If systemd's job takes longer than a run waits, the next run sees its end.
    pub(super) fn start(&self, sys: &Sys) -> Result<()> {
        // systemd refuses to start a unit that failed too often in a short time, unless its failures are reset.
        let _ = systemd::control(sys, &["reset-failed", "--", &self.name]);
        self.job(sys, "start")
    }

    /// Reloads the unit, like [`start`](Self::start).
    pub(super) fn reload(&self, sys: &Sys) -> Result<()> {
        self.job(sys, "reload")
    }

    fn job(&self, sys: &Sys, verb: &str) -> Result<()> {
        match systemd::job(sys, &[verb, "--", &self.name])? {
            Some(output) if output.status != 0 => {
                Err(systemd::failure(sys, &self.name, verb, &output))
            }
            Some(_) => Ok(()),
            None => fail(
                ErrorCode::UnitPending,
                format!("waiting for {}: systemd is still at its {verb}", self.name),
            ),
        }
    }

    /// Waits until systemd has noticed that the unit was stopped without it. It reads the kernel's tables with
    /// a delay of up to a second, and starting a unit that counts as active does nothing.
    pub(super) fn await_stop(&self, sys: &Sys) -> Result<()> {
        const POLLS: u32 = 30;
        let units = [self.name.clone()];
        for _ in 0..POLLS {
            let shown = systemd::show(sys, &units)?;
            let is_active = |shown: &systemd::Shown| shown.is("ActiveState", "active");
            if !shown.values().any(is_active) {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        fail(
            ErrorCode::UnitPending,
            format!(
                "waiting for {}: systemd still shows it as active",
                self.name
            ),
        )
    }
}
