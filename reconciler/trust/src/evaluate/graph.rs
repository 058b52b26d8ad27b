//! Caches the commit graph, so that many walks read each commit once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::commits::{parse, read};
use crate::object::Checked;
use crate::oid::Oid;
use crate::reason::Reason;
use crate::work::count;

/// Maximum number of cached commits. A merge has at most fifteen side branches, and their walks visit mostly
/// the same commits.
const KEPT: usize = 100_000;

/// A commit's node in the graph.
pub(super) struct Node {
    pub(super) tree: Oid,
    pub(super) parents: Vec<Oid>,
    pub(super) seconds: i64,
    /// Size of the commit object in bytes.
    pub(super) bytes: u64,
}

/// A cache of the commits that walks have read.
pub(super) struct Graph<'a> {
    objects: Checked<'a>,
    known: RefCell<HashMap<Oid, Rc<Node>>>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(objects: Checked<'a>) -> Self {
        Self {
            objects,
            known: RefCell::default(),
        }
    }

    /// Returns a commit's node. Reads the commit unless it is cached.
    pub(super) fn node(&self, id: &Oid) -> Result<Rc<Node>, Reason> {
        if let Some(node) = self.known.borrow().get(id) {
            return Ok(node.clone());
        }
        let raw = read(self.objects, id)?;
        let commit = parse(&raw, id)?;
        let node = Rc::new(Node {
            tree: commit.tree,
            parents: commit.parents,
            seconds: commit.committer.seconds,
            bytes: count(raw.len()),
        });
        let mut known = self.known.borrow_mut();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(*id, node.clone());
        Ok(node)
    }
}
