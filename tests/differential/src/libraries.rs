//! The two libraries that take a commit apart for whoever verifies it.

use crate::case::Object;
use crate::examine::{Said, parts};

/// libgit2, as it is usually built: for SHA-1 names.
///
/// It has nothing that takes a tag apart.
///
/// # Panics
///
/// If it can't open the repository.
pub fn libgit2(repository: &std::path::Path, object: &Object) -> Said {
    if object.kind != "commit" || object.id.len() != 40 {
        return Said::Unasked;
    }
    let repository = git2::Repository::open_bare(repository).expect("a repository");
    let id = git2::Oid::from_str(&object.id).expect("a name");
    match repository.extract_signature(&id, None) {
        Ok((signature, payload)) => parts(&payload, &signature),
        Err(error)
            if error.code() == git2::ErrorCode::NotFound
                && error.message().contains("not signed") =>
        {
            Said::Unsigned
        }
        Err(error) => Said::Unread(error.message().to_owned()),
    }
}

/// gix-object.
pub fn gix(object: &Object) -> Said {
    let kind = if object.id.len() == 40 {
        gix_hash::Kind::Sha1
    } else {
        gix_hash::Kind::Sha256
    };
    if object.kind == "tag" {
        if let Err(error) = gix_object::TagRef::from_bytes(&object.bytes, kind) {
            return Said::Unread(error.to_string());
        }
        return match gix_object::TagRefIter::signature(&object.bytes) {
            Some((signature, payload)) => parts(&payload.to_bstring(), signature.data),
            None => Said::Unsigned,
        };
    }
    // What extracts a signature doesn't look at the rest; who asks for it has read the commit before.
    if let Err(error) = gix_object::CommitRef::from_bytes(&object.bytes, kind) {
        return Said::Unread(error.to_string());
    }
    match gix_object::CommitRefIter::signature(&object.bytes, kind) {
        Ok(Some((signature, payload))) => parts(&payload.to_bstring(), &signature),
        Ok(None) => Said::Unsigned,
        Err(error) => Said::Unread(error.to_string()),
    }
}
