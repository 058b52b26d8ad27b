//! Encrypts and decrypts single values.

use std::collections::BTreeMap;

use plumb_agent::age::{self, AgeError, Identity, Recipient};
use plumb_api::secret::{BindingMismatch, SecretEnvelope};
use plumb_core::secret::FleetSecret;
use zeroize::Zeroizing;

use crate::report::{Failure, OrFail as _};

/// A value in clear. It has no `Debug` form and is wiped from memory when it is dropped.
pub(super) type ClearValue = Zeroizing<Vec<u8>>;

/// Encrypts a value to the recipients of its Secret, and records in the Secret who they are.
pub(super) fn seal(
    secret: &mut FleetSecret,
    repository: &str,
    key: &str,
    version: u64,
    value: &[u8],
) -> Result<(), Failure> {
    let what = format!("{}/{key}", secret.name);
    let binding = secret.binding(repository, key, version).ok_or_else(|| {
        Failure::new(format!(
            "`hosts` of {} can't be bound to a value",
            secret.name
        ))
    })?;
    let plaintext = SecretEnvelope { binding, value }
        .to_plaintext()
        .map(Zeroizing::new)
        .or_fail(|| format!("cannot encrypt {what}"))?;
    let usage = secret.usage(key);
    let mut readers = secret.spec.recipients.remove(key).unwrap_or_default();
    readers.version = version;
    readers.usage = usage;
    readers.hosts.clone_from(&secret.recipients.hosts);
    readers.operators.clone_from(&secret.recipients.operators);
    let keys = keys(&readers.hosts)?
        .into_iter()
        .chain(keys(&readers.operators)?);
    let keys: Vec<Recipient> = keys.collect();
    let ciphertext = age::encrypt(&plaintext, &keys).map_err(|error| {
        let failure = Failure::new(format!("cannot encrypt {what}")).because(&error);
        match error {
            AgeError::NoRecipient => failure.hint(
                "pin the keys of hosts with `plumb enroll`, and add an operator with `plumb secret operator`",
            ),
            _ => failure,
        }
    })?;
    secret.spec.values.insert(key.to_owned(), ciphertext);
    secret.spec.recipients.insert(key.to_owned(), readers);
    Ok(())
}

fn keys(names: &BTreeMap<String, String>) -> Result<Vec<Recipient>, Failure> {
    let key = |(name, key): (&String, &String)| {
        key.parse()
            .or_fail(|| format!("the age key of `{name}` can't be used"))
    };
    names.iter().map(key).collect()
}

/// Decrypts a value, and checks that it is this version of this key. A value that was encrypted for other
/// hosts or another delivery is returned too: encrypting it again mends that.
pub(super) fn open(
    secret: &FleetSecret,
    repository: &str,
    key: &str,
    identity: &Identity,
) -> Result<ClearValue, Failure> {
    let what = format!("cannot decrypt {}/{key}", secret.name);
    let Some(ciphertext) = secret.spec.values.get(key) else {
        return Err(Failure::new(format!("{}/{key} has no value", secret.name))
            .hint(format!("run `plumb secret set {}/{key}`", secret.name)));
    };
    let plaintext = age::decrypt(ciphertext, identity).map_err(|error| {
        let failure = Failure::new(what.clone()).because(&error);
        match error {
            AgeError::NotARecipient => failure
                .hint("use the key of one of the operators that `plumb secret who-can-read` lists"),
            _ => failure,
        }
    })?;
    let envelope = SecretEnvelope::parse(&plaintext).or_fail(|| what.clone())?;
    let expected = secret.binding(repository, key, secret.version(key));
    match expected.map(|expected| envelope.binding.check(&expected)) {
        Some(Ok(()) | Err(BindingMismatch::Hosts | BindingMismatch::Delivery)) => {
            Ok(Zeroizing::new(envelope.value.to_vec()))
        }
        Some(Err(mismatch)) => Err(Failure::new(format!("{what}: {mismatch}"))
            .hint("find out who moved the ciphertext; hosts refuse it")),
        None => Err(Failure::new(what)),
    }
}
