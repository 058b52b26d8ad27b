mod scope;
mod show;
mod verification;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::object::{Tag, limits};
use plumb_trust::policy::{POLICY_PATH, Policy};
use plumb_trust::{ObjectKind, Objects as _, Oid};
use serde::Serialize;

use crate::cli::folder::RepositoryFolder;
use crate::git::{Git, nothing_committed};
use crate::output::{Paint, Shell, quoted, short};
use crate::report::{Exit, Failure, OrFail as _};
use crate::repository::repository_of;
use crate::verdict;

use scope::Scope;
use show::{KnownKeys, ShownCommits};
use verification::{BeforeApproval, Effect};

/// Approve a commit with your signature
///
/// Shows the commit's diff and who signed it, asks for confirmation, creates a signed tag
/// `approve/BRANCH/ID`, and verifies the commit again. Without a terminal it signs only with `--yes`. The
/// tag names the repository, the branch and the commit, so it can't be moved to another. Your own git signs
/// it with the key that it is set to sign with. Look at the commit first.
///
/// An approval of a commit on the branch covers what that commit changes. An approval of any other commit,
/// such as the newest of a branch that is to be merged, covers everything since that branch left. The tag
/// names the commit that it begins after (`Approve-Base:`) and covers no more, wherever it is merged.
///
/// The tag counts once it is pushed; the command is printed with what is still missing. An approval that could
/// not count is not kept: one without a signature, or by a key that is revoked or that the policy doesn't have.
/// An approval that changes nothing is kept with a warning.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb approve origin/main     # the newest pushed commit, after git fetch\n  plumb approve 4f1d5e0b\n  git push origin 'refs/tags/approve/*'"
)]
pub(super) struct Approve {
    /// A commit, or a branch for its newest commit
    #[arg(value_name = "COMMIT|BRANCH")]
    commit: String,

    /// The branch to approve it for; by default the policy's branch
    #[arg(long)]
    branch: Option<String>,

    /// Approve everything since this commit (`Approve-Base:`)
    #[arg(long, value_name = "COMMIT")]
    base: Option<String>,

    /// Approve commits that a revoked key signed; a thief may have made them
    #[arg(long)]
    signed_by_revoked: bool,

    /// Sign without asking; needed where no terminal is
    #[arg(long)]
    yes: bool,

    /// The tag's last part; by default the commit and your name, with a number if that is taken
    #[arg(long)]
    id: Option<String>,

    #[command(flatten)]
    folder: RepositoryFolder,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApproveResult {
    tag: String,
    commit: String,
    /// The last commit before the approved commits.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    repository: String,
    #[serde(rename = "ref")]
    reference: String,
    /// The approver's identity, if the policy that judges the commit is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// The approval's effect on the commit, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<Effect>,
    /// The first earlier commit that isn't accepted and so blocks this commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
    push: String,
}

impl Approve {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let git = Git::at(self.folder.path());
        let repository = repository_of(self.folder.path())?;
        if repository.resolve("HEAD").is_err() {
            return Err(nothing_committed());
        }
        let id = repository.resolve(&self.commit)?;
        let commit = id.to_string();
        let base = self.base.as_deref();
        let base = base.map(|base| repository.resolve(base)).transpose()?;
        let policy = policy_of(&git, &commit)?;
        let branch = git.branch(self.branch.as_deref().unwrap_or(&policy.reference))?;
        let reference = format!("refs/heads/{branch}");
        if reference != policy.reference {
            return Err(Failure::new(format!(
                "the policy is for {}, so an approval for {reference} would count for nothing",
                policy.reference
            ))
            .hint("remove --branch"));
        }
        let tag = self.tag(&git, &repository, &commit, &branch)?;
        let scope = Scope::of(&repository, &git, &branch, id, base)?;
        let keys = known_keys(&repository, &git, &branch, &scope, id);
        let shown = show::show(&git, &repository, &scope, id, &keys, shell)?;
        self.refuse_revoked(&shown)?;
        self.confirm(&commit, shell)?;
        let before = BeforeApproval::before(&repository, &scope, id)?;
        sign(
            &git,
            &tag,
            &message(&shown, &scope, &policy, &commit),
            &commit,
        )?;
        let after = before
            .map(|before| before.after(&git, &repository, &tag))
            .transpose()?;
        let introduction = repository
            .config("plumb.introduction")
            .and_then(|named| repository.resolve(&named).ok());
        let effect = if introduction == Some(id) {
            shell.warn(
                "this approval changes nothing: the commit is this clone's introduction, which is never judged",
            );
            Some(Effect::Nothing)
        } else {
            after.as_ref().map(|after| after.effect(shell))
        };
        let held = after.as_ref().and_then(|after| after.held);
        if let Some(held) = held {
            shell.warn(held.describe());
        }
        let approved = ApproveResult {
            push: format!(
                "git push {} {}",
                quoted(&git.remote_of(&branch)),
                quoted(&format!("refs/tags/{tag}"))
            ),
            tag,
            commit,
            base: scope.base.map(|base| base.to_string()),
            repository: policy.repository,
            reference,
            identity: after.as_ref().map(|after| after.identity.clone()),
            effect,
            held_by: held.map(|held| held.commit.to_string()),
        };
        shell.emit(&approved, |palette| {
            let mut out = format!(
                "{} {} as {}\npush it: {}\n",
                palette.paint(Paint::Good, "approved"),
                short(&approved.commit),
                approved.tag,
                palette.paint(Paint::Bold, &approved.push)
            );
            if let Some(after) = &after {
                after.describe(&mut out, palette);
            }
            out
        })?;
        Ok(Exit::OK)
    }

    /// Asks the user for confirmation. Fails if there is no terminal.
    fn confirm(&self, commit: &str, shell: &Shell) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !shell.can_ask() {
            let why = "not approved: there is no terminal to confirm it on";
            return Err(Failure::new(why).hint("look at the change above, then add --yes"));
        }
        if shell.confirms(&format!("Approve {}?", short(commit)))? {
            return Ok(());
        }
        Err(Failure::new("not confirmed; nothing was signed"))
    }

    /// Refuses commits that a revoked key signed, unless the user passed `--signed-by-revoked`.
    fn refuse_revoked(&self, shown: &ShownCommits) -> Result<(), Failure> {
        let Some(revoked) = shown.by_revoked.first().filter(|_| !self.signed_by_revoked) else {
            return Ok(());
        };
        Err(Failure::new(format!(
            "not approved: a revoked key signed {}, so a thief may have made it",
            revoked.short()
        ))
        .hint(format!(
            "look at it, and ask its apparent author: git show {revoked}"
        ))
        .hint("to approve it anyway, add --signed-by-revoked"))
    }

    /// Returns the tag's name.
    fn tag(
        &self,
        git: &Git,
        repository: &Repository,
        commit: &str,
        branch: &str,
    ) -> Result<String, Failure> {
        let folder = format!("approve/{branch}");
        if let Some(id) = &self.id {
            return git.new_tag(&folder, id);
        }
        let tag = format!("{folder}/{}", default_id(git, commit)?);
        if self.base.is_none()
            && let Some(name) = approver(repository, commit, &tag)
        {
            return Err(Failure::new(format!(
                "{name} already approved this commit with the tag {tag}"
            ))
            .hint(format!(
                "push the tag so that it counts: git push {} {}",
                quoted(&git.remote_of(branch)),
                quoted(&format!("refs/tags/{tag}"))
            ))
            .hint("or create another one with --id"));
        }
        // The name is predictable, so somebody else may have pushed a tag with it, and pushed tags can't be
        // removed.
        git.free_tag(&tag)
    }
}

/// Returns the tag's message, which names exactly the commits that were shown.
fn message(shown: &ShownCommits, scope: &Scope, policy: &Policy, commit: &str) -> String {
    let base = scope.base.map(|base| format!("Approve-Base: {base}\n"));
    format!(
        "Approve {}\n\nApprove: {} {} {commit}\n{}",
        shown.subject,
        policy.repository,
        policy.reference,
        base.unwrap_or_default()
    )
}

/// Returns the policy and the revoked keys, which are needed to identify the signers of a scope's commits.
fn known_keys(
    repository: &Repository,
    git: &Git,
    branch: &str,
    scope: &Scope,
    commit: Oid,
) -> KnownKeys {
    let server = format!("refs/remotes/{}/{branch}", git.remote_of(branch));
    let server = repository.resolve(&server).ok();
    let on = scope.base.or(server).unwrap_or(commit);
    let now = Timestamp::now();
    // A revoke/ tag may point to a commit that came to the branch later.
    let revoked = [Some(on), server]
        .into_iter()
        .flatten()
        .filter_map(|on| verdict::judge_accepted(repository, on, now).ok())
        .flat_map(|outcome| outcome.revoked)
        .collect();
    KnownKeys {
        authority: verdict::authority(repository, &on).ok(),
        revoked,
    }
}

/// Creates a signed tag. If signing fails, some versions of git report it, but create the tag without a
/// signature and exit with 0. Such a tag is deleted.
fn sign(git: &Git, tag: &str, message: &str, commit: &str) -> Result<(), Failure> {
    let hint = "set the key that git signs with, in the format `gpg.format` (openpgp or ssh): git config --global user.signingkey KEY";
    git.run(&[
        "tag",
        "--sign",
        "--cleanup=verbatim",
        "--message",
        message,
        tag,
        commit,
    ])
    .map_err(|failure| failure.hint(hint))?;
    let unread = || format!("cannot read the tag {tag}");
    let raw = git.ask(&["cat-file", "tag", &format!("refs/tags/{tag}")])?;
    let target: Oid = commit.parse().or_fail(unread)?;
    let raw = format!("{raw}\n");
    let parsed = Tag::parse(raw.as_bytes(), target.format()).or_fail(unread)?;
    if parsed.signature.is_some() {
        return Ok(());
    }
    git.run(&["tag", "--delete", tag])?;
    Err(Failure::new("git created the approval without a signature, so it was deleted").hint(hint))
}

/// Returns the identity that signed an approval tag of the commit, if the policy that judges the commit has
/// it.
fn approver(repository: &Repository, commit: &str, tag: &str) -> Option<String> {
    let name = format!("refs/tags/{tag}");
    if repository.resolve(&name).ok()?.to_string() != commit {
        return None;
    }
    let parent = repository.resolve(&format!("{commit}^")).ok()?;
    let authority = verdict::authority(repository, &parent).ok()?;
    let id = repository.reference(&name).ok()??;
    let raw = repository
        .objects()
        .read(&id, ObjectKind::Tag, limits::TAG)
        .ok()?;
    let (identity, _) = authority.signer_of_tag(&raw, repository.format()).ok()?;
    Some(identity.name.clone())
}

/// Returns the policy of a commit. The repository and the branch in it are the same in every commit's policy.
fn policy_of(git: &Git, commit: &str) -> Result<Policy, Failure> {
    let text = git.blob(&format!("{commit}:{POLICY_PATH}")).map_err(|_| {
        Failure::new(format!(
            "{} has no {POLICY_PATH}, so an approval would count for nothing",
            short(commit)
        ))
        .hint("run this in the fleet's repository, or create one with `plumb init`")
    })?;
    Policy::parse(&text).map_err(|diagnostics| {
        let mut sources = plumb_document::SourceMap::default();
        sources.insert(POLICY_PATH.into(), text.into());
        Failure::new(format!("cannot read the policy of {}", short(commit)))
            .diagnostics(diagnostics, sources)
    })
}

/// Returns the default for the last part of a tag's name. It differs between approvers of the same commit.
fn default_id(git: &Git, commit: &str) -> Result<String, Failure> {
    let who = git
        .try_ask(&["config", "user.email"])
        .or_else(|| git.try_ask(&["config", "user.name"]))
        .ok_or_else(|| {
            Failure::new("git has neither `user.email` nor `user.name`")
                .hint("run `git config --global user.email YOU@EXAMPLE`, or give --id")
        })?;
    let who: String = who
        .split('@')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    Ok(format!("{}-{}", short(commit), who.trim_matches('-')))
}
