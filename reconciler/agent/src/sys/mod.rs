//! Access to the driven machine: its root directory and its programs.
//!
//! Providers access the machine only through [`Sys`]. A sandbox is a directory that stands for a machine; it
//! needs no root rights, and no program runs for it. The same code drives it with another `Sys`.

mod accounts;
mod acl;
mod attributes;
mod exec;
mod root;
mod tree;
mod write;

use std::io;
use std::path::Path;

use plumb_api::frame::Facts;
use rustix::fs::{CWD, Mode, OFlags, openat};

pub(crate) use accounts::{Accounts, UserLine};
pub(crate) use attributes::{Attributes, Locked};
pub(crate) use exec::{Output, Program, last_lines};
pub(crate) use root::{Dir, FileKind, FileStat, Root, split};
pub(crate) use tree::remove_tree;
pub(crate) use write::{Candidate, Meta, Permissions, Spot, copy_hashed, create_new, replace};

/// The kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MachineKind {
    /// The machine on which the agent runs, as root.
    Host,
    /// A directory that stands for a machine. The agent needs no root rights for it, runs no programs, and
    /// records the owners of files in the ledger.
    Sandbox,
}

/// The machine that the agent drives: this host or a sandbox.
pub struct Sys {
    root: root::Root,
    place: MachineKind,
}

impl Sys {
    /// Opens the machine on which the agent runs.
    pub fn host() -> io::Result<Self> {
        Self::open(Path::new("/"), MachineKind::Host)
    }

    /// Opens a directory as a sandbox that stands for a machine.
    pub fn sandbox(dir: &Path) -> io::Result<Self> {
        Self::open(dir, MachineKind::Sandbox)
    }

    fn open(dir: &Path, place: MachineKind) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, dir, flags, Mode::empty())?;
        Ok(Self {
            root: root::Root::new(fd),
            place,
        })
    }

    pub(crate) fn is_sandbox(&self) -> bool {
        self.place == MachineKind::Sandbox
    }

    pub(crate) fn root(&self) -> &root::Root {
        &self.root
    }

    /// Returns the text of a file of at most 4 MiB, or `None` if it can't be read or isn't UTF-8.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let bytes = self.root.read(path, 4 << 20).ok()??;
        String::from_utf8(bytes).ok()
    }

    /// True if the path exists. A link counts, whatever it points to.
    pub(crate) fn exists(&self, path: &str) -> bool {
        matches!(self.root.look(path), Ok(Some(_)))
    }

    /// True if the machine was booted with systemd (`sd_booted(3)`). Always false for a sandbox.
    pub(crate) fn has_systemd(&self) -> bool {
        !self.is_sandbox() && self.exists("/run/systemd/system")
    }

    /// Returns facts about the machine, such as its hostname, operating system and machine-id.
    pub(crate) fn facts(&self) -> Facts {
        let uname = rustix::system::uname();
        let line = |path: &str| self.text(path).unwrap_or_default().trim().to_owned();
        let release = self
            .text("/etc/os-release")
            .or_else(|| self.text("/usr/lib/os-release"));
        let field = |name: &str| {
            release
                .iter()
                .flat_map(|text| text.lines())
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
                .unwrap_or_default()
        };
        let hostname = match self.place {
            MachineKind::Host => uname.nodename().to_string_lossy().into_owned(),
            MachineKind::Sandbox => line("/etc/hostname"),
        };
        Facts {
            hostname,
            arch: uname.machine().to_string_lossy().into_owned(),
            os: field("ID"),
            release: field("VERSION_ID"),
            machine_id: line("/etc/machine-id"),
            boot_id: boot_id(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Returns the id of the running kernel's boot, even for a sandbox.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Returns the time since the boot in microseconds. Unlike the monotonic clock, it also counts suspended time.
pub(crate) fn boottime_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

/// Returns the current value of the kernel's monotonic clock in microseconds, as in systemd's
/// `…TimestampMonotonic` properties.
pub(crate) fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}
