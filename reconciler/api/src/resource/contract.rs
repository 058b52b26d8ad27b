//! The contract of a resource type.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::field::{Content, Manage, Principal};
use super::login::Logins;
use crate::name::Address;
use crate::plan::{Certainty, Consequence, FieldChange};

/// A primitive resource type: its spec, its observed state, and their comparison.
///
/// The methods answer the questions that the planner and the agent have about a type, without access to a
/// host. The default implementations suit a resource with no path, no unit, no order and no reactions.
pub trait Resource: Serialize + DeserializeOwned + Clone + PartialEq {
    /// The observed state: like the spec, with only the fields that the spec names.
    type Observed: Serialize + DeserializeOwned + Clone + PartialEq;

    /// An example for the reference: resources as in a manifest, on a host `web` of the network `wg`.
    const EXAMPLE: &'static str;

    /// Fields that are sets. If several objects set such a field, Plumb unites the values. Values of other
    /// fields must be equal.
    const SETS: &'static [&'static str] = &["after"];

    /// The field that a value in place of a resource's fields probably means; for hints only.
    const VALUE_FIELD: Option<&'static str> = None;

    /// Fields whose items are addresses of other resources.
    const REFERENCES: &'static [&'static str] = &["after"];

    /// Fields that the manifest language defines and this version doesn't support.
    const UNSUPPORTED: &'static [&'static str] = &[];

    /// Fields that name a file of the repository. The spec has the file's [`Content`] in its place.
    const FILES: &'static [&'static str] = &[];

    /// Fields whose value is a secret text: `{FORM: text}`. The spec has the text's [`Content`] in its place, so
    /// that the text is in no plan, log, ledger or store.
    const CONFIDENTIAL: &'static [&'static str] = &[];

    /// Fields whose value is encrypted. Nothing that people or programs see has such a value.
    const ENCRYPTED: &'static [&'static str] = &[];

    /// True if the host puts secrets in place of the placeholders in `content`. The spec then has the secrets
    /// in its field `secrets`.
    const FILLS_SECRETS: bool = false;

    /// Rank of the type. If nothing else orders two resources, the one with the lower rank is applied first.
    const RANK: u8 = 50;

    /// Fields that are satisfied by running something, such as a restart. Only Plumb's own changes make them
    /// differ, so they are never drift.
    const REACTIONS: &'static [&'static str] = &[];

    /// Fields that are satisfied by running something, including those that can differ without a change by
    /// Plumb. If only such fields differ, the operation is [`Op::Run`](crate::plan::Op::Run).
    const RUNS: &'static [&'static str] = Self::REACTIONS;

    // Identity: valid names, and what only one resource may own.

    /// Checks a resource's name.
    ///
    /// # Errors
    /// Returns a phrase with the mistake and the right form.
    fn check_name(name: &str) -> Result<(), String>;

    /// Returns the path of the file, directory or link that a resource of this name owns on the host. `check`
    /// reports an error if two resources of a host have the same path. If one resource is removed and another
    /// one is added at its path, the removal is first.
    fn path(_name: &str) -> Option<String> {
        None
    }

    /// Returns the paths that this spec writes to although they belong to another type. For example, a mask is
    /// a link at the path of the unit's own file. `check` reports an error if two resources of a host need the
    /// same path.
    fn claims(&self, _name: &str) -> Vec<Claim> {
        Vec::new()
    }

    /// Returns the systemd unit that the resource manages.
    fn unit(&self, _name: &str) -> Option<String> {
        None
    }

    /// True if the connection to the host depends on the resource (sshd, sudo, Plumb itself). Such resources
    /// are changed last.
    fn lifeline(_name: &str) -> bool {
        false
    }

    /// True if a wrong change of the resource could keep the controller from logging in and becoming root. Such
    /// changes are made under the dead-man timer, and the host can put them back.
    fn cuts_off(_name: &str, _logins: &Logins) -> bool {
        false
    }

    // The spec alone.

    /// Returns the problems of a spec that no host could satisfy: fields that exclude or require one another.
    fn check(&self, _name: &str) -> Vec<Problem> {
        Vec::new()
    }

    /// Checks the text of a [confidential](Self::CONFIDENTIAL) field.
    ///
    /// # Errors
    /// Returns the mistake, without the text.
    fn check_confidential(_field: &str, _text: &str) -> Result<(), ConfidentialProblem> {
        Ok(())
    }

    /// True if the resource is to be absent (`state: absent`).
    fn wants_absent(&self) -> bool {
        false
    }

    /// Returns the manifest's `after`.
    fn after(&self) -> &[Address];

    /// Returns the manifest's `manage`.
    fn manage(&self) -> Manage;

    /// Returns the file contents that the host needs for the resource.
    fn contents(&self) -> Vec<Content> {
        Vec::new()
    }

    /// True if every change needs all contents, because the resource is always made as a whole. Otherwise, a
    /// change needs the contents of the fields that it changes.
    const MADE_WHOLE: bool = false;

    /// Returns the owning user and group that the spec names.
    fn owners(&self) -> Owners<'_> {
        Owners::default()
    }

    // The spec and the host.

    /// Returns the fields in which the host differs; empty if it is in sync.
    fn compare(&self, observed: &Self::Observed) -> Vec<FieldChange>;

    /// True if the resource differs in this field by its own behaviour: a unit failed, or is still starting.
    /// Nobody changed it, so the difference isn't drift.
    fn by_itself(&self, _observed: &Self::Observed, _field: &str) -> bool {
        false
    }

    /// Returns the resource's real name on the host if the manifest uses another one, such as a unit's alias.
    fn own_name(_observed: &Self::Observed) -> Option<String> {
        None
    }

    /// True if the resource exists on the host.
    fn exists(observed: &Self::Observed) -> bool;

    /// Returns the resources that the observed resource uses. If a run removes one of them, it changes this
    /// resource first.
    fn uses(_observed: &Self::Observed) -> Vec<Address> {
        Vec::new()
    }

    /// True if the observed resource must be removed before this one can be created.
    fn replaces(&self, _observed: &Self::Observed) -> bool {
        false
    }

    /// True if the differing fields show that the resource exists. With `manage: once`, the agent then leaves
    /// it alone.
    fn made(differing: &[FieldChange]) -> bool {
        differing.iter().all(|change| change.field != "state")
    }

    /// Returns how certain a change of the resource is before it is made. The observation is `None` if the
    /// resource couldn't be observed.
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

    /// Returns the key that identifies this resource to resources that read it without naming it. A unit
    /// file's key is the name of its unit.
    fn input_key(_name: &str) -> Option<String> {
        None
    }

    /// Returns the [keys](Self::input_key) of the resources that this one reads without naming them. It is
    /// applied after them.
    fn input_keys(_name: &str) -> Vec<String> {
        Vec::new()
    }

    /// Returns the reaction to a change of a resource with one of the [input keys](Self::input_keys), or `None`
    /// if only the order matters.
    fn on_input(&self, _name: &str, _key: &str) -> Option<Consequence> {
        None
    }

    /// Returns the reaction to any other change of the same plan.
    fn on_any_change(&self, _name: &str) -> Option<Consequence> {
        None
    }

    /// True if the observed resource reacts to changes of its inputs. The observation is `None` if the
    /// resource is in sync.
    fn reacts(&self, _observed: Option<&Self::Observed>) -> bool {
        false
    }

    /// True if a change of this resource may change the observed state of others: a package installs files
    /// and users; a user gets a group and a home.
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

/// A path that a spec writes to in addition to the path that its resource owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The path.
    pub path: String,
    /// Hint for the user if another resource owns the path.
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

/// A mistake in a secret text. Neither phrase quotes the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfidentialProblem {
    /// The mistake.
    pub message: String,
    /// The remedy.
    pub hint: &'static str,
}

/// The strength of a dependency between resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// The manifest names the resource. If the host doesn't have it, `check` reports an error.
    Explicit,
    /// The dependency follows from the types, such as that of a file on its folder and its owner. It only
    /// orders, and only resources that are managed.
    Implicit,
    /// Like [`Implicit`](Self::Implicit), for a resource that resets the dependent one. It is also removed
    /// first if both are removed.
    Resetting,
    /// Like [`Implicit`](Self::Implicit), for a link or a mount in the path of the dependent resource: if it
    /// changes, the path leads elsewhere. Resources below it are removed before it changes, and applied after
    /// it.
    Leading,
    /// Like [`Implicit`](Self::Implicit), and the first to be dropped if the order has a cycle.
    Yielding,
}

/// A resource that must be applied before another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// The resource that is applied first.
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
