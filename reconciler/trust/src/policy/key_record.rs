//! Records the revocations in the key files of a `trust` folder, whether or not the policy uses them.
//!
//! A certificate never loses a revocation. Whoever may change `trust/` may remove a certificate, but neither
//! the certificate nor one of its keys in another format may come back without its revocations.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sequoia_openpgp::cert::Cert;

use super::cert_revocations::{AnyKey, CertRevocations, value_of};
use super::material::Material;
use super::{KeyFile, verified_revocations};
use crate::key_name::KeyName;

/// The keys of one `trust` folder and their revocations.
#[derive(Debug, Default)]
pub(crate) struct KeyRecord {
    files: BTreeMap<KeyName, FileRecord>,
}

#[derive(Debug)]
struct FileRecord {
    /// The signature values of all revocations in the file. A verified revocation is in the set a second
    /// time, with a prefix: a designated revoker's revocation is no longer verified if the revoker's key file
    /// or designation is removed.
    revocations: BTreeSet<String>,
    parts: Vec<RecordedPart>,
}

/// A key of a file: a certificate's primary key or subkey, or an SSH key.
#[derive(Debug)]
struct RecordedPart {
    material: Material,
    revoked: bool,
}

/// All revocations that the key files of some `trust` folders have had.
#[derive(Debug, Default)]
pub(crate) struct RecordedRevocations {
    by_key: BTreeMap<KeyName, BTreeSet<String>>,
    /// Key material of the revoked primary keys and subkeys, which may not come back in another format.
    revoked: Material,
}

impl KeyRecord {
    /// Records key files and their verified revocations.
    pub(crate) fn of(
        files: &HashMap<KeyName, KeyFile>,
        verified: &HashMap<KeyName, CertRevocations>,
    ) -> Self {
        let record = |(name, file): (&KeyName, &KeyFile)| {
            (name.clone(), FileRecord::of(file, verified.get(name)))
        };
        Self {
            files: files.iter().map(record).collect(),
        }
    }

    /// Verifies the revocations in key files, and records both. Designated revokers are searched only in
    /// these files.
    pub(crate) fn of_files(files: &HashMap<KeyName, KeyFile>) -> Self {
        Self::of(files, &verified_revocations(files))
    }

    fn has(&self, name: &KeyName, material: &Material) -> bool {
        let file = self.files.get(name);
        file.is_some_and(|file| file.parts.iter().any(|part| part.material == *material))
    }

    /// True if this record has a key that the earlier one doesn't have.
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
    fn of(file: &KeyFile, verified: Option<&CertRevocations>) -> Self {
        let cert = match file {
            KeyFile::OpenPgp(cert) => cert,
            KeyFile::Ssh(key) => {
                return Self {
                    revocations: BTreeSet::new(),
                    parts: vec![RecordedPart {
                        material: Material::of_ssh(key.key_data()),
                        revoked: false,
                    }],
                };
            }
        };
        let verified: Vec<_> = verified
            .into_iter()
            .flat_map(CertRevocations::iter)
            .collect();
        let part = |key: &AnyKey| {
            let name = key.fingerprint();
            RecordedPart {
                material: Material::of_openpgp(key),
                revoked: verified.iter().any(|(part, _)| **part == name),
            }
        };
        let in_force = verified
            .iter()
            .map(|(_, by)| format!("verified {}", by.value()));
        Self {
            revocations: revocations(cert).into_iter().chain(in_force).collect(),
            parts: cert.keys().map(|key| part(key.key())).collect(),
        }
    }
}

impl RecordedRevocations {
    /// Adds the revocations of a folder's key files.
    pub(crate) fn add(&mut self, record: &KeyRecord) {
        for (name, file) in &record.files {
            if !file.revocations.is_empty() {
                let known = self.by_key.entry(name.clone()).or_default();
                known.extend(file.revocations.iter().cloned());
            }
            for part in file.parts.iter().filter(|part| part.revoked) {
                self.revoked.add(&part.material);
            }
        }
    }

    /// Returns the first key of `new` that has lost one of these revocations, or that is another format of a
    /// revoked key. Keys that the folder `before` already has were accepted, so their format isn't checked
    /// again.
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
                    .filter(|part| !part.revoked)
                    .any(|part| part.material.shares(&self.revoked))
        };
        new.files.iter().find(lost).map(|(name, _)| name)
    }
}

/// Returns the signature values of all revocations of a certificate, its user IDs and its keys. Includes
/// revocations of keys by third parties, because designated revokers are third parties. Leaves out those of
/// pictures (user attributes): a picture can't sign, and key files are written without pictures.
pub(super) fn revocations(cert: &Cert) -> BTreeSet<String> {
    let primary = cert.primary_key();
    let own = primary
        .self_revocations()
        .chain(primary.other_revocations());
    let users = cert
        .userids()
        .flat_map(|user| user.self_revocations().collect::<Vec<_>>());
    let parts = cert.keys().subkeys().flat_map(|part| {
        let all = part.self_revocations().chain(part.other_revocations());
        all.collect::<Vec<_>>()
    });
    own.chain(users).chain(parts).map(value_of).collect()
}
