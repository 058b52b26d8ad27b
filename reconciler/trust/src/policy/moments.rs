//! Finds the times at which the validity of a certificate or a part of it may change. The validity is
//! constant in between.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use sequoia_openpgp::packet::Signature;

use super::KeyFile;

/// Returns every time at which a certificate's validity may change, in seconds since 1970, and the second
/// after each, so that it doesn't matter whether a comparison includes the time itself.
pub(super) fn moments(file: &KeyFile) -> Vec<i64> {
    let KeyFile::OpenPgp(cert) = file else {
        return Vec::new();
    };
    let mut found: BTreeSet<i64> = BTreeSet::new();
    let born = cert.primary_key().key().creation_time();
    for key in cert.keys() {
        let own = key.key().creation_time();
        note(&mut found, own);
        for signature in key.signatures() {
            note_signature(&mut found, signature, own);
        }
    }
    let users = cert
        .userids()
        .flat_map(|user| user.signatures().collect::<Vec<_>>());
    let attributes = cert
        .user_attributes()
        .flat_map(|user| user.signatures().collect::<Vec<_>>());
    for signature in users.chain(attributes) {
        note_signature(&mut found, signature, born);
    }
    found.into_iter().collect()
}

fn note(found: &mut BTreeSet<i64>, moment: SystemTime) {
    if let Some(seconds) = moment
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
    {
        found.extend([seconds, seconds.saturating_add(1)]);
    }
}

fn note_signature(found: &mut BTreeSet<i64>, signature: &Signature, born: SystemTime) {
    let Some(created) = signature.signature_creation_time() else {
        return;
    };
    note(found, created);
    for (from, period) in [
        (created, signature.signature_validity_period()),
        (born, signature.key_validity_period()),
    ] {
        if let Some(end) = period.and_then(|period| from.checked_add(period)) {
            note(found, end);
        }
    }
    for embedded in signature.embedded_signatures() {
        note_signature(found, embedded, born);
    }
}
