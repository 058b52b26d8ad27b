//! A change of `trust/` that is made ready, proven, and only then written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jiff::Timestamp;
use plumb_trust::KeyName;
use plumb_trust::policy::{Authority, POLICY_PATH, Satisfiability};

use super::edit::{EditError, Step, Yaml, scalar};
use super::folder::Folder;
use super::key::PublicKey;
use super::revocations::{Revocations, is_nearer};
use crate::report::{Failure, OrFail as _};

/// The folder as it would be.
#[derive(Debug)]
pub(super) struct Draft {
    before: Folder,
    yaml: Yaml,
    keys: BTreeMap<String, Vec<u8>>,
    /// What the newest commit has.
    committed: Option<Authority>,
    revoked: Revocations,
}

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) authority: Authority,
    pub(super) check: Satisfiability,
    pub(super) committed: Option<Authority>,
    /// What tags take away from all of these.
    pub(super) revoked: Revocations,
    /// The files that were written or removed, by path.
    pub(super) changed: BTreeSet<String>,
}

const SPEC: Step<'static> = Step::Key("spec");

impl Draft {
    pub(super) fn new(before: Folder) -> Self {
        Self {
            yaml: Yaml::new(before.policy.clone()),
            keys: before.keys.clone(),
            committed: before.committed(),
            revoked: Revocations::of(&before, Timestamp::now()),
            before,
        }
    }

    /// A new identity with its first key.
    pub(super) fn add_identity(&mut self, name: &str, key: &PublicKey) -> Result<(), Failure> {
        let form = key.policy_form();
        let path = [SPEC, Step::Key("identities")];
        let value = format!("{{keys: [{form}]}}");
        self.yaml.insert(&path, name, &value).map_err(|error| {
            by_hand(&error, &format!("{}: {value}", scalar(name)), "identities")
        })?;
        self.write_key(name, key);
        Ok(())
    }

    /// Another key of an identity.
    pub(super) fn add_key(&mut self, name: &str, key: &PublicKey) -> Result<(), Failure> {
        let form = key.policy_form();
        self.yaml
            .push(&keys_of(name), &form)
            .map_err(|error| by_hand(&error, &form, &format!("the keys of {name}")))?;
        self.write_key(name, key);
        Ok(())
    }

    /// A member of a group.
    pub(super) fn join(&mut self, name: &str, group: &str) -> Result<(), Failure> {
        let path = [SPEC, Step::Key("groups"), Step::Key(group)];
        let name = scalar(name);
        self.yaml
            .push(&path, &name)
            .map_err(|error| by_hand(&error, &name, &format!("the group {group}")))
    }

    /// Takes an identity out, its keys and memberships with it.
    pub(super) fn remove_identity(&mut self, name: &str) -> Result<(), Failure> {
        let policy = self.now()?.policy;
        for (group, members) in &policy.groups {
            if members.iter().any(|member| policy.name(*member) == name) {
                let path = [SPEC, Step::Key("groups"), Step::Key(group)];
                self.take_item(&path, |item| item.as_str() == Some(name))?;
            }
        }
        let identity = policy.identities.iter().find(|i| i.name == name);
        for key in identity.iter().flat_map(|identity| &identity.keys) {
            self.drop_key_file(&key.name);
        }
        let path = [SPEC, Step::Key("identities"), Step::Key(name)];
        self.yaml
            .remove(&path)
            .map_err(|error| out_by_hand(&error, name))
    }

    /// Takes one key of an identity out.
    pub(super) fn remove_key(&mut self, name: &str, key: &KeyName) -> Result<(), Failure> {
        let at = self.place_of(name, key)?;
        let mut path = keys_of(name).to_vec();
        path.push(Step::Item(at));
        self.yaml
            .remove(&path)
            .map_err(|error| out_by_hand(&error, &key.to_string()))?;
        self.drop_key_file(key);
        Ok(())
    }

    /// Gives a key of an identity an end.
    pub(super) fn end_key(
        &mut self,
        name: &str,
        key: &KeyName,
        end: Timestamp,
    ) -> Result<(), Failure> {
        let at = self.place_of(name, key)?;
        let mut path = keys_of(name).to_vec();
        path.push(Step::Item(at));
        let text = end.to_string();
        let mut place = path.clone();
        place.push(Step::Key("validBefore"));
        let done = match self.yaml.set(&place, &text) {
            Err(EditError::Nothing(_)) => self.yaml.insert(&path, "validBefore", &text),
            other => other,
        };
        done.map_err(|error| {
            by_hand(
                &error,
                &format!("validBefore: {text}"),
                &format!("the key {key} of {name}"),
            )
        })
    }

    /// Puts another copy of a certificate in its file's place.
    pub(super) fn refresh(&mut self, name: &str, key: &PublicKey) {
        match self.before.file_of(&key.name) {
            Some((path, _)) => {
                self.keys
                    .insert(path.to_owned(), key.text.clone().into_bytes());
            }
            None => self.write_key(name, key),
        }
    }

    /// Proves that the changed policy makes sense as the next one, and writes it. Nothing is written
    /// otherwise.
    pub(super) fn write(mut self, without: &str) -> Result<Written, Failure> {
        self.raise_serial()?;
        let authority = self.now()?;
        let now = Timestamp::now();
        let check = self.revoked.check(&authority, now);
        if !check.unsatisfiable.is_empty() {
            let before = self.before.usable()?;
            let before = self.revoked.check(&before, now).unsatisfiable;
            if !is_nearer(&before, &check.unsatisfiable) {
                return Err(unsatisfiable(&check, without));
            }
        }
        let mut changed = BTreeSet::new();
        for (path, bytes) in &self.keys {
            if self.before.keys.get(path) != Some(bytes) {
                self.put(path, bytes)?;
                changed.insert(path.clone());
            }
        }
        self.put(POLICY_PATH, self.yaml.text().as_bytes())?;
        changed.insert(POLICY_PATH.to_owned());
        for path in self.before.keys.keys() {
            if !self.keys.contains_key(path) {
                fs::remove_file(self.before.root.join(path))
                    .or_fail(|| format!("{path} can't be removed"))?;
                changed.insert(path.clone());
            }
        }
        Ok(Written {
            authority,
            check,
            committed: self.committed,
            revoked: self.revoked,
            changed,
        })
    }

    /// Why a key of the policy as it would be could make no signature that counts, if it couldn't.
    pub(super) fn unusable(&self, key: &KeyName) -> Result<Option<String>, Failure> {
        Ok(self.revoked.unusable(&self.now()?, key, Timestamp::now()))
    }

    /// The policy as it would be.
    pub(super) fn now(&self) -> Result<Authority, Failure> {
        let folder = Folder {
            root: self.before.root.clone(),
            policy: self.yaml.text().to_owned(),
            keys: self.keys.clone(),
        };
        folder.authority(Timestamp::now()).map_err(|wrong| {
            Failure::new("the policy wouldn't make sense any more; nothing was changed")
                .diagnostics(wrong, folder.sources())
        })
    }

    /// Above what the newest commit has, once for all that is changed until the next one.
    fn raise_serial(&mut self) -> Result<(), Failure> {
        let Some(committed) = &self.committed else {
            return Ok(());
        };
        let (now, least) = (
            self.now()?.policy.serial,
            committed.policy.serial.saturating_add(1),
        );
        if now >= least {
            return Ok(());
        }
        let path = [SPEC, Step::Key("serial")];
        let text = least.to_string();
        self.yaml
            .set(&path, &text)
            .map_err(|error| by_hand(&error, &format!("serial: {text}"), "spec"))
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let whole = self.before.root.join(path);
        if let Some(folder) = whole.parent() {
            fs::create_dir_all(folder).or_fail(|| format!("{} can't be made", folder.display()))?;
        }
        fs::write(&whole, bytes).or_fail(|| format!("{} can't be written", whole.display()))
    }

    fn write_key(&mut self, name: &str, key: &PublicKey) {
        // A key that lies there already without being used is used as it lies.
        if let Some((path, _)) = self.before.file_of(&key.name) {
            self.keys
                .insert(path.to_owned(), key.text.clone().into_bytes());
            return;
        }
        let path = key.path(name, |path| self.keys.contains_key(path));
        self.keys.insert(path, key.text.clone().into_bytes());
    }

    fn drop_key_file(&mut self, key: &KeyName) {
        if let Some((path, _)) = self.before.file_of(key) {
            self.keys.remove(path);
        }
    }

    /// Which of an identity's keys this is, as the text has them.
    fn place_of(&self, name: &str, key: &KeyName) -> Result<usize, Failure> {
        let policy = self.now()?.policy;
        let identity = policy.identities.iter().find(|i| i.name == name);
        identity
            .and_then(|identity| identity.keys.iter().position(|own| own.name == *key))
            .ok_or_else(|| Failure::new(format!("{name} has no key {key}")))
    }

    fn take_item(
        &mut self,
        path: &[Step<'_>],
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<(), Failure> {
        let failed = |error: EditError| out_by_hand(&error, "the member of a group");
        while let Some(at) = self.yaml.position(path, &is) {
            let mut item = path.to_vec();
            item.push(Step::Item(at));
            self.yaml.remove(&item).map_err(failed)?;
        }
        Ok(())
    }
}

fn keys_of(name: &str) -> [Step<'_>; 4] {
    [
        SPEC,
        Step::Key("identities"),
        Step::Key(name),
        Step::Key("keys"),
    ]
}

fn by_hand(error: &EditError, what: &str, place: &str) -> Failure {
    Failure::new(format!("{POLICY_PATH}: {error}; nothing was changed"))
        .hint(format!("write it yourself: `{what}` belongs to {place}"))
}

fn out_by_hand(error: &EditError, what: &str) -> Failure {
    Failure::new(format!("{POLICY_PATH}: {error}; nothing was changed"))
        .hint(format!("take {what} out yourself"))
}

/// Why a policy that nobody could meet isn't written.
fn unsatisfiable(check: &Satisfiability, without: &str) -> Failure {
    let lacking = check.unsatisfiable.iter().map(|lacking| {
        format!(
            "{} would need {} of {}, and {} could sign",
            lacking.rule,
            lacking.count,
            lacking.from,
            match lacking.usable {
                0 => "nobody".to_owned(),
                n => format!("only {n}"),
            }
        )
    });
    let failure = Failure::new(format!(
        "{without}{}; nothing was changed",
        lacking.collect::<Vec<_>>().join("; ")
    ))
    .hint("first add who takes the place (`plumb trust add NAME --key … --group GROUP`), or lower the rule's count");
    check
        .unusable
        .iter()
        .fold(failure, |failure, why| failure.hint(why.clone()))
}
