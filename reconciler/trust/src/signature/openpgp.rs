//! Detached `OpenPGP` signatures of version 4.

use sequoia_openpgp::KeyHandle;
use sequoia_openpgp::packet::{Packet, Signature};
use sequoia_openpgp::parse::{PacketParser, PacketParserResult, Parse as _};
use sequoia_openpgp::policy::{HashAlgoSecurity, Policy as _};
use sequoia_openpgp::types::{SignatureType, Timestamp as PgpTime};

use super::{Finding, Flaw, Made, not};
use crate::key_name::KeyName;
use crate::object::Payload;
use crate::policy::{AnyKey, KeyRing, unverifiable};
use crate::reason::{Reason, ReasonCode};

/// Returns the body of a signature packet if the bytes are exactly one such packet of definite length, so
/// that a tolerant parser can't read them in another way.
fn packet_body(bytes: &[u8]) -> Option<&[u8]> {
    let (header, len) = match bytes {
        [0x89, a, b, ..] => (3, u64::from(u16::from_be_bytes([*a, *b]))),
        [0x88, a, ..] | [0xc2, a @ 0..=191, ..] => (2, u64::from(*a)),
        [0xc2, a @ 192..=223, b, ..] => (3, (u64::from(*a) - 192) * 256 + u64::from(*b) + 192),
        [0x8a, a, b, c, d, ..] => (5, u64::from(u32::from_be_bytes([*a, *b, *c, *d]))),
        [0xc2, 255, a, b, c, d, ..] => (6, u64::from(u32::from_be_bytes([*a, *b, *c, *d]))),
        _ => return None,
    };
    let body = bytes.get(header..)?;
    (body.len() as u64 == len).then_some(body)
}

fn parse(bytes: &[u8]) -> Option<Signature> {
    packet_body(bytes)?;
    let PacketParserResult::Some(parser) = PacketParser::from_bytes(bytes).ok()? else {
        return None;
    };
    match parser.next().ok()? {
        (Packet::Signature(signature), PacketParserResult::EOF(_)) => Some(signature),
        _ => None,
    }
}

pub(super) fn examine(ring: &KeyRing, payload: Payload<'_>, bytes: &[u8]) -> Finding {
    // An unknown version parses as an unknown packet; anything else that isn't one packet is garbled.
    let Some(signature) = parse(bytes).filter(|signature| signature.version() == 4) else {
        if packet_body(bytes).is_some_and(|body| body.first() != Some(&4)) {
            return not(
                ReasonCode::UnsupportedSignature,
                "OpenPGP signatures other than of version 4 can't be verified here",
            );
        }
        return not(
            ReasonCode::MalformedSignature,
            "the OpenPGP signature isn't exactly one signature packet",
        );
    };
    let issuers = signature.get_issuers();
    let known = candidates(ring, &issuers);
    if issuers
        .iter()
        .any(|a| issuers.iter().any(|b| !a.aliases(b)))
        && !known.is_empty()
    {
        return not(
            ReasonCode::BadSignature,
            "the signature names more than one key as its maker, one of them of the policy",
        );
    }
    if signature.typ() != SignatureType::Binary {
        return not(
            ReasonCode::MalformedSignature,
            "the OpenPGP signature isn't one over binary data",
        );
    }
    let Some(first) = known.first() else {
        let name = issuers
            .first()
            .map_or_else(|| "that it doesn't name".to_owned(), KeyHandle::to_hex);
        return not(
            ReasonCode::UnknownKey,
            format!("the OpenPGP key {name} isn't in the policy"),
        );
    };
    if !signature.hash_algo().is_supported() || unverifiable(first.1).is_some() {
        let what = format!(
            "signatures with {} and {} can't be verified here",
            first.1.pk_algo(),
            signature.hash_algo()
        );
        return not(ReasonCode::UnsupportedSignature, what);
    }
    let signer = known.iter().find(|(_, key)| by(&signature, key, payload));
    let Some((index, key)) = signer else {
        return not(
            ReasonCode::BadSignature,
            format!(
                "the signature names the OpenPGP key {} and is not by it",
                first.1.fingerprint()
            ),
        );
    };
    worth(ring, *index, key, &signature)
}

/// Returns the fingerprint of the key or subkey that a signature names as its maker, if it names one.
pub(super) fn named_key(bytes: &[u8]) -> Option<KeyName> {
    let signature = parse(bytes)?;
    let issuers = signature.get_issuers();
    let hex = issuers.iter().find_map(|issuer| match issuer {
        KeyHandle::Fingerprint(fingerprint) => Some(fingerprint.to_hex()),
        KeyHandle::KeyID(_) => None,
    })?;
    KeyName::openpgp(&hex).ok()
}

fn candidates<'a>(ring: &'a KeyRing, issuers: &[KeyHandle]) -> Vec<(usize, &'a AnyKey)> {
    let mut found: Vec<(usize, &AnyKey)> = Vec::new();
    for (index, key) in issuers.iter().flat_map(|issuer| ring.openpgp(issuer)) {
        if !found
            .iter()
            .any(|(_, other)| other.fingerprint() == key.fingerprint())
        {
            found.push((index, key));
        }
    }
    found
}

fn by(signature: &Signature, key: &AnyKey, payload: Payload<'_>) -> bool {
    let Ok(builder) = signature.hash_algo().context() else {
        return false;
    };
    let mut hash = builder.for_signature(signature.version());
    for part in payload.parts() {
        hash.update(part);
    }
    signature.verify_hash(key, hash).is_ok()
}

/// Checks that a signature which `key` has made counts.
fn worth(ring: &KeyRing, index: usize, key: &AnyKey, signature: &Signature) -> Finding {
    let name = key.fingerprint();
    let made = signature
        .signature_creation_time()
        .and_then(|time| PgpTime::try_from(time).ok())
        .map(|time| i64::from(u32::from(time)));
    let Some(seconds) = made else {
        return not(
            ReasonCode::KeyMisused,
            format!("the signature by {name} doesn't say when it was made"),
        );
    };
    let made = Made {
        key: index,
        part: Some(name.clone()),
        seconds,
    };
    let unfit = |code, message: String| {
        Finding::Void(made.clone(), Flaw::Unfit, Reason::new(code, message))
    };
    if signature.signature_validity_period().is_some() {
        return unfit(
            ReasonCode::KeyMisused,
            format!("the signature by {name} has an end of its own; make it without one"),
        );
    }
    let strong = ring.check_strength(key);
    if let Err(unusable) = strong.and_then(|()| ring.openpgp_live(index, &name, seconds)) {
        let flaw = match unusable.code {
            ReasonCode::KeyRevoked => Flaw::Revoked,
            _ => Flaw::Unfit,
        };
        let message = format!("the signature by the OpenPGP key {name} doesn't count: {unusable}");
        return Finding::Void(made, flaw, Reason::new(unusable.code, message));
    }
    if let Err(error) = ring
        .standard()
        .signature(signature, HashAlgoSecurity::CollisionResistance)
    {
        let message = format!("the signature by {name} isn't strong enough: {error}");
        let reason = Reason::new(ReasonCode::WeakCrypto, message);
        return Finding::Void(made, Flaw::WeakHash, reason);
    }
    Finding::Good(made)
}
