//! The people of an imported policy, and the check of their keys.

use jiff::Timestamp;
use plumb_trust::Authority;
use plumb_trust::policy::BindRef;

use crate::cli::init::new_policy::{NewPolicy, Person, Rule};
use crate::public_key::PublicKey;

/// Returns the reason if a key can't make signatures that count under a policy's default settings.
pub(super) fn unusable(key: &PublicKey, at: Timestamp) -> Option<String> {
    let name = || "somebody".to_owned();
    let alone = NewPolicy {
        identities: vec![Person {
            name: name(),
            keys: vec![(key.clone(), None)],
        }],
        groups: vec![("all".to_owned(), vec![name()])],
        rules: vec![Rule {
            paths: vec!["**".to_owned()],
            needs: vec![("all".to_owned(), 1)],
        }],
        bind: BindRef::None,
    };
    let policy = alone.text("none", "main");
    match Authority::new(policy.as_bytes(), alone.files(), at) {
        Ok(authority) => authority
            .unusable(&key.name, at)
            .map(|unusable| unusable.to_string()),
        Err(wrong) => wrong.first().map(|diagnostic| diagnostic.message.clone()),
    }
}

/// The imported people. Keys under the same name belong to the same person.
#[derive(Default)]
pub(super) struct People(pub(super) Vec<Person>);

impl People {
    /// Adds a key, unless somebody has it already.
    pub(super) fn add(
        &mut self,
        name: &str,
        key: PublicKey,
        end: Option<Timestamp>,
    ) -> Result<(), String> {
        let has = |person: &&Person| person.keys.iter().any(|(own, _)| own.name == key.name);
        if let Some(other) = self.0.iter().find(has) {
            return Err(if other.name == name {
                format!("{name} already has the key {}", key.name)
            } else {
                format!(
                    "the key {} already belongs to {}, and a key belongs to one identity",
                    key.name, other.name
                )
            });
        }
        match self.0.iter_mut().find(|person| person.name == name) {
            Some(person) => person.keys.push((key, end)),
            None => self.0.push(Person {
                name: name.to_owned(),
                keys: vec![(key, end)],
            }),
        }
        Ok(())
    }
}
