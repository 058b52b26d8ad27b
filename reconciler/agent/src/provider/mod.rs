//! The providers, one for each primitive type: they observe, change and give back resources on the host.
//!
//! The parts of a type that don't need a host (path, unit, order, couplings) are in its `Resource` in
//! `plumb-api`. The match in [`of`] is exhaustive, so that a new type doesn't compile without a provider.

mod account_lines;
mod aliases;
mod apt;
mod apt_cache;
mod apt_install;
mod apt_update;
mod archive;
mod at_path;
mod block;
mod boot_loader;
mod bus;
mod certificate;
mod check;
mod command;
mod command_line;
mod compose;
mod context;
mod database;
mod directory;
mod dpkg;
mod faults;
mod file;
mod filled;
mod firewall;
mod git;
mod group;
mod home_directory;
mod identity;
mod in_place;
mod inputs;
mod kernel_module;
mod kernel_module_files;
mod kernel_parameter;
mod keypair;
mod link;
mod members;
mod mount;
mod mount_table;
mod own_unit;
mod package;
mod passwd;
mod policy_rc;
mod postgresql;
mod rivalry;
mod room;
mod running_kernel;
mod secret;
mod service;
mod service_links;
mod service_settle;
mod settling;
mod start;
mod swap;
mod swap_file;
mod sysctl;
mod sysctl_files;
pub(crate) mod systemd;
mod tree;
mod unit;
mod unit_state;
mod user;

use std::collections::BTreeSet;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{ArchiveSpec, Content, GitSpec};
use plumb_api::{Address, Kind, Observed, Spec};

pub(crate) use account_lines::{Account, AccountLines};
pub(crate) use apt::transactions;
pub(crate) use at_path::missing_parents;
pub(crate) use context::{ApplyContext, Item, ItemChange, ObserveContext};
pub(crate) use faults::{RefusedField, is_refused, of_refused};
pub(crate) use identity::{Identities, Identity};
pub(crate) use inputs::{Inputs, has_inputs, inputs_after};
pub(crate) use secret::restore as restore_secret;
pub(crate) use service::{Reaction, react};
pub(crate) use service_links::{put_link, remove_link};
pub(crate) use settling::{Poll, Settling, SettlingItem};

use crate::book::{CreationStep, Ledger, Original};
use crate::error::{Result, fail};

/// The effect of a change, as far as the next observation doesn't show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The change was made.
    Done,
    /// A unit was started or a command ran, so it has read the current state of all its inputs.
    Started,
    /// A unit was reloaded.
    Reloaded,
    /// The change wasn't made, because others still need the resource or have put entries into it. That is no
    /// error.
    Left,
}

/// The number of changes that are passed to a provider in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    /// One change per call. Consecutive changes that [join](Provider::joins) are passed together.
    Each,
    /// All changes of the batch in one call.
    Whole,
}

/// The support of a type in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// Supported: in a sandbox the provider only reads and writes files and runs no program.
    Supported,
    /// Not supported.
    Unsupported,
}

/// The source of a type's observations. Each source is queried on its own thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Inquiry {
    /// Files and the kernel, which answer quickly.
    Files,
    /// Other programs, which are slower, identified by a name such as `systemd` or `dpkg`. Types with the
    /// same name are observed one after the other.
    Programs(&'static str),
}

/// The lane of a type. A batch contains only changes of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The lane of all types that don't need their own.
    Shared,
    /// A lane with changes of only this type.
    Own(Kind),
    /// A lane that runs only when no other lane has a change that is ready, so that everything that its
    /// changes read is in place. Lower numbers run before higher ones.
    Last(u8),
}

/// The code that handles one primitive type on a host.
pub(crate) trait Provider: Sync {
    // Sandbox support and grouping of changes.

    fn sandbox(&self) -> Sandbox {
        Sandbox::Unsupported
    }

    fn inquiry(&self) -> Inquiry {
        Inquiry::Files
    }

    fn lane(&self) -> Lane {
        Lane::Shared
    }

    fn batch(&self) -> Batch {
        Batch::Each
    }

    /// True if this change may be made in one call with neighbouring changes of its type that also join,
    /// because their order doesn't matter.
    fn joins(&self, _spec: &Spec, _fields: &[FieldChange]) -> bool {
        false
    }

    /// Returns the path above which a creation of the resource makes the folders that are missing. They are
    /// removed with the resource.
    fn creation_path(&self, address: &Address) -> Option<String> {
        address.kind().path(address.name())
    }

    /// Returns the path that a change writes to, if there is one. The agent checks that its file system is
    /// writable and has enough space.
    fn written(&self, change: &ItemChange<'_>) -> Option<String> {
        change.address.kind().path(change.address.name())
    }

    // Identity.

    /// Resolves addresses to the things on this host that they denote. Returns one identity per item, in the
    /// order of the items. If a thing has several names (an alias, a name with an architecture), all of them
    /// get the identity of its own name. A name that can't be resolved is its own identity.
    fn identities(&self, _cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        let own = |item: &Item<'_>| Identity::of_name(item.address);
        items.iter().map(own).collect()
    }

    // Observing.

    /// Observes all items. Returns one result per item, in the order of the items.
    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>>;

    /// Returns the fields in which the host differs from the spec.
    fn compare(&self, spec: &Spec, observed: &Observed) -> Vec<FieldChange> {
        spec.compare(observed)
    }

    /// Marks as different each set element that Plumb added and that the spec no longer contains. `managed`
    /// contains all elements that Plumb may have added.
    fn withdraw(
        &self,
        _spec: &Spec,
        _managed: &Spec,
        _original: &Observed,
        _observed: &Observed,
        _fields: &mut Vec<FieldChange>,
    ) {
    }

    /// Returns the fields whose values the host may show in another form than Plumb wrote them. The value
    /// that the host shows right after a change then counts as the desired value.
    fn read_back_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// True if the observed resource has read the current state of its inputs.
    fn has_read_inputs(&self, _observed: &Observed) -> bool {
        false
    }

    /// Returns the path of a text file that may be shown in a diff, if there is one.
    fn text_path(&self, _address: &Address, _observed: &Observed) -> Option<String> {
        None
    }

    /// Returns the part of that file's text that the resource manages.
    fn managed_text(&self, _observed: &Observed, text: String) -> String {
        text
    }

    // Changing.

    /// Fails if the host would refuse this change. The agent calls this for the observation on which the plan
    /// is based, and again right before the change, so that a plan promises no change that the host would
    /// refuse.
    fn check_change(&self, _cx: &ObserveContext<'_>, _change: &ItemChange<'_>) -> Result<()> {
        Ok(())
    }

    /// Returns the fields that the host would refuse to change. The other fields are changed anyway. The
    /// agent calls this together with [`check_change`](Self::check_change).
    fn refused_fields(
        &self,
        _cx: &ObserveContext<'_>,
        _change: &ItemChange<'_>,
    ) -> Vec<RefusedField> {
        Vec::new()
    }

    /// Returns what a change loses although the spec doesn't name it, in phrases for people.
    fn losses(&self, _cx: &ObserveContext<'_>, _change: &ItemChange<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Returns the steps that belong to the creation of a resource with this spec. They stay pending in the
    /// ledger until an observation shows that they succeeded.
    fn creation_steps(&self, _spec: &Spec) -> BTreeSet<CreationStep> {
        BTreeSet::new()
    }

    /// Applies all changes. Returns one result per change, in the order of the changes.
    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>>;

    /// Runs the closing step that a batch with these changes needs once, such as reloading systemd. Without
    /// changes, those that were put back aren't known.
    fn settle(&self, _cx: &mut ApplyContext<'_>, _made: &[ItemChange<'_>]) -> Result<()> {
        Ok(())
    }

    /// Returns the code that waits until changes of this type have settled. Returns `None` if a change is
    /// complete when `apply` returns.
    fn settling(&self) -> Option<&dyn Settling> {
        None
    }

    /// Returns the code that tells what takes effect only at the next boot. Returns `None` if every change of
    /// this type takes effect at once.
    fn at_next_boot(&self) -> Option<&dyn AtNextBoot> {
        None
    }

    /// Returns the code that handles originals of this type. Returns `None` if the type has nothing to give
    /// back; such a resource is only removed from the ledger when nothing desires it any more.
    fn give_back(&self) -> Option<&dyn GiveBack>;
}

/// Tells what takes effect only at the next boot.
pub(crate) trait AtNextBoot {
    /// Returns the reason why the resource needs a reboot, as a phrase for people. Returns `None` if it needs
    /// none.
    fn pending(&self, address: &Address, spec: &Spec, observed: &Observed) -> Option<String>;
}

/// Captures and restores originals.
pub(crate) trait GiveBack {
    /// Returns a spec that names every field, so that the agent observes a complete original.
    fn full_spec(&self) -> Spec;

    /// Returns the spec that restores the original in the fields that `managed` has. Without `managed`,
    /// restores all fields.
    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec;

    /// Returns the spec that removes what belongs only to this address, for the case that another desired
    /// resource names the same thing and therefore keeps the thing. Returns `None` if there is nothing to
    /// remove.
    fn surrender_spec(&self) -> Option<Spec> {
        None
    }

    /// Returns the spec that an observation fulfils, for a manifest. Returns `None` if the resource doesn't
    /// exist.
    fn adopt_spec(&self, observed: &Observed) -> Option<Spec> {
        self.describe(observed)?;
        let spec = self.restore_spec(observed, None);
        (!spec.wants_absent()).then_some(spec)
    }

    /// Adapts the differences from the spec that restores an original, for a thing that stays on the host
    /// although nothing desires it any more. A difference that is always there tells so in the plan; its
    /// change has the effect [`Effect::Left`].
    fn remain(&self, _observed: &Observed, _fields: &mut Vec<FieldChange>) {}

    /// Describes the original in a phrase for people. Returns `None` if the resource didn't exist.
    fn describe(&self, original: &Observed) -> Option<String>;

    /// Returns the file content that is needed to restore the original, if there is one.
    fn content(&self, _original: &Observed) -> Option<Content> {
        None
    }

    /// Replaces the content in an original by the content that was stored.
    fn set_content(&self, _original: &mut Observed, _kept: Content) {}

    /// Returns the account whose lines the dead-man timer puts back, if the resource is one. Observations of
    /// accounts lack fields, such as password hashes.
    fn account(&self, _name: &str) -> Option<Account> {
        None
    }

    /// Removes temporary state from an observation, such as a pending reload, before it is stored as an
    /// original.
    fn lasting(&self, observed: Observed) -> Observed {
        observed
    }
}

/// Returns the provider of a type.
pub(crate) fn of(kind: Kind) -> &'static dyn Provider {
    match kind {
        Kind::File => &file::Files,
        Kind::Directory => &directory::Directories,
        Kind::Link => &link::Links,
        Kind::Archive => &tree::Trees::<ArchiveSpec>::PROVIDER,
        Kind::Git => &tree::Trees::<GitSpec>::PROVIDER,
        Kind::Keypair => &keypair::Keypairs,
        Kind::Secret => &secret::Secrets,
        Kind::Package => &package::Packages,
        Kind::Unit => &unit::Units,
        Kind::Service => &service::Services,
        Kind::User => &user::Users,
        Kind::Group => &group::Groups,
        Kind::Sysctl => &sysctl::Sysctls,
        Kind::KernelModule => &kernel_module::KernelModules,
        Kind::KernelParameter => &kernel_parameter::KernelParameters,
        Kind::Mount => &mount::Mounts,
        Kind::Swap => &swap::Swaps,
        Kind::Firewall => &firewall::Firewalls,
        Kind::Database => &database::Databases,
        Kind::Command => &command::Commands,
        Kind::Compose => &compose::Projects,
        Kind::Check => &check::Checks,
    }
}

/// Fails if the host, in its current state, would refuse the whole change. If the host would refuse only some
/// of the fields, returns those.
pub(crate) fn check_change(
    cx: &ObserveContext<'_>,
    change: &ItemChange<'_>,
) -> Result<Vec<RefusedField>> {
    let provider = of(change.address.kind());
    provider.check_change(cx, change)?;
    room::check(provider, cx, change)?;
    let refused = provider.refused_fields(cx, change);
    let is_taken = |field: &FieldChange| !faults::is_refused(&refused, &field.field);
    if change.fields.iter().any(is_taken) {
        return Ok(refused);
    }
    faults::of_refused(&refused, None).map(|()| refused)
}

/// The reason why a spec is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The resource is desired with this spec.
    Desired,
    /// Nothing desires the resource any more; the spec restores its original.
    Restored,
}

/// Returns the fields in which the host differs from the spec. If the spec restores an original, ignores the
/// fields that only make something run, such as restarts after changed inputs.
pub(crate) fn compare(direction: Direction, spec: &Spec, observed: &Observed) -> Vec<FieldChange> {
    let mut fields = of(spec.kind()).compare(spec, observed);
    if direction == Direction::Restored {
        let runs = spec.kind().run_fields();
        fields.retain(|change| !runs.contains(&change.field.as_str()));
        if let Some(keeper) = keeper(observed) {
            keeper.remain(observed, &mut fields);
        }
    }
    fields
}

/// Returns the code that handles originals of this observation's type.
fn keeper(observed: &Observed) -> Option<&'static dyn GiveBack> {
    of(observed.kind()).give_back()
}

/// Returns the file content that is needed to restore an original, if there is one.
pub(crate) fn kept_content(original: &Original) -> Option<Content> {
    keeper(&original.observed)?.content(&original.observed)
}

/// Describes an original in a phrase for people. Returns `None` if the resource didn't exist.
pub(crate) fn describe(original: &Original) -> Option<String> {
    keeper(&original.observed)?.describe(&original.observed)
}

/// Returns the digests of all file contents that the ledger's originals need.
pub(crate) fn contents_of_originals(ledger: &Ledger) -> BTreeSet<String> {
    ledger
        .resources
        .values()
        .filter_map(|entry| kept_content(entry.original.as_ref()?))
        .map(|content| content.sha256.to_string())
        .collect()
}

/// Returns the error for a spec whose type isn't the type of the address. The controller should never send
/// this.
fn wrong_type<T>(address: &Address) -> Result<T> {
    fail(
        ErrorCode::Protocol,
        format!("{address} came with the spec of another type"),
    )
}

/// Applies the changes one by one, with `one`.
fn each(
    cx: &mut ApplyContext<'_>,
    work: &[ItemChange<'_>],
    one: impl Fn(&mut ApplyContext<'_>, &ItemChange<'_>) -> Result<Effect>,
) -> Vec<Result<Effect>> {
    work.iter().map(|work| one(cx, work)).collect()
}

/// Returns the error for something that isn't supported in a sandbox.
fn not_in_a_sandbox(what: &str) -> AgentError {
    AgentError::new(ErrorCode::Unsupported, format!("a sandbox has no {what}")).hint(
        "a sandbox has files, directories, links, units, sysctl files, users and groups; leave the rest out for this host, or drive a real one",
    )
}

#[cfg(test)]
mod tests {
    use plumb_api::resource::{
        FileType, RunState, ServiceObserved, ServiceSpec, Stale, UnitObserved, UnitSpec,
    };

    use super::*;

    fn fields(direction: Direction, spec: &Spec, observed: &Observed) -> Vec<String> {
        let all = compare(direction, spec, observed);
        all.into_iter().map(|change| change.field).collect()
    }

    #[test]
    fn on_the_way_out_a_pending_restart_does_not_count() {
        let service = Spec::Service(ServiceSpec::default());
        let stale = Observed::Service(ServiceObserved {
            known: true,
            state: Some(RunState::Started),
            stale: Stale::Restart,
            ..ServiceObserved::default()
        });
        assert_eq!(fields(Direction::Desired, &service, &stale), ["inputs"]);
        assert!(fields(Direction::Restored, &service, &stale).is_empty());
        let unit = Spec::Unit(UnitSpec {
            state: plumb_api::resource::Presence::Absent,
            ..UnitSpec::default()
        });
        let outdated = Observed::Unit(UnitObserved {
            file_type: FileType::Absent,
            needs_reload: true,
            ..UnitObserved::default()
        });
        assert_eq!(fields(Direction::Desired, &unit, &outdated), ["loaded"]);
        assert!(fields(Direction::Restored, &unit, &outdated).is_empty());
    }
}
