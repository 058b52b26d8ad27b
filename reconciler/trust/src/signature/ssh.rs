//! SSHSIG signatures, as `ssh-keygen -Y sign` makes them.

use sha2::Digest as _;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Signature};

use super::{Finding, Flaw, Made, not};
use crate::key_name::KeyName;
use crate::object::Payload;
use crate::policy::KeyRing;
use crate::reason::{Reason, ReasonCode};

/// The fields of a signature (`PROTOCOL.sshsig`), as raw bytes.
struct Parts<'a> {
    public_key: &'a [u8],
    namespace: &'a [u8],
    reserved: &'a [u8],
    hash: &'a [u8],
    signature: &'a [u8],
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, tail) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let (value, tail) = tail.split_at_checked(len)?;
    *rest = tail;
    Some(value)
}

fn digest<D: sha2::Digest>(payload: Payload<'_>) -> Vec<u8> {
    let parts = payload.parts().into_iter();
    parts.fold(D::new(), D::chain_update).finalize().to_vec()
}

impl<'a> Parts<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(b"SSHSIG\0\0\0\x01")?;
        let parts = Self {
            public_key: string(&mut rest)?,
            namespace: string(&mut rest)?,
            reserved: string(&mut rest)?,
            hash: string(&mut rest)?,
            signature: string(&mut rest)?,
        };
        rest.is_empty().then_some(parts)
    }

    fn key_name(&self) -> KeyName {
        KeyName::Ssh(sha2::Sha256::digest(self.public_key).into())
    }

    /// Returns the bytes that the key signed, or `None` for an unknown hash.
    fn signed(&self, payload: Payload<'_>) -> Option<Vec<u8>> {
        let digest = match self.hash {
            b"sha512" => digest::<sha2::Sha512>(payload),
            b"sha256" => digest::<sha2::Sha256>(payload),
            _ => return None,
        };
        let mut signed = b"SSHSIG".to_vec();
        for part in [self.namespace, self.reserved, self.hash, &digest] {
            signed.extend_from_slice(&u32::try_from(part.len()).ok()?.to_be_bytes());
            signed.extend_from_slice(part);
        }
        Some(signed)
    }
}

/// Returns the name of the public key in a signature. The signature isn't verified.
pub(super) fn named_key(bytes: &[u8]) -> Option<KeyName> {
    Parts::parse(bytes).map(|parts| parts.key_name())
}

pub(super) fn examine(ring: &KeyRing, payload: Payload<'_>, bytes: &[u8], claimed: i64) -> Finding {
    let Some(parts) = Parts::parse(bytes) else {
        return not(
            ReasonCode::MalformedSignature,
            "the SSH signature is garbled",
        );
    };
    let name = parts.key_name();
    let Some(index) = ring.index_of(&name) else {
        return not(
            ReasonCode::UnknownKey,
            format!("the SSH key {name} isn't in the policy"),
        );
    };
    let garbled = || {
        not(
            ReasonCode::BadSignature,
            format!("the signature names the SSH key {name} and is garbled"),
        )
    };
    // OpenSSH accepts any content of this field but verifies as if it were empty, so anybody who passes a
    // signature on can write there. By `PROTOCOL.sshsig` the content is signed. Because programs differ, any
    // content is refused.
    if !parts.reserved.is_empty() {
        return garbled();
    }
    let Ok(key) =
        ssh_key::PublicKey::from_bytes(parts.public_key).map(|key| key.key_data().clone())
    else {
        return not(
            ReasonCode::UnsupportedSignature,
            format!("SSH keys of the kind of {name} can't be verified here"),
        );
    };
    if parts.namespace != b"git" {
        return not(
            ReasonCode::KeyMisused,
            format!(
                "the signature by {name} isn't made for git, but for \"{}\"",
                parts.namespace.escape_ascii()
            ),
        );
    }
    let mut rest = parts.signature;
    if string(&mut rest) == Some(b"ssh-rsa") {
        return not(
            ReasonCode::WeakCrypto,
            format!("the signature by {name} is made over SHA-1"),
        );
    }
    let Some(signature) = whole(parts.signature) else {
        return garbled();
    };
    let (Some(signed), true) = (
        parts.signed(payload),
        fits(&key.algorithm(), &signature.algorithm()),
    ) else {
        return garbled();
    };
    match verify(ring, index, &key, &signed, &signature) {
        Verification::Good => {}
        Verification::Bad => {
            return not(
                ReasonCode::BadSignature,
                format!("the signature names the SSH key {name} and is not by it"),
            );
        }
        Verification::Unsupported => {
            return not(
                ReasonCode::UnsupportedSignature,
                format!("SSH keys of the kind of {name} can't be verified here"),
            );
        }
    }
    let made = Made {
        key: index,
        part: None,
        seconds: claimed,
    };
    match flaw(ring, index, &name, &key, &signature, claimed) {
        Some((flaw, reason)) => Finding::Void(made, flaw, reason),
        None => Finding::Good(made),
    }
}

/// Returns the reason that a signature by the key doesn't count, or `None` if it counts.
fn flaw(
    ring: &KeyRing,
    index: usize,
    name: &KeyName,
    key: &KeyData,
    signature: &Signature,
    claimed: i64,
) -> Option<(Flaw, Reason)> {
    if let Some(by) = ring.ssh_revoked_in_other_form(index, claimed) {
        let message = format!("the SSH key {name} is revoked in another form ({by})");
        return Some((Flaw::Revoked, Reason::new(ReasonCode::KeyRevoked, message)));
    }
    if let KeyData::Rsa(rsa) = key
        && let Err(unusable) = ring.check_rsa(crate::policy::rsa_bits(rsa))
    {
        let message = format!("the signature by the SSH key {name} doesn't count: {unusable}");
        return Some((Flaw::Unfit, Reason::new(unusable.code, message)));
    }
    // Security keys set a flag in the signature if somebody touched them.
    let flags = signature
        .as_bytes()
        .len()
        .checked_sub(5)
        .and_then(|at| signature.as_bytes().get(at));
    if matches!(key, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_))
        && flags.is_none_or(|flags| flags & 1 == 0)
    {
        let message = format!("the security key {name} signed without anybody's presence");
        return Some((Flaw::Unfit, Reason::new(ReasonCode::KeyMisused, message)));
    }
    None
}

/// Returns the inner signature if the bytes are exactly one signature.
fn whole(bytes: &[u8]) -> Option<Signature> {
    let mut rest = bytes;
    let (name, _) = (string(&mut rest)?, string(&mut rest)?);
    // Security keys append flags and a counter.
    let flags = if name.starts_with(b"sk-") { 5 } else { 0 };
    Signature::try_from(bytes)
        .ok()
        .filter(|_| rest.len() == flags)
}

/// True if a key of the first algorithm can make a signature of the second.
fn fits(key: &Algorithm, signature: &Algorithm) -> bool {
    match (key, signature) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { hash }) => hash.is_some(),
        (key, signature) => key == signature,
    }
}

enum Verification {
    Good,
    Bad,
    Unsupported,
}

fn verify(
    ring: &KeyRing,
    index: usize,
    key: &KeyData,
    signed: &[u8],
    signature: &Signature,
) -> Verification {
    use ed25519_dalek::{Signature as Ed25519, Verifier, VerifyingKey};
    use ssh_key::PublicKey;
    let good = |good: bool| {
        if good {
            Verification::Good
        } else {
            Verification::Bad
        }
    };
    match key {
        // Strict verification: no key or point of small order, and only one encoding. The ring caches the
        // decompressed point, because computing it again costs a tenth of a verification.
        KeyData::Ed25519(public) => {
            let Some(public) = ring.ed25519(index, || VerifyingKey::from_bytes(&public.0).ok())
            else {
                return Verification::Bad;
            };
            good(
                Ed25519::from_slice(signature.as_bytes())
                    .is_ok_and(|s| public.verify_strict(signed, &s).is_ok()),
            )
        }
        KeyData::Ecdsa(ecdsa) if ecdsa.curve() == ssh_key::EcdsaCurve::NistP521 => {
            Verification::Unsupported
        }
        KeyData::Ecdsa(_)
        | KeyData::Rsa(_)
        | KeyData::SkEd25519(_)
        | KeyData::SkEcdsaSha2NistP256(_) => {
            let verifier = PublicKey::new(key.clone(), "");
            good(Verifier::verify(&verifier, signed, signature).is_ok())
        }
        _ => Verification::Unsupported,
    }
}
