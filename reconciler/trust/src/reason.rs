//! Reasons for verdicts: codes with their explanations, and messages for people.

use serde::{Serialize, Serializer};

use crate::object::{ObjectError, ReadError, shown};
use crate::verdict::Verdict;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $id:literal, $verdict:ident;)*) => {
        /// Every kind of reason for a verdict. Written in kebab-case in JSON and in `plumb explain CODE`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode { $($(#[doc = $doc])* $name,)* }

        impl ReasonCode {
            /// All codes, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the code in kebab-case, as JSON has it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// Returns the verdict that this reason alone leads to.
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict,)* }
            }

            /// Returns what the code means and what to do about it, for `plumb explain`.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc, "\n"),*).trim_ascii(),)* }
            }
        }
    };
}

codes! {
    /// A commit before this one isn't accepted, so this one isn't looked at.
    Ancestor = "ancestor", Pending;
    /// No identity of the policy has signed or approved it so that it counts: it is unsigned, or signed by a key that the policy doesn't have, or by one whose signature doesn't count for a reason that is told beside this.
    Uncovered = "uncovered", Pending;
    /// Some identities have approved it, but a rule needs more. `missing` says how many of which group.
    ApprovalsMissing = "approvals-missing", Pending;
    /// It is approved, but no signature says that it is meant for this repository and this branch: a `Deploy-Ref:` trailer in the commit, or an `Approve:` line in a signed tag, does.
    Unbound = "unbound", Pending;
    /// Its signature is by a key that isn't in the policy, so it counts for nothing.
    UnknownKey = "unknown-key", Pending;
    /// Its signature is of a kind that can't be verified here, so it counts for nothing.
    UnsupportedSignature = "unsupported-signature", Pending;
    /// It is dated after now; it is looked at again when that time has come. Check the signer's clock.
    Future = "future", Pending;
    /// A freeze of the policy covers what it changes. It is looked at again when the freeze has ended.
    Frozen = "frozen", Pending;
    /// A commit of a merged branch isn't signed by an identity of the policy, and the policy asks for that (`sideBranches: allSigned`).
    SideUnsigned = "side-unsigned", Pending;
    /// An approval was found that counts for nothing here; the message says why. This alone holds nothing up.
    ApprovalIgnored = "approval-ignored", Pending;
    /// The key had expired, or wasn't valid yet, when the signature was made.
    KeyExpired = "key-expired", PendingAlarm;
    /// The key is revoked: by a `revoke/` tag, in its own certificate, or by this machine's configuration. Whoever has the key may have made the commit, so look at it first. Unless it is certainly its author's, set the branch back to what is accepted; nobody signs or approves it unseen. What is good is signed with another key.
    KeyRevoked = "key-revoked", PendingAlarm;
    /// The key may not make signatures of this kind: it isn't for signing, its certificate has no self-signature (as from a keyserver that leaves out user IDs), or the signature is for something else than git.
    KeyMisused = "key-misused", PendingAlarm;
    /// The key is too weak to be believed, or the hash of its signature, or the hash of its certificate's self-signature (SHA-1).
    WeakCrypto = "weak-crypto", PendingAlarm;
    /// The signature claims to be older than the commit that it builds on.
    Backdated = "backdated", PendingAlarm;
    /// The signature claims to be much older than when it was first seen here.
    SeenLate = "seen-late", PendingAlarm;
    /// The commit was accepted once and then taken off the branch; pushed again it needs a commit of its own.
    Tombstoned = "tombstoned", PendingAlarm;
    /// No heartbeat has named the head for longer than the policy allows: what is shown here may be old.
    HeartbeatStale = "heartbeat-stale", PendingAlarm;
    /// A key that is revoked today approved history that is already accepted. That stays accepted, and hosts run it: look at what the key approved since it may have been stolen, and undo what is wrong with a commit on top. This alone holds nothing up.
    HistoryRevoked = "history-revoked", PendingAlarm;
    /// The signature names a key of the policy and is not by it.
    BadSignature = "bad-signature", Reject;
    /// The signature block is garbled, or can be read in more than one way.
    MalformedSignature = "malformed-signature", Reject;
    /// The commit object is garbled, or can be read in more than one way.
    MalformedCommit = "malformed-commit", Reject;
    /// A folder of the commit is garbled, or holds a name that some file system takes for another.
    MalformedTree = "malformed-tree", Reject;
    /// An object is missing: the clone is shallow, or the server withholds it.
    MissingObject = "missing-object", Reject;
    /// An object can't be read, or its content isn't what its name says.
    CorruptObject = "corrupt-object", Reject;
    /// Something is larger than it may be.
    TooLarge = "too-large", Reject;
    /// An embedded tag of a merge isn't a tag of one of its parents.
    MergetagMismatch = "mergetag-mismatch", Reject;
    /// A trailer that must be unique is there twice.
    DuplicateTrailer = "duplicate-trailer", Reject;
    /// A changed path is matched by no rule of the policy.
    NoRule = "no-rule", Reject;
    /// A change of `trust/` must be alone in its commit.
    PolicyNotIsolated = "policy-not-isolated", Reject;
    /// The policy is missing, or can't be read.
    PolicyInvalid = "policy-invalid", Reject;
    /// A change of `trust/` must raise the policy's serial.
    PolicySerial = "policy-serial", Reject;
    /// A policy must keep its repository and its ref.
    PolicyMoved = "policy-moved", Reject;
    /// A rule of the new policy could never be met by its identities.
    PolicyUnsatisfiable = "policy-unsatisfiable", Reject;
    /// A key of the new policy has lost a revocation that it, a part of it or another form of it had in an accepted one. Put the revocation back, or leave the key out. Where a designated revoker made it, the revoker's key file stays in trust/keys/.
    RevocationDropped = "revocation-dropped", Reject;
    /// Submodules aren't taken: they name what no signature here covers.
    Gitlink = "gitlink", Reject;
    /// A symbolic link that leaves the repository, or one within `trust/`.
    Link = "link", Reject;
    /// The head isn't on a first-parent chain from the floor: the branch was rewritten, or a merge has its parents swapped.
    NotDescendant = "not-descendant", Reject;
    /// The head is older than the floor: the branch was set back. What is accepted stays accepted: push it again, and undo on top of it what is to go (`git revert -S COMMIT`). Where a range was given, it may be the wrong way round, or the clone is behind.
    Rewound = "rewound", Reject;
    /// A signed rollback that isn't allowed: it names other ends, or the policy differs between them.
    RollbackRefused = "rollback-refused", Reject;
    /// An emergency commit was made longer ago than the policy allows. Sign it anew if the emergency lasts. As an ordinary change it is accepted only with the approvals that its paths need, and not while a freeze covers them.
    EmergencyExpired = "emergency-expired", Reject;
    /// An emergency commit touches what the policy keeps from emergencies.
    EmergencyForbidden = "emergency-forbidden", Reject;
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for ReasonCode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or(())
    }
}

impl Serialize for ReasonCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A need (a number of identities of a group) that isn't met, with the number of approvals so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Name of the group.
    pub from: String,
    /// Number of identities of the group that must approve.
    pub count: u32,
    /// Number of identities that have approved. If it differs between the changed paths of a rule, the
    /// smallest.
    pub have: u32,
}

impl Missing {
    /// Formats needs for a message: `1 of 2 from ops and 0 of 1 from sec`.
    pub(crate) fn listed(needs: &[Self]) -> String {
        let one = |need: &Self| format!("{} of {} from {}", need.have, need.count, need.from);
        needs.iter().map(one).collect::<Vec<_>>().join(" and ")
    }
}

/// One reason of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reason {
    /// The kind of reason.
    pub code: ReasonCode,
    /// Message for people, which may call the commit "it".
    pub message: String,
    /// Paths that the reason is about, at most [`Reason::PATHS`].
    pub paths: Vec<String>,
    /// Needs that aren't met.
    pub missing: Vec<Missing>,
    /// A hint for people about fixing the problem.
    #[serde(rename = "cure", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The approval tag that the reason is about, without `refs/tags/`. To find the reasons about a tag,
    /// compare this field and not `message`, which quotes text that strangers choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Box<str>>,
}

impl Reason {
    /// Maximum number of paths in a reason.
    pub const PATHS: usize = 20;

    /// Makes a reason. Escapes invisible characters, because the message may quote a stranger's text and
    /// people read it on terminals and in alerts.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: shown(&message.into()).into_owned(),
            paths: Vec::new(),
            missing: Vec::new(),
            hint: None,
            tag: None,
        }
    }

    /// Sets `tag` from the full name of the approval tag's ref.
    #[must_use]
    pub(crate) fn of_tag(mut self, name: &str) -> Self {
        self.tag = name.strip_prefix("refs/tags/").map(Into::into);
        self
    }

    /// Adds paths that the reason is about, at most [`Reason::PATHS`].
    #[must_use]
    pub fn paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.paths
            .extend(paths.into_iter().take(Self::PATHS).map(Into::into));
        self
    }

    /// Sets the needs that aren't met.
    #[must_use]
    pub fn missing(mut self, missing: Vec<Missing>) -> Self {
        self.missing = missing;
        self
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Reason> for Vec<Reason> {
    fn from(reason: Reason) -> Self {
        vec![reason]
    }
}

impl From<ReadError> for Reason {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::Store { why, .. } => match why {
                ObjectError::Missing => ReasonCode::MissingObject,
                ObjectError::TooLarge => ReasonCode::TooLarge,
                _ => ReasonCode::CorruptObject,
            },
            _ => ReasonCode::CorruptObject,
        };
        Self::new(code, error.to_string())
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.message)?;
        if !self.paths.is_empty() {
            write!(f, " ({})", self.paths.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::ReasonCode;

    #[test]
    fn codes_are_unique_and_can_be_read_back() {
        for code in ReasonCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!(code.explanation().ends_with('.'), "{code}");
        }
    }
}
