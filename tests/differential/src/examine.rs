//! Every commit and tag of a world, asked of each reader.

use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::Digest as _;

use crate::case::{Case, Object, Ours, Step, World};
use crate::git::{self, Between};
use crate::libraries;
use crate::repository::{Keys, Repository};
use crate::sq::{self, SqGit};

/// What a reader says of an object's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// It has no way to be asked.
    Unasked,
    /// It can't read the object, and says so.
    Unread(String),
    /// It finds no signature.
    Unsigned,
    /// It finds these, as SHA-256 sums.
    Parts {
        /// What the signature is made over.
        payload: String,
        /// The signature.
        signature: String,
    },
}

/// Parts that were found.
pub fn parts(payload: &[u8], signature: &[u8]) -> Said {
    // The header's value ends without a newline, a tag's block with one: neither counts.
    Said::Parts {
        payload: sha256(payload),
        signature: sha256(signature.trim_ascii_end()),
    }
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    sha2::Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// What became of an object as a commit of the branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Became {
    /// It was rejected.
    Rejected,
    /// It was accepted, its own signature counting.
    Signed,
    /// It was accepted otherwise, waits, or is none.
    Other,
}

impl Became {
    fn of(step: Option<&Step>) -> Self {
        match step {
            Some(step) if step.verdict == "reject" => Self::Rejected,
            Some(step) if step.is_by_its_own_signature() => Self::Signed,
            _ => Self::Other,
        }
    }
}

/// One object, and what each says of it.
pub struct Examined {
    /// Its case.
    pub case: String,
    /// Which of its worlds, from 1.
    pub world: usize,
    /// Its name.
    pub id: String,
    /// Whether it is a tag, and not a commit.
    pub is_tag: bool,
    /// Whether it is the commit that decided, or a tag.
    pub is_subject: bool,
    /// Plumb's splitter.
    pub ours: Ours,
    /// What became of it as a commit of the branch.
    pub became: Became,
    /// git, libgit2 and gix on its bytes.
    pub readers: BTreeMap<&'static str, Said>,
    /// git's verdict.
    pub git: &'static str,
}

impl Examined {
    /// Plumb's splitter in the words of the others.
    pub fn ours(&self) -> Said {
        match &self.ours {
            Ours::Refused { refused } => Said::Unread(refused.clone()),
            Ours::Parts {
                signature: None, ..
            } => Said::Unsigned,
            Ours::Parts {
                payload,
                signature: Some(signature),
                ..
            } => Said::Parts {
                payload: payload.clone(),
                signature: signature.clone(),
            },
        }
    }

    /// Whether two readers, ours among them, found different bytes, or one found some where another
    /// found none. Who says that it can't read the object says nothing about its bytes.
    pub fn is_disputed(&self) -> bool {
        let ours = self.ours();
        let mut said = self
            .readers
            .values()
            .chain([&ours])
            .filter(|said| matches!(said, Said::Unsigned | Said::Parts { .. }));
        let first = said.next();
        said.any(|other| Some(other) != first)
    }

    /// Whether Plumb takes no authority from it: it isn't an object, its signature isn't one, or the
    /// commit was rejected.
    pub fn is_refused(&self) -> bool {
        let not_ours = match &self.ours {
            Ours::Refused { .. } => true,
            Ours::Parts {
                signature,
                is_armor,
                ..
            } => signature.is_some() && !is_armor,
        };
        not_ours || self.became == Became::Rejected
    }
}

/// A case, examined.
pub struct Findings {
    /// The case.
    pub name: String,
    /// Plumb's verdicts in order.
    pub plumb: Vec<String>,
    /// Its objects.
    pub objects: Vec<Examined>,
    /// sq-git's word on each world, if it was asked.
    pub sq_git: Vec<&'static str>,
}

/// Asks everybody about everything.
pub fn all(cases: &[Case], sq_git: Option<&SqGit>) -> Vec<Findings> {
    let between = Between::default();
    let mut rings: HashMap<Vec<(String, String)>, Keys> = HashMap::new();
    cases
        .iter()
        .map(|case| {
            let mut findings = Findings {
                name: case.name.clone(),
                plumb: Vec::new(),
                objects: Vec::new(),
                sq_git: Vec::new(),
            };
            let mut seen = HashSet::new();
            for (index, world) in case.worlds.iter().enumerate() {
                let ring: Vec<(String, String)> = world.told.keys.clone().into_iter().collect();
                let keys = rings.entry(ring).or_insert_with(|| Keys::write(world));
                let repository = Repository::write(world);
                findings.plumb.push(world.told.said());
                let corpus = case.name == CORPUS;
                for object in signable(world, if corpus { usize::MAX } else { MOST }) {
                    // Whatever others make of an object that Plumb refuses, it takes nothing from it.
                    if corpus && matches!(world.splits[&object.id], Ours::Refused { .. }) {
                        continue;
                    }
                    let subject = object.kind == "tag" || object.id == world.told.judged();
                    let steps = &world.told.outcome.steps;
                    let step = steps.iter().find(|step| step.commit == object.id);
                    let verdict = step.map_or("", |step| step.verdict.as_str());
                    if !seen.insert((object.id.clone(), subject, verdict)) {
                        continue;
                    }
                    let (said, word) = git::verify(&between, &repository, keys, object);
                    let libgit2 = libraries::libgit2(repository.path(), object);
                    findings.objects.push(Examined {
                        case: case.name.clone(),
                        world: index + 1,
                        id: object.id.clone(),
                        is_tag: object.kind == "tag",
                        is_subject: subject,
                        ours: world.splits[&object.id].clone(),
                        became: Became::of(step),
                        readers: BTreeMap::from([
                            ("git", said),
                            ("libgit2", libgit2),
                            ("gix", libraries::gix(object)),
                        ]),
                        git: word,
                    });
                }
                if let Some(program) = sq_git.filter(|_| !corpus) {
                    findings.sq_git.push(sq::judge(program, &repository, world));
                }
            }
            findings
        })
        .collect()
}

/// What stands in the place of a case for the commits and tags that the fuzz targets have found.
pub const CORPUS: &str = "fuzz_corpus";

/// Of thousands of commits or of tags in one world so many are asked about, beside the one that decided.
const MOST: usize = 40;

/// Commits and tags but the introduction, which is believed unsigned.
fn signable(world: &World, most: usize) -> impl Iterator<Item = &Object> {
    let of = |kind: &'static str| {
        world
            .objects
            .iter()
            .filter(move |object| object.kind == kind)
    };
    let is_judged = |object: &&Object| object.id == world.told.judged();
    // Which of a flood come first is chance.
    let tags = if of("tag").count() > most { 0 } else { most };
    of("commit")
        .filter(is_judged)
        .chain(
            of("commit")
                .filter(move |object| !is_judged(object))
                .take(most),
        )
        .chain(of("tag").take(tags))
        .filter(|object| object.id != world.told.introduction)
}
