//! `fuzz-seeds DUMP FUZZ`: seeds for the fuzz targets from the objects of the adversary's cases.
//!
//! DUMP is what `PLUMB_DUMP` left, FUZZ is `tests/fuzz`. The fixture of the target `signature` is made
//! if there is none: its keys are new each time, and the seeds of an older one would count for nothing.

use std::fs;
use std::path::{Path, PathBuf};

use plumb_trust::object::Commit;
use plumb_trust::{Armor, ObjectFormat, ObjectKind, name_of};
use tests::keys::{Key, unarmor};
use tests::objects::{PolicyText, World, batch, parse_batch};

/// A pattern and a path to each other.
const PATTERNS: [&str; 8] = [
    "**\na/b",
    "prod/**\nprod/a",
    "hosts/*.yaml\nhosts/a.yaml",
    "**/secret/*\na/b/secret/c",
    "*a*b*c\nxaybzc",
    "a/**/b/**/c\na/x/b/c/d",
    "Trust/Policy.yaml\ntrust/policy.YAML",
    "a*\n.a/b",
];

fn main() {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [dump, fuzz] = &arguments[..] else {
        panic!("fuzz-seeds DUMP FUZZ");
    };
    let fixture = fuzz.join("fixture");
    if !fixture.exists() {
        make_fixture(&fixture.join("openpgp"), &[("ed25519", Key::pgp("a"))]);
        let keys = [
            ("ed25519", Key::ssh_ed25519("a")),
            ("security-key", Key::security_key(1)),
        ];
        make_fixture(&fixture.join("ssh"), &keys);
    }
    let mut seeds = Seeds(fuzz.join("corpus"));
    for name in [
        "openpgp/genuine-ed25519",
        "ssh/genuine-ed25519",
        "ssh/genuine-security-key",
    ] {
        seeds.add("signature", &fs::read(fixture.join(name)).unwrap());
    }
    for pair in PATTERNS {
        seeds.add("pattern", pair.as_bytes());
    }
    for case in fs::read_dir(dump).unwrap() {
        for call in fs::read_dir(case.unwrap().path()).unwrap() {
            let objects = fs::read(call.unwrap().path().join("objects")).unwrap();
            for (_, kind, bytes) in parse_batch(&objects) {
                seeds.object(kind, bytes);
            }
        }
    }
}

/// A repository of a few people with one key each, a commit on top, and a signature of each of it.
fn make_fixture(folder: &Path, keys: &[(&str, Key)]) {
    let mut policy = PolicyText::usual();
    policy.identities.clear();
    policy.keys.clear();
    for (name, key) in keys {
        policy.identity(name, &[key]);
    }
    let names: Vec<&str> = keys.iter().map(|(name, _)| *name).collect();
    policy.groups = vec![("ops".to_owned(), format!("[{}]", names.join(", ")))];
    policy.rules = vec!["{paths: [\"**\"], need: [{from: ops, count: 1}]}".to_owned()];
    let mut world = World::new(policy);
    let root = world.store.clone();
    let seconds = world.clock() + 60;
    let commit = world.on(world.root).message("x\n").make(&mut world);
    let payload = world.store.bytes(&commit).to_vec();
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("objects"), batch(&root)).unwrap();
    fs::write(folder.join("payload"), &payload).unwrap();
    for (name, key) in keys {
        let signature = unarmor(&key.sign(&payload, seconds));
        fs::write(folder.join(format!("genuine-{name}")), signature).unwrap();
    }
}

struct Seeds(PathBuf);

impl Seeds {
    /// Named by what they are, as libFuzzer does it.
    fn add(&mut self, target: &str, bytes: &[u8]) {
        const MOST: usize = 16 << 10;
        if bytes.len() > MOST {
            return;
        }
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).unwrap();
        let name = name_of(ObjectKind::Blob, bytes, ObjectFormat::Sha1).unwrap();
        fs::write(folder.join(name.to_string()), bytes).unwrap();
    }

    fn object(&mut self, kind: &str, bytes: &[u8]) {
        match kind {
            "commit" => {
                self.add("commit", bytes);
                for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
                    let Ok(commit) = Commit::parse(bytes, format) else {
                        continue;
                    };
                    if let Some(block) = &commit.signature {
                        self.block(block);
                    }
                    for tag in &commit.mergetags {
                        self.add("tag", tag);
                    }
                }
            }
            "tag" => self.add("tag", bytes),
            "tree" => self.add("tree", bytes),
            _ if bytes.starts_with(b"kind: TrustPolicy") => self.add("policy", bytes),
            _ if [&b"-----BEGIN PGP"[..], b"ssh-", b"ecdsa-", b"sk-"]
                .iter()
                .any(|start| bytes.starts_with(start)) =>
            {
                self.add("key", bytes);
            }
            _ => {}
        }
    }

    fn block(&mut self, block: &[u8]) {
        self.add("armor", block);
        if let Some(Ok(bytes)) = Armor::of(block).map(|armor| armor.decode(block)) {
            self.add("signature", &bytes);
        }
    }
}
