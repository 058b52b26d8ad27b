//! A repository in memory, and builders of real objects for it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use plumb_trust::{
    Inputs, ObjectError, ObjectFormat, ObjectKind, Objects, Oid, Outcome, Reason, ReasonCode,
    Revocations, TagRef, Verdict, name_of, verify,
};

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
            match path.split_once('/') {
                Some((folder, rest)) => {
                    folders
                        .entry(folder)
                        .or_default()
                        .insert(rest.to_owned(), (mode, content.clone()));
                }
                None => {
                    let id = self.write(ObjectKind::Blob, content.clone());
                    entries.push((path.clone(), mode, id));
                }
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

/// A policy's text, part by part.
#[derive(Clone)]
pub struct PolicyText {
    /// `serial`
    pub serial: u64,
    /// `repository`
    pub repository: String,
    /// `ref`
    pub reference: String,
    /// `bindRef`
    pub bind_ref: String,
    /// Names, and their keys: how the policy names each, with what follows.
    pub identities: Vec<(String, Vec<String>)>,
    /// Names and members.
    pub groups: Vec<(String, String)>,
    /// Rules, each as one line.
    pub rules: Vec<String>,
    /// Further lines.
    pub more: String,
    /// The files of keys.
    pub keys: Vec<(String, String)>,
}

impl PolicyText {
    /// Ops of three and sec of two; `prod/**` needs two of ops.
    pub fn usual() -> Self {
        let p = people();
        let mut text = Self {
            serial: 1,
            repository: REPOSITORY.to_owned(),
            reference: REF.to_owned(),
            bind_ref: "none".to_owned(),
            identities: Vec::new(),
            groups: vec![
                ("ops".to_owned(), "[alice, bob, carol]".to_owned()),
                ("sec".to_owned(), "[dave, erin]".to_owned()),
            ],
            rules: vec![
                "{paths: [\"**\"], need: [{from: ops, count: 1}]}".to_owned(),
                "{paths: [\"prod/**\"], need: [{from: ops, count: 2}]}".to_owned(),
                "{paths: [\"trust/**\"], need: [{from: ops, count: 2}, {from: sec, count: 1}]}"
                    .to_owned(),
            ],
            more: String::new(),
            keys: Vec::new(),
        };
        for (name, key) in [
            ("alice", &p.alice),
            ("bob", &p.bob),
            ("carol", &p.carol),
            ("dave", &p.dave),
            ("erin", &p.erin),
        ] {
            text.identity(name, &[key]);
        }
        text
    }

    /// Adds or replaces an identity.
    pub fn identity(&mut self, name: &str, keys: &[&Key]) {
        self.identities.retain(|(other, _)| other != name);
        self.keys
            .retain(|(file, _)| !file.starts_with(&format!("{name}-")));
        self.identities.push((
            name.to_owned(),
            keys.iter().map(|key| key.policy_line()).collect(),
        ));
        for (index, key) in keys.iter().enumerate() {
            self.keys.push((format!("{name}-{index}"), key.public()));
        }
    }

    /// The text.
    pub fn render(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!(
            "kind: TrustPolicy\nmetadata: {{name: main}}\nspec:\n  serial: {}\n  repository: {}\n  ref: {}\n  bindRef: {}\n  identities:\n",
            self.serial, self.repository, self.reference, self.bind_ref
        );
        for (name, keys) in &self.identities {
            let keys: Vec<String> = keys.iter().map(|key| format!("{{{key}}}")).collect();
            writeln!(text, "    {name}: {{keys: [{}]}}", keys.join(", ")).unwrap();
        }
        text.push_str("  groups:\n");
        for (name, members) in &self.groups {
            writeln!(text, "    {name}: {members}").unwrap();
        }
        text.push_str("  rules:\n");
        for rule in &self.rules {
            writeln!(text, "    - {rule}").unwrap();
        }
        for line in self.more.lines() {
            writeln!(text, "  {line}").unwrap();
        }
        text
    }

    /// The files of `trust/`.
    pub fn files(&self) -> Files {
        let mut files = Files::from([(
            "trust/policy.yaml".to_owned(),
            ("100644", self.render().into_bytes()),
        )]);
        for (name, key) in &self.keys {
            files.insert(
                format!("trust/keys/{name}"),
                ("100644", key.clone().into_bytes()),
            );
        }
        files
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

    /// Verifies up to a head.
    pub fn verify(&self, head: Oid) -> Outcome {
        let now = Timestamp::from_second(self.now).unwrap();
        let mut inputs = Inputs::new(self.root, head, now)
            .tags(&self.tags)
            .first_seen(&self.seen)
            .revoked(&self.revoked)
            .tombstones(&self.tombstones)
            .reference(REF)
            .explain();
        inputs.floor = self.floor;
        verify(&self.store, &inputs)
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
        let held = outcome
            .first_held()
            .map_or(&outcome.reasons, |step| &step.reasons);
        let found = held
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

type Edit<'k> = Box<dyn FnOnce(Vec<u8>) -> Vec<u8> + 'k>;
type Signing<'k> = Box<dyn FnOnce(&[u8], i64) -> String + 'k>;

/// A commit that is being made.
pub struct Commit<'k> {
    /// Its parents.
    pub parents: Vec<Oid>,
    /// Its files.
    pub files: Files,
    /// The message.
    pub message: Vec<u8>,
    /// Its date.
    pub seconds: i64,
    author: String,
    tree: Option<Oid>,
    headers: Vec<u8>,
    sign: Option<(Signing<'k>, Option<i64>)>,
    edit: Option<Edit<'k>>,
}

impl<'k> Commit<'k> {
    fn new(parents: Vec<Oid>, files: Files, seconds: i64) -> Self {
        Self {
            parents,
            files,
            message: b"a change\n".to_vec(),
            seconds,
            author: "Somebody <somebody@fleet.example>".to_owned(),
            tree: None,
            headers: Vec::new(),
            sign: None,
            edit: None,
        }
    }

    /// With a file.
    #[must_use]
    pub fn file(self, path: &str, content: &str) -> Self {
        self.entry(path, "100644", content.as_bytes())
    }

    /// With an entry of any mode.
    #[must_use]
    pub fn entry(mut self, path: &str, mode: &'static str, content: &[u8]) -> Self {
        self.files.insert(path.to_owned(), (mode, content.to_vec()));
        self
    }

    /// Without a file.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        self.files.remove(path).unwrap();
        self
    }

    /// With exactly these files.
    #[must_use]
    pub fn with_files(mut self, files: &Files) -> Self {
        self.files.clone_from(files);
        self
    }

    /// With a tree that was made otherwise.
    #[must_use]
    pub fn tree(mut self, tree: Oid) -> Self {
        self.tree = Some(tree);
        self
    }

    /// With a message.
    #[must_use]
    pub fn message(mut self, message: &str) -> Self {
        self.message = message.as_bytes().to_vec();
        self
    }

    /// With the trailer that binds it to its branch.
    #[must_use]
    pub fn bound(self) -> Self {
        self.message(&format!("a change\n\nDeploy-Ref: {REPOSITORY} {REF}\n"))
    }

    /// With a date.
    #[must_use]
    pub fn dated(mut self, seconds: i64) -> Self {
        self.seconds = seconds;
        self
    }

    /// With an author and committer.
    #[must_use]
    pub fn author(mut self, author: &str) -> Self {
        author.clone_into(&mut self.author);
        self
    }

    /// With further raw headers, ending in a newline.
    #[must_use]
    pub fn headers(mut self, headers: &str) -> Self {
        self.headers.extend_from_slice(headers.as_bytes());
        self
    }

    /// With a tag embedded.
    #[must_use]
    pub fn mergetag(mut self, store: &Store, tag: Oid) -> Self {
        let text = String::from_utf8(store.bytes(&tag).to_vec()).unwrap();
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap().split('\n').collect();
        self.headers
            .extend_from_slice(format!("mergetag {}\n", lines.join("\n ")).as_bytes());
        self
    }

    /// Signed, at its date.
    #[must_use]
    pub fn sign(self, key: &'k Key) -> Self {
        self.sign_with(|payload, seconds| key.sign(payload, seconds))
    }

    /// Signed, at another time.
    #[must_use]
    pub fn sign_at(mut self, key: &'k Key, seconds: i64) -> Self {
        self.sign = Some((
            Box::new(|payload, seconds| key.sign(payload, seconds)),
            Some(seconds),
        ));
        self
    }

    /// With a signature that something else makes.
    #[must_use]
    pub fn sign_with(mut self, sign: impl FnOnce(&[u8], i64) -> String + 'k) -> Self {
        self.sign = Some((Box::new(sign), None));
        self
    }

    /// Its raw bytes changed at the end.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(Vec<u8>) -> Vec<u8> + 'k) -> Self {
        self.edit = Some(Box::new(edit));
        self
    }

    /// Its raw text changed at the end.
    #[must_use]
    pub fn replace(self, from: &'k str, to: &'k str) -> Self {
        self.edit(move |raw| {
            let at = raw
                .windows(from.len())
                .position(|w| w == from.as_bytes())
                .unwrap_or_else(|| panic!("no {from:?}"));
            [&raw[..at], to.as_bytes(), &raw[at + from.len()..]].concat()
        })
    }

    /// Writes it.
    pub fn make(self, world: &mut World) -> Oid {
        let tree = self.tree.unwrap_or_else(|| world.store.tree(&self.files));
        let mut before = format!("tree {tree}\n").into_bytes();
        for parent in &self.parents {
            before.extend(format!("parent {parent}\n").bytes());
        }
        before.extend(
            format!(
                "author {0} {1} +0000\ncommitter {0} {1} +0000\n",
                self.author, self.seconds
            )
            .bytes(),
        );
        before.extend(&self.headers);
        let after = [b"\n", &self.message[..]].concat();
        let mut raw = before.clone();
        if let Some((sign, seconds)) = self.sign {
            let block = sign(
                &[&before[..], &after].concat(),
                seconds.unwrap_or(self.seconds),
            );
            let header = match world.store.format {
                ObjectFormat::Sha1 => "gpgsig",
                ObjectFormat::Sha256 => "gpgsig-sha256",
            };
            raw.extend(format!("{header} {}\n", block.trim_end().replace('\n', "\n ")).bytes());
        }
        raw.extend(after);
        if let Some(edit) = self.edit {
            raw = edit(raw);
        }
        let id = world.store.write(ObjectKind::Commit, raw);
        world.files.insert(id, self.files);
        id
    }
}

/// A tag that is being made.
pub struct Tag<'k> {
    /// What it names.
    pub target: Oid,
    /// What it says that this is.
    pub kind: &'static str,
    /// Its own name.
    pub name: String,
    /// The name that it is found under.
    pub reference: String,
    /// Its message.
    pub message: String,
    /// Its date.
    pub seconds: i64,
    key: Option<&'k Key>,
    edit: Option<Edit<'k>>,
}

impl<'k> Tag<'k> {
    /// With a message.
    #[must_use]
    pub fn message(mut self, message: &str) -> Self {
        message.clone_into(&mut self.message);
        self
    }

    /// With a last line.
    #[must_use]
    pub fn trailer(mut self, line: &str) -> Self {
        self.message.push_str(line);
        self.message.push('\n');
        self
    }

    /// Found under another name than its own.
    #[must_use]
    pub fn found_as(mut self, name: &str) -> Self {
        self.reference = format!("refs/tags/{name}");
        self
    }

    /// With a date.
    #[must_use]
    pub fn dated(mut self, seconds: i64) -> Self {
        self.seconds = seconds;
        self
    }

    /// Signed.
    #[must_use]
    pub fn sign(mut self, key: &'k Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Its raw bytes changed at the end.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(Vec<u8>) -> Vec<u8> + 'k) -> Self {
        self.edit = Some(Box::new(edit));
        self
    }

    /// Writes it, and its ref.
    pub fn make(self, world: &mut World) -> Oid {
        let mut raw = format!(
            "object {}\ntype {}\ntag {}\ntagger Somebody <somebody@fleet.example> {} +0000\n\n{}",
            self.target, self.kind, self.name, self.seconds, self.message
        )
        .into_bytes();
        if let Some(key) = self.key {
            let block = key.sign(&raw, self.seconds);
            raw.extend(block.bytes());
        }
        if let Some(edit) = self.edit {
            raw = edit(raw);
        }
        let id = world.store.write(ObjectKind::Tag, raw);
        world.tags.push(TagRef {
            name: self.reference,
            target: id,
        });
        id
    }
}
