//! What remains to be done after `trust/` was changed: the exact commands, and who else must approve.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use plumb_trust::policy::{Authority, BindRef, Need, Satisfiability, TRUST_PATH};
use plumb_trust::{KeyName, Policy};
use serde::Serialize;

use super::draft::Written;
use super::folder::{Folder, owner};
use super::revoke::NEW_ROOT;
use crate::git::more_commits;
use crate::judgement::floor;
use crate::output::{Paint, Palette, one_of, quoted};

/// What a change of `trust/` leads to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Next {
    /// The files that were written or removed.
    pub(super) files: BTreeSet<String>,
    /// The policy's serial.
    pub(super) serial: u64,
    /// The commands that make it count, in order.
    pub(super) commands: Vec<String>,
    /// What the policy of the newest commit asks of it; nothing before the first commit.
    pub(super) needs: Vec<Wanted>,
    /// Whose key git signs with here, if the policy of the newest commit has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signer: Option<String>,
    /// How many commits the server's branch has, as far as it was fetched, that the branch here hasn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<u32>,
    #[serde(skip)]
    signing: Signing,
    #[serde(skip)]
    branch: String,
    #[serde(skip)]
    remote: String,
    /// Whether the server's branch has another `trust/` than the newest commit here.
    #[serde(skip)]
    theirs: Theirs,
}

/// What the server's branch has in `trust/`, as far as it was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theirs {
    /// What this change was made of.
    Same,
    /// Something else.
    Other,
}

/// The key that git signs with here, and what it is to the policy of the newest commit.
#[derive(Debug)]
enum Signing {
    /// There is none.
    Unset,
    /// `user.signingkey` is this, and there is no such public key here.
    Unread(String),
    /// That policy doesn't have it.
    Stranger(KeyName),
    /// It is revoked or past its end.
    Spent(KeyName),
    /// It is this identity's, and counts.
    By(String),
}

/// So many of a group, and who is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    pub(super) from: String,
    pub(super) count: u32,
    pub(super) members: Vec<String>,
}

impl Wanted {
    /// The same, of those of its members who are among these.
    pub(super) fn only(mut self, names: &BTreeSet<&str>) -> Self {
        self.members
            .retain(|member| names.contains(member.as_str()));
        self
    }

    /// How many more are needed when these have signed, and who could be it.
    pub(super) fn rest(&self, signed: &[&str]) -> (u32, Vec<&str>) {
        let have = self
            .members
            .iter()
            .filter(|member| signed.contains(&member.as_str()))
            .count();
        let have = u32::try_from(have).unwrap_or(u32::MAX);
        let others = self
            .members
            .iter()
            .map(String::as_str)
            .filter(|member| !signed.contains(member));
        (self.count.saturating_sub(have), others.collect())
    }
}

/// How many of which groups, and who that is, such as `2 of ops (alice, bob) and 1 of sec (dave)`.
pub(super) fn in_words(needs: &[Wanted]) -> String {
    let needs: Vec<_> = needs
        .iter()
        .map(|need| {
            format!(
                "{} of {} ({})",
                need.count,
                need.from,
                need.members.join(", ")
            )
        })
        .collect();
    needs.join(" and ")
}

/// What a policy asks of a change of these paths, the strongest of each group.
pub(super) fn wanted<'p>(policy: &Policy, paths: impl Iterator<Item = &'p str>) -> Vec<Wanted> {
    let rules = paths.flat_map(|path| {
        let rules = policy.rules.iter().filter(move |rule| rule.owns(path));
        rules.flat_map(|rule| &rule.need)
    });
    of_needs(policy, rules)
}

/// These needs, the strongest of each group.
pub(super) fn of_needs<'n>(policy: &Policy, needs: impl Iterator<Item = &'n Need>) -> Vec<Wanted> {
    let mut most: BTreeMap<&str, u32> = BTreeMap::new();
    for need in needs {
        let count = most.entry(&need.from).or_default();
        *count = need.count.max(*count);
    }
    most.into_iter()
        .map(|(from, count)| Wanted {
            from: from.to_owned(),
            count,
            members: policy
                .group(from)
                .iter()
                .map(|member| policy.name(*member).to_owned())
                .collect(),
        })
        .collect()
}

impl Next {
    pub(super) fn new(folder: &Folder, written: &Written, message: &str) -> Self {
        let git = folder.git();
        let committed = written.committed.as_ref();
        let judge = committed.map(|authority| &authority.policy);
        let (revoked, now) = (&written.revoked, Timestamp::now());
        let signing = match (folder.signer().map(|key| key.name), committed) {
            (None, _) => git
                .try_ask(&["config", "user.signingkey"])
                .map_or(Signing::Unset, Signing::Unread),
            (Some(key), Some(authority)) => match owner(&authority.policy, &key) {
                Some(_) if revoked.unusable(authority, &key, now).is_some() => Signing::Spent(key),
                Some(name) => Signing::By(name.to_owned()),
                None => Signing::Stranger(key),
            },
            (Some(key), None) => Signing::Stranger(key),
        };
        let policy = judge.unwrap_or(&written.authority.policy);
        let mut commit = format!("git commit -S -m '{message}'");
        let hook = git
            .try_ask(&["rev-parse", "--git-path", "hooks/commit-msg"])
            .is_some_and(|path| folder.root.join(path).exists());
        if judge.is_some() && policy.bind_ref != BindRef::None && !hook {
            let _ = write!(
                commit,
                " --trailer 'Deploy-Ref: {} {}'",
                policy.repository, policy.reference
            );
        }
        let branch = policy.branch();
        let remote = git.remote_of(branch);
        let upstream = format!("{remote}/{branch}");
        let same = ["diff", "--quiet", "HEAD", &upstream, "--", TRUST_PATH];
        Self {
            behind: floor::ahead(&git, branch, &upstream),
            theirs: if git.ask(&same).is_ok() {
                Theirs::Same
            } else {
                Theirs::Other
            },
            files: written.changed.clone(),
            serial: written.authority.policy.serial,
            commands: vec![
                "git add trust".to_owned(),
                commit,
                format!("git push {} {branch}", quoted(&remote)),
            ],
            needs: committed.map_or_else(Vec::new, |authority| {
                let able = authority.able_without(revoked.names(), now);
                let paths = written.changed.iter().map(String::as_str);
                wanted(&authority.policy, paths)
                    .into_iter()
                    .map(|need| need.only(&able))
                    .collect()
            }),
            signer: match &signing {
                Signing::By(name) => Some(name.clone()),
                Signing::Unset | Signing::Unread(_) | Signing::Stranger(_) | Signing::Spent(_) => {
                    None
                }
            },
            signing,
            branch: branch.to_owned(),
            remote,
        }
    }

    /// That the server has more, where that is known: what is committed on top of less can't be pushed.
    fn behind(&self, out: &mut String, palette: Palette) {
        if let Some(more) = self.behind {
            let _ = writeln!(
                out,
                "{} {}/{} has {} than {} here, and a push would be refused: {}",
                palette.paint(Paint::Warn, "note:"),
                self.remote,
                self.branch,
                more_commits(more),
                self.branch,
                match self.theirs {
                    Theirs::Same => "git pull first",
                    Theirs::Other =>
                        "it has another trust/ too, so undo this (git restore trust && git clean -f trust), git pull, and say it again",
                }
            );
        }
    }

    /// For people.
    pub(super) fn describe(&self, out: &mut String, palette: Palette) {
        self.behind(out, palette);
        let _ = writeln!(out, "\nnext:");
        for command in &self.commands {
            let _ = writeln!(out, "  {}", palette.paint(Paint::Bold, command));
        }
        if self.needs.is_empty() {
            let _ = writeln!(
                out,
                "Nothing judges the first commit that has a policy: it becomes the introduction."
            );
            return;
        }
        let _ = writeln!(
            out,
            "The policy as it was before judges this commit: it needs {}.",
            in_words(&self.needs)
        );
        let signed: Vec<&str> = match &self.signing {
            Signing::By(name) => {
                let _ = writeln!(
                    out,
                    "  The commit is signed by {name}: your git signs with that key."
                );
                vec![name]
            }
            Signing::Spent(key) => {
                let _ = writeln!(
                    out,
                    "  {} your git signs with {key}, which is revoked or past its end: sign with another key that it has\n  (git -c user.signingkey=KEY commit …), or let one of them make the commit.",
                    palette.paint(Paint::Warn, "note:")
                );
                Vec::new()
            }
            Signing::Stranger(key) => {
                let _ = writeln!(
                    out,
                    "  {} your git signs with {key}, which that policy doesn't have: sign with a key that it has\n  (git -c user.signingkey=KEY commit …), or let one of them make the commit.",
                    palette.paint(Paint::Warn, "note:")
                );
                Vec::new()
            }
            Signing::Unread(key) => {
                let _ = writeln!(
                    out,
                    "  {} git's `user.signingkey` is {key}, and its public key isn't found here: set another, or let one of them make the commit.",
                    palette.paint(Paint::Warn, "note:")
                );
                Vec::new()
            }
            Signing::Unset => {
                let _ = writeln!(
                    out,
                    "  {} git has no `user.signingkey` here: set it, or let one of them make the commit.",
                    palette.paint(Paint::Warn, "note:")
                );
                Vec::new()
            }
        };
        let mut waits = false;
        for need in &self.needs {
            let (more, others) = need.rest(&signed);
            if others.len() < usize::try_from(more).unwrap_or(usize::MAX) {
                let _ = writeln!(
                    out,
                    "  {} too few of {} have a key that still counts, so {NEW_ROOT}.",
                    palette.paint(Paint::Warn, "note:"),
                    need.from
                );
                return;
            }
            // Whoever makes the commit is one of them, even if it isn't known who.
            if more > u32::from(signed.is_empty()) {
                waits = true;
                let others = match more {
                    1 => one_of(&others),
                    _ => others.join(", "),
                };
                let _ = writeln!(
                    out,
                    "  Then {more} more of {} must approve: {others}.",
                    need.from
                );
            }
        }
        if waits {
            let _ = writeln!(
                out,
                "  Each of them, once it is pushed:\n    {}\n  and the push that it prints. Until then the commit waits, and hosts stay as they are.",
                palette.paint(
                    Paint::Bold,
                    format!(
                        "git fetch {remote} && plumb approve {remote}/{}",
                        self.branch,
                        remote = quoted(&self.remote)
                    )
                )
            );
        }
    }
}

/// Who could change what without anybody else.
pub(super) fn who_alone(out: &mut String, check: &Satisfiability) {
    for alone in check.alone.iter().filter(|a| !a.identities.is_empty()) {
        let _ = writeln!(
            out,
            "  {} alone can change {}",
            one_of(&alone.identities),
            alone.rule
        );
    }
    if check.alone.iter().all(|alone| alone.identities.is_empty()) {
        let _ = writeln!(out, "  nobody can change anything alone");
    }
    for alone in check.alone.iter().filter(|a| !a.emergency.is_empty()) {
        let _ = writeln!(
            out,
            "  in an emergency {} alone can change {}",
            one_of(&alone.emergency),
            alone.rule
        );
    }
}

/// What one signature is worth in a policy that asks for no second one anywhere, though it could.
pub(super) fn one_person(authority: &Authority) -> Option<String> {
    let policy = &authority.policy;
    let needs = || policy.rules.iter().flat_map(|rule| &rule.need);
    let alone = needs().all(|need| need.count == 1);
    let group = needs().find(|need| policy.group(&need.from).len() > 1)?;
    let from = &group.from;
    let fleet = if policy
        .rules
        .iter()
        .any(|rule| rule.paths.iter().any(|p| p.as_str() == "fleet.yaml"))
    {
        format!("write `count: 2` for {from} in the rules of fleet.yaml and\n  trust/**")
    } else {
        format!(
            "write `count: 2` for {from} in the rule of trust/**,\n  add the rule `- {{paths: [fleet.yaml], need: [{{from: {from}, count: 2}}]}}`"
        )
    };
    alone.then(|| {
        format!(
            "one signature is still enough for everything. For two, {fleet}, and `bindRef: trailer`; it belongs in this same commit (docs/trust.md shows such a policy)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_counts_each_signer_once() {
        let need = Wanted {
            from: "ops".to_owned(),
            count: 2,
            members: ["alice", "bob", "carol"].map(str::to_owned).to_vec(),
        };
        assert_eq!(need.rest(&["alice"]), (1, vec!["bob", "carol"]));
        assert_eq!(need.rest(&["alice", "bob", "dave"]), (0, vec!["carol"]));
        assert_eq!(need.rest(&[]), (2, vec!["alice", "bob", "carol"]));
    }
}
