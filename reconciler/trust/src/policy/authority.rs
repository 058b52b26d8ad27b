//! A policy together with its keys, as the folder `trust` of a revision holds them.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use plumb_document::{Diagnostic, Severity, Span};

use super::key_files::{KeyContent, KeyFiles};
use super::{KEYS_PATH, KeyRecord, KeyRing, POLICY_PATH, Policy, codes};
use crate::key_name::KeyName;
use crate::object::{Checked, Entry, EntryMode, ObjectKind, Objects, Tree, entries, limits};
use crate::oid::Oid;
use crate::work::{WorkCounter, count};

/// A policy and its keys.
#[derive(Debug)]
#[non_exhaustive]
pub struct Authority {
    /// The policy.
    pub policy: Policy,
    /// The keys of the policy.
    pub ring: KeyRing,
    /// Path and fingerprint of each key file that was found.
    pub files: Vec<(String, KeyName)>,
    /// Diagnostics about content that is valid but probably not intended.
    pub warnings: Vec<Diagnostic>,
    /// The revocations in the key files.
    pub(crate) record: KeyRecord,
}

impl Authority {
    /// Combines a policy with the contents of `trust/keys/`, given as paths and bytes. Which algorithms are
    /// too weak is decided as of `now`.
    pub fn new<P: AsRef<str>, B: AsRef<[u8]>>(
        policy: &[u8],
        keys: impl IntoIterator<Item = (P, B)>,
        now: Timestamp,
    ) -> Result<Self, Vec<Diagnostic>> {
        let work = WorkCounter::default();
        let mut files = KeyFiles::new(&work);
        for (path, bytes) in keys {
            files.add(path.as_ref(), bytes.as_ref());
        }
        Self::assemble(policy, files, now)
    }

    fn assemble(
        policy: &[u8],
        keys: KeyFiles<'_>,
        now: Timestamp,
    ) -> Result<Self, Vec<Diagnostic>> {
        let KeyFiles {
            work,
            found,
            files,
            mut wrong,
            mut warnings,
            ..
        } = keys;
        let policy = match Policy::parse_counted(policy, work) {
            Ok(policy) => policy,
            Err(diagnostics) => {
                wrong.extend(diagnostics);
                return Err(wrong);
            }
        };
        let whole = Span::of_file(POLICY_PATH);
        for identity in &policy.identities {
            for key in identity
                .keys
                .iter()
                .filter(|key| !found.contains_key(&key.name))
            {
                let message = format!(
                    "no file in {KEYS_PATH}/ holds the key {} of `{}`",
                    key.name, identity.name
                );
                match key.name {
                    KeyName::OpenPgp(_) => wrong.push(
                        Diagnostic::error(codes::POLICY_KEY, &whole, message).hint(format!(
                            "gpg --armor --export {} > {KEYS_PATH}/{}.asc",
                            key.name, identity.name
                        )),
                    ),
                    KeyName::Ssh(_) => {
                        warnings.push(Diagnostic::warning(codes::POLICY_KEY, &whole, message));
                    }
                }
            }
        }
        let identities = policy.identities.iter();
        let used: HashSet<&KeyName> = identities
            .flat_map(|identity| identity.keys.iter().map(|key| &key.name))
            .collect();
        for (path, name) in files.iter().filter(|(_, name)| !used.contains(name)) {
            warnings.push(Diagnostic::warning(
                codes::POLICY_KEY,
                &Span::of_file(path.as_str()),
                format!("no identity has the key {name}"),
            ));
        }
        let verified = super::verified_revocations(&found);
        let ring = match KeyRing::new(&policy, &found, &verified, now.as_second()) {
            Ok(ring) => ring,
            Err(super::keys::Shared(a, b)) => {
                let message = format!(
                    "`{}` and `{}` have the same key; one key counts for one identity, whatever form it has",
                    policy.name(a),
                    policy.name(b)
                );
                wrong.push(Diagnostic::error(codes::POLICY_KEY, &whole, message));
                return Err(wrong);
            }
        };
        if wrong.is_empty() {
            Ok(Self {
                policy,
                ring,
                files,
                warnings,
                record: KeyRecord::of(&found, &verified),
            })
        } else {
            Err(wrong)
        }
    }

    pub(crate) fn load(
        objects: Checked<'_>,
        tree: &Oid,
        now: Timestamp,
        work: &WorkCounter,
    ) -> Result<Self, Vec<Diagnostic>> {
        let fail = |path: &str, message: &dyn std::fmt::Display| {
            vec![Diagnostic::error(
                codes::KEY_FILE,
                &Span::of_file(path),
                message.to_string(),
            )]
        };
        let folder = super::TRUST_PATH;
        let mut files = Vec::new();
        for entry in entries(objects.0, tree) {
            let mut entry = entry.map_err(|e| fail(folder, &e))?;
            entry.path = crate::object::join(folder, &entry.path);
            if !matches!(entry.mode, EntryMode::File | EntryMode::Executable) {
                return Err(fail(&entry.path, &"only plain files may stand in trust/"));
            }
            if files.len() == limits::TRUST_FILES {
                return Err(fail(
                    folder,
                    &format!("more than {} files", limits::TRUST_FILES),
                ));
            }
            files.push(entry);
        }
        let mut room = limits::TRUST_BYTES;
        let mut read = |entry: &Entry| {
            let bytes = objects
                .read(&entry.id, ObjectKind::Blob, limits::TRUST_FILE)
                .map_err(|e| fail(&entry.path, &e))?;
            let few = || {
                let message = format!("the files have more than {} MiB", limits::TRUST_BYTES >> 20);
                fail(folder, &message)
            };
            room = room.checked_sub(count(bytes.len())).ok_or_else(few)?;
            Ok::<_, Vec<Diagnostic>>(bytes)
        };
        let policy = files
            .iter()
            .find(|entry| entry.path == POLICY_PATH)
            .ok_or_else(|| fail(POLICY_PATH, &"the policy is missing"))?;
        let policy = read(policy)?;
        let in_keys = |entry: &&Entry| {
            entry
                .path
                .strip_prefix(KEYS_PATH)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        // Several files may have the same content, which is read only once.
        let mut keys = KeyFiles::new(work);
        let mut known: HashMap<Oid, KeyContent> = HashMap::new();
        for entry in files.iter().filter(in_keys) {
            if let Some(content) = known.get(&entry.id) {
                keys.add_again(&entry.path, content);
            } else {
                let content = keys.add(&entry.path, &read(entry)?);
                known.insert(entry.id, content);
            }
        }
        Self::assemble(&policy, keys, now)
    }
}

/// Reads the policy of a revision, with its keys, from the revision's tree.
pub fn authority(
    objects: &dyn Objects,
    tree: &Oid,
    now: Timestamp,
) -> Result<Authority, Vec<Diagnostic>> {
    let objects = Checked(objects);
    let missing = |message: String| {
        vec![Diagnostic::error(
            codes::POLICY_KIND,
            &Span::of_file(POLICY_PATH),
            message,
        )]
    };
    let raw = objects
        .read(tree, ObjectKind::Tree, limits::TREE)
        .map_err(|e| missing(e.to_string()))?;
    let root = Tree::parse(&raw, tree.format()).map_err(|e| missing(e.to_string()))?;
    match root
        .get(super::TRUST_PATH)
        .filter(|entry| entry.mode == EntryMode::Folder)
    {
        Some(trust) => Authority::load(objects, &trust.id, now, &WorkCounter::default()),
        None => Err(missing("the policy is missing".to_owned())),
    }
}

/// Returns the first error, as one line.
pub(crate) fn first(diagnostics: &[Diagnostic]) -> String {
    let error = diagnostics
        .iter()
        .find(|d| d.severity == Severity::Error)
        .or(diagnostics.first());
    error.map_or_else(String::new, |d| format!("{}: {}", d.span, d.message))
}
