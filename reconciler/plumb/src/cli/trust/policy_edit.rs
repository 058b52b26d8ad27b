//! An edit of `trust/`: reads the files, changes them, proves that the resulting policy can be met, writes
//! the files, and prints the diff and the next commands. Nothing is written before the proof.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use plumb_trust::KeyName;
use plumb_trust::policy::{
    Authority, BindRef, Identity, POLICY_PATH, Policy, Satisfiability, TRUST_PATH, Unusable,
};
use serde::Serialize;

use super::exceptions::describe_alone;
use super::folder::{Folder, owner};
use super::needs::{self, GroupNeed};
use super::revocations::{Revocations, is_nearer};
use crate::cli::init::new_policy::NewPolicy;
use crate::output::{Paint, Palette, quoted};
use crate::public_key::PublicKey;
use crate::report::{Failure, OrFail as _};
use crate::yaml_edit::{EditError, PathStep, Yaml, scalar};

/// The hint if too few people can sign a change of `trust/`.
pub(super) const NEW_ROOT: &str = "no commit can fix this: the operators of the server and the controller must set a commit with a fixed policy as the new root of trust (git config plumb.introduction COMMIT; docs/walk-lost-key.md, \"Without a spare key\")";

const SPEC: PathStep<'static> = PathStep::Key("spec");

/// An edit of `trust/`, with the result so far.
#[derive(Debug)]
pub(in crate::cli) struct PolicyEdit {
    before: Folder,
    /// The policy before the edit. `None` if the edit creates the policy.
    policy: Option<Policy>,
    yaml: Yaml,
    keys: BTreeMap<String, Vec<u8>>,
    /// The keys that the edit adds.
    added: Vec<PublicKey>,
    /// The policy of the newest commit, which judges the next commit.
    committed: Option<Authority>,
    revoked: Revocations,
}

/// The result of an edit that was written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Edited {
    /// The files that were written or removed.
    pub(in crate::cli) files: BTreeSet<String>,
    /// The policy's serial.
    serial: u64,
    /// The commands that bring the edit into effect, in order.
    pub(super) commands: Vec<String>,
    /// The signatures that this edit needs by the policy of the newest commit; empty before the first commit.
    needs: Vec<GroupNeed>,
    /// The identity that owns the key that git signs with, if that key counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    /// The number of commits of the fetched server branch that this branch lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<u32>,
    #[serde(skip)]
    before: String,
    #[serde(skip)]
    after: String,
    #[serde(skip)]
    upstream: String,
    #[serde(skip)]
    check: Satisfiability,
    #[serde(skip)]
    pub(in crate::cli) authority: Authority,
}

impl PolicyEdit {
    /// Reads `trust/` of the repository that holds a folder.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let before = Folder::read(folder)?;
        Ok(Self {
            policy: Some(before.usable()?.policy),
            yaml: Yaml::new(before.policy.clone()),
            keys: before.keys.clone(),
            added: Vec::new(),
            committed: before.committed(),
            revoked: Revocations::of(&before, Timestamp::now()),
            before,
        })
    }

    /// Begins an edit that creates a policy in a folder that has no `trust/`.
    pub(in crate::cli) fn create(root: &Path, new: &NewPolicy, text: &str) -> Self {
        let keys = new.files().into_iter();
        let added = new.identities.iter().flat_map(|person| &person.keys);
        Self {
            before: Folder {
                root: root.to_owned(),
                policy: String::new(),
                keys: BTreeMap::new(),
            },
            policy: None,
            yaml: Yaml::new(text.to_owned()),
            keys: keys
                .map(|(path, text)| (path, text.as_bytes().to_vec()))
                .collect(),
            added: added.map(|(key, _)| key.clone()).collect(),
            committed: None,
            revoked: Revocations::default(),
        }
    }

    /// Returns the identities of the policy before the edit; none for a new policy.
    fn identities(&self) -> &[Identity] {
        self.policy
            .as_ref()
            .map_or(&[], |policy| &policy.identities)
    }

    /// Returns the members of each group of the policy before the edit.
    pub(super) fn groups(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut groups = BTreeMap::new();
        if let Some(policy) = &self.policy {
            for (name, group) in &policy.groups {
                let members = group.iter().map(|index| policy.name(*index)).collect();
                groups.insert(name.as_str(), members);
            }
        }
        groups
    }

    /// Returns an identity of the policy before the edit. Fails if the policy doesn't have it.
    pub(super) fn identity(&self, name: &str) -> Result<&Identity, Failure> {
        let names = || self.identities().iter().map(|i| i.name.as_str());
        let found = self.identities().iter().find(|i| i.name == name);
        found.ok_or_else(|| {
            let failure = Failure::new(format!("the policy has no identity {name}"));
            match plumb_document::closest(name, names()) {
                Some(near) => failure.hint(format!("did you mean {near}?")),
                None => failure.hint(format!("it has {}", names().collect::<Vec<_>>().join(", "))),
            }
        })
    }

    /// Returns the identity that has a key in the policy before the edit.
    pub(super) fn owner(&self, key: &KeyName) -> Option<&str> {
        owner(self.policy.as_ref()?, key)
    }

    /// Returns the path of a key's file, and the parsed file.
    pub(super) fn file_of(&self, key: &KeyName) -> Option<(&str, plumb_trust::policy::KeyFile)> {
        self.before.file_of(key)
    }

    /// Adds a key to a person, and adds the person if they are new. Fails if any identity already has the
    /// key.
    pub(super) fn add_key(&mut self, name: &str, key: &PublicKey) -> Result<(), Failure> {
        match self.owner(&key.name) {
            None => {}
            Some(own) if own == name => {
                return Err(
                    Failure::new(format!("{name} already has the key {}", key.name))
                        .hint(format!(
                            "refresh a certificate with: plumb trust rotate {name} --key …"
                        ))
                        .hint("join another group with: --group GROUP"),
                );
            }
            Some(other) => {
                return Err(Failure::new(format!(
                    "the key {} already belongs to {other}; a key belongs to one identity",
                    key.name
                ))
                .hint(
                    "give each person a key of their own: two signatures by one key count as one",
                ));
            }
        }
        let form = key.policy_form();
        let identities = [SPEC, PathStep::Key("identities")];
        let known = self.identities().iter().any(|i| i.name == name);
        let (what, done) = if !known && self.added.is_empty() {
            let value = format!("{{keys: [{form}]}}");
            let done = self.yaml.insert(&identities, name, &value);
            (format!("{}: {value}", scalar(name)), done)
        } else {
            let done = self.yaml.push(&keys_of(name), &form);
            (form, done)
        };
        done.map_err(|error| by_hand(&error, &format!("add `{what}` to spec.identities")))?;
        self.put_file(name, key);
        self.added.push(key.clone());
        Ok(())
    }

    /// Adds a person to a group.
    pub(super) fn join(&mut self, name: &str, group: &str) -> Result<(), Failure> {
        let path = [SPEC, PathStep::Key("groups"), PathStep::Key(group)];
        let name = scalar(name);
        self.yaml
            .push(&path, &name)
            .map_err(|error| by_hand(&error, &format!("add `{name}` to the group {group}")))
    }

    /// Removes a person with their keys and memberships.
    pub(super) fn remove_identity(&mut self, name: &str) -> Result<(), Failure> {
        let policy = self.after()?.policy;
        for (group, members) in &policy.groups {
            let mut own = members.iter().map(|member| policy.name(*member));
            if own.any(|member| member == name) {
                self.leave(name, group)?;
            }
        }
        let identity = policy.identities.iter().find(|i| i.name == name);
        for key in identity.iter().flat_map(|identity| &identity.keys) {
            self.drop_file(&key.name);
        }
        let path = [SPEC, PathStep::Key("identities"), PathStep::Key(name)];
        self.yaml
            .remove(&path)
            .map_err(|error| by_hand(&error, &format!("remove {name}")))
    }

    fn leave(&mut self, name: &str, group: &str) -> Result<(), Failure> {
        let path = [SPEC, PathStep::Key("groups"), PathStep::Key(group)];
        let is = |item: &serde_json::Value| item.as_str() == Some(name);
        while let Some(at) = self.yaml.position(&path, is) {
            self.yaml
                .remove(&[&path[..], &[PathStep::Item(at)]].concat())
                .map_err(|error| by_hand(&error, &format!("remove {name} from {group}")))?;
        }
        Ok(())
    }

    /// Removes one key of a person.
    pub(super) fn remove_key(&mut self, name: &str, key: &KeyName) -> Result<(), Failure> {
        let path = self.path_of(name, key)?;
        self.yaml
            .remove(&path)
            .map_err(|error| by_hand(&error, &format!("remove {key}")))?;
        self.drop_file(key);
        Ok(())
    }

    /// Sets the time at which a key of a person ends.
    pub(super) fn end_key(
        &mut self,
        name: &str,
        key: &KeyName,
        end: Timestamp,
    ) -> Result<(), Failure> {
        let path = self.path_of(name, key)?;
        let text = end.to_string();
        let place = [&path[..], &[PathStep::Key("validBefore")]].concat();
        let done = match self.yaml.set(&place, &text) {
            Err(EditError::Nothing(_)) => self.yaml.insert(&path, "validBefore", &text),
            other => other,
        };
        let what = format!("set `validBefore: {text}` on {key} of {name}");
        done.map_err(|error| by_hand(&error, &what))
    }

    /// Replaces the file of a key that the policy has.
    pub(super) fn put_file(&mut self, name: &str, key: &PublicKey) {
        let path = match self.before.file_of(&key.name) {
            Some((path, _)) => path.to_owned(),
            None => key.path(name, |path| self.keys.contains_key(path)),
        };
        self.keys.insert(path, key.text.clone().into_bytes());
    }

    fn drop_file(&mut self, key: &KeyName) {
        if let Some((path, _)) = self.before.file_of(key) {
            self.keys.remove(path);
        }
    }

    fn path_of<'n>(&self, name: &'n str, key: &KeyName) -> Result<Vec<PathStep<'n>>, Failure> {
        let policy = self.after()?.policy;
        let identity = policy.identities.iter().find(|i| i.name == name);
        let at = identity
            .and_then(|identity| identity.keys.iter().position(|own| own.name == *key))
            .ok_or_else(|| Failure::new(format!("{name} doesn't have the key {key}")))?;
        Ok([&keys_of(name)[..], &[PathStep::Item(at)]].concat())
    }

    /// Returns the reason if a key can't make signatures that count, or `None` if it can.
    pub(super) fn unusable(&self, key: &KeyName) -> Result<Option<Unusable>, Failure> {
        let authority = self.after()?;
        Ok(self.revoked.unusable(&authority, key, Timestamp::now()))
    }

    /// Returns the policy after the edit.
    fn after(&self) -> Result<Authority, Failure> {
        let folder = Folder {
            root: self.before.root.clone(),
            policy: self.yaml.text().to_owned(),
            keys: self.keys.clone(),
        };
        folder.authority(Timestamp::now()).map_err(|wrong| {
            Failure::new("the changed policy would be invalid; nothing was changed")
                .diagnostics(wrong, folder.sources())
        })
    }

    /// Raises the serial to one more than the newest commit's, unless an earlier edit since that commit has
    /// already done so.
    fn raise_serial(&mut self) -> Result<(), Failure> {
        let Some(committed) = &self.committed else {
            return Ok(());
        };
        let least = committed.policy.serial.saturating_add(1);
        if self.after()?.policy.serial >= least {
            return Ok(());
        }
        let text = least.to_string();
        self.yaml
            .set(&[SPEC, PathStep::Key("serial")], &text)
            .map_err(|error| by_hand(&error, &format!("set `serial: {text}` in spec")))
    }

    /// Proves that the result is valid and writes it. `what` describes the edit in a few words, which become
    /// the commit's subject.
    pub(in crate::cli) fn finish(mut self, what: &str) -> Result<Edited, Failure> {
        self.raise_serial()?;
        let (authority, check) = self.prove(what)?;
        let files = self.write()?;
        Ok(self.edited(files, what, authority, check))
    }

    /// Proves that the result is valid, can be met, and adds only keys that can sign.
    pub(in crate::cli) fn prove(&self, what: &str) -> Result<(Authority, Satisfiability), Failure> {
        let authority = self.after()?;
        for key in &self.added {
            if let Some(why) = self.unusable(&key.name)? {
                return Err(key.unverifiable(&why));
            }
        }
        let now = Timestamp::now();
        let check = self.revoked.check(&authority, now);
        if !check.unsatisfiable.is_empty() {
            // Revocations may already have left too few people. Then an edit is allowed if the policy lacks
            // less than before.
            let before = self.before.authority(now);
            let before = before.map(|before| self.revoked.check(&before, now).unsatisfiable);
            if !before.is_ok_and(|before| is_nearer(&before, &check.unsatisfiable)) {
                return Err(unsatisfiable(what, &check));
            }
        }
        Ok((authority, check))
    }

    fn write(&self) -> Result<BTreeSet<String>, Failure> {
        let mut files = BTreeSet::new();
        let changed =
            |(path, bytes): &(&String, &Vec<u8>)| self.before.keys.get(*path) != Some(bytes);
        for (path, bytes) in self.keys.iter().filter(changed) {
            self.write_file(path, bytes)?;
            files.insert(path.clone());
        }
        self.write_file(POLICY_PATH, self.yaml.text().as_bytes())?;
        files.insert(POLICY_PATH.to_owned());
        for path in self.before.keys.keys() {
            if !self.keys.contains_key(path) {
                fs::remove_file(self.before.root.join(path))
                    .or_fail(|| format!("cannot remove {path}"))?;
                files.insert(path.clone());
            }
        }
        Ok(files)
    }

    fn write_file(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let whole = self.before.root.join(path);
        if let Some(folder) = whole.parent() {
            fs::create_dir_all(folder).or_fail(|| format!("cannot create {}", folder.display()))?;
        }
        fs::write(&whole, bytes).or_fail(|| format!("cannot write {}", whole.display()))
    }

    fn edited(
        self,
        files: BTreeSet<String>,
        what: &str,
        authority: Authority,
        check: Satisfiability,
    ) -> Edited {
        let git = self.before.git();
        let committed = self.committed.as_ref();
        let policy = committed.map_or(&authority.policy, |authority| &authority.policy);
        let branch = policy.branch();
        let remote = git.remote_of(branch);
        let upstream = format!("{remote}/{branch}");
        let mut commit = format!("git commit -S -m '{what}'");
        let last = if committed.is_none() {
            "git config plumb.introduction $(git rev-parse HEAD)".to_owned()
        } else {
            if policy.bind_ref != BindRef::None {
                let meant = format!("{} {}", policy.repository, policy.reference);
                let _ = write!(commit, " --trailer 'Deploy-Ref: {meant}'");
            }
            format!("git push {} {}", quoted(&remote), quoted(branch))
        };
        let now = Timestamp::now();
        let needs = committed.map_or_else(Vec::new, |authority| {
            let able = authority.able_without(self.revoked.names(), now);
            let needs = needs::of_paths(&authority.policy, files.iter().map(String::as_str));
            needs.into_iter().map(|need| need.only(&able)).collect()
        });
        let signer = committed.and_then(|authority| {
            let key = PublicKey::of_git(&git).ok()?.name;
            let name = owner(&authority.policy, &key)?;
            let unusable = self.revoked.unusable(authority, &key, now);
            unusable.is_none().then(|| name.to_owned())
        });
        Edited {
            files,
            serial: authority.policy.serial,
            commands: vec![format!("git add {TRUST_PATH}"), commit, last],
            needs,
            signer,
            behind: git.ahead(branch, &upstream),
            before: self.before.policy,
            after: self.yaml.text().to_owned(),
            upstream,
            check,
            authority,
        }
    }
}

impl Edited {
    /// Appends the diff of the policy, who can change what alone, and the next commands.
    pub(super) fn describe(&self, out: &mut String, palette: Palette) {
        diff(out, &self.before, &self.after, palette);
        let note = palette.paint(Paint::Warn, "note:");
        for alone in &self.check.alone {
            let who = describe_alone(alone);
            let _ = writeln!(out, "  {} can be changed by {who}", alone.rule);
        }
        if let Some(more) = self.behind {
            let commits = crate::git::more_commits(more);
            let _ = writeln!(
                out,
                "{note} {} has {commits} than this branch: undo this edit, run `git pull`, and repeat it",
                self.upstream
            );
        }
        let _ = writeln!(out, "\nnext:");
        for command in &self.commands {
            let _ = writeln!(out, "  {}", palette.paint(Paint::Bold, command));
        }
        if self.needs.is_empty() {
            let _ = writeln!(
                out,
                "No policy judges the first commit with a policy: it becomes the introduction."
            );
            return;
        }
        let _ = writeln!(
            out,
            "The policy of the previous commit judges this one: it needs {}.",
            needs::describe(&self.needs)
        );
        if let Some(need) = self.needs.iter().find(|need| need.lacks_members()) {
            let _ = writeln!(
                out,
                "{note} too few of {} have a key that still counts, so {NEW_ROOT}",
                need.from
            );
        } else if self.needs.len() > 1 || self.needs.iter().any(|need| need.count > 1) {
            let approve = format!("plumb approve {}", quoted(&self.upstream));
            let _ = writeln!(
                out,
                "After the push, the others fetch and approve it:\n  {}",
                palette.paint(Paint::Bold, approve)
            );
        }
    }
}

/// Appends a unified diff of the policy's text.
pub(super) fn diff(out: &mut String, before: &str, after: &str, palette: Palette) {
    let diff = similar::TextDiff::from_lines(before, after);
    let unified = diff
        .unified_diff()
        .context_radius(2)
        .header(&format!("a/{POLICY_PATH}"), &format!("b/{POLICY_PATH}"))
        .to_string();
    for line in unified.lines() {
        let line = match line.as_bytes().first() {
            Some(b'+') => palette.paint(Paint::Good, line),
            Some(b'-') => palette.paint(Paint::Error, line),
            _ => line.to_owned(),
        };
        let _ = writeln!(out, "{line}");
    }
}

fn keys_of(name: &str) -> [PathStep<'_>; 4] {
    let identities = PathStep::Key("identities");
    [SPEC, identities, PathStep::Key(name), PathStep::Key("keys")]
}

fn by_hand(error: &EditError, what: &str) -> Failure {
    Failure::new(format!("{POLICY_PATH}: {error}; nothing was changed"))
        .hint(format!("edit the file yourself: {what}"))
}

fn unsatisfiable(what: &str, check: &Satisfiability) -> Failure {
    let lacking = check.unsatisfiable.iter().map(|lacking| {
        let usable = match lacking.usable {
            0 => "nobody".to_owned(),
            usable => format!("only {usable}"),
        };
        format!(
            "{} would need {} of {}, and {usable} could sign",
            lacking.rule, lacking.count, lacking.from
        )
    });
    let failure = Failure::new(format!(
        "{what}: {}; nothing was changed",
        lacking.collect::<Vec<_>>().join("; ")
    ))
    .hint("first add a replacement (`plumb trust add NAME --key … --group GROUP`), or lower the rule's count");
    check
        .unusable
        .iter()
        .fold(failure, |failure, why| failure.hint(why.clone()))
}
