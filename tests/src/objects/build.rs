//! Builders of commits and tags.

use plumb_trust::{ObjectFormat, ObjectKind, Oid, TagRef};

use super::{Files, REF, REPOSITORY, Store, World};
use crate::keys::Key;

pub(super) type Edit<'k> = Box<dyn FnOnce(Vec<u8>) -> Vec<u8> + 'k>;
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
    pub(super) fn new(parents: Vec<Oid>, files: Files, seconds: i64) -> Self {
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
    pub(super) key: Option<&'k Key>,
    pub(super) edit: Option<Edit<'k>>,
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
