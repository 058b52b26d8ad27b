//! Checks pushed tags that trust relies on: approvals, heartbeats and revocations. A pushed tag can't be
//! removed, so the hooks refuse one that can never count.

use plumb_adapters::git::Repository;
use plumb_trust::object::{Tag, limits};
use plumb_trust::policy::Policy;
use plumb_trust::{KeyName, ObjectKind, Objects as _, Oid, Trailers};

use super::input::RefUpdate;
use crate::output::quoted;
use crate::report::Failure;

/// The purpose of a tag, which the first part of its name shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagKind {
    Approval,
    Heartbeat,
    Revocation,
}

impl TagKind {
    /// Splits the full name of such a tag into its kind and the rest. The rest is empty for a tag that is
    /// named just `approve`, `alive` or `revoke`. Returns `None` for all other refs.
    pub(super) fn of(name: &str) -> Option<(Self, &str)> {
        let tag = name.strip_prefix("refs/tags/")?;
        let (folder, rest) = tag.split_once('/').unwrap_or((tag, ""));
        let kind = match folder {
            "approve" => Self::Approval,
            "alive" => Self::Heartbeat,
            "revoke" => Self::Revocation,
            _ => return None,
        };
        Some((kind, rest))
    }

    /// Returns the form of names of this kind, for messages.
    fn form(self) -> &'static str {
        match self {
            Self::Approval => "approve/BRANCH/ID",
            Self::Heartbeat => "alive/BRANCH/ID",
            Self::Revocation => "revoke/FINGERPRINT/ID",
        }
    }

    /// True if a tag has the name of a folder of other tags. While there is a tag `revoke/X`, git can't
    /// create a tag `revoke/X/ID`, and pushed tags can't be removed.
    fn blocks_others(self, rest: &str, branch: &str) -> bool {
        let of_branch = branch
            .strip_prefix(rest)
            .is_some_and(|more| more.is_empty() || more.starts_with('/'));
        !rest.contains('/') || (self != Self::Revocation && of_branch)
    }
}

/// The hooks' treatment of a heartbeat tag, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum HeartbeatTag {
    /// The hooks let the tag in and protect it.
    Taken,
    /// The hooks refuse the tag.
    Refused,
    /// The hooks don't recognize the tag as a heartbeat, and no controller fetches it.
    Unseen,
}

/// Returns the hooks' treatment of a tag of this name that is meant as a heartbeat of a branch.
pub(in crate::cli) fn heartbeat_tag(name: &str, branch: &str) -> HeartbeatTag {
    match TagKind::of(&format!("refs/tags/{name}")) {
        Some((kind @ TagKind::Heartbeat, rest)) if !kind.blocks_others(rest, branch) => {
            HeartbeatTag::Taken
        }
        Some(_) => HeartbeatTag::Refused,
        None => HeartbeatTag::Unseen,
    }
}

/// Minimum number of hexadecimal digits that make a name look like a commit id. Git's default abbreviations
/// have at least as many.
const LIKE_AN_ID: usize = 7;

/// Refuses a new tag or branch that is named like a commit id or like `HEAD`, and a tag that is named like
/// the branch. Where such a name is ambiguous, git prefers a tag to a branch, and both to an abbreviated id.
/// In a push, git prefers both even to a full id and to `HEAD`. So whoever passes a commit id to git could
/// get another commit.
pub(super) fn refuse_alias(update: &RefUpdate, reference: &str) -> Result<(), Failure> {
    let (None, Some(_), None) = (update.old, update.new, TagKind::of(&update.name)) else {
        return Ok(());
    };
    let tag = update.name.strip_prefix("refs/tags/");
    let Some(name) = tag.or_else(|| update.name.strip_prefix("refs/heads/")) else {
        return Ok(());
    };
    let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
    let like_an_id =
        name.len() >= LIKE_AN_ID && name.bytes().all(|digit| digit.is_ascii_hexdigit());
    // In a clone the branch is called `origin/main`.
    let like_the_branch = tag.is_some()
        && (name == branch || name.split_once('/').is_some_and(|(_, rest)| rest == branch));
    // `HEAD`, `FETCH_HEAD`, `ORIG_HEAD` and others; `@` is short for the first.
    let like_head = name == "HEAD" || name == "@" || name.ends_with("_HEAD");
    let what = match (like_an_id, like_head, like_the_branch) {
        (true, ..) => Some("a commit's id"),
        (_, true, _) => Some("what git itself calls a commit"),
        (.., true) => Some("the branch"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(Failure::new(format!(
            "{} is named like {what}, and git would confuse the two",
            update.name
        ))
        .hint("choose another name"));
    }
    Ok(())
}

/// Refuses to move or delete an approval, heartbeat or revocation, and to create one that can never count,
/// because nobody could remove it again. Lets in a tag that doesn't count yet, such as one by a key that may
/// be added to the policy later.
pub(super) fn check_tag(
    update: &RefUpdate,
    repository: &Repository,
    reference: &str,
    policy: Option<&Policy>,
) -> Result<(), Failure> {
    let Some((kind, rest)) = TagKind::of(&update.name) else {
        return Ok(());
    };
    if update.old.is_some() && update.new != update.old {
        return Err(Failure::new(format!(
            "{} can't be moved or deleted: approvals, heartbeats and revocations are permanent",
            update.name
        ))
        .hint("push another tag with another last part (`--id`)"));
    }
    let Some(new) = update.new else {
        return Ok(());
    };
    let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
    if update.old.is_none() && kind.blocks_others(rest, branch) {
        return Err(Failure::new(format!(
            "{} has no last part, so git could create no tag below it",
            update.name
        ))
        .hint(format!("name it {}", kind.form())));
    }
    never_counts(&new, &update.name, kind, rest, repository, policy).map_or(Ok(()), |why| {
        let name = update.name.trim_start_matches("refs/tags/");
        Err(
            Failure::new(format!("{} can never count: {why}", update.name))
                .hint(form_hint(kind))
                .hint(format!(
                    "delete yours with `git tag -d {}`; it isn't accepted because a pushed tag is permanent",
                    quoted(name)
                )),
        )
    })
}

fn form_hint(kind: TagKind) -> &'static str {
    match kind {
        TagKind::Approval => {
            "create one with `plumb approve COMMIT`; by hand, use `git tag --sign` with `Approve: REPOSITORY REF COMMIT` as the last paragraph"
        }
        TagKind::Heartbeat => {
            "create a heartbeat with `git tag --sign` and `Alive: REPOSITORY REF COMMIT` as the last paragraph"
        }
        TagKind::Revocation => {
            "create a revocation with `git tag --sign revoke/FINGERPRINT/ID COMMIT` on an accepted commit; for an SSH key, FINGERPRINT is the key's SHA-256 in hexadecimal digits"
        }
    }
}

fn never_counts(
    id: &Oid,
    name: &str,
    kind: TagKind,
    rest: &str,
    repository: &Repository,
    policy: Option<&Policy>,
) -> Option<String> {
    let raw = match repository.objects().read(id, ObjectKind::Tag, limits::TAG) {
        Ok(raw) => raw,
        Err(plumb_trust::ObjectError::WrongKind) => {
            return Some("it is a lightweight tag, which can't be signed".to_owned());
        }
        Err(error) => return Some(error.to_string()),
    };
    let tag = match Tag::parse(&raw, id.format()) {
        Ok(tag) => tag,
        Err(error) => return Some(error.to_string()),
    };
    if name.strip_prefix("refs/tags/") != Some(tag.name) {
        return Some(format!(
            "the signed text names it {}",
            tag.name.escape_debug()
        ));
    }
    if tag.signature.is_none() {
        return Some("it isn't signed".to_owned());
    }
    let trailers = match Trailers::parse(tag.message) {
        Ok(trailers) => trailers,
        Err(error) => return Some(error.to_string()),
    };
    let (wanted, policy) = match kind {
        TagKind::Approval => ("Approve", policy?),
        TagKind::Heartbeat => ("Alive", policy?),
        TagKind::Revocation => {
            let fingerprint = rest.split('/').next().unwrap_or_default();
            return KeyName::from_hex(fingerprint)
                .err()
                .map(|_| format!("`{fingerprint}` isn't a fingerprint in hexadecimal digits"));
        }
    };
    // Approvals and heartbeats of another branch are judged by those who follow that branch.
    if !rest.starts_with(&format!("{}/", policy.branch())) {
        return None;
    }
    let meant = format!("{} {} {}", policy.repository, policy.reference, tag.target);
    let said = trailers.get(&wanted.to_ascii_lowercase());
    let same = |said: &str| said.split_ascii_whitespace().eq(meant.split(' '));
    match said {
        Some(said) if same(said) => None,
        Some(said) => Some(format!(
            "it has `{wanted}: {}` but points to `{meant}`",
            said.escape_debug()
        )),
        None => Some(format!(
            "its last paragraph lacks the line `{wanted}: {meant}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::TagKind;

    #[test]
    fn recognizes_only_tags_of_trust() {
        assert_eq!(
            TagKind::of("refs/tags/approve/main/x"),
            Some((TagKind::Approval, "main/x"))
        );
        assert_eq!(
            TagKind::of("refs/tags/alive/main/1"),
            Some((TagKind::Heartbeat, "main/1"))
        );
        assert_eq!(
            TagKind::of("refs/tags/revoke/ab"),
            Some((TagKind::Revocation, "ab"))
        );
        assert_eq!(
            TagKind::of("refs/tags/alive"),
            Some((TagKind::Heartbeat, ""))
        );
        for other in [
            "refs/tags/v1",
            "refs/heads/approve/main/x",
            "refs/tags/approved/x",
        ] {
            assert_eq!(TagKind::of(other), None, "{other}");
        }
    }

    #[test]
    fn a_tag_named_like_a_folder_is_in_the_way() {
        for (kind, rest, stands) in [
            (TagKind::Revocation, "", true),
            (TagKind::Revocation, "ab", true),
            (TagKind::Revocation, "ab/alice", false),
            (TagKind::Revocation, "site/a", false),
            (TagKind::Approval, "", true),
            (TagKind::Approval, "other", true),
            (TagKind::Approval, "site/a", true),
            (TagKind::Approval, "site", true),
            (TagKind::Approval, "site/a/1", false),
            (TagKind::Approval, "site/ab", false),
        ] {
            assert_eq!(
                kind.blocks_others(rest, "site/a"),
                stands,
                "{kind:?} {rest}"
            );
        }
    }
}
