//! A repository in memory, and builders of real objects for it.

mod build;
mod dump;
mod policy;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use plumb_trust::{
    Inputs, ObjectError, ObjectFormat, ObjectKind, Objects, Oid, Outcome, Reason, ReasonCode,
    Revocations, TagRef, Verdict, name_of, verify,
};

pub use build::{Commit, Tag};
pub use dump::{batch, dump_corpus, parse_batch};
pub use policy::PolicyText;

use crate::keys::{BORN, DAY, Key, people};

/// When the first commit is made.
pub const START: i64 = BORN + 30 * DAY;
/// The repository that policies name.
pub const REPOSITORY: &str = "6f1c0c9e-0000-4000-8000-000000000001";
/// The branch that policies name.
pub const REF: &str = "refs/heads/main";

/// A file: mode and content.
pub type File = (&'static str, Vec<u8>);
/// The files of a commit.
pub type Files = BTreeMap<String, File>;

/// Objects by name.
#[derive(Clone)]
pub struct Store {
    objects: HashMap<Oid, (ObjectKind, Vec<u8>)>,
    format: ObjectFormat,
}

impl Objects for Store {
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
        let (found, bytes) = self.objects.get(id).ok_or(ObjectError::Missing)?;
        if *found != kind {
            return Err(ObjectError::WrongKind);
        }
        if bytes.len() as u64 > limit {
            return Err(ObjectError::TooLarge);
        }
        Ok(Cow::Borrowed(bytes))
    }
}

impl Store {
    /// An empty one.
    pub fn new(format: ObjectFormat) -> Self {
        Self {
            objects: HashMap::new(),
            format,
        }
    }

    /// Writes an object.
    pub fn write(&mut self, kind: ObjectKind, bytes: impl Into<Vec<u8>>) -> Oid {
        let bytes = bytes.into();
        let id = name_of(kind, &bytes, self.format).unwrap();
        self.objects.insert(id, (kind, bytes));
        id
    }

    /// Puts bytes under a name that may not be theirs.
    pub fn put(&mut self, id: Oid, kind: ObjectKind, bytes: Vec<u8>) {
        self.objects.insert(id, (kind, bytes));
    }

    /// Loses an object.
    pub fn remove(&mut self, id: &Oid) {
        self.objects.remove(id).unwrap();
    }

    /// An object's bytes.
    pub fn bytes(&self, id: &Oid) -> &[u8] {
        &self.objects[id].1
    }

    /// Everything, for writing it elsewhere.
    pub fn iter(&self) -> impl Iterator<Item = (&Oid, ObjectKind, &[u8])> {
        self.objects
            .iter()
            .map(|(id, (kind, bytes))| (id, *kind, bytes.as_slice()))
    }

    /// Writes a tree from its raw entries, in their order.
    pub fn raw_tree(&mut self, entries: &[(&str, &[u8], Oid)]) -> Oid {
        let mut raw = Vec::new();
        for (mode, name, id) in entries {
            raw.extend_from_slice(mode.as_bytes());
            raw.push(b' ');
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend_from_slice(id.as_bytes());
        }
        self.write(ObjectKind::Tree, raw)
    }

    /// Writes the trees of files.
    pub fn tree(&mut self, files: &Files) -> Oid {
        let mut entries: Vec<(String, &str, Oid)> = Vec::new();
        let mut folders: BTreeMap<&str, Files> = BTreeMap::new();
        for (path, (mode, content)) in files {
            if let Some((folder, rest)) = path.split_once('/') {
                let inside = folders.entry(folder).or_default();
                inside.insert(rest.to_owned(), (mode, content.clone()));
            } else {
                let id = self.write(ObjectKind::Blob, content.clone());
                entries.push((path.clone(), mode, id));
            }
        }
        for (name, files) in folders {
            let id = self.tree(&files);
            entries.push((name.to_owned(), "40000", id));
        }
        let key = |entry: &(String, &str, Oid)| {
            if entry.1 == "40000" {
                entry.0.clone() + "/"
            } else {
                entry.0.clone()
            }
        };
        entries.sort_by_key(key);
        let raw: Vec<(&str, &[u8], Oid)> = entries
            .iter()
            .map(|(name, mode, id)| (*mode, name.as_bytes(), *id))
            .collect();
        self.raw_tree(&raw)
    }
}

/// A repository under a policy, and what verification is told of it.
#[derive(Clone)]
pub struct World {
    /// The objects.
    pub store: Store,
    /// The first commit, which is the introduction.
    pub root: Oid,
    /// The policy that was last put in.
    pub policy: PolicyText,
    /// The tags.
    pub tags: Vec<TagRef>,
    /// The time of verification.
    pub now: i64,
    /// The last accepted commit, if it isn't the introduction.
    pub floor: Option<Oid>,
    /// When objects were first seen.
    pub seen: BTreeMap<Oid, Timestamp>,
    /// Local revocations.
    pub revoked: Revocations,
    pub revoked_before: Revocations,
    /// Commits once accepted.
    pub tombstones: BTreeSet<Oid>,
    files: HashMap<Oid, Files>,
    clock: i64,
}

impl Default for World {
    fn default() -> Self {
        Self::new(PolicyText::usual())
    }
}

impl World {
    /// A repository whose first commit has this policy and a few files.
    pub fn new(policy: PolicyText) -> Self {
        Self::of_format(policy, ObjectFormat::Sha1)
    }

    /// The usual policy with something else in it.
    pub fn with(change: impl FnOnce(&mut PolicyText)) -> Self {
        let mut policy = PolicyText::usual();
        change(&mut policy);
        Self::new(policy)
    }

    /// The same with another hash.
    pub fn of_format(policy: PolicyText, format: ObjectFormat) -> Self {
        let mut files = policy.files();
        for (path, content) in [
            ("lab/a", "a\n"),
            ("lab/b", "b\n"),
            ("prod/a", "a\n"),
            ("prod/b", "b\n"),
            ("fleet.yaml", "kind: Fleet\n"),
        ] {
            files.insert(path.to_owned(), ("100644", content.as_bytes().to_vec()));
        }
        let store = Store::new(format);
        let zero = Oid::from_bytes(&[0; 20]).unwrap();
        let mut world = Self {
            store,
            root: zero,
            policy,
            tags: Vec::new(),
            now: START + 10 * DAY,
            floor: None,
            seen: BTreeMap::new(),
            revoked: Revocations::default(),
            revoked_before: Revocations::default(),
            tombstones: BTreeSet::new(),
            files: HashMap::new(),
            clock: START,
        };
        world.root = Commit::new(Vec::new(), files, START).make(&mut world);
        world
    }

    /// A commit on top of another; a minute later than the one made before.
    pub fn on(&mut self, parent: Oid) -> Commit<'static> {
        self.clock += 60;
        Commit::new(vec![parent], self.files[&parent].clone(), self.clock)
    }

    /// A merge: the files are those of the first parent.
    pub fn merge(&mut self, parents: &[Oid]) -> Commit<'static> {
        let mut commit = self.on(parents[0]);
        commit.parents = parents.to_vec();
        commit
    }

    /// A policy step on top of a commit: the policy as changed, its serial raised, by whom it takes.
    pub fn policy_step(
        &mut self,
        parent: Oid,
        change: impl FnOnce(&mut PolicyText),
    ) -> Commit<'static> {
        let mut policy = self.policy.clone();
        policy.serial += 1;
        change(&mut policy);
        let mut commit = self.on(parent);
        commit.files.retain(|path, _| !path.starts_with("trust/"));
        commit.files.extend(policy.files());
        self.policy = policy;
        commit
    }

    /// A policy step that is approved as it must be.
    pub fn approved_policy_step(
        &mut self,
        parent: Oid,
        change: impl FnOnce(&mut PolicyText),
    ) -> Oid {
        let p = people();
        let step = self.policy_step(parent, change).sign(&p.alice).make(self);
        self.approve(step, &p.bob);
        self.approve(step, &p.dave);
        step
    }

    /// The files of a commit.
    pub fn files(&self, commit: &Oid) -> &Files {
        &self.files[commit]
    }

    /// Notes the files of a commit that was made otherwise.
    pub fn know(&mut self, commit: Oid, like: Oid) -> Oid {
        let files = self.files[&like].clone();
        self.files.insert(commit, files);
        commit
    }

    /// The moment of the last commit.
    pub fn clock(&self) -> i64 {
        self.clock
    }

    /// Lets time pass between commits.
    pub fn wait(&mut self, seconds: i64) {
        self.clock += seconds;
    }

    /// An approval tag as it should be.
    pub fn approve(&mut self, target: Oid, by: &Key) -> Oid {
        let tag = self.tag(&format!("approve/main/{}", self.tags.len()), target);
        tag.sign(by).make(self)
    }

    /// A tag of a commit, approving it; it isn't signed yet.
    pub fn tag(&mut self, name: &str, target: Oid) -> Tag<'static> {
        self.clock += 60;
        Tag {
            target,
            kind: "commit",
            name: name.to_owned(),
            reference: format!("refs/tags/{name}"),
            message: format!("approved\n\nApprove: {REPOSITORY} {REF} {target}\n"),
            seconds: self.clock,
            key: None,
            edit: None,
        }
    }

    /// Verifies up to a head, twice: other threads that look ahead change nothing about it.
    pub fn verify(&self, head: Oid) -> Outcome {
        let now = Timestamp::from_second(self.now).unwrap();
        let mut inputs = Inputs::new(self.root, head, now)
            .tags(&self.tags)
            .first_seen(&self.seen)
            .revoked(&self.revoked)
            .revoked_before(&self.revoked_before)
            .tombstones(&self.tombstones)
            .reference(REF)
            .explain();
        inputs.floor = self.floor;
        let outcome = verify(&self.store, &inputs);
        let ahead = verify(&self.store, &inputs.threads(2));
        assert_eq!(format!("{outcome:?}"), format!("{ahead:?}"));
        dump::dump(self, head, &outcome);
        outcome
    }

    /// The head is accepted.
    #[track_caller]
    pub fn accepts(&self, head: Oid) -> Outcome {
        let outcome = self.verify(head);
        assert!(
            outcome.is_accept() && outcome.accepted == head,
            "{}",
            show(&outcome)
        );
        outcome
    }

    /// The first commit that isn't accepted has this verdict, for this reason.
    #[track_caller]
    pub fn refuses(&self, head: Oid, verdict: Verdict, code: ReasonCode) -> Outcome {
        let outcome = self.verify(head);
        let reasons = outcome
            .first_held()
            .map_or(&outcome.reasons, |step| &step.reasons);
        let found = reasons
            .iter()
            .chain(&outcome.reasons)
            .any(|reason| reason.code == code);
        assert!(
            outcome.verdict == verdict && found,
            "expected {verdict} for {code}: {}",
            show(&outcome)
        );
        assert_ne!(outcome.accepted, head);
        outcome
    }

    /// Pending, for this reason.
    #[track_caller]
    pub fn pends(&self, head: Oid, code: ReasonCode) -> Outcome {
        self.refuses(head, Verdict::Pending, code)
    }

    /// Pending with an alarm, for this reason.
    #[track_caller]
    pub fn alarms(&self, head: Oid, code: ReasonCode) -> Outcome {
        self.refuses(head, Verdict::PendingAlarm, code)
    }

    /// Rejected, for this reason.
    #[track_caller]
    pub fn rejects(&self, head: Oid, code: ReasonCode) -> Outcome {
        self.refuses(head, Verdict::Reject, code)
    }
}

/// A moment as verification takes it.
pub fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// An outcome for a failed assertion.
pub fn show(outcome: &Outcome) -> String {
    serde_json::to_string_pretty(outcome).unwrap()
}

/// Whether a step was noted this.
pub fn noted(outcome: &Outcome, text: &str) -> bool {
    let has = |reasons: &[Reason]| reasons.iter().any(|reason| reason.message.contains(text));
    outcome
        .steps
        .iter()
        .any(|step| has(&step.notes) || has(&step.reasons))
}
