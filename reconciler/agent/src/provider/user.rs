//! `user`: a line in `/etc/passwd`. The shadow tools change it, since they handle locks and shadow files.

use std::collections::BTreeSet;
use std::io::Read as _;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{
    Content, GroupSpec, Membership, Password, PasswordLock, PasswordObserved, Presence, Principal,
    ShadowText, UserObserved, UserSpec,
};
use plumb_api::{Address, Kind, Observed, Spec};

use zeroize::Zeroizing;

use super::at_path::ROOT;
use super::faults::Faults;
use super::members::{self, Difference, Memberships};
use super::{
    Account, ApplyContext, Effect, GiveBack, Identity, Item, ItemChange, ObserveContext, Provider,
    RefusedField, Sandbox, each, not_in_a_sandbox, wrong_type,
};
use super::{home_directory, identity, passwd, secret};
use crate::book::{CreationStep, Desired};
use crate::error::{At, Result, fail};
use crate::sys::{Accounts, Sys};

pub(crate) struct Users;

impl Provider for Users {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn written(&self, _change: &ItemChange<'_>) -> Option<String> {
        Some("/etc/passwd".to_owned())
    }

    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        let claimed = |item: &Item<'_>| match item.spec {
            Spec::User(spec) => spec.uid,
            _ => None,
        };
        let found = |item: &Item<'_>| {
            let account = cx.accounts.user(item.address.name())?;
            Some(account.uid)
        };
        identity::of_accounts(items, claimed, found, "uid")
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
            // The order of removals depends on the primary group.
            let any_group = ROOT.parse().ok().filter(|_| spec.state == Presence::Absent);
            Ok(Observed::User(UserObserved {
                state: Some(Presence::Present),
                uid: spec.uid.map(|_| user.uid),
                group: spec.group.as_ref().or(any_group.as_ref()).and_then(group),
                groups: spec.groups.as_ref().map(|_| cx.accounts.memberships(name)),
                home: spec.home.as_ref().map(|_| user.home.clone()),
                shell: spec.shell.as_ref().map(|_| user.shell.clone()),
                comment: spec.comment.as_ref().map(|_| user.comment.clone()),
                password: password(cx, item.address, spec)?,
                locked: spec
                    .locked
                    .and_then(|_| Some(passwd::shadow(cx.sys, name)?.lock())),
                create_home: (cx.is_pending(item.address, CreationStep::Home)
                    && !home_directory::exists(cx.sys, &user.home))
                .then_some(false),
            }))
        };
        items.iter().map(one).collect()
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
            Spec::User(spec),
            Spec::User(managed),
            Observed::User(original),
            Observed::User(observed),
        ) = (spec, managed, original, observed)
        else {
            return;
        };
        let groups = Memberships {
            membership: spec.membership,
            desired: spec.groups.as_ref(),
            added: managed.groups.as_ref(),
            original: original.groups.as_ref(),
            observed: observed.groups.as_ref(),
        };
        groups.withdraw(fields, "groups");
    }

    /// A user isn't created with a shell that the host doesn't have.
    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let missing = missing_shell(cx.sys, change).filter(|_| change.changes("state"));
        missing.map_or(Ok(()), Err)
    }

    /// If the primary group or the shell of an existing user doesn't exist, the agent still changes the other
    /// fields. So it does in a sandbox, which has no passwords.
    fn refused_fields(
        &self,
        cx: &ObserveContext<'_>,
        change: &ItemChange<'_>,
    ) -> Vec<RefusedField> {
        let Spec::User(spec) = change.spec else {
            return Vec::new();
        };
        let missing = spec.group.as_ref().filter(|group| {
            change.changes("group")
                && !change.changes("state")
                && cx.accounts.gid_of(group).is_none()
        });
        let refused = |group: &Principal| RefusedField {
            field: "group",
            error: passwd::no_such_group(change.address.name(), group.as_str()),
        };
        let shell = missing_shell(cx.sys, change).map(|error| RefusedField {
            field: "shell",
            error,
        });
        let hidden = ["password", "locked"]
            .into_iter()
            .filter(|field| cx.sys.is_sandbox() && change.changes(field));
        let hidden = hidden.map(|field| RefusedField {
            field,
            error: not_in_a_sandbox("passwords"),
        });
        let missing = missing.map(refused).into_iter();
        missing.chain(shell).chain(hidden).collect()
    }

    /// Of a user's fields in `/etc/shadow`, only the password is kept.
    fn losses(&self, _cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Vec<String> {
        let goes = change.spec.wants_absent() && change.original.is_none();
        goes.then(|| "the dates of the password, which aren't given back".to_owned())
            .into_iter()
            .collect()
    }

    fn creation_steps(&self, spec: &Spec) -> BTreeSet<CreationStep> {
        match spec {
            Spec::User(spec) if spec.wants_home() => [CreationStep::Home].into(),
            _ => BTreeSet::new(),
        }
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

impl GiveBack for Users {
    fn full_spec(&self) -> Spec {
        Spec::User(UserSpec {
            uid: Some(0),
            group: ROOT.parse().ok(),
            groups: Some(BTreeSet::new()),
            home: Some("/".to_owned()),
            shell: Some("/".to_owned()),
            comment: Some(String::new()),
            password: Some(Password::Hash(Content::of(CAPTURE))),
            locked: Some(false),
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
        let membership = match managed {
            Some(Spec::User(managed)) if managed.state == Presence::Present => managed.membership,
            _ => Membership::Inclusive,
        };
        let everything = UserSpec {
            uid: original.uid,
            group: original.group.clone(),
            groups: original.groups.clone(),
            // In a set that others may extend, Plumb removes only the groups that it added.
            membership,
            home: original.home.clone(),
            create_home: Some(false),
            shell: original.shell.clone(),
            comment: original.comment.clone(),
            password: kept(original)
                .map(|kept| Password::Hash(Content::of(kept.hash().as_bytes()))),
            locked: match original.locked {
                Some(PasswordLock::Open) => Some(false),
                Some(PasswordLock::Locked) => Some(true),
                Some(PasswordLock::NoPassword) | None => None,
            },
            ..UserSpec::default()
        };
        let Some(Spec::User(managed)) = managed else {
            return Spec::User(everything);
        };
        if managed.state == Presence::Absent {
            return Spec::User(everything);
        }
        // Restore only the fields that Plumb changed, since others may have changed the rest.
        Spec::User(UserSpec {
            uid: managed.uid.and(everything.uid),
            group: managed.group.as_ref().and(everything.group),
            groups: managed.groups.as_ref().and(everything.groups),
            home: managed.home.as_ref().and(everything.home),
            shell: managed.shell.as_ref().and(everything.shell),
            comment: managed.comment.as_ref().and(everything.comment),
            password: managed.password.as_ref().and(everything.password),
            locked: managed.locked.and(everything.locked),
            ..everything
        })
    }

    /// The password isn't for a manifest that is only proposed.
    fn adopt_spec(&self, observed: &Observed) -> Option<Spec> {
        self.describe(observed)?;
        match self.restore_spec(observed, None) {
            Spec::User(spec) => Some(Spec::User(UserSpec {
                password: None,
                ..spec
            })),
            _ => None,
        }
    }

    /// Hides the digest of the original password, which git doesn't have.
    fn remain(&self, observed: &Observed, fields: &mut Vec<FieldChange>) {
        let Observed::User(found) = observed else {
            return;
        };
        if found.password == Some(PasswordObserved::Original) {
            fields.retain(|change| change.field != "password");
        }
        for change in fields.iter_mut().filter(|one| one.field == "password") {
            change.to = Some("the original".into());
        }
    }

    fn account(&self, name: &str) -> Option<Account> {
        Some(Account::User(name.to_owned()))
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

/// Returns the error for a shell that the host doesn't have: nobody could log in with it. A sandbox has no
/// programs.
fn missing_shell(sys: &Sys, change: &ItemChange<'_>) -> Option<AgentError> {
    let Spec::User(spec) = change.spec else {
        return None;
    };
    let shell = spec.shell.as_ref()?;
    let is_checked = change.changes("shell") && change.original.is_none() && !sys.is_sandbox();
    if !is_checked || sys.exists(shell) {
        return None;
    }
    let name = change.address.name();
    Some(
        AgentError::new(
            ErrorCode::NotFound,
            format!("the host doesn't have the shell {shell} of the user {name}"),
        )
        .hint("correct `shell`, or write the package that brings it into the user's `after`"),
    )
}

/// Stands for a password of which the text is captured. It is the hash of no user.
const CAPTURE: &[u8] = b"\0capture";

/// Returns the password from before Plumb's first change.
fn kept(original: &UserObserved) -> Option<&ShadowText> {
    match &original.password {
        Some(PasswordObserved::Kept(text)) => Some(text),
        _ => None,
    }
}

/// Observes the password of a user, if a spec has one. Returns only digests that the controller knows.
fn password(
    cx: &ObserveContext<'_>,
    address: &Address,
    spec: &UserSpec,
) -> Result<Option<PasswordObserved>> {
    let entry = cx.inputs.ledger.entry(address);
    let of = |spec: &Spec| match spec {
        Spec::User(spec) => spec.password.as_ref().and_then(Password::content),
        _ => None,
    };
    let has_secret = |spec: &Spec| matches!(spec, Spec::User(spec) if spec.password.as_ref().is_some_and(|one| one.secret().is_some()));
    let desired = cx.inputs.desired.get(address);
    let known = [
        desired.and_then(|leaf| of(&leaf.spec)),
        entry.and_then(|entry| of(entry.managed()?)),
        entry.and_then(|entry| of(entry.spec.as_ref()?)),
    ];
    let managed = entry.and_then(|entry| entry.managed());
    let is_managed = spec.password.is_some()
        || known.iter().any(Option::is_some)
        || managed.is_some_and(has_secret);
    let Some(text) = passwd::shadow(cx.sys, address.name()).filter(|_| is_managed) else {
        return Ok(None);
    };
    if spec.password == Some(Password::Hash(Content::of(CAPTURE))) {
        return Ok(Some(PasswordObserved::Kept(text)));
    }
    if let Some(secret) = spec.password.as_ref().and_then(Password::secret) {
        if secret_hash(cx.sys, cx.inputs.desired, secret)?.as_str() == text.hash() {
            return Ok(Some(PasswordObserved::Secret(secret.clone())));
        }
    }
    let content = Content::of(text.hash().as_bytes());
    let original = entry.and_then(|entry| match &entry.original.as_ref()?.observed {
        Observed::User(original) => kept(original),
        _ => None,
    });
    Ok(Some(if known.contains(&Some(content)) {
        PasswordObserved::Hash(content)
    } else if original.is_some_and(|original| original.hash() == text.hash()) {
        PasswordObserved::Original
    } else if text.hash().is_empty() {
        PasswordObserved::None
    } else {
        PasswordObserved::Other
    }))
}

/// Decrypts the secret that is a user's crypt hash.
fn secret_hash(sys: &Sys, desired: &Desired, address: &Address) -> Result<Zeroizing<String>> {
    let Some(Spec::Secret(spec)) = desired.get(address).map(|leaf| &leaf.spec) else {
        return fail(
            ErrorCode::Protocol,
            format!("{address} didn't come with its user"),
        );
    };
    let value = secret::open(sys, address, spec, None)?;
    let hash = String::from_utf8_lossy(&value).trim_end().to_owned();
    match Kind::User.check_confidential("password", &hash) {
        Ok(()) => Ok(Zeroizing::new(hash)),
        Err(problem) => Err(AgentError::new(
            ErrorCode::Refused,
            format!("{address} is no password's hash: {}", problem.message),
        )
        .hint(format!(
            "run `mkpasswd | plumb secret set {}`",
            address.name()
        ))),
    }
}

/// Sets the password. A lock that the spec doesn't name stays.
fn set_password(cx: &ApplyContext<'_>, work: &ItemChange<'_>, spec: &UserSpec) -> Result<()> {
    let name = work.address.name();
    let Some(password) = &spec.password else {
        return Ok(());
    };
    let original = match work.original.map(|original| &original.observed) {
        // Only a hash that the spec has can be the original.
        Some(Observed::User(original)) if password.secret().is_none() => kept(original),
        _ => None,
    };
    let hash = match original {
        Some(original) if original.hash().is_empty() => {
            return passwd::set_shadow(cx.sys, name, original.as_str());
        }
        Some(original) => original.hash().to_owned(),
        None => match password {
            Password::Secret(secret) => secret_hash(cx.sys, cx.desired, secret)?.to_string(),
            Password::Hash(wanted) => {
                let mut hash = String::new();
                cx.content(wanted, "/etc/shadow")?
                    .read_to_string(&mut hash)
                    .at("read the password for", name)?;
                hash
            }
        },
    };
    if password
        .content()
        .is_some_and(|wanted| Content::of(hash.as_bytes()) != wanted)
    {
        return fail(
            ErrorCode::Internal,
            format!("the password for user `{name}` isn't the one that the plan has"),
        );
    }
    let was_locked = || {
        let now = passwd::shadow(cx.sys, name);
        now.is_some_and(|now| now.lock() == PasswordLock::Locked)
    };
    let is_locked = spec.locked.unwrap_or_else(was_locked);
    let mark = if is_locked { "!" } else { "" };
    passwd::set_shadow(cx.sys, name, &format!("{mark}{hash}"))
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::User(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let name = work.address.name();
    if spec.state == Presence::Absent {
        if cx.sys.is_sandbox() {
            passwd::sandbox_user(cx, name, spec)?;
        } else {
            // Never use `--remove`: the home belongs to the user.
            passwd::tool(cx.sys, "userdel", &[name.to_owned()])?;
            keep_group(cx, name)?;
        }
        return Ok(Effect::Done);
    }
    if let Some(group) = spec.group.as_ref().filter(|_| work.changes("state")) {
        if cx.accounts.gid_of(group).is_none() {
            // userdel has removed the group of the user's name together with the user.
            if work.original.is_none() || group.as_str() != name {
                return Err(passwd::no_such_group(name, group.as_str()));
            }
            make_own_group(cx, name, spec.uid)?;
        }
    }
    let mut faults = Faults::default();
    if work.changes("state") {
        create(cx, name, spec)?;
    } else {
        update(cx, work, name, spec, &mut faults);
    }
    cx.accounts = Accounts::load(cx.sys);
    if let Some(difference) = Difference::of(work.fields, "groups") {
        members::change_groups(cx, name, &difference, &mut faults);
    }
    if work.changes("password") {
        faults.note(set_password(cx, work, spec));
    } else if let Some(locked) = spec.locked.filter(|_| work.changes("locked")) {
        let flag = if locked { "-L" } else { "-U" };
        let args = [flag, name].map(str::to_owned);
        faults.note(passwd::tool(cx.sys, "usermod", &args));
    }
    let makes_home = work.changes("state") && spec.wants_home() || work.changes("createHome");
    if let Some(user) = cx.accounts.user(name).filter(|_| makes_home).cloned() {
        faults.note(home_directory::make(cx, &user));
    }
    faults.outcome()
}

/// Creates the group of the user's name again, with the user's uid as its gid if that is free.
fn make_own_group(cx: &mut ApplyContext<'_>, name: &str, uid: Option<u32>) -> Result<()> {
    let is_free = |id: &u32| !cx.accounts.groups.iter().any(|group| group.gid == *id);
    let gid = uid.filter(is_free);
    if cx.sys.is_sandbox() {
        let spec = GroupSpec {
            gid,
            ..GroupSpec::default()
        };
        passwd::sandbox_group(cx, name, &spec)?;
    } else {
        let number = gid.map(|gid| ["-g".to_owned(), gid.to_string()]);
        let mut args: Vec<String> = number.into_iter().flatten().collect();
        args.push(name.to_owned());
        passwd::tool(cx.sys, "groupadd", &args)?;
    }
    cx.accounts = Accounts::load(cx.sys);
    Ok(())
}

/// If userdel has removed the group of the user's name, creates it again, provided that git desires it.
fn keep_group(cx: &mut ApplyContext<'_>, name: &str) -> Result<()> {
    let before = cx.accounts.group(name).map(|group| group.gid);
    cx.accounts = Accounts::load(cx.sys);
    let address = Address::new(Kind::Group, name).ok();
    let desired = address.and_then(|address| cx.desired.get(&address));
    let is_kept = desired.is_some_and(|leaf| !leaf.spec.wants_absent());
    match before {
        Some(gid) if is_kept && cx.accounts.group(name).is_none() => {
            let args = ["-g", &gid.to_string(), name].map(str::to_owned);
            passwd::tool(cx.sys, "groupadd", &args)
        }
        _ => Ok(()),
    }
}

/// Changes each field with its own call of `usermod`, since it refuses some fields while the user is logged
/// in.
fn update(
    cx: &mut ApplyContext<'_>,
    work: &ItemChange<'_>,
    name: &str,
    spec: &UserSpec,
    faults: &mut Faults,
) {
    let fields = [
        ("shell", "-s", spec.shell.clone()),
        ("comment", "-c", spec.comment.clone()),
        ("group", "-g", spec.group.as_ref().map(ToString::to_string)),
        ("home", "-d", spec.home.clone()),
        ("uid", "-u", spec.uid.map(|uid| uid.to_string())),
    ];
    let changed: Vec<(&str, String)> = fields
        .into_iter()
        .filter(|(field, _, _)| work.changes(field))
        .filter_map(|(_, flag, value)| Some((flag, value?)))
        .collect();
    if cx.sys.is_sandbox() {
        if !changed.is_empty() {
            faults.note(passwd::sandbox_user(cx, name, spec));
        }
        return;
    }
    for (flag, value) in changed {
        let args = [flag.to_owned(), value, name.to_owned()];
        faults.note(passwd::tool(cx.sys, "usermod", &args));
    }
}

/// Creates a user without supplementary groups and home. Those are added later, so that they can fail
/// separately.
fn create(cx: &mut ApplyContext<'_>, name: &str, spec: &UserSpec) -> Result<()> {
    if cx.sys.is_sandbox() {
        return passwd::sandbox_user(cx, name, spec);
    }
    let mut args = vec!["-M".to_owned()];
    if spec.system {
        args.push("-r".to_owned());
    }
    let mut option = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            args.extend([flag.to_owned(), value]);
        }
    };
    option("-u", spec.uid.map(|uid| uid.to_string()));
    // If a group with the user's name exists, useradd can't create it and needs it as `-g`.
    let own = cx.accounts.group(name).map(|group| group.name.clone());
    let has_group = spec.group.is_some() || own.is_some();
    option("-g", spec.group.as_ref().map(ToString::to_string).or(own));
    option("-d", spec.home.clone());
    option("-s", spec.shell.clone());
    option("-c", spec.comment.clone());
    if !has_group {
        args.push("-U".to_owned());
    }
    args.push(name.to_owned());
    passwd::tool(cx.sys, "useradd", &args)
}
