//! Worlds written to a folder, for programs that read the same objects with other libraries.
//!
//! With `PLUMB_DUMP=DIR` each verification of a numbered case leaves `DIR/CASE/N/world.json`,
//! `objects` and `splits.json`: `tests/differential` reads them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use plumb_trust::{Armor, ObjectFormat, ObjectKind, Oid, Outcome, object};
use sha2::Digest as _;

use super::{Store, World};

/// Writes what was verified and what was found, if the environment asks for it.
pub(super) fn dump(world: &World, head: Oid, outcome: &Outcome) {
    static CALLS: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);
    let Some(folder) = std::env::var_os("PLUMB_DUMP") else {
        return;
    };
    // The harness names a test's thread after it, unless tests run one at a time.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default().to_owned();
    assert!(
        test.contains("::"),
        "a dump needs RUST_TEST_THREADS of 2 or more"
    );
    let case = test.rsplit("::").next().unwrap_or_default().to_owned();
    if !case.starts_with("case_") && !case.starts_with("own_") {
        return;
    }
    let call = {
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        let call = calls
            .get_or_insert_default()
            .entry(case.clone())
            .or_default();
        *call += 1;
        *call
    };
    let folder = PathBuf::from(folder).join(&case).join(call.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    let keys: HashMap<&str, &str> = world
        .policy
        .keys
        .iter()
        .map(|(name, key)| (name.as_str(), key.as_str()))
        .collect();
    let tags: HashMap<&str, String> = world
        .tags
        .iter()
        .map(|tag| (tag.name.as_str(), tag.target.to_string()))
        .collect();
    let json = serde_json::json!({
        "case": case,
        "introduction": world.root.to_string(),
        "head": head.to_string(),
        "now": world.now,
        "keys": keys,
        "tags": tags,
        "outcome": outcome,
    });
    std::fs::write(
        folder.join("world.json"),
        serde_json::to_vec_pretty(&json).unwrap(),
    )
    .unwrap();
    write_objects(&folder, &world.store);
}

/// Writes the commits and tags of the fuzz targets' corpus, if the environment asks for it.
pub fn dump_corpus(store: &Store) {
    let Some(folder) = std::env::var_os("PLUMB_DUMP") else {
        return;
    };
    let folder = PathBuf::from(folder).join("fuzz_corpus").join("1");
    std::fs::create_dir_all(&folder).unwrap();
    let nothing = "0".repeat(40);
    let json = serde_json::json!({
        "introduction": nothing,
        "head": nothing,
        "keys": {},
        "tags": {},
        "outcome": {"verdict": "reject", "reasons": [], "steps": []},
    });
    std::fs::write(folder.join("world.json"), json.to_string()).unwrap();
    write_objects(&folder, store);
}

fn write_objects(folder: &Path, store: &Store) {
    std::fs::write(folder.join("objects"), batch(store)).unwrap();
    let splits: BTreeMap<String, serde_json::Value> = store
        .iter()
        .filter_map(|(id, kind, bytes)| Some((id.to_string(), split(kind, bytes, id.format())?)))
        .collect();
    let splits = serde_json::to_vec(&splits).unwrap();
    std::fs::write(folder.join("splits.json"), splits).unwrap();
}

/// What our splitter takes for payload and signature: each as its SHA-256, or why it takes neither.
fn split(kind: ObjectKind, bytes: &[u8], format: ObjectFormat) -> Option<serde_json::Value> {
    let split = match kind {
        ObjectKind::Commit => object::Commit::parse(bytes, format).map(|commit| {
            let signature = commit.signature.as_ref().map(|block| block.to_vec());
            (commit.payload().to_vec(), signature)
        }),
        ObjectKind::Tag => object::Tag::parse(bytes, format)
            .map(|tag| (tag.payload().to_vec(), tag.signature.map(<[u8]>::to_vec))),
        ObjectKind::Tree | ObjectKind::Blob => return None,
    };
    let sha256 = |bytes: &[u8]| {
        let digest = sha2::Sha256::digest(bytes);
        digest.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    };
    Some(match split {
        Ok((payload, signature)) => {
            let is_armor = signature.as_ref().is_some_and(|block| {
                Armor::of(block).is_some_and(|armor| armor.decode(block).is_ok())
            });
            // The header's value ends without a newline, a tag's block with one: neither counts.
            let signature = signature.map(|block| sha256(block.trim_ascii_end()));
            serde_json::json!({"payload": sha256(&payload), "signature": signature, "isArmor": is_armor})
        }
        Err(error) => serde_json::json!({"refused": error.to_string()}),
    })
}

/// The objects of a store in the form of `git cat-file --batch`, in order of their names.
pub fn batch(store: &Store) -> Vec<u8> {
    let mut objects: Vec<_> = store.iter().collect();
    objects.sort_by_key(|(id, ..)| **id);
    let mut text = Vec::new();
    for (id, kind, bytes) in objects {
        text.extend_from_slice(format!("{id} {kind} {}\n", bytes.len()).as_bytes());
        text.extend_from_slice(bytes);
        text.push(b'\n');
    }
    text
}

/// What [`batch`] wrote: name, kind and bytes of each.
pub fn parse_batch(mut text: &[u8]) -> Vec<(&str, &str, &[u8])> {
    let mut objects = Vec::new();
    while let Some(end) = text.iter().position(|b| *b == b'\n') {
        let line = std::str::from_utf8(&text[..end]).unwrap();
        let [id, kind, len] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?} isn't a line of a batch");
        };
        let (bytes, rest) = text[end + 1..].split_at(len.parse().unwrap());
        objects.push((id, kind, bytes));
        text = &rest[1..];
    }
    objects
}
