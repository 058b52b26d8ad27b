//! The systemd unit that watches an armed timer. It is a file on disk and enabled, so that it also runs after a
//! power loss; it leaves the host with the timer.

use std::os::fd::AsFd;

use plumb_api::report::ErrorCode;
use rustix::fs::{Mode, fchmod};

use crate::book::{Durable, Home, PATH, put};
use crate::error::{At, Result, fail};
use crate::provider::{put_link, remove_link, systemd};
use crate::sys::{Dir, Sys, create_new};

const FOLDER: &str = "/etc/systemd/system";
const UNIT: &str = "plumb-dead-man.service";
/// The unit's copy of the agent. A newer controller may replace the agent that armed the timer.
const AGENT: &str = "dead-man.agent";

fn text() -> String {
    format!(
        "# Written by plumb. It exists only while a change waits for its confirmation.
[Unit]
Description=Puts changes back that cut the controller off
ConditionPathExists={PATH}/dead-man
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={PATH}/{AGENT} dead-man
Restart=on-failure
RestartSec=5
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
"
    )
}

fn link() -> String {
    format!("{FOLDER}/multi-user.target.wants/{UNIT}")
}

/// Writes, enables and starts the unit. Fails unless it runs. In a sandbox, does nothing.
pub(super) fn install(sys: &Sys, home: &Home) -> Result<()> {
    if sys.is_sandbox() {
        return Ok(());
    }
    systemd::running(sys)?;
    let agent = std::fs::read("/proc/self/exe").at("read", "/proc/self/exe")?;
    write(home.dir(), AGENT, &agent, 0o700)?;
    let Some(folder) = sys.root().directory(FOLDER)? else {
        return fail(ErrorCode::Unsupported, format!("{FOLDER} doesn't exist"));
    };
    write(&folder, UNIT, text().as_bytes(), 0o644)?;
    put_link(sys, &link(), &format!("{FOLDER}/{UNIT}"))?;
    systemd::reload(sys)?;
    let started = systemd::control(sys, &["restart", "--", UNIT])?;
    if started.status != 0 {
        return Err(systemd::failure(sys, UNIT, "start", &started));
    }
    Ok(())
}

/// Stops the unit.
pub(super) fn stop(sys: &Sys) -> Result<()> {
    if !sys.is_sandbox() {
        systemd::control(sys, &["stop", "--", UNIT])?;
    }
    Ok(())
}

/// Removes the unit and its agent. A running one isn't stopped.
pub(super) fn remove(sys: &Sys, home: &Home) -> Result<()> {
    if sys.is_sandbox() {
        return Ok(());
    }
    remove_link(sys, &link())?;
    if let Some(folder) = sys.root().directory(FOLDER)? {
        folder.unlink(UNIT)?;
        folder.sync()?;
    }
    home.dir().unlink(AGENT)?;
    systemd::reload(sys)
}

fn write(dir: &Dir, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let temporary = format!("{name}.new");
    dir.unlink(&temporary)?;
    let mut file = create_new(dir, &temporary)?;
    fchmod(file.as_fd(), Mode::from_raw_mode(mode)).at("set the mode of", &dir.path_of(name))?;
    put(dir, name, &temporary, &mut file, bytes, Durable::Yes)
}
