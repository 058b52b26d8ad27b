//! Reads objects from stores that aren't trusted: computes each object's name again from its bytes.

use std::borrow::Cow;

use super::{Collision, ObjectError, ObjectKind, Objects, name_of};
use crate::oid::Oid;

/// A failure to read an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{kind} {id}: {why}")]
    Store {
        id: Oid,
        kind: ObjectKind,
        why: ObjectError,
    },
    #[error("{kind} {id}: the store gave bytes of another name")]
    Name { id: Oid, kind: ObjectKind },
    #[error("{kind} {id}: {why}")]
    Collision {
        id: Oid,
        kind: ObjectKind,
        why: Collision,
    },
}

/// A store that isn't trusted. [`read`](Self::read) verifies the name of each object.
#[derive(Clone, Copy)]
pub(crate) struct Checked<'a>(pub(crate) &'a dyn Objects);

impl<'a> Checked<'a> {
    /// Reads an object without verifying its name, to find the commits of a chain. Each of them is verified
    /// later.
    pub(crate) fn peek(
        self,
        id: &Oid,
        kind: ObjectKind,
        limit: u64,
    ) -> Result<Cow<'a, [u8]>, ReadError> {
        let store = |why| ReadError::Store { id: *id, kind, why };
        let bytes = self.0.read(id, kind, limit).map_err(store)?;
        if bytes.len() as u64 > limit {
            return Err(store(ObjectError::TooLarge));
        }
        Ok(bytes)
    }

    pub(crate) fn read(
        self,
        id: &Oid,
        kind: ObjectKind,
        limit: u64,
    ) -> Result<Cow<'a, [u8]>, ReadError> {
        let bytes = self.peek(id, kind, limit)?;
        Self::named(id, kind, &bytes).map(|()| bytes)
    }

    /// Checks that `bytes` have the name `id`.
    pub(crate) fn named(id: &Oid, kind: ObjectKind, bytes: &[u8]) -> Result<(), ReadError> {
        match name_of(kind, bytes, id.format()) {
            Ok(name) if name == *id => Ok(()),
            Ok(_) => Err(ReadError::Name { id: *id, kind }),
            Err(why) => Err(ReadError::Collision { id: *id, kind, why }),
        }
    }
}
