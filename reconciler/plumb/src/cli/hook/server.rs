//! The hooks of the bare repository: `pre-receive` and `update` verify a push, `post-receive` stores the
//! newest accepted commit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use plumb_adapters::git::{Quarantine, Repository};
use plumb_trust::object::{Commit, limits};
use plumb_trust::{Authority, KeyName, ObjectKind, Objects as _, Oid, TagRef, Verdict, authority};

use super::accepted_state::{AcceptedState, BranchPosition, branch_position};
use super::input::{RefUpdate, lines, updates};
use super::judge::{Judge, PushView, Refusal};
use super::tags::{self, TagKind};
use crate::cli::controller_address::ControllerAddress;
use crate::config::DEFAULT_SOCKET;
use crate::http::ControllerCommand;
use crate::output::{Shell, quoted};
use crate::report::{Exit, Failure, OrFail as _};
use crate::runtime::block_on;
use crate::verdict;

/// The bare repository as git presents it to a hook.
struct Server {
    repository: Repository,
    reference: String,
    now: Timestamp,
}

/// The stored state, as far as it applies to the branch as it is.
#[derive(Default)]
struct ApplicableState {
    floor: Option<Oid>,
    /// The same commit as `floor`, if the branch ends before it because somebody set it back without the
    /// hooks.
    set_back: Option<Oid>,
    tombstones: BTreeSet<Oid>,
}

pub(super) fn pre_receive(shell: &Shell) -> Result<Exit, Failure> {
    Server::open()?.judge(&updates(&lines()?)?, PushView::Whole, shell)
}

pub(super) fn update(update: RefUpdate, shell: &Shell) -> Result<Exit, Failure> {
    Server::open()?.judge(&[update], PushView::OneRef, shell)
}

pub(super) fn post_receive(controller: &ControllerAddress, shell: &Shell) -> Result<Exit, Failure> {
    let updates = updates(&lines()?)?;
    let matters = |update: &RefUpdate| {
        update.name.starts_with("refs/heads/") || TagKind::of(&update.name).is_some()
    };
    if !updates.iter().any(matters) {
        return Ok(Exit::OK);
    }
    let notified = notify(controller, shell);
    let server = Server::open()?;
    if server.repository.config("plumb.introduction").is_some() {
        server.store(&updates, shell)?;
    }
    notified
}

/// Notifies the controller of a push. Called for every push that may matter, because a needless fetch costs
/// nothing.
fn notify(controller: &ControllerAddress, shell: &Shell) -> Result<Exit, Failure> {
    // On a machine that only serves git there is no controller, unless the caller names its socket.
    if controller.socket == Path::new(DEFAULT_SOCKET) && !controller.socket.exists() {
        return Ok(Exit::OK);
    }
    let client = controller.client()?;
    block_on(async { client.execute(&ControllerCommand::Notify).await })
        .map(|_| Exit::OK)
        .inspect_err(|_| {
            shell.warn("cannot notify the controller; it fetches the push at its next poll");
        })
}

impl Server {
    fn open() -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        let folder = variable("GIT_DIR").unwrap_or_else(|| ".".to_owned());
        let quarantine = Quarantine::from_values(
            variable("GIT_OBJECT_DIRECTORY").as_deref(),
            variable("GIT_ALTERNATE_OBJECT_DIRECTORIES").as_deref(),
        );
        let repository = Repository::open_with(Path::new(&folder), &quarantine)?;
        let now = Timestamp::now();
        let introduced = || {
            let introduction = repository.config("plumb.introduction")?.parse().ok()?;
            Some(
                introduction_policy(&repository, introduction, now)?
                    .policy
                    .reference,
            )
        };
        // By default, verify the branch that the policy names, because the policy is valid for no other.
        let reference = repository
            .config("plumb.ref")
            .or_else(introduced)
            .unwrap_or_else(|| "refs/heads/main".to_owned());
        Ok(Self {
            repository,
            reference,
            now,
        })
    }

    fn judge(&self, updates: &[RefUpdate], view: PushView, shell: &Shell) -> Result<Exit, Failure> {
        for update in updates {
            tags::refuse_alias(update, &self.reference)?;
        }
        let of_trust = |update: &&RefUpdate| TagKind::of(&update.name).is_some();
        if updates.iter().any(|update| of_trust(&update)) {
            let authority = self.introduction().ok().and_then(|introduction| {
                introduction_policy(&self.repository, introduction, self.now)
            });
            let policy = authority.as_ref().map(|authority| &authority.policy);
            for update in updates.iter().filter(of_trust) {
                tags::check_tag(update, &self.repository, &self.reference, policy)?;
            }
        }
        let Some(update) = updates.iter().find(|update| update.name == self.reference) else {
            self.warn_of_unjudged(updates, shell);
            return Ok(Exit::OK);
        };
        let Some(new) = update.new else {
            return Err(Failure::new(format!(
                "{} can't be deleted, because hosts follow it",
                self.reference
            )));
        };
        let introduction = self.introduction()?;
        let tags = self.tags_after(updates)?;
        // The floor is the newest accepted commit. The branch may be set back to it, but no further.
        let ApplicableState {
            floor,
            set_back,
            tombstones,
        } = self.applicable(introduction, update.old);
        let judge = self.judge_by(introduction, &tags, &tombstones);
        let floor = match (set_back, update.old) {
            (Some(accepted), _) => accepted,
            (None, Some(old)) if floor == Some(old) => old,
            (None, Some(old)) => {
                let way = judge.outcome_of(floor, old);
                judge.check_introduction(&way)?;
                way.accepted
            }
            (None, None) => introduction,
        };
        let mut outcome = judge.outcome_of(Some(floor), new);
        if (set_back, update.old) == (None, None) {
            judge.check_introduction(&outcome)?;
        }
        let mut refusal = judge.refusal(view, &mut outcome);
        if !outcome.is_accept() {
            shell.say(verdict::describe(&outcome, &self.repository, shell.err));
        }
        if refusal.is_none()
            && let Some((why, way)) = judge.refused_behind(view, &outcome, update)?
        {
            shell.say(verdict::describe(&way, &self.repository, shell.err));
            refusal = Some(why);
        }
        let failure = || {
            let failure =
                Failure::new(format!("{} isn't moved to {}", self.reference, new.short()));
            failure.maybe_hint(set_back.map(|accepted| {
                format!(
                    "the branch was set back past the hooks, below the commit that hosts run; push that commit again: git push origin {}",
                    quoted(&format!("{accepted}~0:{}", self.reference))
                )
            }))
        };
        match refusal {
            None => judge.check_bounds(&outcome, update).map(|()| Exit::OK),
            Some(Refusal::Never) => {
                Err(failure().hint("run `plumb verify` before a push to see the same verdict"))
            }
            Some(Refusal::Uncovered) => Err(failure().hint(
                "to push somebody else's approval together with the commit, use: git push --atomic",
            )),
        }
    }

    /// Warns if branches were pushed and not verified, and neither `plumb.ref` nor the policy names the
    /// branch to verify.
    fn warn_of_unjudged(&self, updates: &[RefUpdate], shell: &Shell) {
        let branch = |update: &RefUpdate| update.name.starts_with("refs/heads/");
        let is_told = self.repository.config("plumb.ref").is_some()
            || self.introduction().is_ok_and(|introduction| {
                introduction_policy(&self.repository, introduction, self.now).is_some()
            });
        if updates.iter().any(branch) && !is_told {
            shell.warn(format_args!(
                "nothing was judged: plumb.introduction names no commit with a policy here, so only {} is judged; ask the server's operator to set it, in the bare repository: git config plumb.introduction COMMIT",
                self.reference
            ));
        }
    }

    fn judge_by<'a>(
        &'a self,
        introduction: Oid,
        tags: &'a [TagRef],
        tombstones: &'a BTreeSet<Oid>,
    ) -> Judge<'a> {
        Judge {
            repository: &self.repository,
            reference: &self.reference,
            now: self.now,
            introduction,
            tags,
            tombstones,
        }
    }

    fn introduction(&self) -> Result<Oid, Failure> {
        let unknown = || {
            Failure::new(
                "this repository has no root of trust, so nothing can be judged",
            )
            .hint("ask the server's operator to set it once, in the bare repository: git config plumb.introduction COMMIT")
        };
        let text = self
            .repository
            .config("plumb.introduction")
            .ok_or_else(unknown)?;
        text.parse()
            .or_fail(|| format!("plumb.introduction is `{text}`, which isn't a full commit id"))
    }

    /// Returns the stored state that applies to a branch with this tip. If somebody set the branch back
    /// without the hooks, the floor stays, because hosts run that revision. If the branch diverged, there is
    /// no floor, because the accepted commit isn't on the branch.
    fn applicable(&self, introduction: Oid, tip: Option<Oid>) -> ApplicableState {
        let mut applicable = ApplicableState::default();
        let state = AcceptedState::read(self.repository.git_dir(), &introduction, &self.reference);
        let Some(state) = state else {
            return applicable;
        };
        applicable.tombstones = state.tombstones;
        let objects = self.repository.objects();
        let there = Some(state.accepted).filter(|accepted| objects.has(accepted));
        match branch_position(objects, state.accepted, tip) {
            BranchPosition::Contains => applicable.floor = there,
            BranchPosition::SetBack => {
                applicable.floor = there;
                applicable.set_back = there;
            }
            BranchPosition::Diverged(off) => applicable.tombstones.extend(off),
        }
        applicable
    }

    /// Returns the tags as they will be after the push.
    fn tags_after(&self, updates: &[RefUpdate]) -> Result<Vec<TagRef>, Failure> {
        let tags = self.repository.tags()?;
        let mut after: BTreeMap<String, Oid> =
            tags.into_iter().map(|tag| (tag.name, tag.target)).collect();
        for update in updates
            .iter()
            .filter(|update| update.name.starts_with("refs/tags/"))
        {
            match update.new {
                Some(target) => after.insert(update.name.clone(), target),
                None => after.remove(&update.name),
            };
        }
        let tags = after.into_iter();
        Ok(tags.map(|(name, target)| TagRef { name, target }).collect())
    }

    /// Stores the newest accepted commit, and reports the result of the push.
    fn store(&self, updates: &[RefUpdate], shell: &Shell) -> Result<(), Failure> {
        let introduction = self.introduction()?;
        let Some(tip) = self.repository.reference(&self.reference)? else {
            return Ok(());
        };
        let branch = updates.iter().find(|update| update.name == self.reference);
        let of_trust = |update: &RefUpdate| TagKind::of(&update.name).is_some();
        if branch.is_none() && !updates.iter().any(of_trust) {
            return Ok(());
        }
        let git_dir = self.repository.git_dir();
        let before = AcceptedState::read(git_dir, &introduction, &self.reference);
        let ApplicableState {
            floor, tombstones, ..
        } = self.applicable(introduction, branch.map_or(Some(tip), |branch| branch.old));
        let tags = self.repository.tags()?;
        let judge = self.judge_by(introduction, &tags, &tombstones);
        let mut outcome = judge.outcome_of(floor, tip);
        let after = AcceptedState {
            introduction,
            reference: self.reference.clone(),
            accepted: outcome.accepted,
            tombstones,
        };
        // If the tip doesn't descend from the floor, the outcome says nothing about the branch.
        let unjudged = outcome
            .reasons
            .iter()
            .any(|reason| reason.code.verdict() == Verdict::Reject);
        if !unjudged && before.as_ref() != Some(&after) {
            after.write(git_dir)?;
        }
        for (tag, key) in revocations(updates) {
            shell.say(if outcome.revoked.contains(&key) {
                format!("{key} is revoked: no new commit is accepted with it")
            } else {
                format!("{tag} doesn't count yet: it needs as many signers as a change of trust/, on accepted commits")
            });
        }
        if !outcome.is_accept() && branch.is_some() {
            // `pre-receive` has already verified and described the push.
            return Ok(());
        }
        if outcome.is_accept() {
            shell.say(format!(
                "{} is accepted up to {}",
                self.reference,
                outcome.accepted.short()
            ));
        } else {
            outcome.steps.retain(|step| !step.verdict.is_accept());
            shell.say(verdict::describe(&outcome, &self.repository, shell.err));
        }
        Ok(())
    }
}

/// Reads the introduction's policy. The repository and the branch in it are the same in every later policy.
fn introduction_policy(
    repository: &Repository,
    introduction: Oid,
    now: Timestamp,
) -> Option<Authority> {
    let objects = repository.objects();
    let raw = objects
        .read(&introduction, ObjectKind::Commit, limits::COMMIT)
        .ok()?;
    let commit = Commit::parse(&raw, introduction.format()).ok()?;
    authority(objects, &commit.tree, now).ok()
}

/// Lists the revocation tags of a push with the keys that they name.
fn revocations(updates: &[RefUpdate]) -> impl Iterator<Item = (&str, KeyName)> {
    updates.iter().filter_map(|update| {
        let (kind, rest) = TagKind::of(&update.name)?;
        let key = KeyName::from_hex(rest.split('/').next()?).ok()?;
        (kind == TagKind::Revocation).then_some((update.name.as_str(), key))
    })
}
