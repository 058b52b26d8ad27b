//! The driven machine: its root directory and its programs.
//!
//! Providers reach the machine through [`Sys`] alone, so a sandbox (a directory, no root rights, no program
//! ever run) is the same code with another `Sys`.

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
    /// This machine, as root.
    Host,
    /// A directory: it needs no root rights, runs no program of the host, and has its owners in the ledger.
    Sandbox,
}

/// The driven machine.
pub struct Sys {
    root: root::Root,
    place: MachineKind,
}

impl Sys {
    /// Opens this machine.
    ///
    /// # Errors
    /// If `/` can't be opened.
    pub fn host() -> io::Result<Self> {
        Self::open(Path::new("/"), MachineKind::Host)
    }

    /// Opens a directory that stands for a machine.
    ///
    /// # Errors
    /// If the directory can't be opened.
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

    /// Returns a small file's text, or `None` if it can't be read.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let bytes = self.root.read(path, 4 << 20).ok()??;
        String::from_utf8(bytes).ok()
    }

    /// True if there is anything at this path.
    pub(crate) fn exists(&self, path: &str) -> bool {
        matches!(self.root.look(path), Ok(Some(_)))
    }

    /// True if systemd is PID 1 here (`sd_booted(3)`).
    pub(crate) fn has_systemd(&self) -> bool {
        !self.is_sandbox() && self.exists("/run/systemd/system")
    }

    /// Returns the machine's facts.
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

/// Returns the kernel's boot id. In a sandbox too it is the running kernel's.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Returns the time since boot on the clock of systemd's `…TimestampMonotonic`, in microseconds.
pub(crate) fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}
