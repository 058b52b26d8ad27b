//! `bench-history KIND COUNT PACK`: a long signed history as one packfile, for `tests/bench verify`.
//!
//! KIND is `mixed` (OpenPGP and SSH Ed25519 by turns) or `openpgp`. Each commit changes one of 70 files.
//! The pack is whole and neither compressed nor made of deltas: `git repack` is the one who does that.
//! On its standard output stand, as JSON, the introduction, the commit before the head, and the head.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use plumb_trust::{ObjectFormat, ObjectKind, Oid, name_of};
use tests::keys::{Key, people};
use tests::objects::{PolicyText, START};

/// Files in `hosts/` and in `profiles/`.
const HOSTS: usize = 50;
const PROFILES: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, count, path] = &arguments[..] else {
        panic!("bench-history mixed|openpgp COUNT PACK");
    };
    let p = people();
    let signers: &[&Key] = match kind.as_str() {
        "mixed" => &[&p.alice, &p.carol],
        "openpgp" => &[&p.alice, &p.bob],
        other => panic!("{other} is neither mixed nor openpgp"),
    };
    let count: usize = count.parse().unwrap();
    // The first commit brings 70 files and the trust folder; the others two trees, a file and themselves.
    let mut history = History::new(Path::new(path));
    let introduction = history.commit(None, START, None);
    let (mut before, mut head) = (introduction, introduction);
    for n in 1..=count {
        history.change(n);
        before = head;
        let seconds = START + 60 * i64::try_from(n).unwrap();
        head = history.commit(Some(head), seconds, Some(signers[n % signers.len()]));
    }
    history.pack.finish();
    println!(
        "{}",
        serde_json::json!({
            "introduction": introduction.to_string(),
            "before": before.to_string(),
            "head": head.to_string(),
        })
    );
}

type Entry = (String, &'static str, Oid);

struct History {
    pack: Pack,
    hosts: Vec<Entry>,
    profiles: Vec<Entry>,
    hosts_tree: Oid,
    profiles_tree: Oid,
    rest: Vec<Entry>,
}

impl History {
    fn new(path: &Path) -> Self {
        let mut pack = Pack::new(path);
        let mut files = |kind: &str, count: usize| -> Vec<Entry> {
            (0..count)
                .map(|n| {
                    let text = manifest(kind, n, 0);
                    (
                        format!("{kind}{n:03}.yaml"),
                        "100644",
                        pack.add(ObjectKind::Blob, text.as_bytes()),
                    )
                })
                .collect()
        };
        let (hosts, profiles) = (files("h", HOSTS), files("p", PROFILES));
        let (hosts_tree, profiles_tree) = (pack.tree(&hosts), pack.tree(&profiles));
        let policy = PolicyText::usual();
        let (mut keys, mut trust) = (Vec::new(), Vec::new());
        for (path, (_, bytes)) in policy.files() {
            let id = pack.add(ObjectKind::Blob, &bytes);
            match path.strip_prefix("trust/keys/") {
                Some(name) => keys.push((name.to_owned(), "100644", id)),
                None => trust.push(("policy.yaml".to_owned(), "100644", id)),
            }
        }
        trust.insert(0, ("keys".to_owned(), "40000", pack.tree(&keys)));
        let trust = pack.tree(&trust);
        let fleet = pack.add(ObjectKind::Blob, b"kind: Fleet\nmetadata: {name: bench}\n");
        let peer = pack.add(ObjectKind::Blob, sq_git_policy().as_bytes());
        let rest = vec![
            ("fleet.yaml".to_owned(), "100644", fleet),
            ("openpgp-policy.toml".to_owned(), "100644", peer),
            ("trust".to_owned(), "40000", trust),
        ];
        Self {
            pack,
            hosts,
            profiles,
            hosts_tree,
            profiles_tree,
            rest,
        }
    }

    /// The files of the commit after so many.
    fn change(&mut self, n: usize) {
        // Every fifth change is of a profile.
        let (kind, files) = if n.is_multiple_of(5) {
            ("p", &mut self.profiles)
        } else {
            ("h", &mut self.hosts)
        };
        let at = n % files.len();
        files[at].2 = self
            .pack
            .add(ObjectKind::Blob, manifest(kind, at, n).as_bytes());
        let tree = self.pack.tree(files);
        if kind == "p" {
            self.profiles_tree = tree;
        } else {
            self.hosts_tree = tree;
        }
    }

    fn commit(&mut self, parent: Option<Oid>, seconds: i64, signer: Option<&Key>) -> Oid {
        let mut entries = self.rest.clone();
        entries.insert(1, ("hosts".to_owned(), "40000", self.hosts_tree));
        entries.insert(3, ("profiles".to_owned(), "40000", self.profiles_tree));
        let tree = self.pack.tree(&entries);
        let parent = parent
            .map(|id| format!("parent {id}\n"))
            .unwrap_or_default();
        let who = format!("Somebody <somebody@fleet.example> {seconds} +0000");
        let headers = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n");
        let message = format!("\nA change at {seconds}\n\nOne file, as somebody asked for it.\n");
        let signature = signer
            .map(|key| key.sign(format!("{headers}{message}").as_bytes(), seconds))
            .map(|block| format!("gpgsig {}\n", block.trim_end().replace('\n', "\n ")))
            .unwrap_or_default();
        self.pack.add(
            ObjectKind::Commit,
            format!("{headers}{signature}{message}").as_bytes(),
        )
    }
}

fn manifest(kind: &str, number: usize, change: usize) -> String {
    format!(
        "kind: Host\nmetadata: {{name: {kind}{number:03}}}\nspec:\n  arch: x86_64\n  labels: {{env: lab, change: \"{change}\"}}\n"
    )
}

/// Both OpenPGP keys of ops, as sq-git names them.
fn sq_git_policy() -> String {
    let p = people();
    let mut text = "version = 0\ncommit_goodlist = []\n".to_owned();
    for (name, key) in [("alice", &p.alice), ("bob", &p.bob)] {
        let _ = write!(
            text,
            "\n[authorization.{name}]\nsign_commit = true\nkeyring = \"\"\"\n{}\"\"\"\n",
            key.public()
        );
    }
    text
}

/// A packfile (gitformat-pack, version 2) whose objects are stored whole.
struct Pack {
    file: BufWriter<File>,
    path: std::path::PathBuf,
    objects: u32,
}

impl Pack {
    fn new(path: &Path) -> Self {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
        // How many there are is written at the end.
        file.write_all(b"PACK\0\0\0\x02\0\0\0\0").unwrap();
        Self {
            file,
            path: path.to_owned(),
            objects: 0,
        }
    }

    fn tree(&mut self, entries: &[Entry]) -> Oid {
        let mut raw = Vec::new();
        for (name, mode, id) in entries {
            raw.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            raw.extend_from_slice(id.as_bytes());
        }
        self.add(ObjectKind::Tree, &raw)
    }

    fn add(&mut self, kind: ObjectKind, bytes: &[u8]) -> Oid {
        let number = match kind {
            ObjectKind::Commit => 1,
            ObjectKind::Tree => 2,
            ObjectKind::Blob => 3,
            ObjectKind::Tag => 4,
        };
        let mut rest = bytes.len() >> 4;
        let mut header = vec![number << 4 | u8::try_from(bytes.len() & 15).unwrap()];
        while rest > 0 {
            *header.last_mut().unwrap() |= 0x80;
            header.push(u8::try_from(rest & 127).unwrap());
            rest >>= 7;
        }
        // zlib (RFC 1950) with stored blocks (RFC 1951).
        header.extend_from_slice(&[0x78, 0x01]);
        let mut blocks = bytes.chunks(0xffff).peekable();
        if blocks.peek().is_none() {
            header.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
        }
        while let Some(block) = blocks.next() {
            let len = u16::try_from(block.len()).unwrap();
            header.push(u8::from(blocks.peek().is_none()));
            header.extend_from_slice(&len.to_le_bytes());
            header.extend_from_slice(&(!len).to_le_bytes());
            header.extend_from_slice(block);
        }
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in bytes {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        header.extend_from_slice(&(b << 16 | a).to_be_bytes());
        self.file.write_all(&header).unwrap();
        self.objects += 1;
        name_of(kind, bytes, ObjectFormat::Sha1).unwrap()
    }

    fn finish(self) {
        use std::io::{Seek, SeekFrom};
        let mut file = self.file.into_inner().unwrap();
        file.seek(SeekFrom::Start(8)).unwrap();
        file.write_all(&self.objects.to_be_bytes()).unwrap();
        drop(file);
        let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
        let mut file = File::options()
            .read(true)
            .append(true)
            .open(&self.path)
            .unwrap();
        let mut chunk = vec![0; 1 << 20];
        loop {
            let read = std::io::Read::read(&mut file, &mut chunk).unwrap();
            if read == 0 {
                break;
            }
            hasher.update(&chunk[..read]);
        }
        file.write_all(hasher.try_finalize().unwrap().as_slice())
            .unwrap();
    }
}
