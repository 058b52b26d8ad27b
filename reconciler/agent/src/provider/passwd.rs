//! Changes accounts: with the shadow tools on a host, and by editing the files in a sandbox.

use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, GroupSpec, Mode, Presence, ShadowText, UserSpec};

use super::ApplyContext;
use super::at_path::{self, Bytes, Put};
use super::faults::Faults;
use super::members::{self, Difference};
use crate::error::Result;
use crate::sys::{Accounts, Program, Sys};

/// Maximum number of attempts while another program locks the account files, half a second apart.
const PATIENCE: u32 = 20;

/// Maximum number of a user's processes that an error message lists.
const SHOWN: usize = 5;

/// Runs one of the shadow tools. Retries while another program locks the account files. The error for some
/// common failures has a hint.
pub(crate) fn tool(sys: &Sys, name: &str, args: &[String]) -> Result<()> {
    tool_with_input(sys, name, args, None)
}

/// Runs one of the shadow tools like [`tool`], with bytes on its standard input.
fn tool_with_input(sys: &Sys, name: &str, args: &[String], input: Option<&[u8]>) -> Result<()> {
    for _ in 0..PATIENCE {
        let mut program = Program::new(name, args.iter().cloned());
        program.input = input;
        let output = program.run(sys)?;
        if output.status == 0 {
            return Ok(());
        }
        let said = output.complaint();
        if said.contains("try again later") || said.contains("cannot lock") {
            std::thread::sleep(Duration::from_millis(500));
            continue;
        }
        let message = format!(
            "`{name} {}` failed ({}): {said}",
            args.join(" "),
            output.status
        );
        let error = AgentError::new(ErrorCode::CommandFailed, message);
        return Err(match (name, output.status) {
            ("userdel" | "usermod", 8) => in_use(sys, args, &said),
            ("groupdel", 8) => {
                error.hint("it is the primary group of a user: remove or change the user first")
            }
            ("useradd" | "usermod" | "groupadd" | "groupmod", 4) => {
                error.hint("the number is another's already: choose one that is free")
            }
            _ => error,
        });
    }
    Err(accounts_locked())
}

/// Returns the second field of a user's line in `/etc/shadow`, or `None` if the user has no line.
pub(super) fn shadow(sys: &Sys, user: &str) -> Option<ShadowText> {
    let text = sys.text("/etc/shadow")?;
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        (fields.next()? == user).then_some(())?;
        Some(ShadowText::new(fields.next()?.to_owned()))
    })
}

/// Sets the second field of a user's line in `/etc/shadow`. The text is on the tool's input, so that no list of
/// processes and no error has it.
pub(super) fn set_shadow(sys: &Sys, user: &str, text: &str) -> Result<()> {
    if text.contains([':', '\n']) {
        return Err(AgentError::new(
            ErrorCode::Protocol,
            format!("the password of user `{user}` isn't a crypt hash"),
        ));
    }
    let line = format!("{user}:{text}\n");
    tool_with_input(sys, "chpasswd", &["-e".to_owned()], Some(line.as_bytes()))
}

/// Returns the error for account files that another program has locked for too long.
pub(super) fn accounts_locked() -> AgentError {
    AgentError::new(
        ErrorCode::Locked,
        "another program keeps /etc/passwd and /etc/group locked",
    )
    .hint("if nothing is at work there, remove the stale /etc/passwd.lock, /etc/group.lock, /etc/shadow.lock, /etc/gshadow.lock")
}

/// Returns the error for a user's group that the host doesn't have.
pub(super) fn no_such_group(user: &str, group: &str) -> AgentError {
    AgentError::new(
        ErrorCode::NotFound,
        format!("user `{user}` is to be in the group `{group}`, which this host doesn't have"),
    )
    .hint(format!(
        "add `group: {{{group}: {{}}}}`, or put the user `after` the package that makes it"
    ))
}

/// Returns the error for a user who can't be changed or removed because of a login or running processes.
fn in_use(sys: &Sys, args: &[String], said: &str) -> AgentError {
    let user = args.last().map_or("", String::as_str);
    let running = processes(sys, user);
    let running = if running.is_empty() {
        String::new()
    } else {
        format!(", running {}", running.join(", "))
    };
    AgentError::new(
        ErrorCode::InUse,
        format!("user `{user}` is logged in or has processes{running}: {said}"),
    )
    .hint(format!(
        "it waits until they end, nothing is forced; `loginctl terminate-user {user}` ends them"
    ))
}

/// Returns the first [`SHOWN`] processes of a user, each as its name and process id.
fn processes(sys: &Sys, user: &str) -> Vec<String> {
    let accounts = Accounts::load(sys);
    let Some(uid) = accounts.user(user).map(|user| user.uid.to_string()) else {
        return Vec::new();
    };
    let is_theirs = |status: &str| {
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        ids.is_some_and(|ids| ids.split_whitespace().any(|id| id == uid))
    };
    sys.root()
        .list("/proc")
        .unwrap_or_default()
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|id| {
            let status = sys.text(&format!("/proc/{id}/status"))?;
            is_theirs(&status).then_some(())?;
            let name = status.lines().find_map(|line| line.strip_prefix("Name:"))?;
            Some(format!("{} ({id})", name.trim()))
        })
        .take(SHOWN)
        .collect()
}

/// Returns a free uid or gid for a sandbox: the lowest from 1000 upwards, or the highest from 999 downwards
/// for a system account.
fn free(taken: &dyn Fn(u32) -> bool, system: bool) -> u32 {
    if system {
        (100..1000).rev().find(|id| !taken(*id)).unwrap_or(0)
    } else {
        (1000..60_000).find(|id| !taken(*id)).unwrap_or(60_000)
    }
}

fn write(cx: &mut ApplyContext<'_>, path: &str, lines: &[String]) -> Result<()> {
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    let put = Put {
        bytes: Bytes::New(Content::of(text.as_bytes())),
        owner: None,
        group: None,
        mode: Some(Mode::from_bits(0o644)),
        validate: &[],
        attributes: None,
    };
    at_path::put_bytes(cx, path, &put, text.as_bytes())
}

/// Returns the lines of an account file, and the index of the line for this name.
fn lines(sys: &Sys, path: &str, name: &str) -> (Vec<String>, Option<usize>) {
    let lines: Vec<String> = sys
        .text(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    let place = lines
        .iter()
        .position(|line| line.split(':').next() == Some(name));
    (lines, place)
}

fn place(lines: &mut Vec<String>, at: Option<usize>, line: Option<String>) {
    match (at, line) {
        (Some(at), Some(line)) => lines[at] = line,
        (Some(at), None) => {
            lines.remove(at);
        }
        (None, Some(line)) => lines.push(line),
        (None, None) => {}
    }
}

/// Writes a group in a sandbox's `/etc/group` as its spec says, or removes it. The members stay.
pub(crate) fn sandbox_group(cx: &mut ApplyContext<'_>, name: &str, spec: &GroupSpec) -> Result<()> {
    const PATH: &str = "/etc/group";
    let accounts = Accounts::load(cx.sys);
    let (mut all, at) = lines(cx.sys, PATH, name);
    let line = (spec.state == Presence::Present).then(|| {
        let before = accounts.group(name);
        let taken = |gid| accounts.groups.iter().any(|group| group.gid == gid);
        let gid = spec
            .gid
            .or(before.map(|group| group.gid))
            .unwrap_or_else(|| free(&taken, spec.system));
        let members = at.and_then(|at| all[at].rsplit(':').next());
        let members = members.unwrap_or_default();
        format!("{name}:x:{gid}:{members}")
    });
    place(&mut all, at, line);
    write(cx, PATH, &all)
}

/// Writes a user in a sandbox's `/etc/passwd` as its spec says, or removes it.
pub(crate) fn sandbox_user(cx: &mut ApplyContext<'_>, name: &str, spec: &UserSpec) -> Result<()> {
    const PATH: &str = "/etc/passwd";
    let accounts = Accounts::load(cx.sys);
    let before = accounts.user(name).cloned();
    let (mut all, at) = lines(cx.sys, PATH, name);
    if spec.state == Presence::Absent {
        place(&mut all, at, None);
        write(cx, PATH, &all)?;
        let difference = Difference {
            add: Vec::new(),
            remove: accounts.memberships(name).into_iter().collect(),
        };
        let mut faults = Faults::default();
        members::change_groups(cx, name, &difference, &mut faults);
        faults.outcome()?;
        return Ok(());
    }
    let taken = |uid| accounts.users.iter().any(|user| user.uid == uid);
    let uid = spec
        .uid
        .or(before.as_ref().map(|user| user.uid))
        .unwrap_or_else(|| free(&taken, spec.system));
    let gid = match spec.group.as_ref().and_then(|group| accounts.gid_of(group)) {
        Some(gid) => gid,
        None => match (&before, accounts.group(name)) {
            (Some(user), _) => user.gid,
            (None, Some(group)) => group.gid,
            (None, None) => {
                let own = GroupSpec {
                    gid: (!accounts.groups.iter().any(|group| group.gid == uid)).then_some(uid),
                    system: spec.system,
                    ..GroupSpec::default()
                };
                sandbox_group(cx, name, &own)?;
                Accounts::load(cx.sys)
                    .group(name)
                    .map_or(uid, |group| group.gid)
            }
        },
    };
    let old = |field: fn(&crate::sys::UserLine) -> &String| before.as_ref().map(field).cloned();
    let home = spec
        .home
        .clone()
        .or_else(|| old(|user| &user.home))
        .unwrap_or_else(|| format!("/home/{name}"));
    let shell = spec
        .shell
        .clone()
        .or_else(|| old(|user| &user.shell))
        .unwrap_or_else(|| "/bin/sh".to_owned());
    let comment = spec
        .comment
        .clone()
        .or_else(|| old(|user| &user.comment))
        .unwrap_or_default();
    place(
        &mut all,
        at,
        Some(format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}")),
    );
    write(cx, PATH, &all)
}
