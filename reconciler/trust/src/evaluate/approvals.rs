//! The approval tags of a repository, by the commits that they approve.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::inputs::TagRef;
use crate::object::{Checked, Malformed, ObjectKind, Tag, Trailers, limits, quoted, shortened};
use crate::oid::Oid;
use crate::policy::Policy;
use crate::reason::{Reason, ReasonCode};

/// The approval tags of a repository, by target. Only object names and refs are kept; the tag objects are
/// read again when their signatures are verified.
#[derive(Default)]
pub(super) struct Approvals {
    by_target: HashMap<Oid, Vec<Oid>>,
    /// Tags with an `Approve-Base:` trailer.
    pub(super) spans: Vec<Span>,
    /// Full name of the ref of each tag object.
    names: HashMap<Oid, String>,
}

/// A tag that approves the commits after `base` up to `target`.
pub(super) struct Span {
    pub(super) tag: Oid,
    pub(super) target: Oid,
    pub(super) base: Oid,
}

/// Checks that the `Approve:` trailer of an approval names this target, repository and branch.
pub(super) fn claims(
    trailers: &Trailers,
    policy: &Policy,
    target: &Oid,
) -> Result<(), &'static str> {
    let approve = trailers
        .get("approve")
        .ok_or("it has no `Approve: REPOSITORY REF COMMIT` in its last paragraph")?;
    let words: Vec<&str> = approve.split_ascii_whitespace().collect();
    let [repository, reference, commit] = words[..] else {
        return Err("its `Approve:` isn't `REPOSITORY REF COMMIT`");
    };
    if repository != policy.repository {
        return Err("it approves for another repository");
    }
    if reference != policy.reference {
        return Err("it approves for another branch");
    }
    if commit != target.to_string() {
        return Err("it approves another commit than the one that it stands on");
    }
    Ok(())
}

/// Returns the reason for ignoring an approval tag.
pub(super) fn ignored(name: &str, why: impl std::fmt::Display) -> Reason {
    Reason::new(
        ReasonCode::ApprovalIgnored,
        format!("the approval {} counts for nothing: {why}", shortened(name)),
    )
}

/// Parses a tag. Fails if the name in the tag object, which the signer signed, isn't the name of the tag's
/// ref.
pub(super) fn parse<'a>(raw: &'a [u8], id: &Oid, name: &str) -> Result<Tag<'a>, String> {
    let tag = Tag::parse(raw, id.format()).map_err(|e: Malformed| e.to_string())?;
    if name.strip_prefix("refs/tags/") == Some(tag.name) {
        Ok(tag)
    } else {
        Err(format!("it calls itself {}", quoted(tag.name.as_bytes())))
    }
}

impl Approvals {
    /// Reads the tags `approve/<branch>/…`, each once.
    pub(super) fn read(objects: Checked<'_>, tags: &[TagRef], policy: &Policy) -> Self {
        let prefix = format!("refs/tags/approve/{}/", policy.branch());
        let mut approvals = Self::default();
        for tag in tags
            .iter()
            .filter(|tag| tag.name.starts_with(&prefix))
            .take(limits::TAGS)
        {
            // An object that can't be read is a lightweight tag, or missing. It can't approve, and is no
            // error.
            let Ok(raw) = objects.read(&tag.target, ObjectKind::Tag, limits::TAG) else {
                continue;
            };
            let Ok(parsed) = Tag::parse(&raw, tag.target.format()) else {
                // Keep the malformed tag for the commit that it seems to name, so that a note can mention it
                // there.
                if let Some(target) = raw
                    .get(7..7 + tag.target.format().width() * 2)
                    .and_then(|hex| Oid::from_hex(hex).ok())
                {
                    approvals.insert(target, tag, None);
                }
                continue;
            };
            approvals.insert(parsed.target, tag, Some(parsed.name));
            let base = Trailers::parse(parsed.message)
                .ok()
                .and_then(|t| t.get("approve-base").and_then(|base| base.parse().ok()));
            if let Some(base) = base {
                approvals.spans.push(Span {
                    tag: tag.target,
                    target: parsed.target,
                    base,
                });
            }
        }
        approvals.spans.sort_by_key(|span| span.tag);
        approvals.spans.dedup_by_key(|span| span.tag);
        approvals
    }

    /// Adds a tag. If several refs point to one tag object, the ref with the name in the object counts, so
    /// that nobody can spoil an approval by pushing it again under another name.
    fn insert(&mut self, target: Oid, tag: &TagRef, own: Option<&str>) {
        match self.names.entry(tag.target) {
            Entry::Vacant(vacant) => {
                vacant.insert(tag.name.clone());
                self.by_target.entry(target).or_default().push(tag.target);
            }
            Entry::Occupied(mut occupied) => {
                if own.is_some_and(|own| tag.name.strip_prefix("refs/tags/") == Some(own)) {
                    occupied.insert(tag.name.clone());
                }
            }
        }
    }

    /// Returns the approval tags whose target is this commit.
    pub(super) fn of(&self, target: &Oid) -> &[Oid] {
        self.by_target.get(target).map_or(&[], Vec::as_slice)
    }

    /// Returns the full name of a tag's ref.
    pub(super) fn name(&self, tag: &Oid) -> &str {
        self.names.get(tag).map_or("", String::as_str)
    }
}
