//! A repository in memory: real objects, judged by the real `verify`. What is blessed counts as
//! accepted before; what isn't is unsigned, and held for that.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use plumb_core::ports::SourceError;
use plumb_trust::source::{Fetched, Files, Source, VerifyRequest};
use plumb_trust::{
    Inputs, KeyName, ObjectError, ObjectFormat, ObjectKind, Objects, Oid, Outcome, Revision,
    Revocations, Rollback, Verified, name_of, verify,
};

const POLICY: &str = r#"kind: TrustPolicy
metadata: {name: main}
spec:
  serial: 1
  repository: 6f1c0c9e-5d1b-4c0e-9a52-3a7f1f0e8d11
  ref: refs/heads/main
  bindRef: none
  identities:
    alice: {keys: [{ssh: "SHA256:I+V3AoHAkCS9K+icDSXFKTl4Lv+LXRtvARNmHdmerWg"}]}
  groups: {ops: [alice]}
  rules:
    - {paths: ["**"], need: [{from: ops, count: 1}]}
"#;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMuqvAQa0cgFMT1d4gcAZTkFdv0pEyf7ztceyhK94lbB\n";

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Oid, (ObjectKind, Vec<u8>)>,
    files: BTreeMap<Oid, BTreeMap<String, String>>,
    parents: BTreeMap<Oid, Oid>,
    blessed: BTreeSet<Oid>,
    head: Option<Oid>,
    down: Option<SourceError>,
    fetches: usize,
    loads: usize,
    revoked: Revocations,
    revoked_before: Revocations,
    revoked_by_tags: Vec<KeyName>,
    rollbacks: Vec<Rollback>,
}

/// The repository.
#[derive(Clone, Default)]
pub(super) struct Repository(Arc<Mutex<Inner>>);

impl Objects for Inner {
    fn read(&self, id: &Oid, kind: ObjectKind, _: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
        match self.objects.get(id) {
            Some((found, bytes)) if *found == kind => Ok(Cow::Borrowed(bytes)),
            _ => Err(ObjectError::Missing),
        }
    }
}

impl Inner {
    fn put(&mut self, kind: ObjectKind, bytes: Vec<u8>) -> Oid {
        let oid = name_of(kind, &bytes, ObjectFormat::Sha1).unwrap();
        self.objects.insert(oid, (kind, bytes));
        oid
    }

    fn tree(&mut self, files: &BTreeMap<String, String>) -> Oid {
        let mut entries: Vec<(String, &str, Oid)> = Vec::new();
        let mut folders: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        for (path, text) in files {
            if let Some((folder, rest)) = path.split_once('/') {
                let folder = folders.entry(folder).or_default();
                folder.insert(rest.to_owned(), text.clone());
            } else {
                let blob = self.put(ObjectKind::Blob, text.clone().into_bytes());
                entries.push((path.clone(), "100644", blob));
            }
        }
        for (name, files) in folders {
            let tree = self.tree(&files);
            entries.push((name.to_owned(), "40000", tree));
        }
        // Git sorts folders as if their names ended with a slash.
        entries.sort_by_key(|(name, mode, _)| {
            if *mode == "40000" {
                format!("{name}/")
            } else {
                name.clone()
            }
        });
        let mut bytes = Vec::new();
        for (name, mode, oid) in entries {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend_from_slice(oid.as_bytes());
        }
        self.put(ObjectKind::Tree, bytes)
    }

    fn chain(&self, head: Oid) -> Vec<Oid> {
        std::iter::successors(Some(head), |oid| self.parents.get(oid).copied()).collect()
    }
}

impl Repository {
    /// A repository whose first commit has these files beside a policy.
    pub(super) fn new(files: &[(&str, &str)]) -> (Self, Oid) {
        let repository = Self::default();
        let first = repository.commit(files);
        repository.bless(first);
        (repository, first)
    }

    /// Pushes a commit that nobody signed: the files of its parent, and these.
    pub(super) fn commit(&self, files: &[(&str, &str)]) -> Oid {
        let mut inner = self.0.lock().unwrap();
        let inner = &mut *inner;
        let parent = inner.head;
        let mut all = parent.map_or_else(
            || {
                BTreeMap::from([
                    ("trust/policy.yaml".to_owned(), POLICY.to_owned()),
                    ("trust/keys/alice.pub".to_owned(), KEY.to_owned()),
                    (
                        "fleet.yaml".to_owned(),
                        "kind: Fleet\nmetadata: {name: home}\nspec: {domain: fleet.example}\n"
                            .to_owned(),
                    ),
                ])
            },
            |parent| inner.files[&parent].clone(),
        );
        for (path, text) in files {
            if text.is_empty() {
                all.remove(*path);
            } else {
                all.insert((*path).to_owned(), (*text).to_owned());
            }
        }
        let tree = inner.tree(&all);
        let number = 1_700_000_000 + inner.parents.len();
        let mut commit = format!("tree {tree}\n");
        if let Some(parent) = parent {
            let _ = writeln!(commit, "parent {parent}");
        }
        let _ = write!(
            commit,
            "author A <a@fleet.example> {number} +0000\ncommitter A <a@fleet.example> {number} +0000\n\nchange {}\n",
            inner.parents.len()
        );
        let oid = inner.put(ObjectKind::Commit, commit.into_bytes());
        if let Some(parent) = parent {
            inner.parents.insert(oid, parent);
        }
        inner.files.insert(oid, all);
        inner.head = Some(oid);
        oid
    }

    /// Counts a commit as accepted.
    pub(super) fn bless(&self, commit: Oid) {
        self.0.lock().unwrap().blessed.insert(commit);
    }

    /// Pushes a commit that is accepted.
    pub(super) fn push(&self, files: &[(&str, &str)]) -> Oid {
        let commit = self.commit(files);
        self.bless(commit);
        commit
    }

    /// Sets the branch back.
    pub(super) fn reset(&self, commit: Oid) {
        self.0.lock().unwrap().head = Some(commit);
    }

    /// Goes back to a commit by a signed commit on top of it.
    pub(super) fn roll_back(&self, to: Oid, files: &[(&str, &str)]) -> Oid {
        let from = self.0.lock().unwrap().head.unwrap();
        self.reset(to);
        let commit = self.push(files);
        let rollback = Rollback { from, to, commit };
        self.0.lock().unwrap().rollbacks.push(rollback);
        commit
    }

    /// Replaces the repository by one that has a commit's parent and not the commit.
    pub(super) fn lose(&self, commit: Oid) {
        let mut inner = self.0.lock().unwrap();
        inner.objects.remove(&commit);
        inner.head = inner.parents.get(&commit).copied();
    }

    pub(super) fn go_down(&self, error: Option<SourceError>) {
        self.0.lock().unwrap().down = error;
    }

    pub(super) fn fetches(&self) -> usize {
        self.0.lock().unwrap().fetches
    }

    pub(super) fn loads(&self) -> usize {
        self.0.lock().unwrap().loads
    }

    /// Tags as good as signed take authority away from these keys, and from no others.
    pub(super) fn revoke(&self, keys: &[KeyName]) {
        keys.clone_into(&mut self.0.lock().unwrap().revoked_by_tags);
    }

    /// What the last verification was told that tags took away before.
    pub(super) fn told_revoked_before(&self) -> Revocations {
        self.0.lock().unwrap().revoked_before.clone()
    }

    /// The local revocations that the last verification was told.
    pub(super) fn told_revoked(&self) -> Revocations {
        self.0.lock().unwrap().revoked.clone()
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Source for Repository {
    type Error = SourceError;

    fn describe(&self) -> String {
        "memory refs/heads/main".to_owned()
    }

    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        let mut inner = self.0.lock().unwrap();
        inner.fetches += 1;
        ready(match (&inner.down, inner.head) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(head)) => Ok(Fetched {
                head,
                tags: Vec::new(),
            }),
            (None, None) => Err(SourceError::Closed),
        })
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Outcome, SourceError>> {
        let mut inner = self.0.lock().unwrap();
        inner.revoked = request.revoked.clone();
        inner.revoked_before = request.revoked_before.clone();
        let floor = request.floor.unwrap_or(request.introduction);
        let mut chain = inner.chain(request.head);
        chain.reverse();
        let back = inner.rollbacks.iter().find(|rollback| {
            rollback.from == floor && !chain.contains(&floor) && chain.contains(&rollback.commit)
        });
        let floor = back.map_or(floor, |rollback| rollback.commit);
        // The longest blessed prefix above the floor counts as accepted; the rest is judged for real.
        let above = chain.iter().skip_while(|oid| **oid != floor);
        let accepted = above
            .take_while(|oid| inner.blessed.contains(oid))
            .last()
            .copied()
            .unwrap_or(floor);
        let inputs = Inputs::new(accepted, request.head, request.now)
            .floor(accepted)
            .lower_bounds(&request.lower_bounds)
            .revoked(&request.revoked)
            .revoked_before(&request.revoked_before);
        let mut outcome = verify(&*inner, &inputs);
        outcome.rollbacks.extend(back);
        outcome.revoked.clone_from(&inner.revoked_by_tags);
        if let Some(unbacked) = &mut outcome.unbacked {
            unbacked.retain(|key| !inner.revoked_by_tags.contains(key));
        }
        ready(Ok(outcome))
    }

    fn files(&self, revision: Verified<Revision>) -> BoxFuture<'_, Result<Files, SourceError>> {
        let mut inner = self.0.lock().unwrap();
        inner.loads += 1;
        let files = inner.files[&revision.commit()].iter();
        let files = files.map(|(path, text)| (path.clone(), text.as_bytes().into()));
        ready(Ok(files.collect()))
    }

    fn descends(&self, ancestor: Oid, descendant: Oid) -> BoxFuture<'_, Result<bool, SourceError>> {
        let inner = self.0.lock().unwrap();
        if !inner.objects.contains_key(&descendant) {
            return ready(Err(SourceError::Missing(descendant.to_string())));
        }
        ready(Ok(inner.chain(descendant).contains(&ancestor)))
    }
}
