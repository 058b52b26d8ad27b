//! Commits that other threads look at before it is their turn.
//!
//! STRATEGY. More than half of what a commit costs is arithmetic: its name and its signature. Both follow
//! from its bytes and from keys alone, so that other threads can do them for the next commits of the
//! chain, with the keys of the policy that holds now. What they found is taken only for the very bytes
//! that are judged, and only if the policy is still that one; otherwise, and where nobody looked ahead,
//! the judge finds it out itself. So no verdict depends on it, nor on how many threads there are.
//!
//! Objects are read by the judge's thread alone. What waits is bounded in commits and in bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope};

use super::chain::Chain;
use super::voice::examine_commit;
use crate::object::{Checked, Commit, ObjectKind, ReadError, limits};
use crate::oid::Oid;
use crate::policy::Authority;
use crate::signature::Finding;

/// How many commits a thread is given at once: to wake one costs as much as a few signatures.
const BATCH: usize = 32;
/// How many bytes of commits a thread is given at once, but for the last commit.
const BATCH_BYTES: usize = 64 << 10;
/// How many batches a thread has before it, the one that it looks at included.
const WAITING: usize = 4;

/// A commit that was looked at.
pub(super) struct Looked {
    id: Oid,
    /// Its bytes, if they are truly of that name.
    raw: Result<Vec<u8>, ReadError>,
    /// What its signature is worth by these keys, if it has the form of a commit.
    finding: Option<(Arc<Authority>, Finding)>,
}

impl Looked {
    /// Its bytes; and what its signature is worth, if it was held against this policy.
    pub(super) fn by(
        self,
        authority: &Arc<Authority>,
    ) -> (Result<Vec<u8>, ReadError>, Option<Finding>) {
        let same = |(by, _): &(Arc<Authority>, Finding)| Arc::ptr_eq(by, authority);
        let finding = self.finding.filter(same).map(|(_, finding)| finding);
        (self.raw, finding)
    }
}

/// What a thread is given: commits as the store gave them, and a policy.
struct Batch {
    commits: Vec<(Oid, Vec<u8>)>,
    authority: Arc<Authority>,
}

impl Batch {
    fn look(self) -> Vec<Looked> {
        let look = |(id, raw): (Oid, Vec<u8>)| {
            let named = Checked::named(&id, ObjectKind::Commit, &raw);
            let finding = named
                .is_ok()
                .then(|| Commit::parse(&raw, id.format()).ok())
                .flatten()
                .map(|commit| {
                    let finding = examine_commit(&self.authority, &commit);
                    (self.authority.clone(), finding)
                });
            Looked {
                id,
                raw: named.map(|()| raw),
                finding,
            }
        };
        self.commits.into_iter().map(look).collect()
    }
}

struct Thread {
    todo: SyncSender<Batch>,
    done: Receiver<Vec<Looked>>,
}

/// Who looks ahead, and how far they are. Batches are given in turn and taken back in the same order.
#[derive(Default)]
pub(super) struct Ahead {
    threads: Vec<Thread>,
    /// The next commit of the chain to give away; none if the store failed to give one.
    next: Option<usize>,
    given: usize,
    taken: usize,
    looked: VecDeque<Looked>,
}

impl Ahead {
    /// Starts so many threads as can be had, up to `count`, for a way of so many commits; for one
    /// commit none.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        count: usize,
        commits: usize,
    ) -> Self {
        let mut ahead = Self {
            next: Some(0),
            ..Self::default()
        };
        for _ in 0..count.min(commits.saturating_sub(1)) {
            let (todo, batches) = sync_channel::<Batch>(WAITING);
            let (looked, done) = sync_channel(WAITING);
            let work = move || {
                while let Ok(batch) = batches.recv() {
                    if looked.send(batch.look()).is_err() {
                        break;
                    }
                }
            };
            let named = Builder::new().name("signatures".to_owned());
            // What can't be started isn't needed.
            if named.spawn_scoped(scope, work).is_err() {
                break;
            }
            ahead.threads.push(Thread { todo, done });
        }
        ahead
    }

    /// The next commit of the chain, if it was looked at; and gives away those to come. It is asked for
    /// each commit in turn.
    pub(super) fn take(
        &mut self,
        objects: Checked<'_>,
        chain: &Chain,
        id: &Oid,
        authority: &Arc<Authority>,
    ) -> Option<Looked> {
        self.give(objects, chain, authority);
        if self.looked.is_empty() && self.taken < self.given {
            let thread = self.threads.get(self.taken % self.threads.len())?;
            self.looked.extend(thread.done.recv().ok()?);
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

    /// Reads the next commits. One that can't be read ends it: its turn says why.
    fn batch(&mut self, objects: Checked<'_>, chain: &Chain) -> Option<Vec<(Oid, Vec<u8>)>> {
        let (mut commits, mut bytes) = (Vec::with_capacity(BATCH), 0);
        while commits.len() < BATCH && bytes < BATCH_BYTES {
            let Some(at) = self.next.filter(|at| *at < chain.len()) else {
                break;
            };
            let id = chain.get(at);
            let Ok(raw) = objects.peek(&id, ObjectKind::Commit, limits::COMMIT) else {
                self.next = None;
                break;
            };
            bytes += raw.len();
            commits.push((id, raw.into_owned()));
            self.next = Some(at + 1);
        }
        (!commits.is_empty()).then_some(commits)
    }
}
