//! Addresses of primitive and composite resources: `file:/etc/motd`, `cron:report`.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::{Address, InvalidName, check_resource_name};
use crate::resource::{CompositeKind, Kind};

/// A primitive or composite resource type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnyKind {
    /// A type that agents observe and change.
    Primitive(Kind),
    /// A type that Plumb expands to primitive resources before it plans.
    Composite(CompositeKind),
}

/// The address of a composite resource: `cron:report`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompositeAddress {
    kind: CompositeKind,
    name: Arc<str>,
}

/// The address of a primitive or composite resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnyAddress {
    /// The address of a primitive resource.
    Primitive(Address),
    /// The address of a composite resource.
    Composite(CompositeAddress),
}

impl AnyKind {
    /// Returns every type, primitive ones first.
    pub fn all() -> impl Iterator<Item = Self> {
        let composite = CompositeKind::ALL.iter().copied().map(Self::Composite);
        Kind::ALL
            .iter()
            .copied()
            .map(Self::Primitive)
            .chain(composite)
    }

    /// Returns the name of every type, primitive ones first.
    pub fn names() -> &'static [&'static str] {
        static NAMES: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| AnyKind::all().map(AnyKind::as_str).collect());
        &NAMES
    }

    /// Returns the field that a value in place of a resource's fields probably means.
    pub fn value_field(self) -> Option<&'static str> {
        match self {
            Self::Primitive(kind) => kind.value_field(),
            Self::Composite(kind) => kind.value_field(),
        }
    }

    /// Returns the name in manifests and addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primitive(kind) => kind.as_str(),
            Self::Composite(kind) => kind.as_str(),
        }
    }

    /// Returns the fields that are sets. If several objects set such a field, Plumb unites the values.
    pub fn sets(self) -> &'static [&'static str] {
        match self {
            Self::Primitive(kind) => kind.sets(),
            Self::Composite(kind) => kind.sets(),
        }
    }

    /// Returns the fields that the manifest language defines and this version doesn't support.
    pub fn unsupported(self) -> &'static [&'static str] {
        match self {
            Self::Primitive(kind) => kind.unsupported(),
            Self::Composite(kind) => kind.unsupported(),
        }
    }
}

impl FromStr for AnyKind {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let found = Self::all().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| InvalidName::unknown_type(text, text, Self::names()))
    }
}

impl fmt::Display for AnyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl CompositeAddress {
    /// Creates an address. The name must satisfy the rules of the resource type.
    ///
    /// # Errors
    /// Fails if the resource type doesn't accept the name.
    pub fn new(kind: CompositeKind, name: &str) -> Result<Self, InvalidName> {
        check_resource_name(name)?;
        kind.check_name(name)
            .map_err(|problem| InvalidName::new(name, problem))?;
        Ok(Self {
            kind,
            name: name.into(),
        })
    }

    /// Returns the resource's type.
    pub fn kind(&self) -> CompositeKind {
        self.kind
    }

    /// Returns the resource's name within its type.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for CompositeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

impl fmt::Debug for CompositeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompositeAddress({self})")
    }
}

impl AnyAddress {
    /// Creates an address. The name must satisfy the rules of the resource type.
    ///
    /// # Errors
    /// Fails if the resource type doesn't accept the name.
    pub fn new(kind: AnyKind, name: &str) -> Result<Self, InvalidName> {
        match kind {
            AnyKind::Primitive(kind) => Address::new(kind, name).map(Self::Primitive),
            AnyKind::Composite(kind) => CompositeAddress::new(kind, name).map(Self::Composite),
        }
    }

    /// Returns the resource's type.
    pub fn kind(&self) -> AnyKind {
        match self {
            Self::Primitive(address) => AnyKind::Primitive(address.kind()),
            Self::Composite(address) => AnyKind::Composite(address.kind()),
        }
    }

    /// Returns the resource's name within its type.
    pub fn name(&self) -> &str {
        match self {
            Self::Primitive(address) => address.name(),
            Self::Composite(address) => address.name(),
        }
    }

    /// Returns the address of a primitive resource, or `None` for a composite one.
    pub fn primitive(&self) -> Option<&Address> {
        match self {
            Self::Primitive(address) => Some(address),
            Self::Composite(_) => None,
        }
    }
}

impl From<Address> for AnyAddress {
    fn from(address: Address) -> Self {
        Self::Primitive(address)
    }
}

impl FromStr for AnyAddress {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let Some((kind, name)) = text.split_once(':') else {
            return Err(InvalidName::new(
                text,
                "write an address as TYPE:NAME, such as file:/etc/motd",
            ));
        };
        Self::new(kind.parse()?, name)
    }
}

impl fmt::Display for AnyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(address) => address.fmt(f),
            Self::Composite(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for AnyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(address) => address.fmt(f),
            Self::Composite(address) => fmt::Debug::fmt(address, f),
        }
    }
}

impl Serialize for AnyAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AnyAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(InvalidName::into_serde)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_both_sorts_of_address() {
        for text in ["file:/etc/motd", "cron:report"] {
            let address: AnyAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.primitive().is_some(), text.starts_with("file"));
        }
    }

    #[test]
    fn primitive_address_rejects_composite_type() {
        assert!("cron:report".parse::<Address>().is_err());
    }

    #[test]
    fn no_type_is_of_both_sorts() {
        for kind in CompositeKind::ALL {
            assert!(kind.as_str().parse::<Kind>().is_err(), "{kind:?}");
        }
    }
}
