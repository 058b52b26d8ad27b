//! Real keys of every kind, made here, and signatures by them.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sequoia_openpgp as openpgp;

use openpgp::cert::{CertBuilder, CipherSuite};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Packet, Signature};
use openpgp::serialize::SerializeInto as _;
use openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType};
use openpgp::{Cert, KeyHandle};
use ssh_key::private::KeypairData;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use crate::certificates::Revoking;

/// When the keys were made: well before everything else.
pub const BORN: i64 = 1_735_689_600; // 2025-01-01
/// A day.
pub const DAY: i64 = 86_400;

/// A moment as the libraries take it.
pub fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap())
}

/// A key that can sign.
#[derive(Clone)]
pub enum Key {
    /// An `OpenPGP` certificate with its secrets.
    Pgp(Box<Cert>),
    /// An SSH key.
    Ssh(Box<PrivateKey>),
    /// An Ed25519 security key: its public part, and the key inside.
    SecurityKey(Box<SecurityKey>),
}

/// What a security key is inside.
#[derive(Clone)]
pub struct SecurityKey {
    inner: PrivateKey,
    flags: u8,
}

/// How an SSH signature is made.
#[derive(Clone, Copy)]
pub struct Sshsig<'a> {
    /// What it is for.
    pub namespace: &'a str,
    /// The hash of the message.
    pub hash: HashAlg,
}

impl Default for Sshsig<'_> {
    fn default() -> Self {
        Self {
            namespace: "git",
            hash: HashAlg::Sha512,
        }
    }
}

impl Key {
    /// A usual `OpenPGP` key: Ed25519, the primary key signs.
    pub fn pgp(name: &str) -> Self {
        Self::pgp_of(name, CipherSuite::Cv25519)
    }

    /// An `OpenPGP` key of another kind.
    pub fn pgp_of(name: &str, suite: CipherSuite) -> Self {
        Self::pgp_built(
            CertBuilder::new()
                .set_cipher_suite(suite)
                .set_primary_key_flags(KeyFlags::empty().set_signing().set_certification()),
            name,
        )
    }

    /// An `OpenPGP` key as a builder makes it.
    pub fn pgp_built(builder: CertBuilder<'_>, name: &str) -> Self {
        let (cert, _) = builder
            .add_userid(format!("{name} <{name}@fleet.example>"))
            .set_creation_time(at(BORN))
            .generate()
            .unwrap();
        Self::Pgp(Box::new(cert))
    }

    /// An SSH key.
    pub fn ssh(name: &str, algorithm: ssh_key::Algorithm) -> Self {
        let mut key = PrivateKey::random(&mut ssh_key::rand_core::OsRng, algorithm).unwrap();
        key.set_comment(name);
        Self::Ssh(Box::new(key))
    }

    /// An SSH Ed25519 key.
    pub fn ssh_ed25519(name: &str) -> Self {
        Self::ssh(name, ssh_key::Algorithm::Ed25519)
    }

    /// An Ed25519 security key that says of its user what the flags say (1: present).
    pub fn security_key(flags: u8) -> Self {
        let inner = PrivateKey::random(&mut ssh_key::rand_core::OsRng, ssh_key::Algorithm::Ed25519)
            .unwrap();
        Self::SecurityKey(Box::new(SecurityKey { inner, flags }))
    }

    /// An Ed25519 security key with a given secret.
    pub fn security_key_with_secret(secret: &[u8; 32], flags: u8) -> Self {
        let pair = ssh_key::private::Ed25519Keypair::from_seed(secret);
        let inner = PrivateKey::new(pair.into(), "").unwrap();
        Self::SecurityKey(Box::new(SecurityKey { inner, flags }))
    }

    /// The certificate.
    pub fn cert(&self) -> &Cert {
        match self {
            Self::Pgp(cert) => cert,
            _ => panic!("not an OpenPGP key"),
        }
    }

    /// How a policy names it.
    pub fn policy_line(&self) -> String {
        match self {
            Self::Pgp(cert) => format!("openpgp: {}", cert.fingerprint().to_hex()),
            _ => format!(
                "ssh: \"{}\"",
                ssh_key::PublicKey::from_openssh(&self.public())
                    .unwrap()
                    .fingerprint(HashAlg::Sha256)
            ),
        }
    }

    /// Its fingerprint as a `revoke/` tag names it.
    pub fn hex(&self) -> String {
        let name = match self {
            Self::Pgp(cert) => cert.fingerprint().to_hex(),
            _ => ssh_key::PublicKey::from_openssh(&self.public())
                .unwrap()
                .fingerprint(HashAlg::Sha256)
                .to_string(),
        };
        name.parse::<plumb_trust::KeyName>().unwrap().to_hex()
    }

    /// Its file in `trust/keys/`.
    pub fn public(&self) -> String {
        match self {
            Self::Pgp(cert) => String::from_utf8(
                cert.clone()
                    .strip_secret_key_material()
                    .armored()
                    .to_vec()
                    .unwrap(),
            )
            .unwrap(),
            Self::Ssh(key) => key.public_key().to_openssh().unwrap(),
            Self::SecurityKey(key) => {
                let blob = key.blob();
                format!("sk-ssh-ed25519@openssh.com {}", base64(&blob))
            }
        }
    }

    /// An armored detached signature of a payload.
    pub fn sign(&self, payload: &[u8], seconds: i64) -> String {
        match self {
            Self::Pgp(_) => self.sign_pgp(payload, seconds, |builder| builder),
            Self::Ssh(_) => self.sign_ssh(payload, Sshsig::default()),
            Self::SecurityKey(key) => key.sign(payload),
        }
    }

    /// An SSH signature with other parameters.
    pub fn sign_ssh(&self, payload: &[u8], how: Sshsig<'_>) -> String {
        let Self::Ssh(key) = self else {
            panic!("not an SSH key")
        };
        if let KeypairData::Rsa(pair) = key.key_data() {
            return sign_rsa(key, pair, payload, how);
        }
        let signature = key.sign(how.namespace, how.hash, payload).unwrap();
        signature.to_pem(LineEnding::LF).unwrap() + "\n"
    }

    /// An SSH signature by an RSA key over SHA-1, as before OpenSSH 7.2.
    pub fn sign_ssh_rsa_sha1(&self, payload: &[u8]) -> String {
        let good = self.sign_ssh(payload, Sshsig::default());
        let bytes = unarmor(&good);
        let at = find(&bytes, b"rsa-sha2-512").unwrap();
        // The name of the inner algorithm alone: what it is worth is refused before it is computed.
        let outer = at - 8;
        let inner = u32::from_be_bytes(bytes[outer..outer + 4].try_into().unwrap()) - 5;
        let mut weak = bytes[..outer].to_vec();
        weak.extend(inner.to_be_bytes());
        weak.extend(7_u32.to_be_bytes());
        weak.extend(b"ssh-rsa");
        weak.extend(&bytes[at + 12..]);
        armor_ssh(&weak)
    }

    /// An `OpenPGP` signature with other parameters.
    pub fn sign_pgp(
        &self,
        payload: &[u8],
        seconds: i64,
        adjust: impl FnOnce(SignatureBuilder) -> SignatureBuilder,
    ) -> String {
        let signature = self.signature(payload, seconds, adjust);
        armor_pgp(&Packet::from(signature).to_vec().unwrap())
    }

    /// The signature packet.
    pub fn signature(
        &self,
        payload: &[u8],
        seconds: i64,
        adjust: impl FnOnce(SignatureBuilder) -> SignatureBuilder,
    ) -> Signature {
        let cert = self.cert();
        // Whatever the certificate says that its parts are for: the last subkey, or the primary key.
        let key = cert.keys().secret().last().unwrap().key().clone();
        let mut signer = key.into_keypair().unwrap();
        let builder = SignatureBuilder::new(SignatureType::Binary)
            .set_hash_algo(HashAlgorithm::SHA512)
            .set_signature_creation_time(at(seconds))
            .unwrap();
        adjust(builder).sign_message(&mut signer, payload).unwrap()
    }

    /// The same certificate, revoked.
    #[must_use]
    pub fn revoked(&self, reason: ReasonForRevocation, seconds: i64) -> Self {
        self.revoked_by(self, Revoking::new(reason, seconds))
    }

    /// The same certificate, its last subkey revoked.
    #[must_use]
    pub fn subkey_revoked(&self, reason: ReasonForRevocation, seconds: i64) -> Self {
        self.subkey_revoked_by(self, Revoking::new(reason, seconds))
    }

    /// What names its maker in a signature.
    pub fn handle(&self) -> KeyHandle {
        self.cert().key_handle()
    }
}

/// ssh-key 0.6.7 takes the first prime of an RSA key for the second one too, and can't sign.
fn sign_rsa(
    key: &PrivateKey,
    pair: &ssh_key::private::RsaKeypair,
    payload: &[u8],
    how: Sshsig<'_>,
) -> String {
    use rsa::signature::{SignatureEncoding as _, Signer as _};
    let number = |n: &ssh_key::Mpint| rsa::BigUint::from_bytes_be(n.as_positive_bytes().unwrap());
    let primes = vec![number(&pair.private.p), number(&pair.private.q)];
    let secret = rsa::RsaPrivateKey::from_components(
        number(&pair.public.n),
        number(&pair.public.e),
        number(&pair.private.d),
        primes,
    )
    .unwrap();
    let signed = ssh_key::SshSig::signed_data(how.namespace, how.hash, payload).unwrap();
    let raw = rsa::pkcs1v15::SigningKey::<sha2::Sha512>::new(secret)
        .sign(&signed)
        .to_vec();
    let inner = [string(b"rsa-sha2-512"), string(&raw)].concat();
    let public = key.public_key().to_bytes().unwrap();
    let hash = how.hash.to_string();
    let parts = [
        b"SSHSIG\0\0\0\x01".to_vec(),
        string(&public),
        string(how.namespace.as_bytes()),
        string(b""),
        string(hash.as_bytes()),
        string(&inner),
    ];
    armor_ssh(&parts.concat())
}

impl SecurityKey {
    const APPLICATION: &'static [u8] = b"ssh:";

    fn pair(&self) -> &ssh_key::private::Ed25519Keypair {
        match self.inner.key_data() {
            KeypairData::Ed25519(pair) => pair,
            _ => panic!("made as Ed25519"),
        }
    }

    fn blob(&self) -> Vec<u8> {
        [
            string(b"sk-ssh-ed25519@openssh.com"),
            string(&self.pair().public.0),
            string(Self::APPLICATION),
        ]
        .concat()
    }

    fn sign(&self, payload: &[u8]) -> String {
        use ed25519_dalek::Signer as _;
        use sha2::{Digest as _, Sha256, Sha512};
        let signed = [
            b"SSHSIG".to_vec(),
            string(b"git"),
            string(b""),
            string(b"sha512"),
            string(&Sha512::digest(payload)),
        ]
        .concat();
        let mut data = Sha256::digest(Self::APPLICATION).to_vec();
        data.push(self.flags);
        data.extend(7_u32.to_be_bytes());
        data.extend(Sha256::digest(&signed));
        let raw = ed25519_dalek::SigningKey::from_bytes(&self.pair().private.to_bytes())
            .sign(&data)
            .to_bytes();
        let mut inner = [string(b"sk-ssh-ed25519@openssh.com"), string(&raw)].concat();
        inner.push(self.flags);
        inner.extend(7_u32.to_be_bytes());
        let parts = [
            b"SSHSIG\0\0\0\x01".to_vec(),
            string(&self.blob()),
            string(b"git"),
            string(b""),
            string(b"sha512"),
            string(&inner),
        ];
        armor_ssh(&parts.concat())
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [
        &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..],
        bytes,
    ]
    .concat()
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Plain base64.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number =
            chunk.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

fn lines(bytes: &[u8], width: usize) -> String {
    base64(bytes)
        .as_bytes()
        .chunks(width)
        .map(|line| String::from_utf8_lossy(line).into_owned() + "\n")
        .collect()
}

/// `OpenPGP` armor without a checksum.
pub fn armor_pgp(bytes: &[u8]) -> String {
    format!(
        "-----BEGIN PGP SIGNATURE-----\n\n{}-----END PGP SIGNATURE-----\n",
        lines(bytes, 64)
    )
}

/// SSH armor.
pub fn armor_ssh(bytes: &[u8]) -> String {
    format!(
        "-----BEGIN SSH SIGNATURE-----\n{}-----END SSH SIGNATURE-----\n",
        lines(bytes, 70)
    )
}

/// The bytes in an armor.
pub fn unarmor(text: &str) -> Vec<u8> {
    plumb_trust::Armor::of(text.as_bytes())
        .unwrap()
        .decode(text.as_bytes())
        .unwrap()
}

/// Those of the usual policy, and one outside of it.
pub struct People {
    /// In ops.
    pub alice: Key,
    /// In ops.
    pub bob: Key,
    /// In ops, with an SSH key.
    pub carol: Key,
    /// In sec.
    pub dave: Key,
    /// In sec, with an SSH key.
    pub erin: Key,
    /// In no policy.
    pub mallory: Key,
}

/// The same for the whole process.
pub fn people() -> &'static People {
    static PEOPLE: OnceLock<People> = OnceLock::new();
    PEOPLE.get_or_init(|| People {
        alice: Key::pgp("alice"),
        bob: Key::pgp("bob"),
        carol: Key::ssh_ed25519("carol"),
        dave: Key::pgp("dave"),
        erin: Key::ssh_ed25519("erin"),
        mallory: Key::pgp("mallory"),
    })
}
