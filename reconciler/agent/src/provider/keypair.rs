//! `keypair`: a private key that is made on the host.
//!
//! The private half is read to compute the public one, and never leaves this module.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::montgomery::MontgomeryPoint;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, FileType, KeyType, KeypairObserved, KeypairSpec, Presence};
use plumb_api::{Observed, Spec};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};

use super::at_path::{self, Bytes, Put, ROOT, Wish};
use super::{
    ApplyContext, Effect, GiveBack, Identity, Item, ItemChange, ObserveContext, Provider, Sandbox,
    each, wrong_type,
};
use crate::error::Result;
use crate::sys::FileKind;

/// Maximum size of a file with a private key, in bytes.
const MAX_KEY: u64 = 16 << 10;

pub(crate) struct Keypairs;

impl Provider for Keypairs {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        at_path::identities(cx, items)
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Keypair(spec) = item.spec else {
                return wrong_type(item.address);
            };
            observe(cx, item.address.name(), spec).map(Observed::Keypair)
        };
        items.iter().map(one).collect()
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        at_path::check_change(cx, change.address.name(), FileKind::File, change)?;
        match (change.spec, change.observed) {
            (Spec::Keypair(spec), Observed::Keypair(found)) => {
                check_key(change.address.name(), spec, found)
            }
            _ => wrong_type(change.address),
        }
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Keypairs {
    fn full_spec(&self) -> Spec {
        Spec::Keypair(KeypairSpec {
            owner: ROOT.parse().ok(),
            group: ROOT.parse().ok(),
            ..KeypairSpec::of(KeyType::Wireguard, Presence::Present)
        })
    }

    /// The key itself is never restored: Plumb replaces none, so it is still there.
    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let managed_type = match managed {
            Some(Spec::Keypair(spec)) => spec.key_type,
            _ => KeyType::Wireguard,
        };
        let absent = || Spec::Keypair(KeypairSpec::of(managed_type, Presence::Absent));
        match original {
            Observed::Keypair(found) if found.file_type == FileType::File => {
                let key_type = found.key_type.unwrap_or(managed_type);
                Spec::Keypair(KeypairSpec {
                    owner: found.owner.clone(),
                    group: found.group.clone(),
                    mode: found.mode,
                    ..KeypairSpec::of(key_type, Presence::Present)
                })
            }
            _ => absent(),
        }
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        match original {
            Observed::Keypair(found) => at_path::describe(found.file_type, None),
            _ => None,
        }
    }
}

fn observe(cx: &ObserveContext<'_>, path: &str, spec: &KeypairSpec) -> Result<KeypairObserved> {
    let wish = Wish {
        content: false,
        owner: spec.owner.as_ref(),
        group: spec.group.as_ref(),
        mode: true,
    };
    let found = at_path::observe(cx, path, wish)?;
    let mut key = None;
    if found.file_type == FileType::File {
        let text = cx.sys.root().read(path, MAX_KEY)?;
        let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
        key = text.as_deref().and_then(public_half);
    }
    let (key_type, public_key) = key.unzip();
    Ok(KeypairObserved {
        file_type: found.file_type,
        key_type,
        public_key,
        owner: found.owner,
        group: found.group,
        mode: found.mode,
    })
}

/// Returns the type and the public half of a private key, or `None` if the text isn't one.
fn public_half(private: &str) -> Option<(KeyType, String)> {
    if private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let key = PrivateKey::from_openssh(private).ok()?;
        let line = key.public_key().to_openssh().ok()?;
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        return Some((KeyType::Ssh, words.join(" ")));
    }
    let bytes = STANDARD.decode(private.trim()).ok()?;
    let scalar: [u8; 32] = bytes.try_into().ok()?;
    let public = MontgomeryPoint::mul_base_clamped(scalar);
    Some((KeyType::Wireguard, STANDARD.encode(public.as_bytes())))
}

/// Makes a private key, in the form of its file.
fn generate(key_type: KeyType, path: &str) -> Result<String> {
    let mut seed = [0; 32];
    getrandom::getrandom(&mut seed).map_err(|error| {
        AgentError::new(
            ErrorCode::Io,
            format!("cannot get randomness for {path}: {error}"),
        )
    })?;
    match key_type {
        KeyType::Wireguard => {
            // Clamped like `wg genkey` does, so that each key has one form.
            seed[0] &= 0xf8;
            seed[31] = (seed[31] & 0x7f) | 0x40;
            Ok(format!("{}\n", STANDARD.encode(seed)))
        }
        KeyType::Ssh => PrivateKey::from(Ed25519Keypair::from_seed(&seed))
            .to_openssh(LineEnding::LF)
            .map(|text| text.to_string())
            .map_err(|error| {
                AgentError::new(
                    ErrorCode::Internal,
                    format!("cannot write the key for {path}: {error}"),
                )
            }),
    }
}

/// Fails if a key would have to be replaced, or if one that others know is missing.
fn check_key(path: &str, spec: &KeypairSpec, found: &KeypairObserved) -> Result<()> {
    if spec.state == Presence::Absent {
        return Ok(());
    }
    let refuse = |message: String, hint: String| {
        Err(AgentError::new(ErrorCode::Refused, message).hint(hint))
    };
    let wanted = spec.public_key.as_deref();
    match (found.file_type, &found.public_key) {
        (FileType::File, Some(has)) if found.key_type == Some(spec.key_type) => match wanted {
            Some(wanted) if !wanted.starts_with(has.as_str()) => refuse(
                format!(
                    "the key in {path} has the public half `{has}`, and the manifest says `{wanted}`"
                ),
                format!("write `publicKey: \"{has}\"`, or move {path} away on the host"),
            ),
            _ => Ok(()),
        },
        (FileType::File, _) => refuse(
            format!("{path} isn't a private key of the type in the manifest: it isn't replaced"),
            format!("move {path} away on the host, or correct `type`"),
        ),
        (_, _) => match wanted {
            Some(wanted) => refuse(
                format!("the private key of `{wanted}` isn't at {path}, and can't be made again"),
                "put it there, or remove `publicKey` to have a new key made".to_owned(),
            ),
            None => Ok(()),
        },
    }
}

fn one(cx: &mut ApplyContext<'_>, change: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Keypair(spec) = change.spec else {
        return wrong_type(change.address);
    };
    let path = change.address.name();
    if spec.state == Presence::Absent {
        at_path::remove(cx, path, FileKind::File)?;
        at_path::remove_made(cx, change.original)?;
        return Ok(Effect::Done);
    }
    let root = ROOT.parse().ok();
    let missing = change.changes("state");
    let mut put = Put {
        bytes: Bytes::Stay,
        owner: spec.owner.as_ref(),
        group: spec.group.as_ref(),
        mode: Some(spec.mode()),
        validate: &[],
        attributes: change
            .original
            .and_then(|original| original.attributes.as_ref()),
    };
    if !missing {
        at_path::put(cx, path, &put)?;
        return Ok(Effect::Done);
    }
    let private = generate(spec.key_type, path)?;
    put.owner = put.owner.or(root.as_ref());
    put.group = put.group.or(root.as_ref());
    put.bytes = Bytes::New(Content::of(private.as_bytes()));
    at_path::put_bytes(cx, path, &put, private.as_bytes())?;
    if let Some((_, public)) = public_half(&private) {
        cx.warnings.push(format!(
            "made {}; write its public half into the manifest: publicKey: \"{public}\"",
            change.address
        ));
    }
    Ok(Effect::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wireguard_key_has_the_public_half_of_rfc_7748() {
        // Alice's keys of section 6.1, in base64.
        let private = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n";
        let public = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
        assert_eq!(
            public_half(private),
            Some((KeyType::Wireguard, public.to_owned()))
        );
    }

    #[test]
    fn made_keys_are_read_back_and_differ() {
        for key_type in [KeyType::Wireguard, KeyType::Ssh] {
            let one = generate(key_type, "/x").unwrap();
            let (found, public) = public_half(&one).unwrap();
            assert_eq!(found, key_type);
            let another = generate(key_type, "/x").unwrap();
            assert_ne!(public_half(&another).unwrap().1, public);
        }
    }

    #[test]
    fn other_files_are_no_keys() {
        for text in [
            "",
            "hello\n",
            "AAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n",
        ] {
            assert_eq!(public_half(text), None, "{text}");
        }
    }

    #[test]
    fn key_is_never_replaced() {
        let spec = |public: Option<&str>| KeypairSpec {
            public_key: public.map(str::to_owned),
            ..KeypairSpec::of(KeyType::Wireguard, Presence::Present)
        };
        let mut found = KeypairObserved::default();
        assert!(check_key("/k", &spec(None), &found).is_ok());
        let lost = check_key("/k", &spec(Some("A=")), &found).unwrap_err();
        assert!(lost.message.contains("can't be made again"), "{lost}");
        found.file_type = FileType::File;
        assert!(check_key("/k", &spec(None), &found).is_err(), "not a key");
        found.key_type = Some(KeyType::Wireguard);
        found.public_key = Some("B=".to_owned());
        assert!(check_key("/k", &spec(None), &found).is_ok());
        assert!(check_key("/k", &spec(Some("B=")), &found).is_ok());
        let other = check_key("/k", &spec(Some("A=")), &found).unwrap_err();
        assert!(other.hint.unwrap().contains("publicKey: \"B=\""));
    }
}
