//! What a case left: worlds, each with its objects and what Plumb said of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

/// A numbered case.
pub struct Case {
    /// Its name as a test: `case_17_unhashed_issuer_edited`.
    pub name: String,
    /// One for each verification that it asked for, in order.
    pub worlds: Vec<World>,
}

/// The objects of one verification, and what came of it.
pub struct World {
    /// What was asked and answered.
    pub told: Told,
    /// Names, kinds and bytes.
    pub objects: Vec<Object>,
    /// What Plumb's splitter says of each commit and tag.
    pub splits: BTreeMap<String, Ours>,
}

/// One object under the name that it has in the store, which may be false.
pub struct Object {
    /// Its name.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// `world.json`
#[derive(Deserialize)]
pub struct Told {
    /// The root of trust.
    pub introduction: String,
    /// The candidate.
    pub head: String,
    /// Key files by name.
    pub keys: BTreeMap<String, String>,
    /// What tags name.
    pub tags: BTreeMap<String, String>,
    /// The verdict.
    pub outcome: Outcome,
}

/// The part of `plumb verify -o json` that is of use here.
#[derive(Deserialize)]
pub struct Outcome {
    /// Of the whole.
    pub verdict: String,
    /// What concerns the whole.
    pub reasons: Vec<Reason>,
    /// Commit by commit.
    pub steps: Vec<Step>,
}

/// One commit's verdict.
#[derive(Deserialize)]
pub struct Step {
    /// The commit.
    pub commit: String,
    /// What became of it.
    pub verdict: String,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Whose signatures counted.
    #[serde(default)]
    pub signers: Vec<Signer>,
}

/// A signature that counted.
#[derive(Deserialize)]
pub struct Signer {
    /// What carried it: `"commit"`, or an object that names a tag or another commit.
    pub by: serde_json::Value,
}

impl Step {
    /// Whether the commit is accepted, and its own signature counted for that.
    pub fn is_by_its_own_signature(&self) -> bool {
        self.verdict == "accept" && self.signers.iter().any(|signer| signer.by == "commit")
    }
}

/// A reason.
#[derive(Deserialize)]
pub struct Reason {
    /// Its code.
    pub code: String,
}

/// Plumb's splitter on one object; the parts are SHA-256 sums.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(untagged)]
pub enum Ours {
    /// It takes the object for none.
    Refused {
        /// Why.
        refused: String,
    },
    /// It took it apart.
    Parts {
        /// What a signature is made over.
        payload: String,
        /// The signature, if there is one.
        signature: Option<String>,
        /// Whether the signature is whole armor; otherwise it counts for nothing.
        #[serde(rename = "isArmor")]
        is_armor: bool,
    },
}

impl Told {
    /// The commit that decided: the first that isn't accepted, or the head.
    pub fn judged(&self) -> &str {
        let held = self
            .outcome
            .steps
            .iter()
            .find(|step| step.verdict != "accept");
        held.map_or(&self.head, |step| &step.commit)
    }

    /// The verdict, and the codes of the reasons.
    pub fn said(&self) -> String {
        let held = self
            .outcome
            .steps
            .iter()
            .find(|step| step.verdict != "accept");
        let mut codes: Vec<&str> = held
            .map_or(&self.outcome.reasons, |step| &step.reasons)
            .iter()
            .map(|reason| reason.code.as_str())
            .collect();
        codes.dedup();
        if codes.is_empty() {
            self.outcome.verdict.clone()
        } else {
            format!("{}: {}", self.outcome.verdict, codes.join(", "))
        }
    }
}

/// Reads what `PLUMB_DUMP` left, cases in order of name.
///
/// # Panics
///
/// If it isn't there or isn't whole.
pub fn read(folder: &Path) -> Vec<Case> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("PLUMB_DUMP holds what the cases left")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    let world = |folder: &Path| World {
        told: serde_json::from_slice(&fs::read(folder.join("world.json")).expect("a world"))
            .expect("its form"),
        objects: objects(&fs::read(folder.join("objects")).expect("its objects")),
        splits: serde_json::from_slice(&fs::read(folder.join("splits.json")).expect("its splits"))
            .expect("their form"),
    };
    names
        .into_iter()
        .map(|name| {
            let folder = folder.join(&name);
            let worlds = (1..)
                .map(|n: u32| folder.join(n.to_string()))
                .take_while(|f| f.exists());
            Case {
                worlds: worlds.map(|f| world(&f)).collect(),
                name,
            }
        })
        .collect()
}

/// The form of `git cat-file --batch`.
fn objects(mut text: &[u8]) -> Vec<Object> {
    let mut objects = Vec::new();
    while let Some(end) = text.iter().position(|b| *b == b'\n') {
        let line = std::str::from_utf8(&text[..end]).expect("text");
        let [id, kind, len] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?} isn't a line of a batch");
        };
        let (bytes, rest) = text[end + 1..].split_at(len.parse().expect("a length"));
        objects.push(Object {
            id: id.to_owned(),
            kind: kind.to_owned(),
            bytes: bytes.to_vec(),
        });
        text = &rest[1..];
    }
    objects
}
