//! [`Verified`], a type that proves that a value was accepted.

use jiff::Timestamp;

use crate::object::Trailers;
use crate::oid::Oid;

/// A value that passed verification. Only [`Outcome::revision`](crate::Outcome::revision) makes one, from the
/// last accepted commit of a verification:
///
/// ```compile_fail,E0423
/// // The field is private, and there is no constructor.
/// let forged = plumb_trust::Verified("anything");
/// ```
///
/// ```compile_fail,E0599
/// let forged = plumb_trust::Verified::new("anything");
/// ```
///
/// ```compile_fail,E0277
/// fn default<T: Default>() -> T { T::default() }
/// let forged: plumb_trust::Verified<()> = default();
/// ```
///
/// ```compile_fail,E0277
/// let forged: plumb_trust::Verified<&str> = "anything".into();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) const fn vouch(value: T) -> Self {
        Self(value)
    }

    /// Returns the value.
    pub const fn get(&self) -> &T {
        &self.0
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A commit, with the parts of it that the rest of Plumb uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    pub(crate) commit: Oid,
    pub(crate) tree: Oid,
    pub(crate) parent: Option<Oid>,
    pub(crate) committed: Timestamp,
    pub(crate) subject: String,
    pub(crate) author: String,
    pub(crate) trailers: Trailers,
}

impl Revision {
    /// Returns the commit's object name.
    pub const fn commit(&self) -> Oid {
        self.commit
    }

    /// Returns the object name of the commit's tree.
    pub const fn tree(&self) -> Oid {
        self.tree
    }

    /// Returns the commit's first parent, or `None` for a root commit.
    pub const fn parent(&self) -> Option<Oid> {
        self.parent
    }

    /// Returns the commit time, as the commit claims.
    pub const fn committed(&self) -> Timestamp {
        self.committed
    }

    /// Returns the first line of the message that isn't empty, without invisible characters, cut to 200
    /// characters.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the author's name, as the commit claims. For display only: nobody has verified it.
    pub fn author(&self) -> &str {
        &self.author
    }

    /// Returns the trailers of the message if an identity of the policy has signed the commit, and none
    /// otherwise.
    pub const fn trailers(&self) -> &Trailers {
        &self.trailers
    }
}
