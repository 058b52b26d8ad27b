use std::collections::BTreeSet;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::object::limits;
use plumb_trust::policy::{Authority, NeedOrigin, POLICY_PATH, TRUST_PATH};
use plumb_trust::{KeyName, ObjectKind, Objects as _, Oid, Signer};
use serde::Serialize;

use super::folder::{owner, top};
use super::needs::{self, GroupNeed};
use super::policy_edit::NEW_ROOT;
use super::revocations;
use crate::cli::folder::RepositoryFolder;
use crate::cli::init::founders::{user_name, word};
use crate::git::Git;
use crate::output::{Paint, Palette, Shell, one_of, quoted};
use crate::public_key::PublicKey;
use crate::report::{Exit, Failure};
use crate::repository::repository_of;
use crate::verdict::history::server_head;
use crate::verdict::{self, FloorSource, Range};

/// Revoke a key at once
///
/// Creates a signed tag `revoke/FINGERPRINT/ID` on the newest accepted commit, with your own git. The
/// revocation takes effect once as many people have pushed such a tag as a change of trust/ needs,
/// whatever is pending or frozen. It is permanent: the key never counts again. If too few people would
/// be left for a rule, or the policy doesn't have the key, the command refuses; --yes revokes anyway.
///
/// A file in `revoked.d` on the controller's machine takes effect at once and needs nobody's signature.
/// The command prints how to write it.
///
/// Afterwards remove the key from the policy: plumb trust rotate, or plumb trust remove.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust revoke SHA256:… --reason 'laptop stolen'\n  plumb trust revoke 77AA…\n  plumb trust revoke SHA256:… --yes     # stolen, though too few are left then"
)]
pub(super) struct Revoke {
    /// The key: SHA256:… for SSH, 40 hexadecimal digits for OpenPGP, or its public key's file
    #[arg(value_name = "FINGERPRINT|FILE")]
    key: String,

    /// The reason, for those who read the tag later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// The accepted commit that the tag points to; by default the newest one
    #[arg(long, value_name = "COMMIT")]
    on: Option<String>,

    /// The tag's last part; by default your name, with a number if that is taken
    #[arg(long)]
    id: Option<String>,

    /// Revoke it even if that leaves too few to meet a rule, or if the policy has no such key
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    folder: RepositoryFolder,
}

/// A rule that nobody can meet any more.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnmetNeed {
    /// The rule or the emergency.
    rule: NeedOrigin,
    from: String,
    count: u32,
    /// The members of the group whose keys still count.
    left: Vec<String>,
}

impl UnmetNeed {
    fn describe(&self) -> String {
        let left = match self.left.as_slice() {
            [] => "none of them".to_owned(),
            some => format!("only {}", some.join(" and ")),
        };
        format!(
            "{} needs {} of {}, and {left} could sign",
            self.rule, self.count, self.from
        )
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RevokeResult {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    tag: String,
    commit: String,
    signer: String,
    /// The people who have created a tag that counts for this revocation.
    revokers: BTreeSet<String>,
    /// The signatures that are still missing before the revocation takes effect.
    missing: Vec<GroupNeed>,
    /// Earlier tags that count together with the new tag.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Signer>,
    /// The earlier tags in words.
    #[serde(skip)]
    earlier_text: String,
    /// Rules that nobody can meet any more when the revocation takes effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacking: Vec<UnmetNeed>,
    /// The commands that revoke the key on the controller's machine.
    at_once: Vec<String>,
    push: String,
    /// The command that removes the key from the policy afterwards; empty if too few people are left for
    /// that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    afterwards: Vec<String>,
    /// The signatures that a change of trust/ needs afterwards, from the people who are left.
    #[serde(skip)]
    changers: Vec<GroupNeed>,
}

impl Revoke {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let root = top(self.folder.path());
        let git = Git::at(&root);
        let repository = repository_of(&root)?;
        let on = self.accepted(&repository)?;
        let authority = authority_of(&repository, &on)?;
        let policy = &authority.policy;
        let key = self.key_name(&authority)?;
        let now = Timestamp::now();
        let before = verdict::judge_accepted(&repository, on, now)?;
        if !self.yes && !has_key(&authority, &key) {
            return Err(Failure::new(format!(
                "the policy doesn't have the key {key}; nothing was revoked"
            ))
            .hint("check it for typing errors: `plumb trust show` lists the keys of the policy")
            .hint(format!(
                "or keep a former key from ever counting again: plumb trust revoke {key} --yes"
            )));
        }
        let revoked = [&before.revoked[..], std::slice::from_ref(&key)].concat();
        let lacking = lacking(&authority, &before.revoked, &revoked, now);
        let able = authority.able_without(&revoked, now);
        let changers: Vec<GroupNeed> = needs::of_paths(policy, [TRUST_PATH].into_iter())
            .into_iter()
            .map(|need| need.only(&able))
            .collect();
        if !lacking.is_empty() && !self.yes {
            return Err(refused(&authority, &key, &lacking, &changers));
        }
        let begun = before.begun.into_iter().filter(|begun| begun.key == key);
        let earlier: Vec<Signer> = begun.flat_map(|begun| begun.signers).collect();
        let tag = self
            .tag(&git, &repository, &authority, &key)
            .map_err(|failure| with_local_hint(failure, &key))?;
        let signer = self
            .sign(&git, &repository, &authority, &key, &tag, on)
            .map_err(|failure| with_local_hint(failure, &key))?;
        let by = revokers(&repository, &authority, &key.to_hex())?;
        let able = authority.able_without(&[], now);
        let missing = needs::of_paths(policy, [TRUST_PATH].into_iter());
        let missing = missing.into_iter().filter_map(|need| need.after(&by));
        let remote = git.remote_of(policy.branch());
        let revoked = RevokeResult {
            key: key.to_string(),
            identity: owner(policy, &key).map(str::to_owned),
            commit: on.to_string(),
            signer,
            missing: missing.map(|need| need.only(&able)).collect(),
            revokers: by,
            earlier_text: revocations::signers(&earlier, |key| before.revoked.contains(key)),
            earlier,
            lacking,
            at_once: at_once(&key),
            push: format!("git push {} refs/tags/{tag}", quoted(&remote)),
            tag,
            afterwards: if too_few(&changers) {
                Vec::new()
            } else {
                afterwards(&authority, &key).into_iter().collect()
            },
            changers,
        };
        shell.emit(&revoked, |palette| revoked.describe(palette))?;
        Ok(Exit::OK)
    }

    /// Creates the tag and returns its signer. Deletes the tag again if it can't count.
    fn sign(
        &self,
        git: &Git,
        repository: &Repository,
        authority: &Authority,
        key: &KeyName,
        tag: &str,
        on: Oid,
    ) -> Result<String, Failure> {
        let whose = owner(&authority.policy, key);
        let whose = whose.map_or_else(String::new, |name| format!(" of {name}"));
        let reason = self.reason.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!("\n{reason}\n"));
        let message = format!("Revoke {key}{whose}\n{reason}");
        git.run(&["tag", "--sign", "--cleanup=verbatim", "--message", &message, tag, &on.to_string()])
            .map_err(|failure| {
                failure.hint("set the key that git signs with, in the format `gpg.format` (openpgp or ssh): git config --global user.signingkey KEY")
            })?;
        let why = match signer(repository, authority, tag) {
            Ok(name) => return Ok(name),
            Err(why) => why,
        };
        git.run(&["tag", "--delete", tag])?;
        let needs = needs::of_paths(&authority.policy, [TRUST_PATH].into_iter());
        let members: BTreeSet<String> = needs.into_iter().flat_map(|need| need.members).collect();
        let members: Vec<String> = members.into_iter().collect();
        Err(Failure::new(format!(
            "the tag's signature would count for nothing, so it was deleted: {why}"
        ))
        .hint(format!(
            "sign with a key of {POLICY_PATH} (git config user.signingkey KEY), or ask its owner to revoke it: {}",
            one_of(&members)
        )))
    }

    /// Returns the tag's name.
    fn tag(
        &self,
        git: &Git,
        repository: &Repository,
        authority: &Authority,
        key: &KeyName,
    ) -> Result<String, Failure> {
        let folder = format!("revoke/{}", free_folder(git, &key.to_hex())?);
        if let Some(id) = &self.id {
            return git.new_tag(&folder, id);
        }
        let name = user_name(git).map(|name| word(&name)).ok_or_else(|| {
            Failure::new("git has neither `user.email` nor `user.name`")
                .hint("run `git config --global user.email YOU@EXAMPLE`, or give --id")
        })?;
        let tag = format!("{folder}/{name}");
        if let Ok(name) = signer(repository, authority, &tag) {
            return Err(
                Failure::new(format!("{name} already revoked it with the tag {tag}"))
                    .hint("push the tag so that it acts, or create another one with --id"),
            );
        }
        // The name is predictable, so somebody else may have pushed a tag with it, and pushed tags can't be
        // removed.
        git.free_tag(&tag)
    }

    /// Returns the newest accepted commit. A tag on a commit that isn't accepted has no effect yet.
    fn accepted(&self, repository: &Repository) -> Result<Oid, Failure> {
        if let Some(on) = &self.on {
            return Ok(repository.resolve(on)?);
        }
        let unknown = || {
            Failure::new("cannot tell which commits are accepted here")
                .hint("set the root of trust once: git config plumb.introduction COMMIT")
                .hint("or name a commit that hosts run: --on COMMIT")
        };
        let introduction = repository
            .config("plumb.introduction")
            .ok_or_else(unknown)?;
        let floor = verdict::introduction(repository, &introduction)?;
        let reference = authority_of(repository, &floor)?.policy.reference;
        let head = match server_head(repository, &floor) {
            Some(head) => head,
            None => repository.resolve(&reference)?,
        };
        let tags = repository.tags()?;
        let range = Range {
            floor,
            source: FloorSource::Introduction,
            head,
            tags: &tags,
            now: Timestamp::now(),
        };
        let outcome = verdict::judge(repository, &range);
        outcome.revision().ok_or_else(unknown)?;
        Ok(outcome.accepted)
    }

    /// Parses the key to revoke. Explains the error if a person's name was given instead.
    fn key_name(&self, authority: &Authority) -> Result<KeyName, Failure> {
        let text = &self.key;
        if std::path::Path::new(text).is_file() {
            return Ok(PublicKey::of_file(text.as_ref())?.name);
        }
        text.parse()
            .or_else(|_| KeyName::from_hex(text))
            .map_err(|error| {
                let failure = Failure::new(format!("`{text}` is {error}"));
                let identities = authority.policy.identities.iter();
                let named = identities.filter(|identity| identity.name == *text);
                named
                    .flat_map(|identity| &identity.keys)
                    .fold(failure, |all, key| {
                        all.hint(format!("{text} has {}", key.name))
                    })
                    .hint("run `plumb trust show` for the keys of the policy")
            })
    }
}

impl RevokeResult {
    fn describe(&self, palette: Palette) -> String {
        let note = palette.paint(Paint::Warn, "note:");
        let bold = |command: &str| palette.paint(Paint::Bold, command);
        let mut out = format!(
            "{} {} as {}, on {}\n  signed by {}\n",
            palette.paint(Paint::Good, "revoked:"),
            self.key,
            self.tag,
            crate::output::short(&self.commit),
            self.signer
        );
        let mut line = |text: &str| {
            out.push_str(text);
            out.push('\n');
        };
        if self.identity.is_none() {
            line(&format!(
                "{note} the policy doesn't have this key now: the tag keeps it from ever counting again"
            ));
        }
        line(
            "If it was stolen, first run this on the controller's machine; it takes effect at once and needs nobody else:",
        );
        for command in &self.at_once {
            line(&format!("  {}", bold(command)));
        }
        line(&format!("push it: {}", bold(&self.push)));
        if !self.earlier.is_empty() {
            let delete = bold(&format!("git tag -d {}", self.tag));
            let earlier = &self.earlier_text;
            line(&format!(
                "{note} it counts together with the earlier revocation by {earlier}. If you don't mean that, delete yours before you push it: {delete}"
            ));
        }
        if self.missing.is_empty() {
            line("Once pushed, it takes effect for everyone who follows the repository.");
        }
        for need in &self.missing {
            let (count, from, who) = (need.count, &need.from, one_of(&need.members));
            let again = bold(&format!("plumb trust revoke {}", self.key));
            line(&format!(
                "{note} it has no effect yet: {count} more of {from} must do the same ({who}):\n  {again}"
            ));
        }
        for lacking in &self.lacking {
            line(&format!(
                "{note} once it takes effect, {}",
                lacking.describe()
            ));
        }
        if too_few(&self.changers) {
            line(&format!(
                "{note} then too few are left to change trust/, so {NEW_ROOT}"
            ));
        }
        for command in &self.afterwards {
            let needs = needs::describe(&self.changers);
            let command = bold(command);
            line(&format!(
                "Afterwards remove the key from the policy, in a commit that needs {needs}:\n  {command}"
            ));
        }
        out
    }
}

/// Returns the needs that nobody could meet after this revocation.
fn lacking(
    authority: &Authority,
    already: &[KeyName],
    revoked: &[KeyName],
    now: Timestamp,
) -> Vec<UnmetNeed> {
    let before = authority.check_without(already, now).unsatisfiable;
    let able = authority.able_without(revoked, now);
    let policy = &authority.policy;
    let after = authority.check_without(revoked, now).unsatisfiable;
    let new = after.into_iter().filter(|need| !before.contains(need));
    new.map(|need| {
        let members = policy.group(&need.from).iter();
        let left = members.map(|member| policy.name(*member));
        UnmetNeed {
            left: left
                .filter(|name| able.contains(name))
                .map(str::to_owned)
                .collect(),
            rule: need.rule,
            from: need.from,
            count: need.count,
        }
    })
    .collect()
}

/// True if too few people are left to change `trust/`.
fn too_few(changers: &[GroupNeed]) -> bool {
    changers.iter().any(GroupNeed::lacks_members)
}

/// Returns the error for a revocation after which nobody could meet some rule.
fn refused(
    authority: &Authority,
    key: &KeyName,
    lacking: &[UnmetNeed],
    changers: &[GroupNeed],
) -> Failure {
    let whose = owner(&authority.policy, key);
    let whose = whose.map_or_else(String::new, |name| format!(" of {name}"));
    let lacking: Vec<_> = lacking.iter().map(UnmetNeed::describe).collect();
    let failure = Failure::new(format!(
        "without {key}{whose} too few are left: {}; nothing was revoked",
        lacking.join("; ")
    ));
    let failure = with_local_hint(failure, key).hint(format!(
        "or revoke it for everyone who follows the repository: plumb trust revoke {key} --yes"
    ));
    if too_few(changers) {
        return failure.hint(format!("if the key is lost, {NEW_ROOT}"));
    }
    failure.maybe_hint(afterwards(authority, key).map(|command| {
        format!("if the key is lost, or the revocation can wait, replace it first: {command}")
    }))
}

/// Returns the command that removes a key from the policy.
fn afterwards(authority: &Authority, key: &KeyName) -> Option<String> {
    let name = owner(&authority.policy, key)?;
    let mut identities = authority.policy.identities.iter();
    let identity = identities.find(|identity| identity.name == name)?;
    Some(if identity.keys.len() > 1 {
        format!("plumb trust remove {name} --key {key}")
    } else {
        format!("plumb trust rotate {name} --key FILE --old {key}")
    })
}

/// Adds a hint with the commands that revoke the key on the controller, without a tag.
fn with_local_hint(failure: Failure, key: &KeyName) -> Failure {
    failure.hint(format!(
        "if the key was stolen, don't wait: run this on the controller's machine; it takes effect at once and needs nobody else: {}",
        at_once(key).join(" && ")
    ))
}

/// Returns the commands that make a controller ignore a key at once.
fn at_once(key: &KeyName) -> Vec<String> {
    vec![
        "sudo mkdir -p /etc/plumb/revoked.d".to_owned(),
        format!("echo '{key}' | sudo tee -a /etc/plumb/revoked.d/stolen"),
        "plumb notify".to_owned(),
    ]
}

/// Maximum number of spellings of a fingerprint that are tried.
const SPELLINGS: u32 = 64;

/// Returns a spelling of a fingerprint below which git can create tags. If a tag is named exactly
/// `revoke/FINGERPRINT`, git can't create tags below it, so this tries other letter cases. A thief who has
/// the key may have pushed such a tag on purpose.
fn free_folder(git: &Git, hex: &str) -> Result<String, Failure> {
    let listed = git.ask(&["for-each-ref", "--format=%(refname)", "refs/tags/revoke"])?;
    let taken = |name: &str| {
        let tag = format!("refs/tags/revoke/{name}");
        listed.lines().any(|listed| listed == tag)
    };
    let spelled = |spelling: u32| {
        let mut letter = 0_u32;
        hex.chars()
            .map(|c| {
                if !c.is_ascii_alphabetic() {
                    return c;
                }
                let upper = spelling.checked_shr(letter).unwrap_or(0) & 1 == 1;
                letter += 1;
                if upper { c.to_ascii_uppercase() } else { c }
            })
            .collect::<String>()
    };
    Ok((0..SPELLINGS)
        .map(spelled)
        .find(|name| !taken(name))
        .unwrap_or_else(|| hex.to_owned()))
}

/// True if the policy has this key, or a certificate that it is a part of.
fn has_key(authority: &Authority, key: &KeyName) -> bool {
    let mut keys = authority.policy.identities.iter().flat_map(|i| &i.keys);
    keys.any(|own| own.name == *key || authority.is_part_of(key, &own.name))
}

/// Returns the policy of a commit. Fails if the commit has none.
fn authority_of(repository: &Repository, commit: &Oid) -> Result<Authority, Failure> {
    verdict::authority(repository, commit).map_err(|diagnostics| {
        Failure::new(format!("{} has no valid {POLICY_PATH}", commit.short()))
            .diagnostics(diagnostics, plumb_document::SourceMap::default())
    })
}

/// Returns the identity that signed a tag. Fails if the identity is in no group.
fn signer(repository: &Repository, authority: &Authority, tag: &str) -> Result<String, String> {
    let name = format!("refs/tags/{tag}");
    let id = repository
        .reference(&name)
        .map_err(|error| error.to_string())?;
    let id = id.ok_or_else(|| format!("{name} doesn't exist"))?;
    let raw = repository
        .objects()
        .read(&id, ObjectKind::Tag, limits::TAG)
        .map_err(|error| error.to_string())?;
    let (identity, _) = authority
        .signer_of_tag(&raw, repository.format())
        .map_err(|reason| reason.to_string())?;
    let policy = &authority.policy;
    let mut members = policy.groups.values().flatten();
    if members.any(|member| policy.name(*member) == identity.name) {
        Ok(identity.name.clone())
    } else {
        Err(format!("{} is in no group", identity.name))
    }
}

/// Lists the people who have created a tag that revokes this key.
fn revokers(
    repository: &Repository,
    authority: &Authority,
    hex: &str,
) -> Result<BTreeSet<String>, Failure> {
    let mut names = BTreeSet::new();
    for tag in repository.tags()? {
        let Some(short) = tag.name.strip_prefix("refs/tags/") else {
            continue;
        };
        let of_key = short
            .strip_prefix("revoke/")
            .and_then(|rest| rest.split('/').next())
            .is_some_and(|own| own.eq_ignore_ascii_case(hex));
        if of_key && let Ok(signer) = signer(repository, authority, short) {
            names.insert(signer);
        }
    }
    Ok(names)
}
