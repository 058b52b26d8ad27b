//! The lines of the account files that belong to one user or group. The dead-man timer puts them back as they
//! were, with what observations don't have: password hashes, their dates, and subordinate ids.

use std::collections::BTreeSet;

use plumb_api::resource::Content;
use serde::{Deserialize, Serialize};

use super::ApplyContext;
use super::at_path::{self, Bytes, Put};
use super::members::Locks;
use crate::error::Result;
use crate::sys::{Accounts, Sys};

/// Files whose lines are named by users.
const USER_FILES: &[&str] = &["/etc/passwd", "/etc/shadow", "/etc/subuid", "/etc/subgid"];

/// Files whose lines are named by groups and end with the members.
const GROUP_FILES: &[&str] = &["/etc/group", "/etc/gshadow"];

/// A local user or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Account {
    /// The user of this name.
    User(String),
    /// The group of this name.
    Group(String),
}

/// The lines of one account at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountLines {
    account: Account,
    files: Vec<FileLines>,
}

/// The lines of one account in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileLines {
    path: String,
    /// The lines named like the account.
    own: Vec<String>,
    /// The groups that list the user as a member.
    member_of: BTreeSet<String>,
}

impl Account {
    /// Reads the account's lines.
    pub(crate) fn lines(self, sys: &Sys) -> AccountLines {
        let files: Vec<&str> = match self {
            Self::User(_) => [USER_FILES, GROUP_FILES].concat(),
            Self::Group(_) => GROUP_FILES.to_vec(),
        };
        let files = files
            .into_iter()
            .filter_map(|path| Some(self.in_file(path, &sys.text(path)?)))
            .collect();
        AccountLines {
            account: self,
            files,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Group(name) => name,
        }
    }

    fn in_file(&self, path: &str, text: &str) -> FileLines {
        let of_user = |line: &&str| match self {
            Self::User(name) => GROUP_FILES.contains(&path) && members(line).contains(&&**name),
            Self::Group(_) => false,
        };
        FileLines {
            path: path.to_owned(),
            own: text
                .lines()
                .filter(|line| key(line) == self.name())
                .map(str::to_owned)
                .collect(),
            member_of: text
                .lines()
                .filter(of_user)
                .map(|line| key(line).to_owned())
                .collect(),
        }
    }
}

impl AccountLines {
    /// Puts the lines back, and leaves all other lines as they are now.
    pub(crate) fn restore(&self, cx: &mut ApplyContext<'_>) -> Result<()> {
        let names = ["passwd.lock", "shadow.lock", "group.lock", "gshadow.lock"];
        let locks = if cx.sys.is_sandbox() {
            None
        } else {
            Some(Locks::take(cx, &names)?)
        };
        for before in &self.files {
            let Some(now) = cx.sys.text(&before.path) else {
                continue;
            };
            let text = restored(&self.account, before, &now);
            if text == now {
                continue;
            }
            let put = Put {
                bytes: Bytes::New(Content::of(text.as_bytes())),
                owner: None,
                group: None,
                mode: None,
                validate: &[],
                attributes: None,
            };
            at_path::put_bytes(cx, &before.path, &put, text.as_bytes())?;
        }
        drop(locks);
        cx.accounts = Accounts::load(cx.sys);
        Ok(())
    }
}

/// Returns the text of a file with the account's lines as they were.
fn restored(account: &Account, before: &FileLines, now: &str) -> String {
    let name = account.name();
    let in_group_file = GROUP_FILES.contains(&before.path.as_str());
    let exists = now.lines().any(|line| key(line) == name);
    // The group of a user's name is another thing. The tools create and remove it together with the user.
    let other_thing = matches!(account, Account::User(_)) && in_group_file;
    let stays = other_thing && exists && !before.own.is_empty();
    let mut own = if stays { &[] } else { before.own.as_slice() }.iter();
    let mut lines: Vec<String> = Vec::new();
    for line in now.lines() {
        if key(line) == name && !stays {
            lines.extend(own.next().cloned());
        } else if other_thing {
            lines.push(with_member(
                line,
                name,
                before.member_of.contains(key(line)),
            ));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.extend(own.cloned());
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn key(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

fn members(line: &str) -> Vec<&str> {
    let members = line.rsplit(':').next().unwrap_or_default();
    members
        .split(',')
        .filter(|member| !member.is_empty())
        .collect()
}

/// Returns a line of a group file in which the user is a member or not.
fn with_member(line: &str, user: &str, is_member: bool) -> String {
    let mut all = members(line);
    let was_member = all.contains(&user);
    let Some((head, _)) = line.rsplit_once(':').filter(|_| was_member != is_member) else {
        return line.to_owned();
    };
    if is_member {
        all.push(user);
    } else {
        all.retain(|member| *member != user);
    }
    format!("{head}:{}", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Account {
        Account::User("deploy".to_owned())
    }

    #[test]
    fn removed_user_gets_its_hash_and_groups_back() {
        let shadow = "root:*:1::::::\ndeploy:$y$hash:19000:0:99999:7:::\n";
        let before = user().in_file("/etc/shadow", shadow);
        let now = "root:*:1::::::\neve:!:2::::::\n";
        assert_eq!(
            restored(&user(), &before, now),
            format!("{now}deploy:$y$hash:19000:0:99999:7:::\n")
        );
        let group = "root:x:0:\nsudo:x:27:john,deploy\ndeploy:x:1000:\n";
        let before = user().in_file("/etc/group", group);
        let now = "root:x:0:\nsudo:x:27:john\neve:x:1001:deploy\n";
        assert_eq!(
            restored(&user(), &before, now),
            "root:x:0:\nsudo:x:27:john,deploy\neve:x:1001:\ndeploy:x:1000:\n"
        );
    }

    #[test]
    fn changed_line_is_put_back_in_its_place_and_others_stay() {
        let passwd = "root:x:0:0::/root:/bin/bash\ndeploy:x:1000:1000::/home/deploy:/bin/bash\nz:x:2:2::/:/bin/sh\n";
        let before = user().in_file("/etc/passwd", passwd);
        let now = passwd
            .replace("deploy:/bin/bash", "deploy:/usr/sbin/nologin")
            .replace("z:x:2", "z:x:3");
        assert_eq!(
            restored(&user(), &before, &now),
            passwd.replace("z:x:2", "z:x:3")
        );
    }

    #[test]
    fn group_gets_its_members_back() {
        let sudo = Account::Group("sudo".to_owned());
        let before = sudo.in_file("/etc/group", "sudo:x:27:deploy\nweb:x:80:deploy\n");
        assert_eq!(
            restored(&sudo, &before, "web:x:80:\nsudo:x:27:\n"),
            "web:x:80:\nsudo:x:27:deploy\n"
        );
    }
}
