//! `user`: `/etc/passwd`, changed with the system's own tools, which handle its locks and shadow files.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Membership, Presence, Principal, UserObserved, UserSpec};
use plumb_api::{Observed, Spec};

use super::at_path::ROOT;
use super::passwd;
use super::{
    ApplyContext, Effect, GiveBack, Item, ItemChange, ObserveContext, Provider, Sandbox, each,
    wrong_type,
};
use crate::error::Result;

pub(crate) struct Users;

impl Provider for Users {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn written(&self, _change: &ItemChange<'_>) -> Option<String> {
        Some("/etc/passwd".to_owned())
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::User(spec) = item.spec else {
                return wrong_type(item.address);
            };
            let name = item.address.name();
            let Some(user) = cx.accounts.user(name) else {
                return Ok(Observed::User(UserObserved {
                    state: Some(Presence::Absent),
                    ..UserObserved::default()
                }));
            };
            let group = |wish: &Principal| cx.accounts.group_owner(user.gid, wish);
            Ok(Observed::User(UserObserved {
                state: Some(Presence::Present),
                uid: spec.uid.map(|_| user.uid),
                group: spec.group.as_ref().and_then(group),
                groups: spec.groups.as_ref().map(|_| cx.accounts.memberships(name)),
                home: spec.home.as_ref().map(|_| user.home.clone()),
                shell: spec.shell.as_ref().map(|_| user.shell.clone()),
                comment: spec.comment.as_ref().map(|_| user.comment.clone()),
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

impl GiveBack for Users {
    fn full_spec(&self) -> Spec {
        Spec::User(UserSpec {
            uid: Some(0),
            group: ROOT.parse().ok(),
            groups: Some(std::collections::BTreeSet::new()),
            home: Some("/".to_owned()),
            shell: Some("/".to_owned()),
            comment: Some(String::new()),
            ..UserSpec::default()
        })
    }

    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let absent = UserSpec {
            state: Presence::Absent,
            ..UserSpec::default()
        };
        let Observed::User(original) = original else {
            return Spec::User(absent);
        };
        if original.state != Some(Presence::Present) {
            return Spec::User(absent);
        }
        let everything = UserSpec {
            uid: original.uid,
            group: original.group.clone(),
            groups: original.groups.clone(),
            membership: Membership::Inclusive,
            home: original.home.clone(),
            create_home: Some(false),
            shell: original.shell.clone(),
            comment: original.comment.clone(),
            ..UserSpec::default()
        };
        let Some(Spec::User(managed)) = managed else {
            return Spec::User(everything);
        };
        if managed.state == Presence::Absent {
            return Spec::User(everything);
        }
        // Only the fields that Plumb changed: others may have changed the rest since.
        Spec::User(UserSpec {
            uid: managed.uid.and(everything.uid),
            group: managed.group.as_ref().and(everything.group),
            groups: managed.groups.as_ref().and(everything.groups),
            home: managed.home.as_ref().and(everything.home),
            shell: managed.shell.as_ref().and(everything.shell),
            comment: managed.comment.as_ref().and(everything.comment),
            ..everything
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::User(original) = original else {
            return None;
        };
        (original.state == Some(Presence::Present)).then(|| match original.uid {
            Some(uid) => format!("a user with the id {uid}"),
            None => "a user".to_owned(),
        })
    }
}

/// Returns the groups to set, from the `groups` field of the change.
fn wanted_groups(work: &ItemChange<'_>) -> Option<Vec<String>> {
    let change = work.fields.iter().find(|change| change.field == "groups")?;
    let groups = change.to.as_ref()?.as_array()?;
    Some(
        groups
            .iter()
            .filter_map(|group| group.as_str().map(str::to_owned))
            .collect(),
    )
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::User(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let name = work.address.name();
    let missing = |group: &str| {
        AgentError::new(
            ErrorCode::NotFound,
            format!("{name} is to be in the group `{group}`, which this host doesn't have"),
        )
        .hint(format!(
            "add `group: {{{group}: {{}}}}`, or put the user `after` the package that makes it"
        ))
    };
    for group in spec.groups.iter().flatten() {
        if cx.accounts.group(group).is_none() {
            return Err(missing(group));
        }
    }
    if let Some(group) = &spec.group {
        let known = cx.accounts.gid_of(group);
        if known.is_none() {
            return Err(missing(group.as_str()));
        }
    }
    if cx.sys.is_sandbox() {
        passwd::sandbox_user(cx, name, spec, wanted_groups(work).as_deref())?;
        return Ok(Effect::Done);
    }
    if spec.state == Presence::Absent {
        // Never `--remove`: the home belongs to its owner.
        passwd::tool(cx.sys, "userdel", &[name.to_owned()])?;
    } else if work.changes("state") {
        passwd::tool(cx.sys, "useradd", &create(cx, name, spec))?;
    } else {
        let mut args = Vec::new();
        let mut option = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                args.extend([flag.to_owned(), value]);
            }
        };
        let field = |name: &str| work.changes(name).then_some(());
        option("-u", field("uid").and(spec.uid).map(|uid| uid.to_string()));
        option(
            "-g",
            field("group")
                .and(spec.group.as_ref())
                .map(ToString::to_string),
        );
        option("-d", field("home").and(spec.home.clone()));
        option("-s", field("shell").and(spec.shell.clone()));
        option("-c", field("comment").and(spec.comment.clone()));
        option("-G", wanted_groups(work).map(|groups| groups.join(",")));
        args.push(name.to_owned());
        passwd::tool(cx.sys, "usermod", &args)?;
    }
    Ok(Effect::Done)
}

fn create(cx: &ApplyContext<'_>, name: &str, spec: &UserSpec) -> Vec<String> {
    let mut args = Vec::new();
    if spec.system {
        args.push("-r".to_owned());
    }
    let mut option = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            args.extend([flag.to_owned(), value]);
        }
    };
    option("-u", spec.uid.map(|uid| uid.to_string()));
    // If a group of the user's name exists, useradd needs it by `-g`, and doesn't make its own.
    let own = cx.accounts.group(name).map(|group| group.name.clone());
    option(
        "-g",
        spec.group
            .as_ref()
            .map(ToString::to_string)
            .or_else(|| own.clone()),
    );
    let groups = spec.groups.as_ref().filter(|groups| !groups.is_empty());
    option(
        "-G",
        groups.map(|groups| groups.iter().cloned().collect::<Vec<_>>().join(",")),
    );
    option("-d", spec.home.clone());
    option("-s", spec.shell.clone());
    option("-c", spec.comment.clone());
    if spec.group.is_none() && own.is_none() {
        args.push("-U".to_owned());
    }
    let create_home = spec.create_home.unwrap_or(!spec.system);
    args.push(if create_home { "-m" } else { "-M" }.to_owned());
    args.push(name.to_owned());
    args
}
