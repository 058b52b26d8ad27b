//! `group`: a local group.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::field::{Manage, Membership, Presence, is_account_name};
use super::user::members_differ;
use super::{Dependency, Kind, Logins, Problem, Resource, Strength, differs};
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

/// A group in `/etc/group`. The name is that of the group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// `present` (default) or `absent`. The primary group of a user that stays isn't removed.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The numeric id. When left out, a new group gets the next free id of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// True if a new group gets an id from the range for system groups.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// Members of the group as `/etc/group` lists them. Users who have the group as their primary group don't
    /// count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<BTreeSet<String>>,
    /// `minimum` (default): Plumb adds `members` and keeps all others. It removes a name that leaves the list
    /// only if it had added that name. `inclusive`: Plumb removes all others.
    #[serde(default, skip_serializing_if = "Membership::is_minimum")]
    pub membership: Membership,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The observed state of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupObserved {
    /// The presence in `/etc/group`.
    pub state: Option<Presence>,
    /// The numeric id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The members, if the spec lists some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<BTreeSet<String>>,
}

impl Resource for GroupSpec {
    type Observed = GroupObserved;

    const EXAMPLE: &'static str = r"group:
  media: {gid: 130, members: [john]}
user:
  john: {}
";

    const SETS: &'static [&'static str] = &["after", "members"];

    const RANK: u8 = 10;

    fn cuts_off(name: &str, logins: &Logins) -> bool {
        logins.groups.contains(name)
    }

    fn check_name(name: &str) -> Result<(), String> {
        if is_account_name(name) {
            Ok(())
        } else {
            Err("a group's name is 1 to 32 of a-z, A-Z, 0-9, `_`, `-`, `.`, and begins with a letter or `_`".to_owned())
        }
    }

    fn check(&self, name: &str) -> Vec<Problem> {
        if name == "root" && (self.wants_absent() || self.gid.is_some_and(|gid| gid != 0)) {
            return vec![Problem {
                field: "state",
                message: "the group root can't be removed, and its gid can't be changed".to_owned(),
                hint: "remove its `state` and `gid`".to_owned(),
            }];
        }
        if self
            .members
            .iter()
            .flatten()
            .any(|member| !is_account_name(member))
        {
            return vec![Problem {
                field: "members",
                message: "this isn't a valid user name".to_owned(),
                hint: "write member names as in /etc/passwd".to_owned(),
            }];
        }
        Vec::new()
    }

    fn compare(&self, observed: &GroupObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let found = observed.state.unwrap_or(Presence::Absent);
        differs(&mut changes, "state", Some(&self.state), Some(&found));
        if !self.wants_absent() {
            differs(
                &mut changes,
                "gid",
                self.gid.as_ref(),
                observed.gid.as_ref(),
            );
            members_differ(
                &mut changes,
                "members",
                self.membership,
                self.members.as_ref(),
                observed.members.as_ref(),
            );
        }
        changes
    }

    /// Returns the members, which are applied before the group. If a user and a group name each other, this
    /// dependency is dropped, because a user is applied after its groups.
    fn requires(&self, _name: &str) -> Vec<Dependency> {
        self.members
            .iter()
            .flatten()
            .filter_map(|member| Address::new(Kind::User, member).ok())
            .map(|address| Dependency {
                address,
                strength: Strength::Yielding,
            })
            .collect()
    }

    fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let removed = self.wants_absent() && fields.iter().any(|change| change.field == "state");
        removed
            .then(|| Consequence::Removes(format!("group {name}")))
            .into_iter()
            .collect()
    }

    fn exists(observed: &GroupObserved) -> bool {
        observed.state == Some(Presence::Present)
    }

    fn invalidates(&self) -> bool {
        self.members.is_some()
    }

    fn wants_absent(&self) -> bool {
        self.state == Presence::Absent
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
