//! `user`: a local user.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::field::{Content, Manage, Membership, Presence, Principal, is_account_name};
use super::password::{Password, PasswordLock, PasswordObserved, check_hash};
use super::{ConfidentialProblem, Dependency, Kind, Logins, Problem, Resource, Strength, differs};
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

/// A user in `/etc/passwd`. The name is the login name. If Plumb removes a user, the home stays.
///
/// A password is given as a hash, and Plumb never sees the password itself. The hash goes to `chpasswd` on its
/// input, and is in no plan, log, event, ledger or store; they have its digest. The hash from before is kept on the
/// host, and given back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The numeric id. When left out, a new user gets the next free id of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The primary group. When left out, a new user gets a group of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// Supplementary groups; `membership` decides whether the user may also be in others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<String>>,
    /// `minimum` (default): Plumb adds `groups` and keeps all others. It removes a group that leaves the list
    /// only if it had added that group. `inclusive`: Plumb removes all others.
    #[serde(default, skip_serializing_if = "Membership::is_minimum")]
    pub membership: Membership,
    /// The home directory's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// True if a user that Plumb creates gets a home, copied from `/etc/skel`; the default is true unless
    /// `system` is true. If the home can't be created, Plumb tries again at each run. Plumb creates no home
    /// for a user that existed before, and none if `home` changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_home: Option<bool>,
    /// The login shell. It must be on the host, and is applied before the user if a file, a link or a package of
    /// its name brings it. Name another package in `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// The GECOS field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The password's hash, as `mkpasswd` prints it: yescrypt, scrypt, bcrypt, SHA-512 or SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// True if nobody may log in by the password; other ways, such as SSH keys, stay open. False unlocks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// True if a new user gets an id from the range for system users.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The observed state of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserObserved {
    /// The presence in `/etc/passwd`.
    pub state: Option<Presence>,
    /// The numeric id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The primary group, in the spec's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// Supplementary groups, if the spec names some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<String>>,
    /// The home directory's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// The login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// The GECOS field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The password, if the spec or an earlier one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordObserved>,
    /// The password's lock, if the spec names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<PasswordLock>,
    /// False if Plumb created the user and still has to create its home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_home: Option<bool>,
}

impl UserSpec {
    /// True if a new user gets a home.
    pub fn wants_home(&self) -> bool {
        self.create_home.unwrap_or(!self.system)
    }
}

/// Returns the resources that may bring a shell: a file or a link at its path, and the package with its name or
/// with the name before the first dash (`git` brings `git-shell`).
fn shell_sources(path: &str) -> Vec<Address> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let family = name.split('-').next().unwrap_or_default();
    let all = [
        (Kind::File, path),
        (Kind::Link, path),
        (Kind::Package, name),
        (Kind::Package, family),
    ];
    let addresses = all
        .into_iter()
        .filter_map(|(kind, name)| Address::new(kind, name).ok());
    addresses.collect()
}

/// Adds a change if a set of names differs. Under `minimum`, only missing names count as a difference.
pub(super) fn members_differ(
    changes: &mut Vec<FieldChange>,
    field: &str,
    membership: Membership,
    desired: Option<&BTreeSet<String>>,
    observed: Option<&BTreeSet<String>>,
) {
    let Some(desired) = desired else { return };
    let none = BTreeSet::new();
    let found = observed.unwrap_or(&none);
    let wanted: BTreeSet<_> = match membership {
        Membership::Minimum => desired.union(found).cloned().collect(),
        Membership::Inclusive => desired.clone(),
    };
    if wanted != *found {
        changes.push(FieldChange::of(field, Some(found), Some(&wanted)));
    }
}

impl Resource for UserSpec {
    type Observed = UserObserved;

    const EXAMPLE: &'static str = r#"user:
  john:
    uid: 1108
    shell: /bin/bash
    createHome: true
    groups: [video]
    password: {hash: "$y$j9T$6w9iFJbqVXXZ5sGyyfpdd.$FrVDH9SMPwCjRbCwrVE5nyv1nGzs.pMOUCEaOKBs7F2"}
"#;

    const SETS: &'static [&'static str] = &["after", "groups"];

    const UNSUPPORTED: &'static [&'static str] = &["moveHome"];

    const CONFIDENTIAL: &'static [&'static str] = &["password"];

    const RANK: u8 = 20;

    fn cuts_off(name: &str, logins: &Logins) -> bool {
        logins.users.contains(name)
    }

    fn check_name(name: &str) -> Result<(), String> {
        if is_account_name(name) {
            Ok(())
        } else {
            Err("a user's name is 1 to 32 of a-z, A-Z, 0-9, `_`, `-`, `.`, and begins with a letter or `_`".to_owned())
        }
    }

    fn check(&self, name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field, message: &str, hint: &str| {
            problems.push(Problem {
                field,
                message: message.to_owned(),
                hint: hint.to_owned(),
            });
        };
        if name == "root" && (self.wants_absent() || self.uid.is_some_and(|uid| uid != 0)) {
            problem(
                "state",
                "root can't be removed, and its uid can't be changed",
                "remove root's `state` and `uid`",
            );
        }
        for (field, path) in [("home", &self.home), ("shell", &self.shell)] {
            let good = path
                .as_ref()
                .is_none_or(|p| p.starts_with('/') && !p.contains([':', '\n']));
            if !good {
                problem(
                    field,
                    "this isn't an absolute path",
                    "write the whole path, such as /bin/bash",
                );
            }
        }
        if self
            .comment
            .as_ref()
            .is_some_and(|c| c.contains([':', '\n']))
        {
            problem(
                "comment",
                "a comment can't contain `:` or a line break",
                "remove them: both end the field in /etc/passwd",
            );
        }
        if self
            .groups
            .iter()
            .flatten()
            .any(|group| !is_account_name(group))
        {
            problem(
                "groups",
                "this isn't a valid group name",
                "write group names as in /etc/group",
            );
        }
        problems
    }

    fn check_confidential(_field: &str, text: &str) -> Result<(), ConfidentialProblem> {
        check_hash(text).map_err(|message| ConfidentialProblem {
            message,
            hint: "write what `mkpasswd` prints, such as {hash: \"$y$…\"}; to have no password, remove it",
        })
    }

    fn contents(&self) -> Vec<Content> {
        self.password.iter().filter_map(Password::content).collect()
    }

    fn compare(&self, observed: &UserObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let found = observed.state.unwrap_or(Presence::Absent);
        differs(&mut changes, "state", Some(&self.state), Some(&found));
        if self.wants_absent() {
            return changes;
        }
        differs(
            &mut changes,
            "uid",
            self.uid.as_ref(),
            observed.uid.as_ref(),
        );
        differs(
            &mut changes,
            "group",
            self.group.as_ref(),
            observed.group.as_ref(),
        );
        members_differ(
            &mut changes,
            "groups",
            self.membership,
            self.groups.as_ref(),
            observed.groups.as_ref(),
        );
        differs(
            &mut changes,
            "home",
            self.home.as_ref(),
            observed.home.as_ref(),
        );
        differs(
            &mut changes,
            "shell",
            self.shell.as_ref(),
            observed.shell.as_ref(),
        );
        differs(
            &mut changes,
            "comment",
            self.comment.as_ref(),
            observed.comment.as_ref(),
        );
        if let Some(password) = &self.password {
            let wanted = password.observed();
            if observed.password.as_ref() != Some(&wanted) {
                // A text, so that nobody takes it for the digest of a file.
                let from = observed.password.as_ref().map(PasswordObserved::word);
                let to = match password {
                    Password::Hash(content) => FieldChange::of("password", None, Some(content)),
                    Password::Secret(secret) => FieldChange::of("password", None, Some(secret)),
                };
                changes.push(FieldChange {
                    from: from.map(Into::into),
                    ..to
                });
            }
        }
        match (self.locked, observed.locked) {
            (Some(true), None | Some(PasswordLock::Open)) => {
                changes.push(FieldChange::of("locked", Some(&false), Some(&true)));
            }
            (Some(false), Some(PasswordLock::Locked)) => {
                changes.push(FieldChange::of("locked", Some(&true), Some(&false)));
            }
            _ => {}
        }
        if self.wants_home() && observed.create_home == Some(false) {
            changes.push(FieldChange::of("createHome", Some(&false), Some(&true)));
        }
        changes
    }

    /// Returns the groups, the secret with the password, and the resources that may bring the shell. A file that is the shell and belongs to
    /// the user is applied after the user.
    fn requires(&self, _name: &str) -> Vec<Dependency> {
        let primary = self.group.as_ref().and_then(Principal::name);
        let groups = primary
            .into_iter()
            .chain(self.groups.iter().flatten().map(String::as_str))
            .filter_map(|group| Address::new(Kind::Group, group).ok())
            .map(|address| (address, Strength::Implicit));
        let shells = self.shell.iter().flat_map(|shell| shell_sources(shell));
        let secret = self.password.as_ref().and_then(Password::secret);
        groups
            .chain(secret.map(|secret| (secret.clone(), Strength::Explicit)))
            .chain(shells.map(|address| (address, Strength::Yielding)))
            .map(|(address, strength)| Dependency { address, strength })
            .collect()
    }

    fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let removed = self.wants_absent() && fields.iter().any(|change| change.field == "state");
        removed
            .then(|| Consequence::Removes(format!("user {name}")))
            .into_iter()
            .collect()
    }

    fn exists(observed: &UserObserved) -> bool {
        observed.state == Some(Presence::Present)
    }

    fn uses(observed: &UserObserved) -> Vec<Address> {
        let primary = observed.group.as_ref().and_then(Principal::name);
        primary
            .into_iter()
            .filter_map(|group| Address::new(Kind::Group, group).ok())
            .collect()
    }

    fn invalidates(&self) -> bool {
        true
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
