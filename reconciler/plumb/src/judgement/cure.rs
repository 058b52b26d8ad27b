//! What really helps a commit that isn't accepted: words, and the exact commands.

mod astray;
mod signing;

use plumb_trust::{ReasonCode, Verdict};

use self::signing::With;
use super::emergency::{Emergency, Freeze};
use super::others::Others;
use super::place::{Approvals, OnServer, Place, Position, Signature};
use crate::output::short;

/// Something that helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cure {
    /// What it does.
    pub(crate) what: String,
    /// The commands, in order.
    pub(crate) commands: Vec<String>,
}

impl Cure {
    fn changes_the_commit(&self) -> bool {
        self.commands
            .iter()
            .any(|command| command.contains("commit --amend"))
    }
}

/// Who could give the approvals that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Givers {
    /// It isn't known here.
    Unknown,
    /// They, in words.
    These(String),
    /// Not enough of this group have a key that still counts.
    TooFew(String),
}

/// How many commits of others are named at most.
const NAMED: usize = 5;

impl Place {
    /// Runs a change of the newest commit on this one, and pushes what comes of it. A rebase signs all that
    /// waits, and an address on it is soon written: the reader sees it first.
    fn amended(&self, amend: &str) -> Vec<String> {
        let change = match self.position {
            Position::Newest => vec![amend.to_owned()],
            Position::Below => vec![
                self.look_at_all(),
                format!(
                    "git rebase --rebase-merges --exec \"{amend}\" {}",
                    self.accepted
                ),
            ],
        };
        let push = self.start.push.clone();
        self.there(change).into_iter().chain(push).collect()
    }

    /// Shows all that waits.
    fn look_at_all(&self) -> String {
        format!(
            "git log --patch --diff-merges=first-parent {}..{}",
            self.accepted, self.tip
        )
    }

    /// Commands that act on the branch's newest commit, from wherever the reader is.
    fn there(&self, commands: Vec<String>) -> Vec<String> {
        self.start.go.iter().cloned().chain(commands).collect()
    }

    fn sign_again(&self, what: &str) -> Cure {
        self.amend(what, &self.signing(With::Own, &[]))
    }

    fn sign_with_another(&self, what: &str) -> Cure {
        self.amend(what, &self.signing(With::Another, &[]))
    }

    fn amend(&self, what: &str, command: &str) -> Cure {
        let commands = match (self.position, &self.others) {
            (Position::Newest, Others::These(others)) if self.among(others).is_some() => {
                return self.look_at_one(what, command, self.among(others).unwrap_or_default());
            }
            (Position::Newest, _) => self.amended(command),
            (Position::Below, Others::These(others)) if others.is_empty() => self.amended(command),
            (Position::Below, Others::These(others)) => return self.look_at_others(others),
            // Nobody is told to sign what may be anybody's.
            (Position::Below, Others::Unknown) => Vec::new(),
        };
        Cure {
            what: what.to_owned(),
            commands,
        }
    }

    /// What is said of this commit among those of others. A merge has others below it, which it leaves alone.
    fn among<'o>(&self, others: &'o [String]) -> Option<&'o str> {
        let short = short(&self.commit);
        let found = others.iter().find(|other| other.starts_with(short));
        found.map(String::as_str)
    }

    /// The newest commit is signed by somebody else, or said to be another's: it is looked at first.
    fn look_at_one(&self, what: &str, command: &str, whose: &str) -> Cure {
        let look = format!("git show {}", self.commit);
        Cure {
            what: format!(
                "look at it first, whoever's name is on it ({whose}): a signature makes it yours; then, {what}"
            ),
            commands: [look].into_iter().chain(self.amended(command)).collect(),
        }
    }

    /// A rebase would put the user's signature on what others wrote: they are looked at first.
    fn look_at_others(&self, others: &[String]) -> Cure {
        let more = others.len().saturating_sub(NAMED);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Cure {
            what: format!(
                "commits by others are among those that wait ({}{more}): look at them, let those who made them sign them, or take all off the branch (your own copy keeps them)",
                others[..others.len().min(NAMED)].join(", ")
            ),
            commands: [self.look_at_all()]
                .into_iter()
                .chain(self.set_back())
                .collect(),
        }
    }

    /// The push that sets the server's branch back. None where that hasn't got the commit: what is accepted
    /// there may be further by now.
    fn set_back(&self) -> Option<String> {
        (self.on_server == OnServer::Yes).then(|| {
            format!(
                "git push --force-with-lease {} {}~0:refs/heads/{}",
                self.remote, self.accepted, self.branch
            )
        })
    }

    /// Of a commit that a revoked key has signed: a thief may have made it, so nobody is told to sign it
    /// before it was looked at, and nobody ever to sign what stands on it unseen.
    fn signed_by_revoked(&self, who: &Givers) -> Vec<Cure> {
        let own = match &self.others {
            Others::These(others) => others.is_empty(),
            Others::Unknown => false,
        };
        let again = match self.position {
            Position::Newest if own => Cure {
                what: "if it is good, its author signs it with another key".to_owned(),
                commands: self.amended(&self.signing(With::Another, &[])),
            },
            _ => Cure {
                what: "if it is good, its author makes it anew on what is accepted, signed with another key; what stands on top of it is made anew too, each by whoever made it".to_owned(),
                commands: vec![
                    format!("git switch --detach {}", self.accepted),
                    "git -c user.signingkey=KEY cherry-pick -S COMMIT".to_owned(),
                    format!("git push {} HEAD~0:refs/heads/{}", self.remote, self.branch),
                ],
            },
        };
        let mut approve = self.approve(who);
        approve.what = format!("or, if it is good, {}", approve.what);
        for command in &mut approve.commands {
            *command = command.replace("plumb approve ", "plumb approve --signed-by-revoked ");
        }
        vec![
            Cure {
                what: "look at it: whoever has the revoked key may have made it".to_owned(),
                commands: vec![format!("git show {}", self.commit)],
            },
            Cure {
                what: match self.on_server {
                    OnServer::Yes => "unless it is certainly its author's, set the branch back to what is accepted (your own copy keeps the commit)",
                    OnServer::No => "unless it is certainly its author's, don't push it",
                }
                .to_owned(),
                commands: self.set_back().into_iter().collect(),
            },
            again,
            approve,
        ]
    }

    fn approve(&self, who: &Givers) -> Cure {
        let who = match who {
            Givers::Unknown => "somebody whom the policy names",
            Givers::These(who) => who,
            Givers::TooFew(group) => {
                return Cure {
                    what: format!(
                        "too few of {group} have a key that still counts: let somebody join it, in a commit before this one. Where too few are left to change trust/, whoever keeps the server and the controller names a new root of trust"
                    ),
                    commands: vec![
                        format!("plumb trust add NAME --key FILE --group {group}"),
                        "git config plumb.introduction COMMIT".to_owned(),
                    ],
                };
            }
        };
        Cure {
            what: format!("let {who} approve it, by this and the push that it prints"),
            commands: vec![format!("plumb approve {}", short(&self.commit))],
        }
    }

    fn fetch_approvals(&self, what: &str) -> Cure {
        let tags = format!("refs/tags/approve/{}/*", self.branch);
        Cure {
            what: what.to_owned(),
            commands: vec![format!("git fetch {} '{tags}:{tags}'", self.remote)],
        }
    }

    /// What an emergency does for a commit that the rules or a freeze hold.
    fn in_an_emergency(&self) -> Option<Cure> {
        let Emergency::Can { who, ttl } = &self.emergency else {
            return None;
        };
        Some(match self.position {
            Position::Newest => self.amend(
                &format!(
                    "if it can't wait, make an emergency of it, which {who} can, and push it within {ttl}"
                ),
                &self.signing(With::Own, &["Emergency: WHY"]),
            ),
            Position::Below => Cure {
                what: format!(
                    "if what comes after it can't wait, set the branch back to what is accepted (your own copy keeps the commits), and make an emergency of it there, which {who} can: behind what waits, an emergency waits too"
                ),
                commands: self
                    .set_back()
                    .into_iter()
                    .chain([
                        format!("git switch --detach {}", self.accepted),
                        format!(
                            "git cherry-pick COMMIT && {}",
                            self.signing(With::Own, &["Emergency: WHY"])
                        ),
                        format!("git push {} HEAD~0:refs/heads/{}", self.remote, self.branch),
                    ])
                    .collect(),
            },
        })
    }

    /// A merge of a branch some commits of which nobody signed.
    fn merge_again(&self) -> Cure {
        Cure {
            what: "let whoever made the commits of the merged branch sign them, each their own, and merge it again in place of this merge".to_owned(),
            commands: vec![
                "git rebase --exec 'git commit --amend --no-edit -S --allow-empty' BASE SIDE-BRANCH"
                    .to_owned(),
                format!("git switch {} && git reset --keep {}", self.branch, self.accepted),
                format!(
                    "git merge --no-ff -S SIDE-BRANCH && {}",
                    self.signing(With::Own, &[])
                ),
                format!("git push --force-with-lease {} {}", self.remote, self.branch),
            ],
        }
    }

    fn reset(&self) -> Cure {
        Cure {
            what: match self.on_server {
                OnServer::Yes => {
                    "set the branch back to what is accepted (your own copy keeps the commit)"
                        .to_owned()
                }
                OnServer::No => format!(
                    "don't push it as it is: {} on the server hasn't got it, and needn't be set back",
                    self.branch
                ),
            },
            commands: self.set_back().into_iter().collect(),
        }
    }

    /// What helps against these reasons, the nearest first. `who` could give approvals that are missing.
    pub(crate) fn cures(&self, codes: &[ReasonCode], who: &Givers) -> Vec<Cure> {
        let mut all: Vec<Cure> = Vec::new();
        let rejected = codes.iter().any(|code| code.verdict() == Verdict::Reject);
        // Nothing was accepted of a branch that was set back: there is nothing to set it back to.
        if rejected && !codes.contains(&ReasonCode::Rewound) {
            all.push(self.reset());
        }
        let waits = codes.contains(&ReasonCode::ApprovalsMissing);
        if waits && self.approvals == Approvals::Unfetched {
            all.push(self.fetch_approvals(
                "no approval is in this clone at all: fetch those that the server has",
            ));
        }
        let revoked = codes.contains(&ReasonCode::KeyRevoked);
        let of_all = if revoked {
            &[ReasonCode::KeyRevoked][..]
        } else {
            codes
        };
        for code in of_all {
            let cures = match code {
                // What helps against that is the right thing, and not to sign it in the same way again.
                ReasonCode::Uncovered if codes.iter().any(|code| is_of_signature(*code)) => {
                    Vec::new()
                }
                code => self.of_code(*code, who),
            };
            for cure in cures {
                if !all.contains(&cure) {
                    all.push(cure);
                }
            }
        }
        if codes.contains(&ReasonCode::Uncovered) && !rejected && !revoked {
            let approve = self.approve(who);
            if !all.contains(&approve) {
                all.push(approve);
            }
        }
        // An approval is of the commit as it is: what changes that comes before it.
        let approve = self.approve(who);
        let at = all.iter().position(|cure| *cure == approve);
        let changes = all.iter().rposition(Cure::changes_the_commit);
        if let (Some(at), Some(last)) = (at, changes)
            && at < last
        {
            all.remove(at);
            all.insert(last, approve);
        }
        if waits && self.approvals == Approvals::Older {
            all.push(
                self.fetch_approvals(
                    "if somebody has approved it since you fetched last, fetch that",
                ),
            );
        }
        all.extend(self.in_an_emergency());
        all
    }

    /// One answer to each reason; a new reason must get one.
    fn of_code(&self, code: ReasonCode, who: &Givers) -> Vec<Cure> {
        let say = |what: &str, commands: &[&str]| Cure {
            what: what.to_owned(),
            commands: commands.iter().map(|&command| command.to_owned()).collect(),
        };
        match code {
            ReasonCode::Ancestor | ReasonCode::ApprovalIgnored => Vec::new(),
            ReasonCode::Uncovered => vec![
                self.sign_again("if it is your commit, sign it"),
                self.approve(who),
            ],
            ReasonCode::ApprovalsMissing => vec![self.approve(who)],
            ReasonCode::UnknownKey => vec![
                self.sign_with_another("if it is your commit, sign it with a key that the policy has"),
                self.approve(who),
                say(
                    "or trust that key, in a commit before this one",
                    &["plumb trust add NAME --key FILE --group GROUP"],
                ),
            ],
            ReasonCode::Unbound => vec![
                self.sign_again(&format!(
                    "say in the commit where it is meant (hooks/commit-msg does it by itself, on {}; an approval says it too)",
                    self.branch
                )),
                self.approve(who),
            ],
            ReasonCode::UnsupportedSignature => vec![
                self.sign_with_another("if it is your commit, sign it with a key that can be verified, such as Ed25519"),
                self.approve(who),
            ],
            ReasonCode::WeakCrypto => vec![
                self.sign_with_another("if it is your commit, sign it with a stronger key, such as Ed25519"),
                self.approve(who),
            ],
            ReasonCode::KeyMisused => vec![
                self.sign_with_another("if it is your commit, sign it with a key that is meant for signing"),
                self.approve(who),
            ],
            ReasonCode::KeyExpired => vec![
                self.sign_with_another("if it is your commit, sign it with a key that is still valid"),
                self.approve(who),
                match self.signature {
                    Signature::Ssh => say(
                        "or give the key a later `validBefore`, in a commit before this one",
                        &["$EDITOR trust/policy.yaml", "plumb trust check"],
                    ),
                    Signature::Other => say(
                        "or give the key a later end, in a commit before this one (where it is past a `validBefore`, that is in trust/policy.yaml)",
                        &[
                            "gpg --quick-set-expire FINGERPRINT 1y",
                            "plumb trust rotate NAME --key FINGERPRINT",
                        ],
                    ),
                },
            ],
            ReasonCode::KeyRevoked => self.signed_by_revoked(who),
            ReasonCode::Future => vec![
                say(
                    "wait until that time has come; it is looked at again then",
                    &[],
                ),
                self.sign_again("or set the clock right and date it anew"),
            ],
            ReasonCode::Frozen => vec![say(
                match self.emergency {
                    Emergency::Unknown => {
                        "wait until the freeze has ended; it is looked at again then. If the policy has an `emergency`, a commit with the trailer `Emergency: WHY` may get around it"
                    }
                    Emergency::No | Emergency::Can { .. } => {
                        "wait until the freeze has ended; it is looked at again then"
                    }
                },
                &[],
            )],
            ReasonCode::SideUnsigned => vec![self.merge_again()],
            ReasonCode::Backdated => {
                vec![self.sign_again(
                    "if it is your commit, set the clock right and sign it anew, with today's date",
                )]
            }
            ReasonCode::SeenLate => {
                vec![
                    self.sign_again("if it is your commit, sign it anew, with today's date"),
                    self.approve(who),
                ]
            }
            ReasonCode::Tombstoned => vec![self.sign_again(
                "if it is wanted again, make it a commit of its own: signing it anew does",
            )],
            ReasonCode::HeartbeatStale => vec![say(
                "see whether the job that makes the heartbeat runs, and whether the server shows what others pushed",
                &[&format!(
                    "git ls-remote {} {} 'alive/*'",
                    self.remote, self.branch
                )],
            )],
            ReasonCode::HistoryRevoked => vec![say(
                "look at what that key approved, and put right on top what is wrong; what was accepted stays accepted",
                &[&format!("git log --show-signature {}", self.accepted)],
            )],
            ReasonCode::BadSignature | ReasonCode::MalformedSignature => vec![
                say(
                    "it was changed after it was signed, or is a forgery: look at it",
                    &[&format!("git show --show-signature {}", self.commit)],
                ),
                self.sign_again("if it is yours and as you want it, sign it again"),
            ],
            ReasonCode::MalformedCommit
            | ReasonCode::MalformedTree
            | ReasonCode::TooLarge
            | ReasonCode::MergetagMismatch => vec![say(
                "then make the change again with git itself, as a commit of its own",
                &[
                    &format!(
                        "git fetch {} && git switch --detach {}",
                        self.remote, self.accepted
                    ),
                    "git commit -S",
                ],
            )],
            ReasonCode::MissingObject => vec![say(
                "a shallow clone can't be judged; fetch all of it",
                &[&format!("git fetch --unshallow {}", self.remote)],
            )],
            ReasonCode::CorruptObject => vec![say(
                "see what is broken; a fresh clone may have it whole",
                &["git fsck --full"],
            )],
            ReasonCode::DuplicateTrailer => vec![self.amend(
                "say it once: take the second trailer out",
                "git commit --amend -S --allow-empty",
            )],
            ReasonCode::NoRule => vec![say(
                "then first let a rule own that path (`**` owns everything), in a commit of its own",
                &["$EDITOR trust/policy.yaml", "plumb trust check"],
            )],
            ReasonCode::PolicyNotIsolated => vec![Cure {
                what: "then make two commits of it, trust/ alone in the first".to_owned(),
                commands: self.there(vec![
                    format!(
                        "git reset --soft {} && git restore --staged .",
                        self.accepted
                    ),
                    "git add trust && git commit -S".to_owned(),
                    "git add --all && git commit -S".to_owned(),
                ]),
            }],
            ReasonCode::PolicyInvalid
            | ReasonCode::PolicyUnsatisfiable
            | ReasonCode::PolicySerial => {
                vec![
                    say(
                        "then mend trust/policy.yaml, until nothing is wrong with it",
                        &["plumb trust check"],
                    ),
                    self.amend(
                        "and put that into the commit",
                        "git commit --amend --no-edit -a -S --allow-empty",
                    ),
                ]
            }
            ReasonCode::PolicyMoved => vec![say(
                "then put `repository` and `ref` back as they were: another branch or repository needs an introduction of its own",
                &[&format!(
                    "git diff {} {} -- trust/policy.yaml",
                    self.accepted, self.commit
                )],
            )],
            ReasonCode::RevocationDropped => vec![say(
                "then take a copy of the certificate that knows its revocation",
                &[
                    &format!(
                        "git show {}:trust/keys/NAME.asc | gpg --import",
                        self.accepted
                    ),
                    "plumb trust rotate NAME --key FINGERPRINT",
                ],
            )],
            ReasonCode::Gitlink | ReasonCode::Link => vec![self.amend(
                "then take that file out of the commit",
                "git rm --cached --ignore-unmatch PATH && git commit --amend --no-edit -S --allow-empty",
            )],
            ReasonCode::NotDescendant => vec![self.build_on_accepted()],
            ReasonCode::Rewound => vec![
                say(
                    "push the accepted commits again",
                    &[&format!(
                        "git push {} {}~0:refs/heads/{}",
                        self.remote, self.accepted, self.branch
                    )],
                ),
                say(
                    "to go back on purpose, undo on top of them",
                    &["git revert -S COMMIT"],
                ),
            ],
            ReasonCode::RollbackRefused => vec![say(
                "then undo on top of what is accepted instead",
                &["git revert -S COMMIT"],
            )],
            ReasonCode::EmergencyExpired => {
                let again = self.sign_again("if the emergency lasts, sign it anew, with today's date");
                let ordinary = match self.freeze {
                    Freeze::Over => self.approve(who),
                    Freeze::InForce => say(
                        "as an ordinary change it waits until the freeze has ended, whoever approves it",
                        &[],
                    ),
                };
                vec![again, ordinary]
            }
            ReasonCode::EmergencyForbidden => vec![say(
                "then make that change without `Emergency:`, with the approvals that it needs",
                &[],
            )],
        }
    }
}

/// Whether it says why a commit's own signature counts for nothing.
const fn is_of_signature(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::UnknownKey
            | ReasonCode::UnsupportedSignature
            | ReasonCode::WeakCrypto
            | ReasonCode::KeyMisused
            | ReasonCode::KeyExpired
            | ReasonCode::Future
            | ReasonCode::Backdated
            | ReasonCode::SeenLate
    )
}

#[cfg(test)]
mod tests;
