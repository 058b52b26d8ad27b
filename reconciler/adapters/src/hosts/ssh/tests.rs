use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;

/// A key that is the same each time.
pub(super) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}
