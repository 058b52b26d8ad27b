mod scope;
mod shown;
mod worth;

use std::path::PathBuf;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::object::{Tag, limits};
use plumb_trust::policy::{POLICY_PATH, Policy};
use plumb_trust::{ObjectFormat, ObjectKind, Objects as _, Oid};
use serde::Serialize;

use crate::git::{Git, more_commits, nothing_committed};
use crate::judgement;
use crate::judgement::floor::{self, repository_of};
use crate::output::{Paint, Shell, quoted, short};
use crate::report::{Exit, Failure, OrFail as _};

use scope::Scope;
use shown::{Shown, Witness};
use worth::{Effect, Scene, Worth};

/// Approve a commit with your signature
///
/// Makes a signed tag `approve/BRANCH/ID` that names the repository, the branch and the commit, so
/// that it can't be moved to another. It is signed by your own git, with the key that your git signs
/// with: keys stay where they are. Look at the commit first; this shows what it changes, and who signed it.
///
/// Of a commit that is on the branch it approves what that commit changes. Of one that isn't, such as the
/// newest of a branch that is to be merged, it approves all that comes after where that branch left. The tag
/// says since which commit (`Approve-Base:`), and is of no more than that, wherever it is merged.
///
/// The tag counts once it is pushed; the command for that is printed, and what is still missing then. An
/// approval without a signature, or by a key that the policy doesn't have or that is revoked, isn't
/// kept: it would count for nothing. One that changes nothing, because the commit is accepted without it
/// or its signer counts already, is kept with a warning.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb approve origin/main     # what was pushed, after git fetch\n  plumb approve 4f1d5e0b\n  git push origin 'refs/tags/approve/*'"
)]
pub(super) struct Approve {
    /// A commit, or a branch for its newest commit
    #[arg(value_name = "COMMIT|BRANCH")]
    commit: String,

    /// The branch that it is approved for; the policy's own when left out
    #[arg(long)]
    branch: Option<String>,

    /// Approve everything since this commit (`Approve-Base:`)
    #[arg(long, value_name = "COMMIT")]
    base: Option<String>,

    /// Approve it although a revoked key has signed it, so that a thief may have made it
    #[arg(long)]
    signed_by_revoked: bool,

    /// The tag's last part; made of the commit and your name when left out, with a number where a stranger has that
    #[arg(long)]
    id: Option<String>,

    /// The repository
    #[arg(short = 'C', long = "repo", value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Approved {
    tag: String,
    commit: String,
    /// The commit before all that is approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    repository: String,
    #[serde(rename = "ref")]
    reference: String,
    /// Whose approval it is, where the policy that judges the commit could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// What it does for the commit, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<Effect>,
    /// The first commit before it that isn't accepted: whatever this one has, it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
    push: String,
}

impl Approve {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let git = Git::at(&self.folder);
        let repository = repository_of(&self.folder)?;
        if repository.resolve("HEAD").is_err() {
            return Err(nothing_committed());
        }
        let id = repository.resolve(&self.commit)?;
        let commit = id.to_string();
        let said = self.base.as_deref();
        let said = said.map(|base| repository.resolve(base)).transpose()?;
        let policy = policy_of(&git, &commit)?;
        let branch = git.branch(self.branch.as_deref().unwrap_or(&policy.reference))?;
        let reference = format!("refs/heads/{branch}");
        if reference != policy.reference {
            return Err(Failure::new(format!(
                "the policy is of {}: an approval for {reference} would count for nothing",
                policy.reference
            ))
            .hint("leave --branch out"));
        }
        let tag = self.tag(&git, &repository, &commit, &branch)?;
        let scope = Scope::of(&repository, &git, &branch, id, said)?;
        let witness = witness(&repository, &git, &branch, &scope, id);
        let shown = shown::show(&git, &repository, &scope, id, &witness, shell)?;
        self.not_a_thief_s(&shown)?;
        let scene = Scene::of(&repository, &scope, id)?;
        let upstream = format!("{}/{branch}", git.remote_of(&branch));
        if let Some(more) = (self.commit == branch)
            .then(|| floor::ahead(&git, &commit, &upstream))
            .flatten()
        {
            shell.warn(format_args!(
                "{upstream} has {} than {branch} here: to approve its newest, plumb approve {}",
                more_commits(more),
                quoted(&upstream)
            ));
        }
        let mut message = format!(
            "Approve {}\n\nApprove: {} {reference} {commit}\n",
            shown.subject, policy.repository
        );
        if let Some(base) = &scope.base {
            message.push_str(&format!("Approve-Base: {base}\n"));
        }
        git.run(&["tag", "--sign", "--cleanup=verbatim", "--message", &message, &tag, &commit])
            .map_err(|failure| {
                failure
                    .hint("git signs with `user.signingkey` in the format `gpg.format` (openpgp or ssh); `git config --global user.signingkey KEY` sets it")
            })?;
        signed(&git, &tag)?;
        let worth = scene.map(|scene| scene.worth(&git, &tag)).transpose()?;
        let introduction = repository
            .config("plumb.introduction")
            .and_then(|named| repository.resolve(&named).ok());
        let is_introduction = introduction.is_some_and(|named| named.to_string() == commit);
        let push = format!(
            "git push {} {}",
            quoted(&git.remote_of(&branch)),
            quoted(&format!("refs/tags/{tag}"))
        );
        let approved = Approved {
            tag,
            commit,
            base: scope.base.map(|base| base.to_string()),
            repository: policy.repository.clone(),
            reference,
            identity: worth.as_ref().map(|worth| worth.identity.clone()),
            effect: if is_introduction {
                Some(Effect::Nothing)
            } else {
                worth.as_ref().map(Worth::effect)
            },
            held_by: worth
                .as_ref()
                .and_then(|worth| worth.held)
                .map(|held| held.commit.to_string()),
            push,
        };
        if is_introduction {
            shell.warn(
                "this approval changes nothing: the commit is this clone's introduction, which nothing judges",
            );
        } else if let Some(worth) = worth
            .as_ref()
            .filter(|worth| worth.effect() == Effect::Nothing)
        {
            shell.warn(format_args!(
                "this approval changes nothing: {}",
                worth.vain()
            ));
        }
        if let Some(held) = worth.as_ref().and_then(|worth| worth.held) {
            shell.warn(held.told());
        }
        tell(&approved, worth.as_ref(), shell)?;
        Ok(Exit::OK)
    }

    /// Refuses what a revoked key has signed, unless that was looked at.
    fn not_a_thief_s(&self, shown: &Shown) -> Result<(), Failure> {
        let Some(stolen) = shown.by_revoked.first().filter(|_| !self.signed_by_revoked) else {
            return Ok(());
        };
        Err(Failure::new(format!(
            "a revoked key has signed {}, so that a thief may have made it: nothing was signed",
            stolen.short()
        ))
        .hint(format!(
            "look at it, and ask whoever seems to have made it: git show {stolen}"
        ))
        .hint("if it is good all the same, --signed-by-revoked approves it"))
    }

    /// The tag's name.
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
        let tag = format!("{folder}/{}", id(git, commit)?);
        if self.base.is_none()
            && let Some(name) = by_an_identity(repository, commit, &tag)
        {
            return Err(
                Failure::new(format!("the tag {tag} by {name} has done it already"))
                    .hint(format!(
                        "it counts once it is pushed: git push {} {}",
                        quoted(&git.remote_of(branch)),
                        quoted(&format!("refs/tags/{tag}"))
                    ))
                    .hint("--id makes another one"),
            );
        }
        // Anybody could foresee the name, and what is pushed stays.
        git.free_tag(&tag)
    }
}

/// By what it is told who signed the commits of a scope.
fn witness(
    repository: &Repository,
    git: &Git,
    branch: &str,
    scope: &Scope,
    commit: Oid,
) -> Witness {
    let watched = format!("refs/remotes/{}/{branch}", git.remote_of(branch));
    let watched = repository.resolve(&watched).ok();
    let on = scope.base.or(watched).unwrap_or(commit);
    let now = Timestamp::now();
    // Tags may stand on what came to the branch later.
    let revoked = [Some(on), watched]
        .into_iter()
        .flatten()
        .filter_map(|on| judgement::revoked(repository, on, now).ok())
        .flatten()
        .collect();
    Witness {
        authority: judgement::authority(repository, &on).ok(),
        revoked,
    }
}

/// Says what was made, how it is pushed, and what it is worth.
fn tell(approved: &Approved, worth: Option<&Worth>, shell: &Shell) -> Result<(), Failure> {
    shell.emit(approved, |palette| {
        let mut out = format!(
            "{} {} as {}\npush it: {}\n",
            palette.paint(Paint::Good, "approved"),
            short(&approved.commit),
            approved.tag,
            palette.paint(Paint::Bold, &approved.push)
        );
        if let Some(worth) = worth {
            worth.describe(&mut out, palette);
        }
        out
    })
}

/// Refuses a tag that git made without a signature, and takes it away: some versions of git say that it
/// couldn't be signed, and end as if it was.
fn signed(git: &Git, tag: &str) -> Result<(), Failure> {
    let name = format!("refs/tags/{tag}");
    let raw = git.ask(&["cat-file", "tag", &name])?;
    let format = match git.ask(&["rev-parse", &name])?.len() {
        40 => ObjectFormat::Sha1,
        _ => ObjectFormat::Sha256,
    };
    let raw = format!("{raw}\n");
    let parsed =
        Tag::parse(raw.as_bytes(), format).or_fail(|| format!("the tag {tag} can't be read"))?;
    if parsed.signature.is_some() {
        return Ok(());
    }
    git.run(&["tag", "--delete", tag])?;
    Err(
        Failure::new("git made the approval without a signature, so it wasn't kept").hint(
            "git signs with `user.signingkey` in the format `gpg.format` (openpgp or ssh); `git config user.signingkey` says with which key, and `git tag --sign x` whether it can",
        ),
    )
}

/// Who has made such a tag of the commit, if it is somebody whom the policy that judges it knows.
fn by_an_identity(repository: &Repository, commit: &str, tag: &str) -> Option<String> {
    let name = format!("refs/tags/{tag}");
    if repository.resolve(&name).ok()?.to_string() != commit {
        return None;
    }
    let parent = repository.resolve(&format!("{commit}^")).ok()?;
    let authority = judgement::authority(repository, &parent).ok()?;
    let id = repository.reference(&name).ok()??;
    let raw = repository
        .objects()
        .read(&id, ObjectKind::Tag, limits::TAG)
        .ok()?;
    let (identity, _) = authority.signer_of_tag(&raw, repository.format()).ok()?;
    Some(identity.name.clone())
}

/// The policy that a commit has; what matters of it here (repository and branch) never changes.
fn policy_of(git: &Git, commit: &str) -> Result<Policy, Failure> {
    let text = git.blob(&format!("{commit}:{POLICY_PATH}")).map_err(|_| {
        Failure::new(format!(
            "{} has no {POLICY_PATH}, so there is nothing to approve for",
            short(commit)
        ))
        .hint("is this the fleet's repository? `plumb init` makes one")
    })?;
    Policy::parse(&text).map_err(|diagnostics| {
        let mut sources = plumb_document::SourceMap::default();
        sources.insert(POLICY_PATH.into(), text.into());
        Failure::new(format!("the policy of {} can't be read", short(commit)))
            .diagnostics(diagnostics, sources)
    })
}

/// A name that two approvers of one commit don't share.
fn id(git: &Git, commit: &str) -> Result<String, Failure> {
    let who = git
        .try_ask(&["config", "user.email"])
        .or_else(|| git.try_ask(&["config", "user.name"]))
        .ok_or_else(|| {
            Failure::new("git doesn't know who you are")
                .hint("git config --global user.email YOU@EXAMPLE, or say --id")
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
