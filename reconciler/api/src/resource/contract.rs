//! The contract of a resource type.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::field::{Content, Manage, Principal};
use crate::name::Address;
use crate::plan::{Certainty, Consequence, FieldChange};

/// A primitive resource type: its spec, its observed state, and their comparison.
///
/// Each method here answers a question about a type that the planner or the agent has without a host at hand.
/// The defaults are for a resource without couplings: no path, no unit, no order, no reaction.
pub trait Resource: Serialize + DeserializeOwned + Clone + PartialEq {
    /// The observed state: like the spec, with only the fields that the spec names.
    type Observed: Serialize + DeserializeOwned + Clone + PartialEq;

    /// An example for the reference: resources as in a manifest, on a host `web` of the network `wg`.
    const EXAMPLE: &'static str;

    /// Fields that are sets: if several places name one, they unite. Other fields must agree.
    const SETS: &'static [&'static str] = &["after"];

    /// Fields whose items are addresses of other resources.
    const REFERENCES: &'static [&'static str] = &["after"];

    /// Fields of the language that this version doesn't support.
    const UNSUPPORTED: &'static [&'static str] = &[];

    /// The order of types if nothing else orders two resources: lower comes first.
    const RANK: u8 = 50;

    /// Fields that are satisfied by running something, such as a restart. Only Plumb's own changes make them
    /// differ, so they are never drift.
    const REACTIONS: &'static [&'static str] = &[];

    /// Fields that are satisfied by running something, including those that the host itself can make differ.
    /// A change of no other field is [`Op::Run`](crate::plan::Op::Run).
    const RUNS: &'static [&'static str] = Self::REACTIONS;

    // Identity: valid names, and what only one resource may own.

    /// Checks a resource's name.
    ///
    /// # Errors
    /// A phrase with the mistake and the right form.
    fn check_name(name: &str) -> Result<(), String>;

    /// Returns the file, directory or link on the host that a resource of this name owns. Two resources with
    /// one path are an error of `check`; one that is removed makes room for one that is added.
    fn path(_name: &str) -> Option<String> {
        None
    }

    /// Returns a path that belongs to another type and that this spec writes to: a mask is a link where the
    /// unit's own file lies. Two resources of one host that need the same path are an error of `check`.
    fn claims(&self, _name: &str) -> Option<Claim> {
        None
    }

    /// Returns the systemd unit that the resource manages.
    fn unit(&self, _name: &str) -> Option<String> {
        None
    }

    /// True if the connection to the host depends on it (sshd, sudo, Plumb itself). Such resources change
    /// last.
    fn lifeline(_name: &str) -> bool {
        false
    }

    // The spec alone.

    /// Returns the problems of a spec that no host could satisfy: fields that exclude or require one another.
    fn check(&self, _name: &str) -> Vec<Problem> {
        Vec::new()
    }

    /// True if the resource is to be absent (`state: absent`).
    fn wants_absent(&self) -> bool {
        false
    }

    /// Returns the explicit order from the manifest.
    fn after(&self) -> &[Address];

    /// Returns the management mode.
    fn manage(&self) -> Manage;

    /// Returns the contents that the resource needs.
    fn contents(&self) -> Vec<Content> {
        Vec::new()
    }

    /// Returns the owning user and group that the spec names.
    fn owners(&self) -> Owners<'_> {
        Owners::default()
    }

    // The spec and the host.

    /// Returns the fields in which the host differs; empty if it is in sync.
    fn compare(&self, observed: &Self::Observed) -> Vec<FieldChange>;

    /// True if the observed resource differs in this field by its own behaviour: a unit failed, or is on its
    /// way. Nobody changed it, so it isn't drift.
    fn by_itself(&self, _observed: &Self::Observed, _field: &str) -> bool {
        false
    }

    /// Returns the resource's name on the host, if the observed thing has another one: a unit that was named by
    /// an alias.
    fn own_name(_observed: &Self::Observed) -> Option<String> {
        None
    }

    /// True if the resource exists on the host.
    fn exists(observed: &Self::Observed) -> bool;

    /// True if the observed resource must be removed before this one can be made.
    fn replaces(&self, _observed: &Self::Observed) -> bool {
        false
    }

    /// True if the resource exists, judged by its differing fields alone: `manage: once` then leaves it
    /// alone.
    fn made(differing: &[FieldChange]) -> bool {
        differing.iter().all(|change| change.field != "state")
    }

    /// Returns the certainty that a change of it can have before it is made; `None` means that it wasn't
    /// observed.
    fn certainty(&self, _observed: Option<&Self::Observed>) -> Certainty {
        Certainty::Exact
    }

    // Couplings: order, restarts, and effects on other resources.

    /// Returns the resources that must be applied before this one.
    fn requires(&self, _name: &str) -> Vec<Dependency> {
        Vec::new()
    }

    /// Returns the inputs that the spec names, each with the effect of its change.
    fn triggers(&self, _name: &str) -> Vec<Trigger> {
        Vec::new()
    }

    /// Returns the key under which other resources read this one without naming it: a unit file has its unit's
    /// name.
    fn input_key(_name: &str) -> Option<String> {
        None
    }

    /// Returns the [keys](Self::input_key) of the resources that this one reads without naming them. It comes
    /// after them.
    fn input_keys(_name: &str) -> Vec<String> {
        Vec::new()
    }

    /// Returns the reaction to a change of a resource with one of the [input keys](Self::input_keys), or `None`
    /// if only the order matters.
    fn on_input(&self, _name: &str, _key: &str) -> Option<Consequence> {
        None
    }

    /// Returns the reaction to any change of the same plan.
    fn on_any_change(&self, _name: &str) -> Option<Consequence> {
        None
    }

    /// True if the observed resource reacts to changes of its inputs; `None` means that it is in sync.
    fn reacts(&self, _observed: Option<&Self::Observed>) -> bool {
        false
    }

    /// True if a change of it may change the observed state of other resources: a package brings files and
    /// users, a user a group and a home.
    fn invalidates(&self) -> bool {
        false
    }

    /// Returns the effects of a change of these fields beyond the fields themselves.
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

/// A path that a spec writes to beside its type's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The path.
    pub path: String,
    /// The way out if another resource owns the path.
    pub hint: String,
}

/// A mistake in a field of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field's name, as in the manifest.
    pub field: &'static str,
    /// The mistake.
    pub message: String,
    /// The remedy.
    pub hint: String,
}

/// The strength of a dependency between resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// The manifest names the resource: it must be there, or `check` reports it.
    Explicit,
    /// The dependency follows from types (a file's folder, a file's owner): it only orders, and only managed
    /// resources.
    Implicit,
    /// Like [`Implicit`](Self::Implicit), for a resource that resets the other one: it comes first when both
    /// are removed, too.
    Resetting,
    /// Like [`Implicit`](Self::Implicit), for a link on the way to the resource: another target makes its path
    /// another place. What is removed goes before any change of the link, and the rest comes after it.
    Leading,
    /// Like [`Implicit`](Self::Implicit), and the first to be dropped if the order has a cycle.
    Yielding,
}

/// A resource that must be applied before another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// The resource that comes first.
    pub address: Address,
    /// The strength of the dependency.
    pub strength: Strength,
}

/// A reaction to a change of another resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The resource whose change triggers the reaction.
    pub on: Address,
    /// The reaction.
    pub effect: Consequence,
}
