//! `group`.

use plumb_api::resource::{GroupObserved, GroupSpec, Membership, Presence};
use plumb_api::{Observed, Spec};

use super::passwd;
use super::{
    ApplyContext, Effect, GiveBack, Item, ItemChange, ObserveContext, Provider, Sandbox, each,
    wrong_type,
};
use crate::error::Result;

pub(crate) struct Groups;

impl Provider for Groups {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn written(&self, _change: &ItemChange<'_>) -> Option<String> {
        Some("/etc/passwd".to_owned())
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

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, |cx, work| {
            let outcome = one(cx, work);
            cx.accounts = crate::sys::Accounts::load(cx.sys);
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
        let (gid, members) = match managed {
            Some(Spec::Group(managed)) if managed.state == Presence::Present => {
                (managed.gid.is_some(), managed.members.is_some())
            }
            _ => (true, true),
        };
        Spec::Group(GroupSpec {
            gid: original.gid.filter(|_| gid),
            members: original.members.clone().filter(|_| members),
            membership: Membership::Inclusive,
            ..GroupSpec::default()
        })
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

/// Returns the members to set, from the `members` field of the change.
fn wanted_members(work: &ItemChange<'_>) -> Option<Vec<String>> {
    let change = work
        .fields
        .iter()
        .find(|change| change.field == "members")?;
    let members = change.to.as_ref()?.as_array()?;
    Some(
        members
            .iter()
            .filter_map(|member| member.as_str().map(str::to_owned))
            .collect(),
    )
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Group(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let name = work.address.name().to_owned();
    if cx.sys.is_sandbox() {
        passwd::sandbox_group(cx, &name, spec, wanted_members(work).as_deref())?;
        return Ok(Effect::Done);
    }
    if spec.state == Presence::Absent {
        passwd::tool(cx.sys, "groupdel", &[name])?;
        return Ok(Effect::Done);
    }
    let gid = spec.gid.map(|gid| gid.to_string());
    if work.changes("state") {
        let mut args = Vec::new();
        if spec.system {
            args.push("-r".to_owned());
        }
        if let Some(gid) = gid {
            args.extend(["-g".to_owned(), gid]);
        }
        args.push(name.clone());
        passwd::tool(cx.sys, "groupadd", &args)?;
    } else if let Some(gid) = gid.filter(|_| work.changes("gid")) {
        passwd::tool(cx.sys, "groupmod", &["-g".to_owned(), gid, name.clone()])?;
    }
    let members =
        wanted_members(work).filter(|members| !(members.is_empty() && work.changes("state")));
    if let Some(members) = members {
        passwd::tool(
            cx.sys,
            "gpasswd",
            &["-M".to_owned(), members.join(","), name],
        )?;
    }
    Ok(Effect::Done)
}
