//! Couplings: which resources read others without naming them.
//!
//! A resource that others read has a [key](Kind::input_key). The key of a unit file is the name of its unit;
//! the key of a drop-in is the name of its folder. A reader lists the keys of everything that it reads
//! ([`Kind::input_keys`]). So a template reaches all of its instances, and a drop-in in `foo-.service.d`
//! reaches every unit whose name begins with `foo-`.

use std::collections::BTreeMap;

use super::{Kind, Spec};
use crate::name::Address;
use crate::plan::Consequence;

/// Maps resources of a host to the resources that read them.
#[derive(Debug, Clone, Default)]
pub struct Couplings {
    readers: BTreeMap<String, Vec<Address>>,
    aliases: BTreeMap<Address, Address>,
}

impl Couplings {
    /// Computes the couplings among these resources. `aliases` maps resources to the addresses under which
    /// the host knows them.
    pub fn new<'a>(
        addresses: impl IntoIterator<Item = &'a Address>,
        aliases: &BTreeMap<Address, Address>,
    ) -> Self {
        let mut couplings = Self {
            readers: BTreeMap::new(),
            aliases: aliases.clone(),
        };
        for address in addresses {
            couplings.add(address, address);
            if let Some(name) = aliases.get(address) {
                couplings.add(address, name);
            }
        }
        couplings
    }

    fn add(&mut self, reader: &Address, name: &Address) {
        for key in name.kind().input_keys(name.name()) {
            let readers = self.readers.entry(key).or_default();
            if !readers.contains(reader) {
                readers.push(reader.clone());
            }
        }
    }

    /// Returns the resources that read `input` without naming it.
    pub fn readers(&self, input: &Address) -> &[Address] {
        let key = input.kind().input_key(input.name());
        key.and_then(|key| self.readers.get(&key))
            .map_or(&[], Vec::as_slice)
    }

    /// Returns the reaction of `reader` to a change of `input`, which it reads without naming it.
    pub fn reaction(&self, reader: &Address, spec: &Spec, input: &Address) -> Option<Consequence> {
        if !self.readers(input).contains(reader) {
            return None;
        }
        let key = input.kind().input_key(input.name())?;
        let names = [Some(reader), self.aliases.get(reader)];
        names
            .into_iter()
            .flatten()
            .find_map(|name| spec.on_input(name.name(), &key))
    }
}

/// True if a resource that the host knows under this name reads `input` without naming it.
pub fn reads(name: &Address, input: &Address) -> bool {
    let key = input.kind().input_key(input.name());
    key.is_some_and(|key| Kind::input_keys(name.kind(), name.name()).contains(&key))
}
