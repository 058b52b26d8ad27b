mod left;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::object::limits;
use plumb_trust::policy::{Authority, POLICY_PATH, TRUST_PATH};
use plumb_trust::{KeyName, ObjectKind, Objects as _, Oid, Signer};
use serde::Serialize;

use super::folder::{owner, top};
use super::founders::{user_name, word};
use super::key::PublicKey;
use super::next::{Wanted, wanted};
use super::revocations;
use crate::git::Git;
use crate::judgement::floor::repository_of;
use crate::judgement::{self, FloorOf, Range};
use crate::output::{Paint, Palette, Shell, one_of, quoted};
use crate::report::{Exit, Failure, OrFail as _};
pub(super) use left::NEW_ROOT;
use left::{Lacking, Left};

/// Take a key's authority away at once
///
/// Makes a signed tag `revoke/FINGERPRINT/ID` on the newest accepted commit, with your own git. It acts
/// as soon as it is pushed, whatever is pending or frozen, once as many people as a change of trust/
/// needs have made one. Revoking can't be taken back: a revoked key never counts again here. Where it
/// would leave too few to meet a rule of the policy, or the policy has no such key, that is said, and
/// --yes revokes all the same.
///
/// What acts at once and takes nobody's signature is a file in `revoked.d` on the controller's machine:
/// the commands for it are printed first.
///
/// Afterwards take the key out of the policy too: plumb trust remove.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plumb trust revoke SHA256:… --reason 'laptop stolen'\n  plumb trust revoke 77AA…\n  plumb trust revoke SHA256:… --yes     # stolen, though too few are left then"
)]
pub(super) struct Revoke {
    /// The key: SHA256:… for SSH, 40 hexadecimal digits for OpenPGP, or its public key's file
    #[arg(value_name = "FINGERPRINT|FILE")]
    key: String,

    /// Why, for those who look at the tag later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// An accepted commit for the tag to stand on; the newest one when left out
    #[arg(long, value_name = "COMMIT")]
    on: Option<String>,

    /// The tag's last part; made of your name when left out, with a number where that is taken
    #[arg(long)]
    id: Option<String>,

    /// Revoke it even if too few are left then to meet a rule, or if the policy has no such key
    #[arg(short, long)]
    yes: bool,

    /// The repository's folder
    #[arg(short = 'C', long = "repo", value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Revoked {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    tag: String,
    commit: String,
    signer: String,
    /// Who has made such a tag that counts.
    revokers: BTreeSet<String>,
    /// What is still missing before it acts.
    missing: Vec<Wanted>,
    /// Tags that were here before and count together with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Signer>,
    /// The same in words.
    #[serde(skip)]
    others: String,
    /// Rules that nobody can meet any more once it acts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacking: Vec<Lacking>,
    /// What makes the controller count it for nothing at once, on its machine.
    at_once: Vec<String>,
    push: String,
    /// What takes the key out of the policy then, if enough are left for that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    afterwards: Vec<String>,
    /// Who may sign that, in words; why nobody may.
    #[serde(skip)]
    changers: Result<String, &'static str>,
}

impl Revoke {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let root = top(&self.folder);
        let git = Git::at(&root);
        let repository = repository_of(&root)?;
        let on = self.accepted(&repository, &git)?;
        let authority = authority_of(&repository, &on)?;
        let policy = &authority.policy;
        let key = self.key_name(&authority)?;
        let now = Timestamp::now();
        let before = judgement::taken_as_accepted(&repository, on, now)?;
        let already = before.revoked;
        if !self.yes && !is_of(&authority, &key) {
            return Err(Failure::new(format!(
                "the policy has no key {key}; nothing was revoked"
            ))
            .hint("`plumb trust show` lists its keys: is it mistyped?")
            .hint(format!(
                "a key that was in it, and shall never count again: plumb trust revoke {key} --yes"
            )));
        }
        let left = Left::of(&authority, &already, &key, now);
        if !left.lacking.is_empty() && !self.yes {
            return Err(left.refused());
        }
        let hex = key.to_hex();
        let begun = before.begun.into_iter().filter(|begun| begun.key == key);
        let earlier: Vec<Signer> = begun.flat_map(|begun| begun.signers).collect();
        let others = revocations::signers(&earlier, |key| already.contains(key));
        let tag = self
            .tag(&git, &repository, &authority, &hex)
            .map_err(|failure| stolen(failure, &key))?;
        let whose = owner(policy, &key).map(str::to_owned);
        let mut message = format!(
            "Revoke {key}{}\n",
            whose
                .as_ref()
                .map_or_else(String::new, |name| format!(" of {name}"))
        );
        if let Some(reason) = &self.reason {
            let _ = write!(message, "\n{reason}\n");
        }
        git.run(&["tag", "--sign", "--cleanup=verbatim", "--message", &message, &tag, &on.to_string()])
            .map_err(|failure| {
                stolen(failure, &key)
                    .hint("git signs with `user.signingkey` in the format `gpg.format` (openpgp or ssh); `git config --global user.signingkey KEY` sets it")
            })?;
        let maker = match Self::signer(&repository, &authority, &tag) {
            Ok(name) => name,
            Err(why) => {
                git.run(&["tag", "--delete", &tag])?;
                let failure = Failure::new(format!(
                    "the tag's signature would count for nothing, so it wasn't kept: {why}"
                ));
                return Err(stolen(failure, &key).hint(format!(
                    "sign with a key of {POLICY_PATH} (git config user.signingkey KEY), or let one of them revoke it: {}",
                    one_of(&members(&wanted(policy, [TRUST_PATH].into_iter())))
                )));
            }
        };
        let by = revokers(&repository, &authority, &hex)?;
        let signed: Vec<&str> = by.iter().map(String::as_str).collect();
        // Whoever's key is past its end can't revoke any more; one that a tag names can.
        let able = authority.able_without(&[], now);
        let missing: Vec<Wanted> = wanted(policy, [TRUST_PATH].into_iter())
            .into_iter()
            .filter_map(|need| {
                let (count, others) = need.rest(&signed);
                let others = others.into_iter().filter(|name| able.contains(name));
                let members = others.map(str::to_owned).collect();
                (count > 0).then(|| Wanted {
                    count,
                    members,
                    ..need.clone()
                })
            })
            .collect();
        let remote = git.remote_of(policy.branch());
        let revoked = Revoked {
            key: key.to_string(),
            identity: whose,
            commit: on.to_string(),
            signer: maker,
            revokers: by,
            missing,
            earlier,
            others,
            at_once: at_once(&key),
            push: format!("git push {} refs/tags/{tag}", quoted(&remote)),
            tag,
            afterwards: match left.signers() {
                Ok(_) => left.afterwards(),
                Err(_) => Vec::new(),
            },
            changers: left.signers(),
            lacking: left.lacking,
        };
        shell.emit(&revoked, |palette| revoked.describe(&on, palette))?;
        Ok(Exit::OK)
    }

    /// The tag's name.
    fn tag(
        &self,
        git: &Git,
        repository: &Repository,
        authority: &Authority,
        hex: &str,
    ) -> Result<String, Failure> {
        let folder = format!("revoke/{}", free_folder(git, hex)?);
        if let Some(id) = &self.id {
            return git.new_tag(&folder, id);
        }
        let name = user_name(git).map(|name| word(&name)).ok_or_else(|| {
            Failure::new("git doesn't know who you are")
                .hint("git config --global user.email YOU@EXAMPLE, or say --id")
        })?;
        let tag = format!("{folder}/{name}");
        if let Ok(name) = Self::signer(repository, authority, &tag) {
            return Err(
                Failure::new(format!("the tag {tag} by {name} has done it already"))
                    .hint("it acts once it is pushed; --id makes another one"),
            );
        }
        // Anybody could foresee the name, and what is pushed stays.
        git.free_tag(&tag)
    }

    /// The newest commit that is accepted: a tag on any other says nothing yet.
    fn accepted(&self, repository: &Repository, git: &Git) -> Result<Oid, Failure> {
        if let Some(on) = &self.on {
            return Ok(repository.resolve(on)?);
        }
        let unknown = || {
            Failure::new("it isn't known which commits are accepted here")
                .hint("say the root of trust, once: git config plumb.introduction COMMIT")
                .hint("or the commit: --on COMMIT, one that hosts run")
        };
        let introduction = repository
            .config("plumb.introduction")
            .ok_or_else(unknown)?;
        let floor = judgement::introduction(repository, &introduction)?;
        let branch = authority_of(repository, &floor)?.policy.branch().to_owned();
        // What the server has counts, as far as it was fetched.
        let remote = git.remote_of(&branch);
        let head = repository
            .resolve(&format!("refs/remotes/{remote}/{branch}"))
            .or_else(|_| repository.resolve(&format!("refs/heads/{branch}")))?;
        let tags = repository.tags()?;
        let range = Range {
            floor,
            floor_of: FloorOf::Introduction,
            head,
            tags: &tags,
            now: Timestamp::now(),
        };
        let outcome = judgement::judge(repository, &range);
        match outcome.revision() {
            Some(_) => Ok(outcome.accepted),
            None => Err(unknown()),
        }
    }

    /// The key that is meant; what people may mistake for one is told apart.
    fn key_name(&self, authority: &Authority) -> Result<KeyName, Failure> {
        let text = &self.key;
        if std::path::Path::new(text).is_file() {
            return Ok(PublicKey::of_file(text.as_ref())?.name);
        }
        text.parse()
            .or_else(|_| KeyName::from_hex(text))
            .map_err(|error| {
                let failure = Failure::new(format!("`{text}` is {error}"));
                let keys = |name: &str, failure: Failure| {
                    let identity = authority.policy.identities.iter().find(|i| i.name == name);
                    identity
                        .into_iter()
                        .flat_map(|identity| &identity.keys)
                        .fold(failure, |failure, key| {
                            failure.hint(format!("{name} has {}", key.name))
                        })
                };
                keys(text, failure).hint("`plumb trust show` lists the keys of the policy")
            })
    }

    fn signer(repository: &Repository, authority: &Authority, tag: &str) -> Result<String, String> {
        let read = || -> Result<Vec<u8>, Failure> {
            let name = format!("refs/tags/{tag}");
            let id = repository
                .reference(&name)?
                .ok_or_else(|| Failure::new(format!("{name} isn't there")))?;
            let raw = repository
                .objects()
                .read(&id, ObjectKind::Tag, limits::TAG)
                .or_fail(|| format!("{name} can't be read"))?;
            Ok(raw.into_owned())
        };
        let raw = read().map_err(|failure| failure.render(Palette::plain()).trim().to_owned())?;
        let (identity, _) = authority
            .signer_of_tag(&raw, repository.format())
            .map_err(|reason| reason.to_string())?;
        let grouped = authority.policy.groups.values().any(|group| {
            group
                .iter()
                .any(|m| authority.policy.name(*m) == identity.name)
        });
        if grouped {
            Ok(identity.name.clone())
        } else {
            Err(format!("{} is in no group", identity.name))
        }
    }
}

impl Revoked {
    fn describe(&self, on: &Oid, palette: Palette) -> String {
        let mut out = format!(
            "{} {} as {}, on {}\n  signed by {}\n",
            palette.paint(Paint::Good, "revoked:"),
            self.key,
            self.tag,
            on.short(),
            self.signer
        );
        if self.identity.is_none() {
            let _ = writeln!(
                out,
                "{} the policy has no such key now: this keeps it from ever counting again, and tells of what it approved before",
                palette.paint(Paint::Warn, "note:")
            );
        }
        let _ = writeln!(
            out,
            "If it is stolen, first, on the controller's machine; that acts at once and takes nobody else:"
        );
        for command in &self.at_once {
            let _ = writeln!(out, "  {}", palette.paint(Paint::Bold, command));
        }
        let _ = writeln!(out, "push it: {}", palette.paint(Paint::Bold, &self.push));
        if !self.earlier.is_empty() {
            let _ = writeln!(
                out,
                "{} it counts together with what was signed before by {}. If that isn't meant, take yours back before you push it: {}",
                palette.paint(Paint::Warn, "note:"),
                self.others,
                palette.paint(Paint::Bold, format!("git tag -d {}", self.tag))
            );
        }
        if self.missing.is_empty() {
            let _ = writeln!(
                out,
                "It acts as soon as it is pushed, for everyone who follows the repository."
            );
        }
        for need in &self.missing {
            let _ = writeln!(
                out,
                "{} it doesn't act yet: {} more of {} must do the same ({}):\n  {}",
                palette.paint(Paint::Warn, "note:"),
                need.count,
                need.from,
                one_of(&need.members),
                palette.paint(Paint::Bold, format!("plumb trust revoke {}", self.key))
            );
        }
        for lacking in &self.lacking {
            let _ = writeln!(
                out,
                "{} once it acts, {}",
                palette.paint(Paint::Warn, "note:"),
                lacking.told()
            );
        }
        match &self.changers {
            Err(why) => {
                let _ = writeln!(out, "{} {why}", palette.paint(Paint::Warn, "note:"));
            }
            Ok(changers) if !self.afterwards.is_empty() => {
                let _ = writeln!(
                    out,
                    "Afterwards take it out of the policy, in a commit that takes {changers}:"
                );
                for command in &self.afterwards {
                    let _ = writeln!(out, "  {}", palette.paint(Paint::Bold, command));
                }
            }
            Ok(_) => {}
        }
        out
    }
}

/// A failure that keeps nobody from what acts without a tag.
fn stolen(failure: Failure, key: &KeyName) -> Failure {
    failure.hint(format!(
        "if the key is stolen, don't wait. On the controller's machine, which acts at once and takes nobody else: {}",
        at_once(key).join(" && ")
    ))
}

/// What makes a controller count a key for nothing, at its next look and then now.
fn at_once(key: &KeyName) -> Vec<String> {
    vec![
        "sudo mkdir -p /etc/plumb/revoked.d".to_owned(),
        format!("echo '{key}' | sudo tee -a /etc/plumb/revoked.d/stolen"),
        "plumb notify".to_owned(),
    ]
}

/// How many ways to write a fingerprint are tried.
const WAYS: u32 = 64;

/// A fingerprint as a folder of tags: in other letters, upper and lower case, where somebody has made a tag
/// that is called like the folder. Git makes none in it then, and whoever has the key may well have pushed it.
fn free_folder(git: &Git, hex: &str) -> Result<String, Failure> {
    let listed = git.ask(&["for-each-ref", "--format=%(refname)", "refs/tags/revoke"])?;
    let stands = |name: &str| {
        listed
            .lines()
            .any(|tag| tag == format!("refs/tags/revoke/{name}"))
    };
    let written = |way: u32| {
        let mut letter = 0_u32;
        hex.chars()
            .map(|c| {
                if !c.is_ascii_alphabetic() {
                    return c;
                }
                let upper = way.checked_shr(letter).unwrap_or(0) & 1 == 1;
                letter += 1;
                if upper { c.to_ascii_uppercase() } else { c }
            })
            .collect::<String>()
    };
    Ok((0..WAYS)
        .map(written)
        .find(|name| !stands(name))
        .unwrap_or_else(|| hex.to_owned()))
}

/// Whether it is a key of the policy, or a part of one.
fn is_of(authority: &Authority, key: &KeyName) -> bool {
    let mut keys = authority.policy.identities.iter().flat_map(|i| &i.keys);
    keys.any(|own| own.name == *key || authority.is_part_of(key, &own.name))
}

/// The policy of a commit, which must have one.
fn authority_of(repository: &Repository, commit: &Oid) -> Result<Authority, Failure> {
    judgement::authority(repository, commit).map_err(|diagnostics| {
        Failure::new(format!("{} has no usable {POLICY_PATH}", commit.short()))
            .diagnostics(diagnostics, plumb_document::SourceMap::default())
    })
}

/// Who has made a tag that takes this key away.
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
        if of_key && let Ok(signer) = Revoke::signer(repository, authority, short) {
            names.insert(signer);
        }
    }
    Ok(names)
}

fn members(needs: &[Wanted]) -> Vec<String> {
    let names: BTreeSet<&String> = needs.iter().flat_map(|need| &need.members).collect();
    names.into_iter().cloned().collect()
}
