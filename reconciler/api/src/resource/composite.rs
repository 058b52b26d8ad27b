//! Composite types: they expand to primitive resources before a plan is made.
//!
//! To add a composite type, add one file here, one file in `core/src/expand/`, one line in `composites!`, and
//! one line in the registry of `core/src/expand/`. Agents never receive composite resources, because
//! [`Spec`](super::Spec) can't represent them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// A composite type's spec.
pub trait Composite: Serialize + DeserializeOwned + Clone + PartialEq {
    /// An example for the reference: resources as in a manifest, on a host `web` of the network `wg`.
    const EXAMPLE: &'static str;

    /// Fields that are sets. If several objects set such a field, Plumb unites the values. Values of other
    /// fields must be equal.
    const SETS: &'static [&'static str] = &["after"];

    /// The field that a value in place of a resource's fields probably means; for hints only.
    const VALUE_FIELD: Option<&'static str> = None;

    /// Fields that the manifest language defines and this version doesn't support.
    const UNSUPPORTED: &'static [&'static str] = &[];

    /// Checks a resource's name.
    ///
    /// # Errors
    /// Returns a phrase with the mistake and the right form.
    fn check_name(name: &str) -> Result<(), String>;

    /// Returns the problems of a spec that no host could satisfy.
    fn check(&self, _name: &str) -> Vec<Problem> {
        Vec::new()
    }

    /// Returns the resources that fields other than `after` refer to. The host must have them.
    fn names(&self) -> Vec<Named> {
        Vec::new()
    }

    /// Returns the manifest's `after`. Every resource that the composite expands to inherits it.
    fn after(&self) -> &[AnyAddress];

    /// Returns the manifest's `manage`. Every resource that the composite expands to inherits it.
    fn manage(&self) -> Manage;
}

/// A field that refers to resources of the same host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The field.
    pub field: &'static str,
    /// The host must have at least one of these.
    pub any_of: Vec<AnyAddress>,
}

/// Defines the closed set of composite types: `CompositeKind`, `CompositeSpec`, and for any of them every
/// method of [`Composite`].
macro_rules! composites {
    ($($(#[$doc:meta])* $variant:ident($text:literal): $spec:ident;)*) => {
        /// A composite resource type.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum CompositeKind { $($(#[$doc])* $variant,)* }

        /// The desired state of one composite resource.
        #[derive(Clone, PartialEq, Debug)]
        pub enum CompositeSpec { $($(#[$doc])* $variant($spec),)* }

        impl CompositeKind {
            /// Every type, in the order in which they expand.
            pub const ALL: &'static [CompositeKind] = &[$(CompositeKind::$variant,)*];

            /// The name of every type, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text,)*];

            /// Returns the name in manifests and addresses.
            pub fn as_str(self) -> &'static str {
                match self { $(CompositeKind::$variant => $text,)* }
            }

            /// Checks the name of a resource of this type.
            ///
            /// # Errors
            /// Returns a phrase with the mistake.
            pub fn check_name(self, name: &str) -> Result<(), String> {
                match self { $(CompositeKind::$variant => $spec::check_name(name),)* }
            }

            /// Returns an example for the reference: resources as in a manifest, on a host `web` of the
            /// network `wg`.
            pub fn example(self) -> &'static str {
                match self { $(CompositeKind::$variant => <$spec as Composite>::EXAMPLE,)* }
            }

            /// Returns the field that a value in place of a resource's fields probably means.
            pub fn value_field(self) -> Option<&'static str> {
                match self { $(CompositeKind::$variant => <$spec as Composite>::VALUE_FIELD,)* }
            }

            /// Returns the fields that are sets. If several objects set such a field, Plumb unites the
            /// values.
            pub fn sets(self) -> &'static [&'static str] {
                match self { $(CompositeKind::$variant => <$spec as Composite>::SETS,)* }
            }

            /// Returns the fields that the manifest language defines and this version doesn't support.
            pub fn unsupported(self) -> &'static [&'static str] {
                match self { $(CompositeKind::$variant => <$spec as Composite>::UNSUPPORTED,)* }
            }

            /// Returns the JSON schema of this type's spec, with all types inlined.
            #[cfg(feature = "schema")]
            pub fn schema(self) -> schemars::Schema {
                let generator = crate::schema::generator();
                match self { $(CompositeKind::$variant => generator.into_root_schema_for::<$spec>(),)* }
            }

            /// Decodes a spec of this type.
            ///
            /// # Errors
            /// Returns the error of the deserializer.
            pub fn decode<'de, D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<CompositeSpec, D::Error> {
                match self { $(CompositeKind::$variant => $spec::deserialize(deserializer).map(CompositeSpec::$variant),)* }
            }
        }

        impl CompositeSpec {
            /// Returns the problems of a spec that no host could satisfy.
            pub fn check(&self, name: &str) -> Vec<Problem> {
                match self { $(CompositeSpec::$variant(spec) => spec.check(name),)* }
            }

            /// Returns the resources that fields other than `after` refer to.
            pub fn names(&self) -> Vec<Named> {
                match self { $(CompositeSpec::$variant(spec) => spec.names(),)* }
            }

            /// Returns the manifest's `after`. Every resource that the composite expands to inherits it.
            pub fn after(&self) -> &[AnyAddress] {
                match self { $(CompositeSpec::$variant(spec) => spec.after(),)* }
            }

            /// Returns the manifest's `manage`. Every resource that the composite expands to inherits it.
            pub fn manage(&self) -> Manage {
                match self { $(CompositeSpec::$variant(spec) => spec.manage(),)* }
            }
        }
    };
}

pub(super) use composites;
