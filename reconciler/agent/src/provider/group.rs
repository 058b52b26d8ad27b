//! `group`.

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{GroupObserved, GroupSpec, Membership, Presence};
use plumb_api::{Address, Kind, Observed, Spec};

use super::faults::Faults;
use super::members::{self, Difference, Memberships, Unknown};
use super::{
    Account, ApplyContext, Effect, GiveBack, Identity, Item, ItemChange, ObserveContext, Provider,
    Sandbox, each, wrong_type,
};
use super::{identity, passwd};
use crate::error::Result;
use crate::sys::Accounts;

pub(crate) struct Groups;

impl Provider for Groups {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn written(&self, _change: &ItemChange<'_>) -> Option<String> {
        Some("/etc/group".to_owned())
    }

    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        let claimed = |item: &Item<'_>| match item.spec {
            Spec::Group(spec) => spec.gid,
            _ => None,
        };
        let found = |item: &Item<'_>| {
            let account = cx.accounts.group(item.address.name())?;
            Some(account.gid)
        };
        identity::of_accounts(items, claimed, found, "gid")
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Group(spec) = item.spec else {
                return wrong_type(item.address);
            };
            let group = cx.accounts.group(item.address.name());
            let state = if group.is_some() {
                Presence::Present
            } else {
                Presence::Absent
            };
            Ok(Observed::Group(GroupObserved {
                state: Some(state),
                gid: group.filter(|_| spec.gid.is_some()).map(|group| group.gid),
                members: group
                    .filter(|_| spec.members.is_some())
                    .map(|group| group.members.clone()),
            }))
        };
        items.iter().map(one).collect()
    }

    /// A group can't be removed while it is the primary group of a user. Users whose change in the same run
    /// gives them another group, or removes them, don't count.
    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let name = change.address.name();
        let Some(group) = cx
            .accounts
            .group(name)
            .filter(|_| change.spec.wants_absent())
        else {
            return Ok(());
        };
        let mut users = cx.accounts.users.iter();
        let Some(user) = users.find(|user| user.gid == group.gid && stays(cx, &user.name, name))
        else {
            return Ok(());
        };
        Err(AgentError::new(
            ErrorCode::Refused,
            format!(
                "the group {name} is the primary group of the user {}",
                user.name
            ),
        )
        .hint(format!(
            "give the user another group first: `user: {{{}: {{group: …}}}}`",
            user.name
        )))
    }

    fn withdraw(
        &self,
        spec: &Spec,
        managed: &Spec,
        original: &Observed,
        observed: &Observed,
        fields: &mut Vec<FieldChange>,
    ) {
        let (
            Spec::Group(spec),
            Spec::Group(managed),
            Observed::Group(original),
            Observed::Group(observed),
        ) = (spec, managed, original, observed)
        else {
            return;
        };
        let members = Memberships {
            membership: spec.membership,
            desired: spec.members.as_ref(),
            added: managed.members.as_ref(),
            original: original.members.as_ref(),
            observed: observed.members.as_ref(),
        };
        members.withdraw(fields, "members");
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, |cx, work| {
            let outcome = one(cx, work);
            cx.accounts = Accounts::load(cx.sys);
            outcome
        })
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Groups {
    fn full_spec(&self) -> Spec {
        Spec::Group(GroupSpec {
            gid: Some(0),
            members: Some(std::collections::BTreeSet::new()),
            ..GroupSpec::default()
        })
    }

    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let original = match original {
            Observed::Group(original) if original.state == Some(Presence::Present) => original,
            _ => {
                return Spec::Group(GroupSpec {
                    state: Presence::Absent,
                    ..GroupSpec::default()
                });
            }
        };
        // In a set that others may extend, Plumb removes only the members that it added.
        let (gid, members, membership) = match managed {
            Some(Spec::Group(managed)) if managed.state == Presence::Present => (
                managed.gid.is_some(),
                managed.members.is_some(),
                managed.membership,
            ),
            _ => (true, true, Membership::Inclusive),
        };
        Spec::Group(GroupSpec {
            gid: original.gid.filter(|_| gid),
            members: original.members.clone().filter(|_| members),
            membership,
            ..GroupSpec::default()
        })
    }

    fn account(&self, name: &str) -> Option<Account> {
        Some(Account::Group(name.to_owned()))
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::Group(original) = original else {
            return None;
        };
        (original.state == Some(Presence::Present)).then(|| match original.gid {
            Some(gid) => format!("a group with the id {gid}"),
            None => "a group".to_owned(),
        })
    }
}

/// True if nothing in git, and no give-back, takes this primary group from a user.
fn stays(cx: &ObserveContext<'_>, user: &str, group: &str) -> bool {
    let Ok(address) = Address::new(Kind::User, user) else {
        return true;
    };
    match cx.inputs.desired.get(&address).map(|leaf| &leaf.spec) {
        Some(Spec::User(spec)) => {
            let other = spec.group.as_ref().is_some_and(|own| own.as_str() != group);
            spec.state == Presence::Present && !other
        }
        _ => cx.inputs.ledger.entry(&address).is_none(),
    }
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Group(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let name = work.address.name();
    if spec.state == Presence::Absent {
        if cx.sys.is_sandbox() {
            passwd::sandbox_group(cx, name, spec)?;
        } else {
            passwd::tool(cx.sys, "groupdel", &[name.to_owned()])?;
        }
        return Ok(Effect::Done);
    }
    let mut faults = Faults::default();
    if work.changes("state") {
        create(cx, name, spec)?;
        cx.accounts = Accounts::load(cx.sys);
    } else if work.changes("gid") {
        faults.note(renumber(cx, name, spec));
    }
    if let Some(difference) = Difference::of(work.fields, "members") {
        let unknown = if work.original.is_some() {
            Unknown::Restore
        } else {
            Unknown::Refuse
        };
        members::change_members(cx, name, &difference, unknown, &mut faults);
    }
    faults.outcome()
}

fn create(cx: &mut ApplyContext<'_>, name: &str, spec: &GroupSpec) -> Result<()> {
    if cx.sys.is_sandbox() {
        return passwd::sandbox_group(cx, name, spec);
    }
    let mut args = Vec::new();
    if spec.system {
        args.push("-r".to_owned());
    }
    if let Some(gid) = spec.gid {
        args.extend(["-g".to_owned(), gid.to_string()]);
    }
    args.push(name.to_owned());
    passwd::tool(cx.sys, "groupadd", &args)
}

fn renumber(cx: &mut ApplyContext<'_>, name: &str, spec: &GroupSpec) -> Result<()> {
    if cx.sys.is_sandbox() {
        return passwd::sandbox_group(cx, name, spec);
    }
    let Some(gid) = spec.gid else {
        return Ok(());
    };
    let args = ["-g", &gid.to_string(), name].map(str::to_owned);
    passwd::tool(cx.sys, "groupmod", &args)
}
