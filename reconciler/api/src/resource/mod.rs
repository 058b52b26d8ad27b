//! What can be desired on a host, what can be observed there, and the one notion of equality.
//!
//! A new primitive type is one file here, one provider in the agent, and one line in `resources!`.
//!
//! "Manage only what you list": a field that the manifest doesn't name is `None` in the spec, is
//! not observed for comparison and is never changed.

mod directory;
mod field;
mod file;
mod group;
mod link;
mod package;
mod service;
mod sysctl;
mod unit;
mod user;

use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use directory::{DirectoryObserved, DirectorySpec};
pub use field::{Content, FileType, Manage, Membership, Mode, Presence, Principal};
pub use file::{FileObserved, FileSpec};
pub use group::{GroupObserved, GroupSpec};
pub use link::{LinkObserved, LinkSpec};
pub use package::{PackageObserved, PackageSpec, PackageState};
pub use service::{ServiceObserved, ServiceSpec, ServiceState, Stale};
pub use sysctl::{SysctlObserved, SysctlSpec};
pub use unit::{UnitObserved, UnitSpec};
pub use user::{UserObserved, UserSpec};

use crate::canonical::NotCanonical;
use crate::digest::Digest;
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

/// A primitive resource type: a spec, what is observed of it, and how the two compare.
pub trait Resource: Serialize + DeserializeOwned + Clone + PartialEq {
    /// What is found on the host: the shape of the spec, and only the fields that it names.
    type Observed: Serialize + DeserializeOwned + Clone + PartialEq;

    /// The fields that are sets: where several places name one, they unite. Other fields must agree.
    const SETS: &'static [&'static str] = &["after"];

    /// Where types stand to each other when nothing else orders two resources: lower comes first.
    const RANK: u8 = 50;

    /// The fields that are answered by running something. They move by our own changes alone, so
    /// they are never drift.
    const ANSWERS: &'static [&'static str] = &[];

    /// Whether the type takes this name.
    ///
    /// # Errors
    /// What is wrong with it and what would be right, as a phrase.
    fn check_name(name: &str) -> Result<(), String>;

    /// What a resource of this name has to itself, such as a path: no resource of another type may
    /// have the same, or the two would undo one another for ever.
    fn claims(_name: &str) -> Option<String> {
        None
    }

    /// What can't hold whatever the host is like: fields that exclude or demand one another.
    fn check(&self, _name: &str) -> Vec<Problem> {
        Vec::new()
    }

    /// The fields in which the host differs; empty when it is in sync.
    fn compare(&self, observed: &Self::Observed) -> Vec<FieldChange>;

    /// What must come before this resource, or must not be there after it.
    fn requires(&self, name: &str) -> Vec<Dependency>;

    /// The addresses whose changes this resource answers with a restart or a reload.
    fn triggers(&self, _name: &str) -> Vec<Trigger> {
        Vec::new()
    }

    /// The resources that come after this one and restart when it changes, without naming it: the
    /// service that a unit file or drop-in belongs to.
    fn feeds(_name: &str) -> Vec<Address> {
        Vec::new()
    }

    /// What it does when a resource changes that feeds it.
    fn fed(&self, _name: &str) -> Option<Consequence> {
        None
    }

    /// Whether it answers changes of its inputs as it was found; none where it is in sync.
    fn answers(&self, _observed: Option<&Self::Observed>) -> bool {
        false
    }

    /// Whether something of it is on the host.
    fn exists(observed: &Self::Observed) -> bool;

    /// Whether what was found must go before this can be made.
    fn replaces(&self, _observed: &Self::Observed) -> bool {
        false
    }

    /// Whether changing it may change what other resources look like: a package brings files and
    /// users, a user a group and a home.
    fn disturbs(&self) -> bool {
        false
    }

    /// What no two resources can be at the same time, such as a path.
    fn occupies(_name: &str) -> Option<&str> {
        None
    }

    /// Whether the way by which hosts are driven hangs on it (sshd, sudo, Plumb itself). It is
    /// changed after everything else.
    fn lifeline(_name: &str) -> bool {
        false
    }

    /// What a change of these fields does beyond the fields themselves.
    fn consequences(&self, _name: &str, _fields: &[FieldChange]) -> Vec<Consequence> {
        Vec::new()
    }

    /// Whether nothing of it is to be on the host (`state: absent`).
    fn wants_absent(&self) -> bool;

    /// Explicit ordering by the manifest.
    fn after(&self) -> &[Address];

    /// Whether it is managed always or only made once.
    fn manage(&self) -> Manage;

    /// The contents that it needs.
    fn contents(&self) -> Vec<Content> {
        Vec::new()
    }
}

/// A field of a spec that can't be as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field's name, as in the manifest.
    pub field: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// How a resource depends on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// The manifest names it: it must be there, or `check` says so.
    Explicit,
    /// It follows from types (a file's folder, a file's owner): order only, and only if managed.
    Implicit,
    /// Like [`Implicit`](Self::Implicit), and the first to be dropped where the order would be a circle.
    Yielding,
}

/// Something that must be applied before a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// What must come first.
    pub address: Address,
    /// Whether it must exist.
    pub strength: Strength,
}

/// A resource that answers a change of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Whose change is answered.
    pub on: Address,
    /// With what.
    pub effect: Consequence,
}

/// Makes the closed set of resource types: `Kind`, `Spec`, `Observed` and what is asked of any.
macro_rules! resources {
    ($($(#[$doc:meta])* $variant:ident($text:literal): $spec:ident, $observed:ident;)*) => {
        /// A primitive resource type.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// Every type, in the order of their declaration.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            /// The name in manifests and addresses.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $text,)* }
            }

            /// Whether the type takes this name.
            ///
            /// # Errors
            /// What is wrong with it, as a phrase.
            pub fn check_name(self, name: &str) -> Result<(), String> {
                match self { $(Kind::$variant => $spec::check_name(name),)* }
            }

            /// What a resource of this name has to itself; one of another type may not have the same.
            pub fn claims(self, name: &str) -> Option<String> {
                match self { $(Kind::$variant => $spec::claims(name),)* }
            }

            /// The resources that come after one of this name and restart when it changes, without
            /// naming it. The effect is [`Consequence::Restarts`].
            pub fn feeds(self, name: &str) -> Vec<Address> {
                match self { $(Kind::$variant => $spec::feeds(name),)* }
            }

            /// The fields that are sets: where several places name one, they unite.
            pub fn sets(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::SETS,)* }
            }

            /// Where the type stands when nothing else orders two resources: lower comes first.
            pub fn rank(self) -> u8 {
                match self { $(Kind::$variant => <$spec as Resource>::RANK,)* }
            }

            /// The fields that are answered by running something; never drift.
            pub fn answer_fields(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => <$spec as Resource>::ANSWERS,)* }
            }

            /// What no two resources can be at the same time, such as a path.
            pub fn occupies(self, name: &str) -> Option<&str> {
                match self { $(Kind::$variant => $spec::occupies(name),)* }
            }

            /// Whether the way by which hosts are driven hangs on it.
            pub fn is_lifeline(self, name: &str) -> bool {
                match self { $(Kind::$variant => $spec::lifeline(name),)* }
            }

            /// The JSON schema of this type's spec, with everything that it names inlined.
            #[cfg(feature = "schema")]
            pub fn schema(self) -> schemars::Schema {
                let settings = schemars::generate::SchemaSettings::draft2020_12();
                let generator = settings.with(|s| s.inline_subschemas = true).into_generator();
                match self { $(Kind::$variant => generator.into_root_schema_for::<$spec>(),)* }
            }

            /// Decodes a spec of this type.
            ///
            /// # Errors
            /// The deserializer's.
            pub fn decode<'de, D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Spec, D::Error> {
                match self { $(Kind::$variant => $spec::deserialize(deserializer).map(Spec::$variant),)* }
            }
        }

        impl FromStr for Kind {
            type Err = UnknownKind;

            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                match text { $($text => Ok(Kind::$variant),)* _ => Err(UnknownKind) }
            }
        }

        /// What is desired of one resource.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Spec { $($(#[$doc])* $variant($spec),)* }

        /// What was observed of one resource.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Observed { $($(#[$doc])* $variant($observed),)* }

        impl Spec {
            /// Its type.
            pub fn kind(&self) -> Kind {
                match self { $(Spec::$variant(_) => Kind::$variant,)* }
            }

            /// What can't hold whatever the host is like.
            pub fn check(&self, name: &str) -> Vec<Problem> {
                match self { $(Spec::$variant(spec) => spec.check(name),)* }
            }

            /// The fields in which the host differs; empty when in sync. An observation of another
            /// type differs in its `type`.
            pub fn compare(&self, observed: &Observed) -> Vec<FieldChange> {
                match (self, observed) {
                    $((Spec::$variant(spec), Observed::$variant(observed)) => spec.compare(observed),)*
                    _ => vec![FieldChange::new("type", observed.kind().as_str(), self.kind().as_str())],
                }
            }

            /// What must come before it.
            pub fn requires(&self, name: &str) -> Vec<Dependency> {
                let mut all = match self { $(Spec::$variant(spec) => spec.requires(name),)* };
                all.extend(self.after().iter().map(|address| Dependency {
                    address: address.clone(),
                    strength: Strength::Explicit,
                }));
                all
            }

            /// The addresses whose changes it answers.
            pub fn triggers(&self, name: &str) -> Vec<Trigger> {
                match self { $(Spec::$variant(spec) => spec.triggers(name),)* }
            }

            /// What it does when a resource changes that feeds it.
            pub fn fed(&self, name: &str) -> Option<Consequence> {
                match self { $(Spec::$variant(spec) => spec.fed(name),)* }
            }

            /// Whether it answers changes of its inputs as it was found; none where it is in sync.
            pub fn answers(&self, observed: Option<&Observed>) -> bool {
                match (self, observed) {
                    $((Spec::$variant(spec), None) => spec.answers(None),)*
                    $((Spec::$variant(spec), Some(Observed::$variant(observed))) => spec.answers(Some(observed)),)*
                    _ => false,
                }
            }

            /// Whether what was found must go before this can be made.
            pub fn replaces(&self, observed: &Observed) -> bool {
                match (self, observed) {
                    $((Spec::$variant(spec), Observed::$variant(observed)) => spec.replaces(observed),)*
                    _ => true,
                }
            }

            /// Whether changing it may change what other resources look like.
            pub fn disturbs(&self) -> bool {
                match self { $(Spec::$variant(spec) => spec.disturbs(),)* }
            }

            /// What a change of these fields does beyond them.
            pub fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
                match self { $(Spec::$variant(spec) => spec.consequences(name, fields),)* }
            }

            /// Whether nothing of it is to be on the host.
            pub fn wants_absent(&self) -> bool {
                match self { $(Spec::$variant(spec) => spec.wants_absent(),)* }
            }

            /// Explicit ordering by the manifest.
            pub fn after(&self) -> &[Address] {
                match self { $(Spec::$variant(spec) => spec.after(),)* }
            }

            /// Whether it is managed always or only made once.
            pub fn manage(&self) -> Manage {
                match self { $(Spec::$variant(spec) => spec.manage(),)* }
            }

            /// The contents that it needs.
            pub fn contents(&self) -> Vec<Content> {
                match self { $(Spec::$variant(spec) => spec.contents(),)* }
            }

            /// The spec alone as JSON, without its type (as `plumb render` shows it).
            ///
            /// # Errors
            /// `serde_json`'s; none is known for our types.
            pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Spec::$variant(spec) => serde_json::to_value(spec),)* }
            }

            /// The same without these fields, as if the manifest didn't name them. None where it
            /// can't do without one of them.
            pub fn without(&self, fields: &[&str]) -> Option<Self> {
                let mut json = self.to_json().ok()?;
                let map = json.as_object_mut()?;
                for field in fields {
                    map.remove(*field);
                }
                self.kind().decode(json).ok()
            }

            /// The digest of its canonical form.
            ///
            /// # Errors
            /// When the spec has no canonical form; none is known for our types.
            pub fn digest(&self) -> Result<Digest, NotCanonical> {
                Digest::of("spec", self)
            }
        }

        impl Observed {
            /// Its type.
            pub fn kind(&self) -> Kind {
                match self { $(Observed::$variant(_) => Kind::$variant,)* }
            }

            /// Whether something of it is on the host.
            pub fn exists(&self) -> bool {
                match self { $(Observed::$variant(observed) => <$spec as Resource>::exists(observed),)* }
            }

            /// The digest of its canonical form: a plan's precondition.
            ///
            /// # Errors
            /// When the observation has no canonical form; none is known for our types.
            pub fn digest(&self) -> Result<Digest, NotCanonical> {
                Digest::of("observed", self)
            }
        }
    };
}

resources! {
    /// A regular file.
    File("file"): FileSpec, FileObserved;
    /// A directory.
    Directory("directory"): DirectorySpec, DirectoryObserved;
    /// A symbolic link.
    Link("link"): LinkSpec, LinkObserved;
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
}

/// The text names no resource type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownKind;

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such resource type")
    }
}

impl std::error::Error for UnknownKind {}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Absolute, normal paths only: what a file, a directory or a link is called.
fn check_path(name: &str) -> Result<(), String> {
    if !name.starts_with('/') {
        return Err("a path is absolute, such as /etc/motd".to_owned());
    }
    if name == "/" || name.ends_with('/') {
        return Err("a path has no `/` at its end".to_owned());
    }
    for component in name[1..].split('/') {
        if component.is_empty() || component == "." || component == ".." {
            return Err("a path has no empty component, `.` or `..`".to_owned());
        }
        if component.len() > 255 {
            return Err("a path's component has at most 255 bytes".to_owned());
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

/// The folders above a path: they come first where they are managed.
fn parents(path: &str) -> Vec<Dependency> {
    path.match_indices('/')
        .filter(|(at, _)| *at > 0)
        .filter_map(|(at, _)| Address::new(Kind::Directory, &path[..at]).ok())
        .map(|address| Dependency {
            address,
            strength: Strength::Implicit,
        })
        .collect()
}

/// The owner and the group of a path: they come first where they are managed.
fn principals(owner: Option<&Principal>, group: Option<&Principal>) -> Vec<Dependency> {
    let of = |kind, principal: Option<&Principal>| {
        principal
            .and_then(Principal::name)
            .and_then(|name| Address::new(kind, name).ok())
    };
    [of(Kind::User, owner), of(Kind::Group, group)]
        .into_iter()
        .flatten()
        .map(|address| Dependency {
            address,
            strength: Strength::Implicit,
        })
        .collect()
}

/// Whether a path is one of these files or folders, or lies in one of them.
fn lies_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| {
        path.strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Files that a login, sudo or Plumb needs: a mistake in them locks the controller out.
const LIFELINE_PATHS: &[&str] = &[
    "/etc/ssh",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/plumb",
    "/etc/pam.d/sshd",
    "/etc/pam.d/sudo",
];

/// A change of a field where the spec names it and the host has another value.
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
