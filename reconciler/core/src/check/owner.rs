//! Finds owners and groups that nobody creates.

use std::fmt;

use plumb_api::resource::Principal;
use plumb_api::{Kind, Spec};
use plumb_document::Diagnostic;

use super::{HostView, debian};
use crate::manifest::code;
use crate::resolve::Placed;

/// A role of an account for a resource.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Owner,
    Group,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "user",
            Self::Group => "group",
        })
    }
}

/// Returns a warning for each owner and group that neither a resource of the host nor a package of a similar
/// name creates, and an error for each one that the host is to remove.
pub(super) fn check(host: &HostView<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for one in host.placed {
        // The order of an account is its own matter.
        if !one.is_wanted() || matches!(one.address.kind(), Kind::User | Kind::Group) {
            continue;
        }
        let owners = one.spec().owners();
        for (role, principal) in [(Role::Owner, owners.user), (Role::Group, owners.group)] {
            let Some(name) = principal.and_then(Principal::name) else {
                continue;
            };
            if !debian::has_account(name) {
                found.extend(of_account(host, one, role, name));
            }
        }
    }
    found
}

fn of_account(host: &HostView<'_>, one: &Placed<'_>, role: Role, name: &str) -> Option<Diagnostic> {
    let (kind, field) = match role {
        Role::Owner => (Kind::User, "owner"),
        Role::Group => (Kind::Group, "group"),
    };
    if let Some(account) = host.find(kind, name) {
        return (!account.is_wanted()).then(|| {
            let message = format!("{one} needs the {role} `{name}`, which this host removes");
            Diagnostic::error(code::UNKNOWN_OWNER, one.place_of(field), message)
                .related(account.span, "removed here")
                .hint("give it to another account, or keep this one")
        });
    }
    let is_login = || {
        let users = host.host.spec.connect.iter();
        users
            .filter_map(|way| way.user.as_deref())
            .any(|user| user == name)
    };
    // `useradd` gives a user a group of its own name, unless the user's spec names another one.
    let is_own_group = || {
        role == Role::Group
            && host
                .find(Kind::User, name)
                .is_some_and(|user| match user.spec() {
                    Spec::User(spec) => user.is_wanted() && spec.group.is_none(),
                    _ => false,
                })
    };
    // A package's scripts may give an account the name of any word of the package's name.
    let first = name.split(['-', '_']).find(|word| word.len() >= 3);
    if is_login()
        || is_own_group()
        || HostView::may_bring(one.spec().after())
        || host.may_be_packaged(name)
        || first.is_some_and(|word| host.may_be_packaged(word))
    {
        return None;
    }
    let message = format!("nothing on this host creates the {role} `{name}`");
    Some(
        Diagnostic::warning(code::UNKNOWN_OWNER, one.place_of(field), message).hint(format!(
            "add `{kind}: {{{name}: {{}}}}`; if a package creates it, write `after: [\"package:NAME\"]`"
        )),
    )
}
