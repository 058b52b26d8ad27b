//! What the key files of a `trust` folder say of revocations, whether or not the policy uses them.
//!
//! Certificates only gain revocations. Whoever may change `trust/` may take one out, but neither it nor a key
//! that it has given away comes back without what it had.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::packet::Signature;

use super::cert_revocations::{AnyKey, CertRevocations};
use super::material::Material;
use super::{KeyFile, index_of_parts};
use crate::signature::KeyName;

/// The keys of one `trust` folder and their revocations.
#[derive(Debug, Default)]
pub(crate) struct KeyRecord {
    files: BTreeMap<KeyName, FileRecord>,
}

#[derive(Debug)]
struct FileRecord {
    /// Every revocation of every component, by the value of its signature.
    revocations: BTreeSet<String>,
    parts: Vec<Part>,
}

/// A key of a file: a certificate's primary key or subkey, or an SSH key.
#[derive(Debug)]
struct Part {
    material: Material,
    /// True if it has a hard revocation.
    compromised: bool,
}

/// Every revocation that the key files of some `trust` folders have had.
#[derive(Debug, Default)]
pub(crate) struct RecordedRevocations {
    by_key: BTreeMap<KeyName, BTreeSet<String>>,
    compromised: Material,
}

impl KeyRecord {
    /// Reads the revocations of key files. Designated revokers are looked for among the same files.
    pub(crate) fn of(files: &HashMap<KeyName, KeyFile>) -> Self {
        let parts = index_of_parts(files);
        let record =
            |(name, file): (&KeyName, &KeyFile)| (name.clone(), FileRecord::of(file, &parts));
        Self {
            files: files.iter().map(record).collect(),
        }
    }

    fn has(&self, name: &KeyName, material: &Material) -> bool {
        let file = self.files.get(name);
        file.is_some_and(|file| file.parts.iter().any(|part| part.material == *material))
    }

    /// True if it has a key that an earlier one doesn't have.
    pub(crate) fn adds_to(&self, before: &Self) -> bool {
        let adds = |(name, file): (&KeyName, &FileRecord)| {
            file.parts
                .iter()
                .any(|part| !before.has(name, &part.material))
        };
        self.files.iter().any(adds)
    }
}

impl FileRecord {
    fn of(file: &KeyFile, parts: &HashMap<sequoia_openpgp::Fingerprint, AnyKey>) -> Self {
        match file {
            KeyFile::Ssh(key) => Self {
                revocations: BTreeSet::new(),
                parts: vec![Part {
                    material: Material::of_ssh(key.key_data()),
                    compromised: false,
                }],
            },
            KeyFile::OpenPgp(cert) => {
                let verified = CertRevocations::of(cert, |name| parts.get(name));
                let part = |key: &AnyKey| Part {
                    material: Material::of_openpgp(key),
                    compromised: verified.is_hard(&key.fingerprint()),
                };
                Self {
                    revocations: revocations(cert),
                    parts: cert.keys().map(|key| part(key.key())).collect(),
                }
            }
        }
    }
}

impl RecordedRevocations {
    /// Adds what the key files of a folder say.
    pub(crate) fn add(&mut self, record: &KeyRecord) {
        for (name, file) in &record.files {
            if !file.revocations.is_empty() {
                let known = self.by_key.entry(name.clone()).or_default();
                known.extend(file.revocations.iter().cloned());
            }
            for part in file.parts.iter().filter(|part| part.compromised) {
                self.compromised.add(&part.material);
            }
        }
    }

    /// The first key of a new folder that has lost one of these revocations, or whose material a hard one is
    /// of. The keys that the folder before it has are as they were accepted.
    pub(crate) fn lost_in<'r>(
        &self,
        new: &'r KeyRecord,
        before: &KeyRecord,
    ) -> Option<&'r KeyName> {
        let lost = |(name, file): &(&KeyName, &FileRecord)| {
            let known = self.by_key.get(*name);
            let gained = file
                .parts
                .iter()
                .filter(|part| !before.has(name, &part.material));
            known.is_some_and(|known| !known.is_subset(&file.revocations))
                || gained
                    .filter(|part| !part.compromised)
                    .any(|part| part.material.shares(&self.compromised))
        };
        new.files.iter().find(lost).map(|(name, _)| name)
    }
}

/// All revocations of a certificate and of its components, by the values of their signatures: what isn't
/// signed over may change. Those by others are among them, as a designated revoker's are.
pub(super) fn revocations(cert: &Cert) -> BTreeSet<String> {
    let primary = cert.primary_key();
    let own = primary
        .self_revocations()
        .chain(primary.other_revocations());
    let users = cert
        .userids()
        .flat_map(|user| user.self_revocations().collect::<Vec<_>>());
    let attributes = cert
        .user_attributes()
        .flat_map(|user| user.self_revocations().collect::<Vec<_>>());
    let parts = cert.keys().subkeys().flat_map(|part| {
        let all = part.self_revocations().chain(part.other_revocations());
        all.collect::<Vec<_>>()
    });
    let value =
        |signature: &Signature| format!("{:?}{:?}", signature.digest_prefix(), signature.mpis());
    own.chain(users)
        .chain(attributes)
        .chain(parts)
        .map(value)
        .collect()
}
