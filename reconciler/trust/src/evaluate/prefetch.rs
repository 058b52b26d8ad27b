//! Verifies commits in advance, on other threads.
//!
//! STRATEGY. More than half of the cost of a commit is arithmetic: its name and its signature. Both depend
//! only on the commit's bytes and on keys, so other threads can compute them for the next commits of the
//! chain, with the keys of the policy in force. The main thread uses a result only together with the bytes
//! that it was computed from, and only if the policy is still the same. Otherwise, and for commits that no
//! thread has verified, the main thread computes the result. So no verdict depends on prefetching or on the
//! number of threads.
//!
//! Only the main thread reads objects. The commits that wait for a thread are bounded in number and in bytes,
//! and are dropped at the first commit that isn't accepted. If a thread fails, the main thread does its work.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::chain::Chain;
use super::counted_signature::examine_commit;
use crate::object::{Checked, Commit, ObjectKind, ReadError, limits};
use crate::oid::Oid;
use crate::policy::Authority;
use crate::signature::Finding;

/// Maximum number of commits in a batch. Waking a thread costs as much as a few signatures.
const BATCH: usize = 32;
/// Maximum size in bytes of the commits in a batch, not counting the last commit.
const BATCH_BYTES: usize = 64 << 10;
/// Maximum number of batches in a thread's queue, including the one that the thread works on.
const WAITING: usize = 4;

/// A commit that another thread has verified.
pub(super) struct Prefetched {
    id: Oid,
    /// The commit's bytes, or an error if they can't be read or don't have the commit's name.
    raw: Result<Vec<u8>, ReadError>,
    /// The finding about the commit's signature with the keys of this policy, if the bytes parse as a commit.
    finding: Option<(Arc<Authority>, Finding)>,
}

impl Prefetched {
    /// Returns the commit's bytes, and the finding if it was made with the keys of this policy.
    pub(super) fn by(
        self,
        authority: &Arc<Authority>,
    ) -> (Result<Vec<u8>, ReadError>, Option<Finding>) {
        let same = |(by, _): &(Arc<Authority>, Finding)| Arc::ptr_eq(by, authority);
        let finding = self.finding.filter(same).map(|(_, finding)| finding);
        (self.raw, finding)
    }
}

/// The result of reading a commit from the store.
type Read = (Oid, Result<Vec<u8>, ReadError>);

/// Work for a thread: commits as read from the store, and the policy to verify them with.
struct Batch {
    commits: Vec<Read>,
    authority: Arc<Authority>,
}

impl Batch {
    /// Verifies the commits of the batch. Stops early if `over` becomes true.
    fn look(self, over: &AtomicBool) -> Vec<Prefetched> {
        let look = |(id, raw): Read| {
            let raw = raw.and_then(|raw| {
                Checked::named(&id, ObjectKind::Commit, &raw)?;
                Ok(raw)
            });
            let commit = raw.as_ref().ok();
            let commit = commit.and_then(|raw| Commit::parse(raw, id.format()).ok());
            let finding = commit.map(|commit| {
                let finding = examine_commit(&self.authority, &commit);
                (self.authority.clone(), finding)
            });
            Prefetched { id, raw, finding }
        };
        let wanted = |_: &Read| !over.load(Ordering::Relaxed);
        self.commits
            .into_iter()
            .take_while(wanted)
            .map(look)
            .collect()
    }
}

struct Thread<'scope> {
    todo: SyncSender<Batch>,
    done: Receiver<Vec<Prefetched>>,
    handle: ScopedJoinHandle<'scope, ()>,
}

/// The threads and the state of their batches. The main thread gives a batch to each thread in turn and
/// collects the results in the same order.
#[derive(Default)]
pub(super) struct Prefetch<'scope> {
    threads: Vec<Thread<'scope>>,
    over: Arc<AtomicBool>,
    /// The position in the chain of the next commit to give to a thread; `None` after a commit that can't be
    /// read or a thread that has ended.
    next: Option<usize>,
    given: usize,
    taken: usize,
    looked: VecDeque<Prefetched>,
}

impl<'scope> Prefetch<'scope> {
    /// Starts up to `count` threads for a chain of `commits` commits; starts none for a single commit.
    pub(super) fn start(scope: &'scope Scope<'scope, '_>, count: usize, commits: usize) -> Self {
        let mut prefetch = Self {
            next: Some(0),
            ..Self::default()
        };
        for _ in 0..count.min(commits.saturating_sub(1)) {
            let (todo, batches) = sync_channel::<Batch>(WAITING);
            let (looked, done) = sync_channel(WAITING);
            let over = prefetch.over.clone();
            let work = move || {
                while let Ok(batch) = batches.recv() {
                    if looked.send(batch.look(&over)).is_err() {
                        break;
                    }
                }
            };
            let builder = Builder::new().name("signatures".to_owned());
            // A thread that can't be started isn't needed: the main thread does the work.
            let Ok(handle) = builder.spawn_scoped(scope, work) else {
                break;
            };
            prefetch.threads.push(Thread { todo, done, handle });
        }
        prefetch
    }

    /// Stops all threads, when the main thread needs no more results or continues alone.
    pub(super) fn end(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for Thread { todo, done, handle } in self.threads.drain(..) {
            drop((todo, done));
            // If the thread panicked, the main thread does its work.
            let _ = handle.join();
        }
        self.looked.clear();
    }

    /// Returns the next commit of the chain if a thread has verified it, and gives further commits to the
    /// threads. The main thread must call this for each commit in turn.
    pub(super) fn take(
        &mut self,
        objects: Checked<'_>,
        chain: &Chain,
        id: &Oid,
        authority: &Arc<Authority>,
    ) -> Option<Prefetched> {
        self.give(objects, chain, authority);
        if self.looked.is_empty() && !self.threads.is_empty() && self.taken < self.given {
            let thread = &self.threads[self.taken % self.threads.len()];
            let Ok(looked) = thread.done.recv() else {
                self.end();
                return None;
            };
            self.looked.extend(looked);
            self.taken += 1;
        }
        self.looked.pop_front().filter(|looked| looked.id == *id)
    }

    fn give(&mut self, objects: Checked<'_>, chain: &Chain, authority: &Arc<Authority>) {
        while self.given - self.taken < WAITING * self.threads.len() {
            let Some(commits) = self.batch(objects, chain) else {
                return;
            };
            let batch = Batch {
                commits,
                authority: authority.clone(),
            };
            let thread = &self.threads[self.given % self.threads.len()];
            if thread.todo.send(batch).is_err() {
                self.next = None;
                return;
            }
            self.given += 1;
        }
    }

    /// Reads the next batch of commits. No batch follows after a commit that can't be read.
    fn batch(&mut self, objects: Checked<'_>, chain: &Chain) -> Option<Vec<Read>> {
        let (mut commits, mut bytes) = (Vec::with_capacity(BATCH), 0);
        while commits.len() < BATCH && bytes < BATCH_BYTES {
            let Some(at) = self.next.filter(|at| *at < chain.len()) else {
                break;
            };
            let id = chain.get(at);
            let read = objects.peek(&id, ObjectKind::Commit, limits::COMMIT);
            bytes += read.as_ref().map_or(0, |raw| raw.len());
            self.next = read.is_ok().then_some(at + 1);
            commits.push((id, read.map(Cow::into_owned)));
        }
        (!commits.is_empty()).then_some(commits)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::object::{ObjectError, Objects};
    use crate::oid::ObjectFormat;

    const POLICY: &[u8] = br#"kind: TrustPolicy
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

    const KEY: &[u8] =
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMuqvAQa0cgFMT1d4gcAZTkFdv0pEyf7ztceyhK94lbB\n";

    struct Nothing;

    impl Objects for Nothing {
        fn read(&self, _: &Oid, _: ObjectKind, _: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
            Err(ObjectError::Missing)
        }
    }

    #[test]
    fn a_thread_that_panics_leaves_its_work() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let authority = Authority::new(POLICY, [("trust/keys/alice.pub", KEY)], now).unwrap();
        let authority = Arc::new(authority);
        let id = crate::object::name_of(ObjectKind::Commit, b"", ObjectFormat::Sha1).unwrap();
        std::thread::scope(|scope| {
            let (todo, _batches) = sync_channel::<Batch>(WAITING);
            let (looked, done) = sync_channel::<Vec<Prefetched>>(WAITING);
            let handle = scope.spawn(move || {
                let _looked = looked;
                panic!("as if a signature had");
            });
            let mut prefetch = Prefetch {
                threads: vec![Thread { todo, done, handle }],
                given: 1,
                ..Prefetch::default()
            };
            let objects = Checked(&Nothing);
            for _ in 0..2 {
                let looked = prefetch.take(objects, &Chain::default(), &id, &authority);
                assert!(looked.is_none(), "the judge does it");
            }
            assert!(prefetch.threads.is_empty());
        });
    }
}
