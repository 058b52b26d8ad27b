//! Changes accounts: with shadow's tools on a host, by the files alone in a sandbox.

use std::collections::BTreeSet;
use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, GroupSpec, Mode, Presence, UserSpec};

use super::ApplyContext;
use super::at_path::{self, Bytes, Put};
use crate::error::Result;
use crate::sys::{Accounts, Program, Sys};

/// The number of tries for the files' lock, half a second apart.
const PATIENCE: u32 = 20;

/// Runs one of shadow's tools; a refusal has a hint.
pub(crate) fn tool(sys: &Sys, name: &str, args: &[String]) -> Result<()> {
    for _ in 0..PATIENCE {
        let output = Program::new(name, args.iter().cloned()).run(sys)?;
        if output.status == 0 {
            return Ok(());
        }
        let said = output.complaint();
        if said.contains("try again later") || said.contains("cannot lock") {
            std::thread::sleep(Duration::from_millis(500));
            continue;
        }
        let error = AgentError::new(
            ErrorCode::CommandFailed,
            format!(
                "`{name} {}` failed ({}): {said}",
                args.join(" "),
                output.status
            ),
        );
        return Err(match (name, output.status) {
            ("userdel" | "usermod", 8) => {
                error.hint("the user still has processes: stop what runs as it (`loginctl terminate-user NAME`), then it goes")
            }
            ("groupdel", 8) => error.hint("it is the primary group of a user: remove or change the user first"),
            (_, 4) => error.hint("the number is another's already: choose one that is free"),
            _ => error,
        });
    }
    Err(AgentError::new(
        ErrorCode::Locked,
        "another program keeps /etc/passwd locked",
    )
    .hint("if nothing is at work there, remove the stale /etc/passwd.lock, /etc/group.lock, /etc/shadow.lock, /etc/gshadow.lock"))
}

/// Returns the next free id: upwards from 1000, or downwards from 999 for a system account.
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

/// Returns a file's lines, and the index of the one with this name.
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

/// Writes a sandbox's group as its spec says.
pub(crate) fn sandbox_group(
    cx: &mut ApplyContext<'_>,
    name: &str,
    spec: &GroupSpec,
    members: Option<&[String]>,
) -> Result<()> {
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
        let members = match members {
            Some(members) => members.join(","),
            None => before.map_or(String::new(), |group| {
                group.members.iter().cloned().collect::<Vec<_>>().join(",")
            }),
        };
        format!("{name}:x:{gid}:{members}")
    });
    place(&mut all, at, line);
    write(cx, PATH, &all)
}

/// Writes a sandbox's user as its spec says.
pub(crate) fn sandbox_user(
    cx: &mut ApplyContext<'_>,
    name: &str,
    spec: &UserSpec,
    groups: Option<&[String]>,
) -> Result<()> {
    const PATH: &str = "/etc/passwd";
    let accounts = Accounts::load(cx.sys);
    let before = accounts.user(name).cloned();
    let (mut all, at) = lines(cx.sys, PATH, name);
    if spec.state == Presence::Absent {
        place(&mut all, at, None);
        write(cx, PATH, &all)?;
        for group in accounts.memberships(name) {
            change_members(cx, &group, |members| {
                members.remove(name);
            })?;
        }
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
                sandbox_group(cx, name, &own, None)?;
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
    write(cx, PATH, &all)?;
    if before.is_none() && spec.create_home.unwrap_or(!spec.system) {
        let (dir, leaf, _) = cx.sys.root().make_parent(&home)?;
        dir.make_directory(leaf, 0o755)?;
        let owner = name.parse().ok();
        at_path::note_owner(cx, &home, owner.as_ref(), owner.as_ref());
    }
    if let Some(groups) = groups {
        let now = Accounts::load(cx.sys).memberships(name);
        for group in now.iter().filter(|group| !groups.contains(group)) {
            change_members(cx, group, |members| {
                members.remove(name);
            })?;
        }
        for group in groups.iter().filter(|group| !now.contains(*group)) {
            change_members(cx, group, |members| {
                members.insert(name.to_owned());
            })?;
        }
    } else if before.is_none() {
        for group in spec.groups.iter().flatten() {
            change_members(cx, group, |members| {
                members.insert(name.to_owned());
            })?;
        }
    }
    Ok(())
}

fn change_members(
    cx: &mut ApplyContext<'_>,
    group: &str,
    change: impl Fn(&mut BTreeSet<String>),
) -> Result<()> {
    let accounts = Accounts::load(cx.sys);
    let Some(found) = accounts.group(group) else {
        return Ok(());
    };
    let mut members = found.members.clone();
    change(&mut members);
    let members: Vec<String> = members.into_iter().collect();
    let same = GroupSpec {
        gid: Some(found.gid),
        ..GroupSpec::default()
    };
    sandbox_group(cx, group, &same, Some(&members))
}
