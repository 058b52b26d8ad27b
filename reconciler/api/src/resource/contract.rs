//! What a resource type says of itself.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::field::{Content, Manage, Principal};
use crate::name::Address;
use crate::plan::{Certainty, Consequence, FieldChange};

/// A primitive resource type: a spec, what is observed of it, and how the two compare.
///
/// Everything that the planner and the agent need to know about a type without looking at a host is
/// a method here. The defaults are those of a resource that is nothing but itself: no path, no unit,
/// no order, no reaction.
pub trait Resource: Serialize + DeserializeOwned + Clone + PartialEq {
    /// The observed state: the shape of the spec, and only the fields that it names.
    type Observed: Serialize + DeserializeOwned + Clone + PartialEq;

    /// Fields that are sets: where several places name one, they unite. Other fields must agree.
    const SETS: &'static [&'static str] = &["after"];

    /// Fields whose items are addresses of other resources.
    const REFERENCES: &'static [&'static str] = &["after"];

    /// Fields of the language that this version doesn't do.
    const UNSUPPORTED: &'static [&'static str] = &[];

    /// Order of types when nothing else orders two resources: lower comes first.
    const RANK: u8 = 50;

    /// Fields that running something satisfies. Only Plumb's own changes move them, so they are
    /// never drift.
    const REACTIONS: &'static [&'static str] = &[];

    /// Fields that running something satisfies, the host's own moves included: a change of nothing
    /// else is [`Op::Run`](crate::plan::Op::Run).
    const RUNS: &'static [&'static str] = Self::REACTIONS;

    // Identity: what a name is, and what no other resource may be.

    /// Checks a resource's name.
    ///
    /// # Errors
    /// What is wrong with it and what would be right, as a phrase.
    fn check_name(name: &str) -> Result<(), String>;

    /// The file, directory or link on the host that a resource of this name owns. Two resources
    /// with one path are an error of `check`; one that goes makes room for one that comes.
    fn path(_name: &str) -> Option<String> {
        None
    }

    /// The systemd unit that it is about.
    fn unit(&self, _name: &str) -> Option<String> {
        None
    }

    /// True if the connection that drives hosts depends on it (sshd, sudo, Plumb itself). Such
    /// resources change last.
    fn lifeline(_name: &str) -> bool {
        false
    }

    // The spec by itself.

    /// Returns what can't hold whatever the host is like: fields that exclude or demand one another.
    fn check(&self, _name: &str) -> Vec<Problem> {
        Vec::new()
    }

    /// True if nothing of it is to be on the host (`state: absent`).
    fn wants_absent(&self) -> bool {
        false
    }

    /// Explicit ordering by the manifest.
    fn after(&self) -> &[Address];

    /// How long it is managed.
    fn manage(&self) -> Manage;

    /// Contents that it needs.
    fn contents(&self) -> Vec<Content> {
        Vec::new()
    }

    /// The owning user and group that it names.
    fn owners(&self) -> Owners<'_> {
        Owners::default()
    }

    // Against the host.

    /// Returns the fields in which the host differs; empty when it is in sync.
    fn compare(&self, observed: &Self::Observed) -> Vec<FieldChange>;

    /// True if something of it is on the host.
    fn exists(observed: &Self::Observed) -> bool;

    /// True if what was found must go before this can be made.
    fn replaces(&self, _observed: &Self::Observed) -> bool {
        false
    }

    /// True if it is on the host, judged by the fields that differ alone: `manage: once` leaves it
    /// alone then.
    fn made(differing: &[FieldChange]) -> bool {
        differing.iter().all(|change| change.field != "state")
    }

    /// How sure a change of it can be before it is made.
    fn certainty(&self) -> Certainty {
        Certainty::Exact
    }

    // Couplings: order, restarts, and what a change does elsewhere.

    /// Returns what must come before this resource, or must not be there after it.
    fn requires(&self, _name: &str) -> Vec<Dependency> {
        Vec::new()
    }

    /// Inputs that it names: what it does when one of them changes.
    fn triggers(&self, _name: &str) -> Vec<Trigger> {
        Vec::new()
    }

    /// Resources that come after this one and react to its changes without naming it: the service
    /// that a unit file or drop-in belongs to.
    fn dependents(_name: &str) -> Vec<Address> {
        Vec::new()
    }

    /// What it does when a resource changes that it [depends on](Self::dependents) unnamed.
    fn on_input(&self, _name: &str) -> Option<Consequence> {
        None
    }

    /// What it does after any change of the same plan.
    fn on_any_change(&self, _name: &str) -> Option<Consequence> {
        None
    }

    /// True if it reacts to changes of its inputs as it was found; `None` means that it is in sync.
    fn reacts(&self, _observed: Option<&Self::Observed>) -> bool {
        false
    }

    /// True if changing it may change what other resources look like: a package brings files and
    /// users, a user a group and a home.
    fn invalidates(&self) -> bool {
        false
    }

    /// What a change of these fields does beyond the fields themselves.
    fn consequences(&self, _name: &str, _fields: &[FieldChange]) -> Vec<Consequence> {
        Vec::new()
    }
}

/// The owning user and group that a spec names.
#[derive(Debug, Clone, Copy, Default)]
pub struct Owners<'a> {
    /// The user.
    pub user: Option<&'a Principal>,
    /// The group.
    pub group: Option<&'a Principal>,
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
