//! Users and groups, read from `/etc/passwd` and `/etc/group` of the driven machine. The agent doesn't use
//! the name service itself: a static binary can't load NSS modules, and Plumb doesn't manage the accounts of
//! a directory service. If specs name such accounts as owners of files, the agent resolves all names that
//! aren't local with one run of `getent` per database.

use std::collections::BTreeSet;
use std::time::Duration;

use plumb_api::resource::Principal;

use super::{Program, Sys};

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserLine {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub comment: String,
    pub home: String,
    pub shell: String,
}

/// A line of `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupLine {
    pub name: String,
    pub gid: u32,
    pub members: BTreeSet<String>,
}

/// The local accounts, and the accounts of a directory service that should own files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    pub users: Vec<UserLine>,
    pub groups: Vec<GroupLine>,
    foreign_users: Vec<UserLine>,
    foreign_groups: Vec<GroupLine>,
}

fn user_line(line: &str) -> Option<UserLine> {
    let mut fields = line.split(':');
    let name = fields
        .next()
        .filter(|name| !name.is_empty() && !name.starts_with(['+', '-']))?;
    let _password = fields.next()?;
    Some(UserLine {
        name: name.to_owned(),
        uid: fields.next()?.parse().ok()?,
        gid: fields.next()?.parse().ok()?,
        comment: fields.next()?.to_owned(),
        home: fields.next()?.to_owned(),
        shell: fields.next()?.to_owned(),
    })
}

fn group_line(line: &str) -> Option<GroupLine> {
    let mut fields = line.split(':');
    let name = fields
        .next()
        .filter(|name| !name.is_empty() && !name.starts_with(['+', '-']))?;
    let _password = fields.next()?;
    Some(GroupLine {
        name: name.to_owned(),
        gid: fields.next()?.parse().ok()?,
        members: fields
            .next()?
            .split(',')
            .filter(|member| !member.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

impl Accounts {
    /// Reads `/etc/passwd` and `/etc/group`.
    pub(crate) fn load(sys: &Sys) -> Self {
        let text = |path| sys.text(path).unwrap_or_default();
        Self::parse(&text("/etc/passwd"), &text("/etc/group"))
    }

    pub(crate) fn parse(passwd: &str, group: &str) -> Self {
        Self {
            users: passwd.lines().filter_map(user_line).collect(),
            groups: group.lines().filter_map(group_line).collect(),
            ..Self::default()
        }
    }

    /// Looks up those of the names that aren't local with the name service. In a sandbox, does nothing.
    pub(crate) fn ask(&mut self, sys: &Sys, users: BTreeSet<&str>, groups: BTreeSet<&str>) {
        let users: Vec<&str> = users
            .into_iter()
            .filter(|name| self.uid(name).is_none())
            .collect();
        let groups: Vec<&str> = groups
            .into_iter()
            .filter(|name| self.gid(name).is_none())
            .collect();
        let ask = |database, names: Vec<&str>| {
            if names.is_empty() || sys.is_sandbox() {
                return String::new();
            }
            // Status 2 means that some names weren't found. If the directory service doesn't answer, none are
            // found.
            Program::new("getent", std::iter::once(database).chain(names))
                .limit(Duration::from_secs(15))
                .run(sys)
                .map(|output| output.stdout)
                .unwrap_or_default()
        };
        self.foreign_users
            .extend(ask("passwd", users).lines().filter_map(user_line));
        self.foreign_groups
            .extend(ask("group", groups).lines().filter_map(group_line));
    }

    /// Returns a local user.
    pub(crate) fn user(&self, name: &str) -> Option<&UserLine> {
        self.users.iter().find(|user| user.name == name)
    }

    /// Returns a local group.
    pub(crate) fn group(&self, name: &str) -> Option<&GroupLine> {
        self.groups.iter().find(|group| group.name == name)
    }

    fn uid(&self, name: &str) -> Option<u32> {
        self.user(name)
            .or_else(|| self.foreign_users.iter().find(|user| user.name == name))
            .map(|user| user.uid)
    }

    fn gid(&self, name: &str) -> Option<u32> {
        self.group(name)
            .or_else(|| self.foreign_groups.iter().find(|group| group.name == name))
            .map(|group| group.gid)
    }

    /// Returns the uid for a user's name or number, or `None` if there is no such user.
    pub(crate) fn uid_of(&self, owner: &Principal) -> Option<u32> {
        owner
            .id()
            .or_else(|| self.uid(owner.as_str()))
            .or_else(|| root(owner))
    }

    /// Returns the gid for a group's name or number, or `None` if there is no such group.
    pub(crate) fn gid_of(&self, group: &Principal) -> Option<u32> {
        group
            .id()
            .or_else(|| self.gid(group.as_str()))
            .or_else(|| root(group))
    }

    /// Returns a file's owner in the form of `wish`. Returns `wish` itself if it denotes the same user, and
    /// otherwise the local user's name. Returns the number if `wish` is a number or no local user has this
    /// uid.
    pub(crate) fn owner(&self, uid: u32, wish: &Principal) -> Option<Principal> {
        if self.uid_of(wish) == Some(uid) {
            return Some(wish.clone());
        }
        let name = self
            .users
            .iter()
            .find(|user| user.uid == uid)
            .map(|user| &user.name);
        named(wish, name, uid)
    }

    /// Returns a file's group in the form of `wish`, by the same rules as [`owner`](Self::owner).
    pub(crate) fn group_owner(&self, gid: u32, wish: &Principal) -> Option<Principal> {
        if self.gid_of(wish) == Some(gid) {
            return Some(wish.clone());
        }
        let name = self
            .groups
            .iter()
            .find(|group| group.gid == gid)
            .map(|group| &group.name);
        named(wish, name, gid)
    }

    /// Returns the names of the groups that list this user as a member.
    pub(crate) fn memberships(&self, user: &str) -> BTreeSet<String> {
        self.groups
            .iter()
            .filter(|group| group.members.contains(user))
            .map(|group| group.name.clone())
            .collect()
    }
}

/// The id of `root` is 0 even without an entry, since a sandbox may have no passwd file.
fn root(name: &Principal) -> Option<u32> {
    (name.as_str() == "root").then_some(0)
}

fn named(wish: &Principal, name: Option<&String>, id: u32) -> Option<Principal> {
    let name = if wish.id().is_some() { None } else { name };
    name.and_then(|name| name.parse().ok())
        .or_else(|| id.to_string().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nwww:x:33:33::/var/www:/usr/sbin/nologin\ntoor:x:0:0::/root:/bin/sh\n+::::::\nbroken:x:a\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nsudo:x:27:alice,bob\n";

    #[test]
    fn owners_take_the_form_of_the_wish() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let wish = |text: &str| text.parse::<Principal>().unwrap();
        let owner = |uid, text: &str| accounts.owner(uid, &wish(text)).unwrap().to_string();
        assert_eq!(accounts.users.len(), 3);
        assert_eq!(
            owner(0, "toor"),
            "toor",
            "two names for one number are one user"
        );
        assert_eq!(owner(33, "root"), "www");
        assert_eq!(owner(33, "0"), "33");
        assert_eq!(owner(4711, "root"), "4711");
        assert_eq!(accounts.memberships("bob"), ["sudo".to_owned()].into());
    }

    #[test]
    fn reads_lines_with_empty_fields_and_skips_others() {
        let accounts = Accounts::parse(
            "_my.app:x:1004:1004::/home/_my.app:\nzoë:x:1003:1003:Zoë Ö,,,::/bin/sh\n\nno line\n:x:1:1:::\n-nis::::::\n",
            "",
        );
        let lines: Vec<_> = accounts
            .users
            .iter()
            .map(|user| (&*user.name, &*user.comment, &*user.home, &*user.shell))
            .collect();
        let expected = [
            ("_my.app", "", "/home/_my.app", ""),
            ("zoë", "Zoë Ö,,,", "", "/bin/sh"),
        ];
        assert_eq!(lines, expected);
    }
}
