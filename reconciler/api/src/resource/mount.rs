//! `mount`: a file system at a place in the tree.

use serde::{Deserialize, Serialize};

use super::field::Manage;
use super::unit::keys_read_by;
use super::unit_text::{FSTAB_KEY, HEADER, device_path, name_of_path, setting, value_of};
use super::{
    Dependency, Kind, Problem, Resource, Strength, UnitSpec, check_path, lies_in, parents,
};
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

/// A file system that is mounted at a directory. The name is the absolute path of the directory.
///
/// Plumb writes a `.mount` unit in `/etc/systemd/system`, enables it, and mounts the file system. It makes the
/// directory if there is none. Before it mounts a device, it compares `type` with what `blkid` finds there;
/// it never formats a device. Files and directories below a mount are applied after it.
///
/// A line of `/etc/fstab` for the same directory is an error, because two places would decide. A mount that
/// fails at boot doesn't stop the boot, as with `nofail` in fstab: Plumb reports it. If a file system has to
/// be unmounted while something uses it, the run waits and names the user; Plumb never forces it. When the
/// resource leaves git, Plumb unmounts, and removes the unit and a directory that it made if that is empty.
/// A file system that was mounted there before Plumb stays mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountSpec {
    /// `mounted` (default), `unmounted` (the unit exists, and nothing is mounted now or at boot), or `absent`.
    #[serde(default, skip_serializing_if = "MountState::is_mounted")]
    pub state: MountState,
    /// The device (`UUID=…`, `LABEL=…`, `PARTUUID=…`, `PARTLABEL=…`, `/dev/…`), the path of an image or of a
    /// bind mount's directory, or what a network file system calls its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The type of the file system, such as `ext4`. Without it, the host finds out.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub file_system: Option<String>,
    /// Options of mount(8), such as `noatime`, in their order. A change of options alone remounts; an option of
    /// the file system's own that leaves, such as `commit=60`, may be in force until the next mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The mount and its unit file as they were. Only the agent sets this field, when it restores an original.
    #[serde(skip)]
    pub original: Option<Box<MountObserved>>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The state of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum MountState {
    /// The file system is mounted, now and at boot.
    #[default]
    Mounted,
    /// The unit exists, but nothing is mounted.
    Unmounted,
    /// There is no unit, and nothing is mounted.
    Absent,
}

impl MountState {
    /// True if this is the default, which the canonical form omits.
    pub fn is_mounted(&self) -> bool {
        *self == Self::Mounted
    }
}

/// The observed state of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountObserved {
    /// The text of the unit file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// True if the unit is enabled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,
    /// The source that is mounted there: in the spec's words if it is the spec's source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounted: Option<String>,
    /// Options of the spec that the kernel doesn't show for the mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_options: Vec<String>,
    /// The options of the mount that its original has to have again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The line of `/etc/fstab` for the directory, with its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fstab: Option<String>,
}

impl MountObserved {
    /// Returns the state that this observation shows.
    pub fn state(&self) -> MountState {
        match (&self.mounted, &self.unit) {
            (Some(_), _) => MountState::Mounted,
            (None, Some(_)) => MountState::Unmounted,
            (None, None) => MountState::Absent,
        }
    }

    /// Returns the options in the unit file.
    pub fn options(&self) -> Option<String> {
        self.setting("Options")
    }

    fn setting(&self, name: &str) -> Option<String> {
        value_of(self.unit.as_deref()?, name)
    }
}

/// File systems that need the network, each with Debian's package that mounts it.
const NETWORK: [(&str, &str); 5] = [
    ("nfs", "nfs-common"),
    ("nfs4", "nfs-common"),
    ("cifs", "cifs-utils"),
    ("ceph", "ceph-common"),
    ("fuse.sshfs", "sshfs"),
];

/// Directories that the system mounts itself, or without which it doesn't run.
const SYSTEM: [&str; 9] = [
    "/etc", "/usr", "/bin", "/sbin", "/lib", "/dev", "/run", "/boot", "/root",
];

impl MountSpec {
    /// The targets that mounts belong to.
    pub const TARGETS: [&'static str; 2] = ["local-fs.target", "remote-fs.target"];

    /// Returns the name of the unit that mounts at a path.
    pub fn unit_name(path: &str) -> String {
        name_of_path(path, ".mount")
    }

    /// True if the source is a directory of the host itself.
    pub fn is_bind(&self) -> bool {
        self.options.iter().any(|o| o == "bind" || o == "rbind")
    }

    /// Returns the path of the device that the source names, if it names one.
    pub fn device(&self) -> Option<String> {
        device_path(self.source.as_deref()?)
    }

    fn network(&self) -> Option<(&'static str, &'static str)> {
        let file_system = self.file_system.as_deref()?;
        NETWORK.into_iter().find(|(name, _)| *name == file_system)
    }

    fn unit_options(&self) -> String {
        let kept = self.options.iter().filter(|option| *option != "nofail");
        kept.map(String::as_str).collect::<Vec<_>>().join(",")
    }

    fn target(&self) -> &'static str {
        let [local, remote] = Self::TARGETS;
        let needs_network =
            self.network().is_some() || self.options.iter().any(|option| option == "_netdev");
        if needs_network { remote } else { local }
    }

    /// Returns the text of the unit file for a mount at this path.
    pub fn unit_text(&self, path: &str) -> String {
        format!(
            "{HEADER}\n[Unit]\n{}\n[Mount]\n{}{}{}{}\n[Install]\nWantedBy={}\n",
            setting("Description", &format!("Mount of {path}")),
            setting("What", self.source.as_deref().unwrap_or_default()),
            setting("Where", path),
            setting("Type", self.file_system.as_deref().unwrap_or_default()),
            setting("Options", &self.unit_options()),
            self.target(),
        )
    }

    fn restores(original: &MountObserved, observed: &MountObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let (found, wanted) = (observed.state(), original.state());
        if found != wanted {
            changes.push(FieldChange::of("state", Some(&found), Some(&wanted)));
        } else if observed.mounted != original.mounted {
            let (found, wanted) = (observed.mounted.as_ref(), original.mounted.as_ref());
            changes.push(FieldChange::of("source", found, wanted));
        } else if observed.flags != original.flags {
            let (found, wanted) = (observed.flags.join(","), original.flags.join(","));
            changes.push(FieldChange::new("options", &found, &wanted));
        }
        if observed.unit != original.unit {
            changes.push(FieldChange::new("unit", "as Plumb wrote it", "as it was"));
        }
        if observed.enabled != original.enabled {
            let (found, wanted) = (Some(&observed.enabled), Some(&original.enabled));
            changes.push(FieldChange::of("enabled", found, wanted));
        }
        changes
    }

    /// Compares the unit file and what is mounted with a spec that has a unit.
    fn details(&self, observed: &MountObserved, changes: &mut Vec<FieldChange>) {
        let before = changes.len();
        let mut compare = |field: &str, found: Option<String>, wanted: Option<&str>| {
            let wanted = wanted
                .filter(|wanted| !wanted.is_empty())
                .map(str::to_owned);
            if found != wanted {
                changes.push(FieldChange::of(field, found.as_ref(), wanted.as_ref()));
            }
        };
        let unit_source = observed.setting("What");
        let source = match (&observed.mounted, self.state) {
            (Some(mounted), MountState::Mounted) if unit_source == self.source => {
                Some(mounted.clone())
            }
            _ => unit_source,
        };
        compare("source", source, self.source.as_deref());
        let file_system = observed.setting("Type");
        compare("type", file_system, self.file_system.as_deref());
        let mut options = observed.options();
        if let Some(all) = options
            .as_mut()
            .filter(|_| !observed.lost_options.is_empty())
        {
            let is_kept = |one: &&str| !observed.lost_options.iter().any(|lost| lost == one);
            *all = all.split(',').filter(is_kept).collect::<Vec<_>>().join(",");
        }
        compare("options", options, Some(&self.unit_options()));
        let enabled = self.state == MountState::Mounted;
        if observed.enabled != enabled {
            let (found, wanted) = (Some(&observed.enabled), Some(&enabled));
            changes.push(FieldChange::of("enabled", found, wanted));
        }
        if changes.len() == before {
            let ours = observed.setting("Where").map(|path| self.unit_text(&path));
            if ours.is_none() || observed.unit != ours {
                let (found, wanted) = ("changed on the host", "as Plumb writes it");
                changes.push(FieldChange::new("unit", found, wanted));
            }
        }
    }

    fn problem_of_source(&self, name: &str) -> Option<Problem> {
        let problem = |message: &str, hint: &str| {
            Some(Problem {
                field: "source",
                message: message.to_owned(),
                hint: hint.to_owned(),
            })
        };
        let Some(source) = self.source.as_deref() else {
            return (!self.wants_absent()).then(|| problem(
                "a mount needs a `source`, unless it is absent",
                "write `source: \"UUID=…\"` (`lsblk --fs` on the host shows it), or `state: absent` alone",
            ))?;
        };
        if self.wants_absent() {
            return problem(
                "an absent mount has no `source`",
                "write `state: absent` alone",
            );
        }
        if source.is_empty() || source.contains(char::is_control) || source.ends_with('\\') {
            return problem(
                "the source is empty, or has characters that a unit file can't hold",
                "write a device such as `UUID=…`, a path, or a name",
            );
        }
        if self.is_bind() && !source.starts_with('/') {
            return problem(
                "a bind mount needs a path",
                "write the path of a directory, such as `source: /bulk/export`",
            );
        }
        if source == name {
            return problem(
                "the source is the mount's own directory",
                "name another directory",
            );
        }
        None
    }

    fn problem_of_type(&self) -> Option<Problem> {
        let file_system = self.file_system.as_deref()?;
        let problem = |message: String, hint: &str| {
            Some(Problem {
                field: "type",
                message,
                hint: hint.to_owned(),
            })
        };
        if self.is_bind() {
            return problem(
                "a bind mount has the type of its source".to_owned(),
                "leave out `type`",
            );
        }
        if file_system == "swap" {
            return problem("swap isn't mounted".to_owned(), "write a `swap` resource");
        }
        let is_good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if file_system.is_empty() || !file_system.chars().all(is_good) {
            return problem(
                format!("`{file_system}` isn't a type of file system"),
                "write one such as `ext4`",
            );
        }
        None
    }

    fn problem_of_options(&self) -> Option<Problem> {
        let problem = |message: String, hint: &str| {
            Some(Problem {
                field: "options",
                message,
                hint: hint.to_owned(),
            })
        };
        let fstab = |option: &str| format!("`{option}` is an option of fstab, not of a mount");
        self.options
            .iter()
            .find_map(|option| {
                match option.as_str() {
            "noauto" => problem(fstab(option), "write `state: unmounted`"),
            "auto" | "defaults" => problem(fstab(option), "leave it out"),
            _ if option.starts_with("x-systemd.") => problem(
                fstab(option),
                "write its setting into a drop-in, such as `unit: {srv-data.mount.d/more.conf: …}`",
            ),
            _ if option.is_empty() || option.contains(|c: char| c == ',' || c.is_control()) => {
                problem(
                    format!("`{option}` isn't one option"),
                    "write a list: `options: [noatime, ro]`",
                )
            }
            _ => None,
        }
            })
    }
}

impl Resource for MountSpec {
    type Observed = MountObserved;

    const EXAMPLE: &'static str = r#"mount:
  /bulk/photos:
    source: "UUID=0a3407de-014b-458b-b5c1-848e92a327a3"
    type: ext4
    options: [noatime]
  /export:
    source: /bulk/export
    options: [bind]
"#;

    const RANK: u8 = 30;

    fn check_name(name: &str) -> Result<(), String> {
        check_path(name)?;
        if name.contains(char::is_control) {
            return Err("a mount's directory must not contain control characters".to_owned());
        }
        if ["/var", "/var/lib"].contains(&name) {
            return Err(format!(
                "Plumb's own state lies below {name}: write this mount into /etc/fstab"
            ));
        }
        if SYSTEM.contains(&name) || lies_in(name, &["/dev", "/etc/systemd", "/run/systemd"]) {
            return Err(format!(
                "{name} belongs to the system, which mounts it itself: write it into /etc/fstab"
            ));
        }
        if Self::unit_name(name).len() > 255 {
            return Err("the name of a mount's unit must have at most 255 bytes".to_owned());
        }
        Ok(())
    }

    fn path(name: &str) -> Option<String> {
        Some(UnitSpec::path_in_folder(&Self::unit_name(name)))
    }

    fn check(&self, name: &str) -> Vec<Problem> {
        let source = self.problem_of_source(name);
        let problem = source
            .or_else(|| self.problem_of_type())
            .or_else(|| self.problem_of_options());
        problem.into_iter().collect()
    }

    fn compare(&self, observed: &MountObserved) -> Vec<FieldChange> {
        if let Some(original) = &self.original {
            return Self::restores(original, observed);
        }
        let mut changes = Vec::new();
        if let Some(line) = &observed.fstab {
            changes.push(FieldChange::of("fstab", Some(line), None));
        }
        let found = observed.state();
        if found != self.state {
            changes.push(FieldChange::of("state", Some(&found), Some(&self.state)));
        }
        if self.wants_absent() {
            if observed.enabled {
                changes.push(FieldChange::of("enabled", Some(&true), Some(&false)));
            }
        } else {
            self.details(observed, &mut changes);
        }
        changes
    }

    fn requires(&self, name: &str) -> Vec<Dependency> {
        let mut all = parents(name);
        let mut implicit = |kind, name: &str| {
            all.extend(Address::new(kind, name).ok().map(|address| Dependency {
                address,
                strength: Strength::Implicit,
            }));
        };
        if let Some((_, package)) = self.network() {
            implicit(Kind::Package, package);
        }
        if let Some(source) = self.source.as_deref().filter(|s| s.starts_with('/')) {
            let kinds = [
                Kind::Directory,
                Kind::File,
                Kind::Archive,
                Kind::Git,
                Kind::Mount,
            ];
            for kind in kinds {
                implicit(kind, source);
            }
            all.extend(parents(source));
        }
        all
    }

    fn input_key(name: &str) -> Option<String> {
        Some(Self::unit_name(name))
    }

    fn input_keys(name: &str) -> Vec<String> {
        let unit = Self::unit_name(name);
        let mut keys = keys_read_by(&unit);
        keys.retain(|key| *key != unit);
        keys.push(FSTAB_KEY.to_owned());
        keys
    }

    fn exists(observed: &MountObserved) -> bool {
        observed.state() != MountState::Absent
    }

    fn invalidates(&self) -> bool {
        true
    }

    fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let unit = Self::unit_name(name);
        let was =
            |field: &FieldChange| field.from.as_ref().and_then(|from| from.as_str()).is_some();
        let is_mounted = |field: &&FieldChange| {
            field.field == "state" && field.from.as_ref().is_some_and(|from| from == "mounted")
        };
        let renews =
            |field: &&FieldChange| was(field) && (field.field == "source" || field.field == "type");
        if fields.iter().any(|field| is_mounted(&field)) {
            vec![Consequence::Stops(unit)]
        } else if fields.iter().any(|field| renews(&field)) {
            vec![Consequence::Restarts(unit)]
        } else {
            Vec::new()
        }
    }

    fn unit(&self, name: &str) -> Option<String> {
        Some(Self::unit_name(name))
    }

    fn wants_absent(&self) -> bool {
        self.state == MountState::Absent
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> MountSpec {
        MountSpec {
            source: Some("UUID=1-2".to_owned()),
            file_system: Some("ext4".to_owned()),
            options: vec!["noatime".to_owned(), "nofail".to_owned()],
            ..MountSpec::default()
        }
    }

    fn mounted(path: &str) -> MountObserved {
        MountObserved {
            unit: Some(spec().unit_text(path)),
            enabled: true,
            mounted: spec().source,
            ..MountObserved::default()
        }
    }

    fn fields(spec: &MountSpec, observed: &MountObserved) -> Vec<String> {
        let changes = spec.compare(observed);
        changes.into_iter().map(|change| change.field).collect()
    }

    #[test]
    fn is_in_sync_with_the_unit_that_it_writes() {
        let observed = mounted("/srv/100% data");
        assert_eq!(fields(&spec(), &observed), [""; 0]);
        let text = observed.unit.as_deref().unwrap();
        assert!(text.contains("Where=/srv/100%% data\n") && text.contains("Options=noatime\n"));
    }

    #[test]
    fn finds_what_others_changed() {
        let other = MountObserved {
            mounted: Some("/dev/sdb1".to_owned()),
            ..mounted("/a")
        };
        assert_eq!(fields(&spec(), &other), ["source"]);
        let edited = MountObserved {
            unit: mounted("/a").unit.map(|text| text + "TimeoutSec=1\n"),
            ..mounted("/a")
        };
        assert_eq!(fields(&spec(), &edited), ["unit"]);
        let remounted = MountObserved {
            lost_options: vec!["noatime".to_owned()],
            ..mounted("/a")
        };
        assert_eq!(fields(&spec(), &remounted), ["options"]);
        let unmounted = MountObserved {
            mounted: None,
            enabled: false,
            ..mounted("/a")
        };
        assert_eq!(fields(&spec(), &unmounted), ["state", "enabled"]);
        let fstab = MountObserved {
            fstab: Some("line 3".to_owned()),
            ..mounted("/a")
        };
        assert_eq!(fields(&spec(), &fstab), ["fstab"]);
    }

    #[test]
    fn network_mounts_belong_to_their_own_target() {
        let mut mount = spec();
        mount.file_system = Some("nfs4".to_owned());
        assert!(mount.unit_text("/a").contains("WantedBy=remote-fs.target"));
        let package = "package:nfs-common".parse().unwrap();
        assert!(
            mount
                .requires("/a")
                .iter()
                .any(|one| one.address == package)
        );
    }

    #[test]
    fn refuses_what_no_host_could_mount() {
        assert!(spec().check("/srv/data").is_empty());
        let problem = |change: fn(&mut MountSpec)| {
            let mut mount = spec();
            change(&mut mount);
            let problem = mount.check("/srv/data").pop().unwrap();
            (problem.field, problem.hint)
        };
        let noauto = problem(|mount| mount.options = vec!["noauto".to_owned()]);
        assert_eq!(noauto, ("options", "write `state: unmounted`".to_owned()));
        let bind = problem(|mount| mount.options = vec!["bind".to_owned()]);
        assert_eq!(bind.0, "source");
        assert_eq!(problem(|mount| mount.source = None).0, "source");
        assert_eq!(
            problem(|mount| mount.state = MountState::Absent).0,
            "source"
        );
        let swap = problem(|mount| mount.file_system = Some("swap".to_owned()));
        assert_eq!(swap.0, "type");
        for name in ["/usr", "/var", "/dev/shm", "srv", "/proc/x"] {
            assert!(MountSpec::check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn gives_back_a_mount_that_was_there() {
        let original = MountObserved {
            mounted: Some("/dev/sdb".to_owned()),
            ..MountObserved::default()
        };
        let now = MountObserved {
            unit: Some(spec().unit_text("/a")),
            enabled: true,
            ..original.clone()
        };
        let restore = MountSpec {
            original: Some(Box::new(original)),
            ..MountSpec::default()
        };
        assert_eq!(fields(&restore, &now), ["unit", "enabled"]);
        let remounted = MountObserved {
            flags: vec!["nodev".to_owned()],
            ..now
        };
        assert_eq!(fields(&restore, &remounted), ["options", "unit", "enabled"]);
    }
}
