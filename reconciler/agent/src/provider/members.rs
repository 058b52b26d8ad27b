//! Changes the members of groups one by one, so that a name that the tools reject doesn't block the others.

use std::collections::BTreeSet;
use std::time::Duration;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, Membership};
use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock, openat};

use super::at_path::{self, Bytes, Put};
use super::faults::Faults;
use super::{ApplyContext, passwd};
use crate::error::{At, Result};
use crate::sys::{Accounts, Dir, Program, create_new};

/// Maximum number of attempts to lock the account files, half a second apart.
const TRIES: u32 = 20;

/// The names to add to a set and to remove from it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) add: Vec<String>,
    pub(super) remove: Vec<String>,
}

impl Difference {
    /// Returns the difference of a field that is a set of names, or `None` if the change doesn't include the
    /// field.
    pub(super) fn of(fields: &[FieldChange], field: &str) -> Option<Self> {
        let change = fields.iter().find(|change| change.field == field)?;
        let names = |value: &Option<serde_json::Value>| -> Vec<String> {
            let names = value.as_ref().and_then(serde_json::Value::as_array);
            let names = names.into_iter().flatten();
            names
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect()
        };
        let (from, to) = (names(&change.from), names(&change.to));
        let without = |all: &[String], others: &[String]| -> Vec<String> {
            all.iter()
                .filter(|name| !others.contains(name))
                .cloned()
                .collect()
        };
        Some(Self {
            add: without(&to, &from),
            remove: without(&from, &to),
        })
    }
}

/// The sets that determine which names Plumb added to a group and git no longer has.
pub(super) struct Memberships<'a> {
    pub(super) membership: Membership,
    /// The desired names; `None` if the set isn't managed.
    pub(super) desired: Option<&'a BTreeSet<String>>,
    /// All names that Plumb may have added.
    pub(super) added: Option<&'a BTreeSet<String>>,
    /// The names in the set before Plumb's first change.
    pub(super) original: Option<&'a BTreeSet<String>>,
    pub(super) observed: Option<&'a BTreeSet<String>>,
}

impl Memberships<'_> {
    /// If the set contains names that Plumb added and git no longer has, replaces `field` in `fields` by a
    /// change that removes them. Names that others added stay.
    pub(super) fn withdraw(&self, fields: &mut Vec<FieldChange>, field: &str) {
        let (Some(desired), Some(added), Some(observed)) =
            (self.desired, self.added, self.observed)
        else {
            return;
        };
        if self.membership == Membership::Inclusive {
            return;
        }
        let is_withdrawn = |name: &&String| {
            added.contains(*name)
                && !desired.contains(*name)
                && !self
                    .original
                    .is_some_and(|original| original.contains(*name))
        };
        if !observed.iter().any(|name| is_withdrawn(&name)) {
            return;
        }
        let stay = observed.iter().filter(|name| !is_withdrawn(name));
        let wanted: BTreeSet<String> = desired.iter().chain(stay).cloned().collect();
        fields.retain(|change| change.field != field);
        fields.push(FieldChange::of(field, Some(observed), Some(&wanted)));
    }
}

/// The treatment of a group member for whom there is no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Return an error, because the manifest names the member.
    Refuse,
    /// Write the name anyway, because the group had this member before Plumb's first change.
    Restore,
}

/// Changes the members of a group.
pub(super) fn change_members(
    cx: &mut ApplyContext<'_>,
    group: &str,
    difference: &Difference,
    unknown: Unknown,
    faults: &mut Faults,
) {
    for user in &difference.remove {
        faults.note(remove(cx, group, user));
    }
    let mut stale = Vec::new();
    for user in &difference.add {
        if is_known(cx, user) {
            faults.note(add(cx, group, user));
        } else if unknown == Unknown::Restore {
            stale.push(user.as_str());
        } else {
            faults.note(Err(AgentError::new(
                ErrorCode::NotFound,
                format!("group `{group}` is to have the member `{user}`, a user that this host doesn't have"),
            )
            .hint(format!(
                "add `user: {{{user}: {{}}}}`, or take it out of the group's `members`"
            ))));
        }
    }
    if !stale.is_empty() {
        faults.note(edit(cx, group, |members| {
            for user in stale {
                insert(members, user);
            }
        }));
    }
}

/// Changes the supplementary groups of a user.
pub(super) fn change_groups(
    cx: &mut ApplyContext<'_>,
    user: &str,
    difference: &Difference,
    faults: &mut Faults,
) {
    for group in &difference.remove {
        faults.note(remove(cx, group, user));
    }
    for group in &difference.add {
        if cx.accounts.group(group).is_some() {
            faults.note(add(cx, group, user));
        } else {
            faults.note(Err(passwd::no_such_group(user, group)));
        }
    }
}

/// True if a local account or an account of a directory service has this name.
fn is_known(cx: &ApplyContext<'_>, user: &str) -> bool {
    if cx.accounts.user(user).is_some() {
        return true;
    }
    let asked = Program::new("getent", ["passwd", user]).limit(Duration::from_secs(15));
    !cx.sys.is_sandbox() && asked.run(cx.sys).is_ok_and(|output| output.status == 0)
}

fn add(cx: &mut ApplyContext<'_>, group: &str, user: &str) -> Result<()> {
    if cx.sys.is_sandbox() {
        return edit(cx, group, |members| insert(members, user));
    }
    passwd::tool(cx.sys, "gpasswd", &["-a", user, group].map(str::to_owned))
}

fn remove(cx: &mut ApplyContext<'_>, group: &str, user: &str) -> Result<()> {
    if cx.sys.is_sandbox() {
        return edit(cx, group, |members| members.retain(|member| member != user));
    }
    passwd::tool(cx.sys, "gpasswd", &["-d", user, group].map(str::to_owned))
}

fn insert(members: &mut Vec<String>, user: &str) {
    if !members.iter().any(|member| member == user) {
        members.push(user.to_owned());
    }
}

/// Changes a group's members in `/etc/group` and `/etc/gshadow` directly, while holding the locks of the
/// shadow tools.
fn edit(
    cx: &mut ApplyContext<'_>,
    group: &str,
    change: impl FnOnce(&mut Vec<String>),
) -> Result<()> {
    let locks = if cx.sys.is_sandbox() {
        None
    } else {
        Some(Locks::take(cx, &["group.lock", "gshadow.lock"])?)
    };
    let mut before: Vec<String> = Vec::new();
    let text = cx.sys.text("/etc/group").unwrap_or_default();
    if let Some(line) = text
        .lines()
        .find(|line| line.split(':').next() == Some(group))
    {
        before = names(line);
    }
    let mut after = before;
    change(&mut after);
    let outcome = ["/etc/group", "/etc/gshadow"]
        .into_iter()
        .try_for_each(|path| write_members(cx, path, group, &after));
    drop(locks);
    cx.accounts = Accounts::load(cx.sys);
    outcome
}

/// Returns the members in a line of `/etc/group`: its last field.
fn names(line: &str) -> Vec<String> {
    let members = line.rsplit(':').next().unwrap_or_default();
    members
        .split(',')
        .filter(|member| !member.is_empty())
        .map(str::to_owned)
        .collect()
}

fn write_members(
    cx: &mut ApplyContext<'_>,
    path: &str,
    group: &str,
    members: &[String],
) -> Result<()> {
    let Some(text) = cx.sys.text(path) else {
        return Ok(());
    };
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.rsplit_once(':') {
            Some((head, _)) if line.split(':').next() == Some(group) => {
                format!("{head}:{}", members.join(","))
            }
            _ => line.to_owned(),
        })
        .collect();
    let new = format!("{}\n", lines.join("\n"));
    if new == text {
        return Ok(());
    }
    let put = Put {
        bytes: Bytes::New(Content::of(new.as_bytes())),
        owner: None,
        group: None,
        mode: None,
        validate: &[],
        attributes: None,
    };
    at_path::put_bytes(cx, path, &put, new.as_bytes())
}

/// The locks that the shadow tools take before they change accounts.
pub(super) struct Locks {
    _all: std::os::fd::OwnedFd,
    dir: Dir,
    taken: Vec<&'static str>,
}

impl Locks {
    /// Takes the lock on all accounts, and then these lock files in `/etc`.
    pub(super) fn take(cx: &ApplyContext<'_>, names: &[&'static str]) -> Result<Self> {
        let (dir, leaf, _) = cx.sys.root().make_parent("/etc/.pwd.lock")?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let all = openat(dir.fd(), leaf, flags, Mode::from_raw_mode(0o600))
            .at("open", "/etc/.pwd.lock")?;
        patiently(|| fcntl_lock(&all, FlockOperation::NonBlockingLockExclusive).is_ok())?;
        let mut locks = Self {
            _all: all,
            dir,
            taken: Vec::new(),
        };
        for name in names.iter().copied() {
            patiently(|| locks.mark(name))?;
            locks.taken.push(name);
        }
        Ok(locks)
    }

    /// Creates a lock file with this process's id. Returns false if the file already exists or can't be
    /// written.
    fn mark(&self, name: &str) -> bool {
        use std::io::Write;
        let text = format!("{}\0", std::process::id());
        create_new(&self.dir, name).is_ok_and(|mut file| file.write_all(text.as_bytes()).is_ok())
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        for name in &self.taken {
            // If this fails, the next program that wants the lock sees that this process has ended, and takes
            // the lock anyway.
            let _ = self.dir.unlink(name);
        }
    }
}

fn patiently(mut attempt: impl FnMut() -> bool) -> Result<()> {
    for _ in 0..TRIES {
        if attempt() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Err(passwd::accounts_locked())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_out_only_what_plumb_added() {
        let set = |names: &[&str]| -> BTreeSet<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let (desired, added) = (set(&["ann"]), set(&["ann", "bob", "old"]));
        let (original, observed) = (set(&["old"]), set(&["ann", "bob", "old", "eve"]));
        let mut all = Memberships {
            membership: Membership::Minimum,
            desired: Some(&desired),
            added: Some(&added),
            original: Some(&original),
            observed: Some(&observed),
        };
        let mut fields = Vec::new();
        all.withdraw(&mut fields, "members");
        let difference = Difference::of(&fields, "members").unwrap();
        assert_eq!(
            (difference.remove, difference.add),
            (vec!["bob".to_owned()], Vec::new())
        );
        let mut fields = Vec::new();
        all.desired = None;
        all.withdraw(&mut fields, "members");
        assert!(fields.is_empty(), "the set isn't managed any more");
    }

    #[test]
    fn difference_names_only_what_changes() {
        let fields = [FieldChange::of(
            "members",
            Some(&["ghost", "bob"]),
            Some(&["alice", "ghost"]),
        )];
        let difference = Difference::of(&fields, "members").unwrap();
        assert_eq!(difference.add, ["alice"]);
        assert_eq!(difference.remove, ["bob"]);
        assert_eq!(Difference::of(&fields, "groups"), None);
    }
}
