//! Identifies the signer of a new tag or commit, so that its author learns whether the signature counts.

use super::{Authority, Identity};
use crate::key_name::KeyName;
use crate::object::{Commit, Payload, Tag};
use crate::oid::ObjectFormat;
use crate::reason::{Reason, ReasonCode};
use crate::signature::{Finding, Made, examine};

impl Authority {
    /// Returns the identity and key that signed a raw annotated tag. Checks neither the tag's text nor its
    /// time; a verification does.
    ///
    /// # Errors
    /// Fails with the reason why the signature doesn't count: the tag is malformed or unsigned, or the key
    /// isn't in this policy, isn't valid, or is too weak.
    pub fn signer_of_tag(
        &self,
        raw: &[u8],
        format: ObjectFormat,
    ) -> Result<(&Identity, &KeyName), Reason> {
        let tag = Tag::parse(raw, format).map_err(|e| garbled(&e))?;
        self.signer(tag.payload(), tag.signature, tag.tagger.seconds)
    }

    /// Returns the identity and key that signed a raw commit; see [`signer_of_tag`](Self::signer_of_tag).
    ///
    /// # Errors
    /// The same as [`signer_of_tag`](Self::signer_of_tag).
    pub fn signer_of_commit(
        &self,
        raw: &[u8],
        format: ObjectFormat,
    ) -> Result<(&Identity, &KeyName), Reason> {
        let commit = Commit::parse(raw, format).map_err(|e| garbled(&e))?;
        let block = commit.signature.as_deref();
        self.signer(commit.payload(), block, commit.committer.seconds)
    }

    fn signer(
        &self,
        payload: Payload<'_>,
        block: Option<&[u8]>,
        claimed: i64,
    ) -> Result<(&Identity, &KeyName), Reason> {
        let unsigned = || Reason::new(ReasonCode::Uncovered, "it isn't signed");
        match examine(&self.ring, payload, block.ok_or_else(unsigned)?, claimed) {
            Finding::Not(reason) | Finding::Void(_, _, reason) => Err(reason),
            Finding::Good(Made { key, .. }) => {
                let missing = || Reason::new(ReasonCode::UnknownKey, "the key isn't in the policy");
                let key = self.ring.get(key).ok_or_else(missing)?;
                let identity = self
                    .policy
                    .identities
                    .get(key.identity)
                    .ok_or_else(missing)?;
                Ok((identity, &key.name))
            }
        }
    }
}

fn garbled(error: &crate::object::Malformed) -> Reason {
    Reason::new(ReasonCode::MalformedSignature, error.to_string())
}
