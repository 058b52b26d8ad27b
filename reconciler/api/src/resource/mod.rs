//! Desired and observed state of resources, and the comparison of the two.
//!
//! To add a primitive type, add one file here, one provider in the agent, and one line in `resources!`. Every
//! type implements the trait [`Resource`]. Composite types expand to primitive ones, see [`Composite`].
//!
//! Plumb manages only the fields that the manifest gives. Any other field is `None` in the spec, isn't
//! observed for comparison, and is never changed.

mod alertmanager;
mod archive;
mod authorized_keys;
mod backup;
mod certificate;
mod check;
mod command;
mod compose;
mod composite;
mod composite_name;
mod container;
mod contract;
mod coupling;
mod credentials;
mod cron;
mod database;
mod directory;
mod environment;
mod exporter;
mod field;
mod file;
mod firewall;
mod git;
mod grafana;
mod group;
mod hostname;
mod hosts;
mod interface;
mod journald;
mod kernel_module;
mod kernel_parameter;
mod keypair;
mod known_hosts;
mod link;
mod locale;
mod login;
mod mount;
mod package;
mod password;
mod program;
mod prometheus;
mod registry;
mod repository;
mod secret;
mod service;
mod setting;
mod sshd;
mod sudoers;
mod swap;
mod sysctl;
mod text_source;
mod timer;
mod tmpfiles;
mod tree;
mod udev;
mod unit;
mod unit_text;
mod user;
mod wireguard;
mod zram;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use alertmanager::AlertmanagerSpec;
pub use archive::{ArchiveSpec, SetIds};
pub use authorized_keys::{AuthorizedKey, AuthorizedKeysSpec};
pub use backup::{BackupKeep, BackupSpec, BackupTool, BackupVerify};
pub use certificate::{
    Acme, CertificateFiles, CertificateSpec, DnsChallenge, HttpChallenge, TlsChallenge,
};
pub use check::{
    CertificateCheck, CheckObserved, CheckResult, CheckSpec, HttpCheck, HttpUrl, ProgramCheck,
    host_and_port,
};
pub use command::{CommandObserved, CommandSpec, Guard};
pub use compose::{ComposeObserved, ComposeSpec, ContainerFault, ImagePolicy};
pub use composite::{Composite, Named};
pub use container::ContainerSpec;
pub use contract::{
    Claim, ConfidentialProblem, Dependency, Owners, Problem, Resource, Strength, Trigger,
};
pub use coupling::{Couplings, reads};
pub use credentials::Credentials;
pub use cron::CronSpec;
pub use database::{DatabaseObserved, DatabaseSpec, Engine, PUBLIC, Privilege, ServerState};
pub use directory::{DirectoryObserved, DirectorySpec};
pub use environment::EnvironmentSpec;
pub use exporter::ExporterSpec;
pub use field::{Content, FileType, Manage, Membership, Mode, Presence, Principal};
pub use file::{FileObserved, FileSpec, IfMissing};
pub use firewall::{
    BootLoading, FirewallObserved, FirewallSpec, Masquerade, Opening, Ping, Policy, PortForward,
    ReversePath, RulesReading, Subnet, Zone,
};
pub use git::GitSpec;
pub use grafana::GrafanaSpec;
pub use group::{GroupObserved, GroupSpec};
pub use hostname::HostnameSpec;
pub use hosts::HostsSpec;
pub use interface::InterfaceSpec;
pub use journald::{JournalStorage, JournaldSpec, Switch};
pub use kernel_module::{
    BootCopy, KernelModuleObserved, KernelModuleSpec, ModulePresence, ModuleState, OwnFiles,
};
pub use kernel_parameter::{KernelParameterObserved, KernelParameterSpec};
pub use keypair::{KeyType, KeypairObserved, KeypairSpec};
pub use known_hosts::KnownHostsSpec;
pub use link::{LinkObserved, LinkSpec};
pub use locale::LocaleSpec;
pub use login::Logins;
pub use mount::{MountObserved, MountSpec, MountState};
pub use package::{PackageObserved, PackageSpec, PackageState};
pub use password::{Password, PasswordLock, PasswordObserved, ShadowText};
pub use prometheus::PrometheusSpec;
pub use repository::{Pin, RepositorySpec};
pub use secret::{
    SecretContent, SecretFile, SecretFileObserved, SecretObserved, SecretSpec, check_secret_path,
};
pub use service::{RunState, ServiceObserved, ServiceSpec, ServiceState, Stale};
pub use setting::Setting;
pub use sshd::{SshdMatch, SshdSpec};
pub use sudoers::SudoersSpec;
pub use swap::{SwapFile, SwapObserved, SwapSpec};
pub use sysctl::{SysctlObserved, SysctlSpec};
pub use text_source::TextSource;
pub use timer::{Schedule, TimerSpec};
pub use tmpfiles::TmpfilesSpec;
pub use tree::TreeObserved;
pub use udev::UdevSpec;
pub use unit::{MaskLink, UnitObserved, UnitSpec, VendorUnit};
pub use user::{UserObserved, UserSpec};
pub use wireguard::WireguardSpec;
pub use zram::ZramSpec;

use crate::address::AnyAddress;
use crate::canonical::NotCanonical;
use crate::digest::Digest;
use crate::name::Address;
use crate::plan::{Certainty, Consequence, FieldChange};

registry::resources! {
    /// A regular file.
    File("file"): FileSpec, FileObserved;
    /// A directory.
    Directory("directory"): DirectorySpec, DirectoryObserved;
    /// A symbolic link.
    Link("link"): LinkSpec, LinkObserved;
    /// A folder with the files of an archive.
    Archive("archive"): ArchiveSpec, TreeObserved;
    /// A folder with the files of one commit.
    Git("git"): GitSpec, TreeObserved;
    /// A private key that is made on the host.
    Keypair("keypair"): KeypairSpec, KeypairObserved;
    /// A value that is encrypted in the repository.
    Secret("secret"): SecretSpec, SecretObserved;
    /// A package of the distribution.
    Package("package"): PackageSpec, PackageObserved;
    /// A systemd unit file or a drop-in, under `/etc/systemd/system`.
    Unit("unit"): UnitSpec, UnitObserved;
    /// A systemd unit's state: running, enabled, masked.
    Service("service"): ServiceSpec, ServiceObserved;
    /// A local user.
    User("user"): UserSpec, UserObserved;
    /// A local group.
    Group("group"): GroupSpec, GroupObserved;
    /// A kernel parameter under `/proc/sys`, at run time and across reboots.
    Sysctl("sysctl"): SysctlSpec, SysctlObserved;
    /// A module of the kernel.
    KernelModule("kernelModule"): KernelModuleSpec, KernelModuleObserved;
    /// A parameter on the kernel's command line.
    KernelParameter("kernelParameter"): KernelParameterSpec, KernelParameterObserved;
    /// A file system that is mounted at a directory.
    Mount("mount"): MountSpec, MountObserved;
    /// A file or a device to which the kernel moves memory.
    Swap("swap"): SwapSpec, SwapObserved;
    /// The host's packet filter.
    Firewall("firewall"): FirewallSpec, FirewallObserved;
    /// A database of a server on the host.
    Database("database"): DatabaseSpec, DatabaseObserved;
    /// A program that runs when its guards or its inputs require it.
    Command("command"): CommandSpec, CommandObserved;
    /// A Compose project that the host's compose program runs.
    Compose("compose"): ComposeSpec, ComposeObserved;
    /// A condition that must hold after all changes.
    Check("check"): CheckSpec, CheckObserved;
}

composite::composites! {
    /// An Alertmanager.
    Alertmanager("alertmanager"): AlertmanagerSpec;
    /// The SSH keys that may log in as a user.
    AuthorizedKeys("authorizedKeys"): AuthorizedKeysSpec;
    /// A copy of folders that is made, pruned and verified on a schedule.
    Backup("backup"): BackupSpec;
    /// A TLS certificate that an ACME server issues, or that is on the host already.
    Certificate("certificate"): CertificateSpec;
    /// A container that systemd runs by podman.
    Container("container"): ContainerSpec;
    /// A program that cron runs.
    Cron("cron"): CronSpec;
    /// A variable of every login and of the services of users.
    Environment("environment"): EnvironmentSpec;
    /// A program that serves metrics to Prometheus.
    Exporter("exporter"): ExporterSpec;
    /// The data sources and dashboards of a Grafana.
    Grafana("grafana"): GrafanaSpec;
    /// The host's own name.
    Hostname("hostname"): HostnameSpec;
    /// The names and addresses of the fleet's hosts.
    Hosts("hosts"): HostsSpec;
    /// A host's static addresses in a network.
    Interface("interface"): InterfaceSpec;
    /// The configuration of the system's journal.
    Journald("journald"): JournaldSpec;
    /// The SSH host keys that every user of the host trusts.
    KnownHosts("knownHosts"): KnownHostsSpec;
    /// The language, time zone and keyboard of the system.
    Locale("locale"): LocaleSpec;
    /// A Prometheus server that scrapes the fleet.
    Prometheus("prometheus"): PrometheusSpec;
    /// A source of packages.
    Repository("repository"): RepositorySpec;
    /// The configuration of the SSH server.
    Sshd("sshd"): SshdSpec;
    /// A program that systemd runs on a schedule.
    Timer("timer"): TimerSpec;
    /// A permission for a user or a group to run programs as others.
    Sudoers("sudoers"): SudoersSpec;
    /// Files and directories that systemd-tmpfiles makes and cleans.
    Tmpfiles("tmpfiles"): TmpfilesSpec;
    /// Rules for devices.
    Udev("udev"): UdevSpec;
    /// A host's place in a `WireGuard` network.
    Wireguard("wireguard"): WireguardSpec;
    /// Compressed swap in memory.
    Zram("zram"): ZramSpec;
}

/// The error for a text that names no resource type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownKind;

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown resource type")
    }
}

impl std::error::Error for UnknownKind {}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Checks the name of a file, a directory or a link: an absolute, normal path.
fn check_path(name: &str) -> Result<(), String> {
    if !name.starts_with('/') {
        return Err("a path must be absolute, such as /etc/motd".to_owned());
    }
    if name == "/" || name.ends_with('/') {
        return Err("a path must not end with `/`".to_owned());
    }
    for component in name[1..].split('/') {
        if component.is_empty() || component == "." || component == ".." {
            return Err("a path must not have an empty component, `.` or `..`".to_owned());
        }
        if component.len() > 255 {
            return Err("a component of a path must have at most 255 bytes".to_owned());
        }
    }
    if ["/var/lib/plumb", "/proc", "/sys"].iter().any(|p| {
        name == *p
            || name
                .strip_prefix(p)
                .is_some_and(|rest| rest.starts_with('/'))
    }) {
        return Err(
            "paths under /var/lib/plumb, /proc and /sys can't be managed as files".to_owned(),
        );
    }
    Ok(())
}

/// Returns the folders above a path, and the links and mounts that may be in their places. Those that are
/// managed are applied before the path.
fn parents(path: &str) -> Vec<Dependency> {
    let kinds = [
        (Kind::Directory, Strength::Implicit),
        (Kind::Archive, Strength::Implicit),
        (Kind::Git, Strength::Implicit),
        (Kind::Link, Strength::Leading),
        // A mount leads elsewhere too, whenever it comes, changes or goes.
        (Kind::Mount, Strength::Leading),
    ];
    let above = path.match_indices('/').filter(|(at, _)| *at > 0);
    above
        .flat_map(|(at, _)| kinds.map(|(kind, strength)| (kind, &path[..at], strength)))
        .filter_map(|(kind, above, strength)| {
            let address = Address::new(kind, above).ok()?;
            Some(Dependency { address, strength })
        })
        .collect()
}

/// Returns the owner and the group of a path. If they are managed, they are applied before the path.
fn principals(owners: Owners<'_>) -> Vec<Dependency> {
    let of = |kind, principal: Option<&Principal>| {
        principal
            .and_then(Principal::name)
            .and_then(|name| Address::new(kind, name).ok())
    };
    [of(Kind::User, owners.user), of(Kind::Group, owners.group)]
        .into_iter()
        .flatten()
        .map(|address| Dependency {
            address,
            strength: Strength::Implicit,
        })
        .collect()
}

/// True if a path is one of these files or folders, or lies in one of them.
fn lies_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| {
        path.strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Paths that a login, sudo or Plumb needs. A mistake in one of them can lock the controller out.
const LIFELINE_PATHS: &[&str] = &[
    "/etc/ssh",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/plumb",
    "/etc/pam.d",
    "/etc/security",
    "/etc/nsswitch.conf",
    "/etc/hosts.allow",
    "/etc/hosts.deny",
    "/etc/nftables.conf",
];

/// Folders whose files decide how a host is reached. A mistake in one of them can cut the controller off.
const NETWORK_PATHS: &[&str] = &["/etc/systemd/network", "/etc/wireguard"];

/// Adds the change of a field if the spec names it and the host has another value.
fn differs<T: Serialize + PartialEq>(
    changes: &mut Vec<FieldChange>,
    field: &str,
    desired: Option<&T>,
    observed: Option<&T>,
) {
    if let Some(desired) = desired {
        if observed != Some(desired) {
            changes.push(FieldChange::of(field, observed, Some(desired)));
        }
    }
}

#[cfg(test)]
mod tests;
