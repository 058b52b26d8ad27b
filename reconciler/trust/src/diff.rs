//! Compares two trees. Reports a rename as a removal and an addition, and opens only folders whose object
//! names differ. Treats an empty folder like a file: git never makes one, but a tree may contain it, and a
//! signature covers the whole tree.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::link::Links;
use crate::object::{Checked, EntryMode, Malformed, ObjectKind, Tree, TreeEntry, join, limits};
use crate::oid::Oid;
use crate::policy::TRUST_PATH;
use crate::reason::{Reason, ReasonCode};
use crate::work::{WorkCounter, count};

/// A file or an empty folder, as an entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) mode: EntryMode,
    pub(crate) id: Oid,
}

impl Leaf {
    /// Returns the entry as a leaf, or `None` for a folder that isn't empty.
    fn of(entry: &TreeEntry<'_>) -> Option<Self> {
        let leaf = entry.mode != EntryMode::Folder || entry.id.is_empty_tree();
        leaf.then_some(Self {
            mode: entry.mode,
            id: entry.id,
        })
    }
}

/// A path whose entry differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) after: Option<Leaf>,
}

/// Maximum size in bytes of the cached trees. A step finds in the cache the trees that the step before has
/// read.
const KEPT: usize = 16 << 20;

/// Reads trees from a store, verifies and caches them.
pub(crate) struct Trees<'a> {
    objects: Checked<'a>,
    kept: RefCell<Kept<'a>>,
    work: Rc<WorkCounter>,
}

#[derive(Default)]
struct Kept<'a> {
    trees: HashMap<Oid, Rc<Cow<'a, [u8]>>>,
    bytes: usize,
}

/// The checks on the new tree of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judge {
    /// Checks the names and kinds of new entries, because they could become the fleet's desired state.
    New,
    /// No checks.
    Nothing,
}

fn malformed(path: &str, error: &Malformed) -> Reason {
    let place = if path.is_empty() {
        "the root folder"
    } else {
        path
    };
    let code = error.code(ReasonCode::MalformedTree);
    Reason::new(code, format!("{place}: {error}"))
}

impl<'a> Trees<'a> {
    pub(crate) fn new(objects: Checked<'a>, work: Rc<WorkCounter>) -> Self {
        Self {
            objects,
            kept: RefCell::default(),
            work,
        }
    }

    fn raw(&self, id: &Oid) -> Result<Rc<Cow<'a, [u8]>>, Reason> {
        if let Some(raw) = self.kept.borrow().trees.get(id) {
            return Ok(raw.clone());
        }
        let raw = Rc::new(self.objects.read(id, ObjectKind::Tree, limits::TREE)?);
        let kept = &mut *self.kept.borrow_mut();
        if kept.bytes + raw.len() > KEPT {
            *kept = Kept::default();
        }
        kept.bytes += raw.len();
        kept.trees.insert(*id, raw.clone());
        Ok(raw)
    }

    /// Parses a raw tree and counts its entries.
    fn parse<'r>(&self, path: &str, raw: &'r [u8], id: &Oid) -> Result<Tree<'r>, Reason> {
        let tree = Tree::parse(raw, id.format()).map_err(|e| malformed(path, &e))?;
        let entries = count(tree.entries().len());
        self.work.add(|work| work.tree_entries += entries);
        Ok(tree)
    }

    /// Parses the tree on one side of a comparison. A missing side is an empty tree.
    fn parse_side<'r>(
        &self,
        path: &str,
        raw: Option<&'r Cow<'_, [u8]>>,
        id: Option<&Oid>,
    ) -> Result<Tree<'r>, Reason> {
        match (raw, id) {
            (Some(raw), Some(id)) => self.parse(path, raw, id),
            _ => Ok(Tree::default()),
        }
    }

    /// Returns the files and empty folders at `paths` in a tree. Parses each folder on the way once.
    pub(crate) fn leaves<'p>(
        &self,
        tree: &Oid,
        paths: impl IntoIterator<Item = &'p String>,
    ) -> Result<HashMap<&'p str, Leaf>, Reason> {
        let mut found = HashMap::new();
        let rests = paths.into_iter().map(|path| (path.as_str(), path.as_str()));
        self.gather(tree, rests.collect(), &mut found)?;
        Ok(found)
    }

    /// Adds the leaves at `paths` to `found`. Each element of `paths` is a full path and its remainder below
    /// `folder`.
    fn gather<'p>(
        &self,
        folder: &Oid,
        paths: Vec<(&'p str, &'p str)>,
        found: &mut HashMap<&'p str, Leaf>,
    ) -> Result<(), Reason> {
        let Some((some, _)) = paths.first() else {
            return Ok(());
        };
        let raw = self.raw(folder)?;
        let tree = self.parse(some, &raw, folder)?;
        let mut names: HashMap<&str, Vec<(&'p str, Option<&'p str>)>> = HashMap::new();
        for (path, rest) in paths {
            let (name, below) = match rest.split_once('/') {
                Some((name, below)) => (name, Some(below)),
                None => (rest, None),
            };
            names.entry(name).or_default().push((path, below));
        }
        for entry in tree.entries() {
            let Some(paths) = names.remove(entry.name) else {
                continue;
            };
            let mut inside = Vec::new();
            for (path, below) in paths {
                match below {
                    Some(below) if entry.mode == EntryMode::Folder => inside.push((path, below)),
                    Some(_) => {}
                    None => found.extend(Leaf::of(entry).map(|leaf| (path, leaf))),
                }
            }
            self.gather(&entry.id, inside, found)?;
        }
        Ok(())
    }

    /// Returns the object name of the folder `trust` in a root tree.
    pub(crate) fn trust(&self, tree: &Oid) -> Result<Option<Oid>, Reason> {
        self.folder(tree, TRUST_PATH)
    }

    /// Returns the object name of the folder `name` in a tree.
    pub(crate) fn folder(&self, tree: &Oid, name: &str) -> Result<Option<Oid>, Reason> {
        let raw = self.raw(tree)?;
        let parsed = self.parse("", &raw, tree)?;
        Ok(parsed
            .get(name)
            .filter(|entry| entry.mode == EntryMode::Folder)
            .map(|entry| entry.id))
    }

    /// Returns the paths whose entries differ between two trees, in order. A missing tree counts as empty.
    pub(crate) fn diff(
        &self,
        before: Option<&Oid>,
        after: Option<&Oid>,
        judge: Judge,
    ) -> Result<Vec<Change>, Reason> {
        let mut walk = Walk {
            trees: self,
            judge,
            changes: Vec::new(),
            folders: 0,
            links: Links::new(self.objects),
            path_bytes: 0,
            tree_bytes: 0,
            folded: 0,
        };
        if before != after {
            walk.folder("", before, after, 0)?;
        }
        Ok(walk.changes)
    }
}

struct Walk<'t, 'a> {
    trees: &'t Trees<'a>,
    judge: Judge,
    changes: Vec<Change>,
    /// Number of folders opened so far. The limits on paths don't bound it: folders without files change no
    /// path, and a few of them, nested in each other, can be reached in exponentially many ways.
    folders: usize,
    links: Links<'a>,
    /// Sizes in bytes so far, for the limits: the changed paths, the new tree's folders, and the folded
    /// names.
    path_bytes: usize,
    tree_bytes: u64,
    folded: u64,
}

impl Walk<'_, '_> {
    fn folder(
        &mut self,
        path: &str,
        before: Option<&Oid>,
        after: Option<&Oid>,
        depth: usize,
    ) -> Result<(), Reason> {
        if depth > limits::DEPTH {
            return Err(Reason::new(
                ReasonCode::TooLarge,
                format!("more than {} folders within folders", limits::DEPTH),
            )
            .paths([path]));
        }
        self.folders += 1;
        if self.folders > limits::FOLDERS {
            return Err(Reason::new(
                ReasonCode::TooLarge,
                format!("more than {} folders differ", limits::FOLDERS),
            ));
        }
        let old_raw = before.map(|id| self.trees.raw(id)).transpose()?;
        let new_raw = after.map(|id| self.trees.raw(id)).transpose()?;
        self.tree_bytes += new_raw.as_deref().map_or(0, |raw| count(raw.len()));
        if self.tree_bytes > limits::TREES {
            let message = format!(
                "the folders that differ have more than {} MiB",
                limits::TREES >> 20
            );
            return Err(Reason::new(ReasonCode::TooLarge, message).paths([path]));
        }
        let old_tree = self.trees.parse_side(path, old_raw.as_deref(), before)?;
        let new_tree = self.trees.parse_side(path, new_raw.as_deref(), after)?;
        if self.judge == Judge::New
            && let Some((a, b)) = self.collision(path, &new_tree, &old_tree)?
        {
            let message = format!(
                "some file systems take the names \"{}\" and \"{}\" for one",
                a.escape_debug(),
                b.escape_debug()
            );
            return Err(Reason::new(ReasonCode::MalformedTree, message)
                .paths([join(path, a), join(path, b)]));
        }
        let (mut old, mut new) = (
            old_tree.entries().iter().peekable(),
            new_tree.entries().iter().peekable(),
        );
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(a), Some(b)) => a.order(b),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return Ok(()),
            };
            let a = if order.is_le() { old.next() } else { None };
            let b = if order.is_ge() { new.next() } else { None };
            if a.map(|e| (e.mode, e.id)) != b.map(|e| (e.mode, e.id)) {
                self.entry(path, a, b, depth)?;
            }
        }
    }

    /// Returns two names in a folder that some file system can't tell apart.
    fn collision<'r>(
        &mut self,
        path: &str,
        new: &Tree<'r>,
        old: &Tree<'_>,
    ) -> Result<Option<(&'r str, &'r str)>, Reason> {
        let before = self.folded;
        let found = new.collision(old, &mut self.folded);
        let folded = self.folded - before;
        self.trees.work.add(|work| work.folded_bytes += folded);
        found.map_err(|e| malformed(path, &e))
    }

    /// Handles an entry that differs between the old tree (`a`) and the new tree (`b`). If both trees have
    /// it, the names are equal, and both entries or neither are folders.
    fn entry(
        &mut self,
        folder: &str,
        a: Option<&TreeEntry<'_>>,
        b: Option<&TreeEntry<'_>>,
        depth: usize,
    ) -> Result<(), Reason> {
        let Some(either) = a.or(b) else { return Ok(()) };
        let path = join(folder, either.name);
        if path.len() > limits::PATH {
            return Err(Reason::new(ReasonCode::TooLarge, "a path is too long").paths([path]));
        }
        if let Some(b) = b.filter(|_| self.judge == Judge::New) {
            self.kind(&path, b)?;
        }
        let after = b.and_then(Leaf::of);
        if a.and_then(Leaf::of) != after {
            self.changed(path.clone(), after)?;
        }
        if either.mode == EntryMode::Folder {
            let opened = |e: &&TreeEntry<'_>| !e.id.is_empty_tree();
            let (a, b) = (a.filter(opened), b.filter(opened));
            if a.is_some() || b.is_some() {
                return self.folder(&path, a.map(|e| &e.id), b.map(|e| &e.id), depth + 1);
            }
        }
        Ok(())
    }

    fn changed(&mut self, path: String, after: Option<Leaf>) -> Result<(), Reason> {
        if self.changes.len() == limits::CHANGES {
            return Err(Reason::new(
                ReasonCode::TooLarge,
                format!("more than {} paths change", limits::CHANGES),
            ));
        }
        self.path_bytes += path.len();
        if self.path_bytes > limits::CHANGED_PATHS {
            let message = format!(
                "the paths that change have more than {} MiB",
                limits::CHANGED_PATHS >> 20
            );
            return Err(Reason::new(ReasonCode::TooLarge, message));
        }
        self.changes.push(Change { path, after });
        Ok(())
    }

    fn kind(&mut self, path: &str, entry: &TreeEntry<'_>) -> Result<(), Reason> {
        match entry.mode {
            EntryMode::Gitlink => {
                Err(Reason::new(ReasonCode::Gitlink, "submodules aren't taken").paths([path]))
            }
            EntryMode::Link => self.links.check(path, &entry.id),
            // Replacing a folder by a file, or the other way around, is a change like any other.
            EntryMode::File | EntryMode::Executable | EntryMode::Folder => Ok(()),
        }
    }
}
