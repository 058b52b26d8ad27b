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
    /// A commit before this one isn't accepted, so this one isn't judged.
    Ancestor = "ancestor", Pending;
    /// No signature or approval of it counts: it is unsigned, or its signature is by a key that the policy doesn't have, or the signature doesn't count for a reason that is listed beside this one.
    Uncovered = "uncovered", Pending;
    /// Some identities have approved it, but a rule needs more. `missing` says how many, and of which group.
    ApprovalsMissing = "approvals-missing", Pending;
    /// It is approved, but no signature says that it is meant for this repository and this branch. A `Deploy-Ref:` trailer in the commit says that, or an `Approve:` line in a signed tag.
    Unbound = "unbound", Pending;
    /// Its signature is by a key that isn't in the policy, so the signature doesn't count.
    UnknownKey = "unknown-key", Pending;
    /// Its signature is of a kind that Plumb can't verify, so the signature doesn't count.
    UnsupportedSignature = "unsupported-signature", Pending;
    /// Its date is in the future. It is judged again when that time has come. Check the signer's clock.
    Future = "future", Pending;
    /// A freeze of the policy covers paths that it changes. It is judged again when the freeze has ended.
    Frozen = "frozen", Pending;
    /// A commit of a merged branch isn't signed by an identity of the policy, and the policy requires that (`sideBranches: allSigned`).
    SideUnsigned = "side-unsigned", Pending;
    /// An approval doesn't count here; the message says why. This alone doesn't block the commit.
    ApprovalIgnored = "approval-ignored", Pending;
    /// The key had expired, or wasn't valid yet, when it made the signature.
    KeyExpired = "key-expired", PendingAlarm;
    /// The key is revoked: by a `revoke/` tag, in its own certificate, or by this machine's configuration. Whoever has the key may have made the commit, so look at the commit first. Unless its author certainly made it, set the branch back to the last accepted commit. Sign or approve nothing of it unseen. Sign what is good with another key.
    KeyRevoked = "key-revoked", PendingAlarm;
    /// The key may not make signatures of this kind: it isn't a signing key, or its certificate has no self-signature (some keyservers leave out user IDs), or the signature is for another purpose than git.
    KeyMisused = "key-misused", PendingAlarm;
    /// The key is too weak, or the hash of the signature is (SHA-1), or the hash of the certificate's self-signature.
    WeakCrypto = "weak-crypto", PendingAlarm;
    /// The signature's time is before that of the commit on which it builds.
    Backdated = "backdated", PendingAlarm;
    /// The signature's time is long before this controller first saw it.
    SeenLate = "seen-late", PendingAlarm;
    /// The commit was accepted once and then removed from the branch. Make its change again as a new commit.
    Tombstoned = "tombstoned", PendingAlarm;
    /// No heartbeat has named the head for longer than the policy allows, so newer commits may be withheld.
    HeartbeatStale = "heartbeat-stale", PendingAlarm;
    /// A key that is revoked now approved commits that are already accepted. They stay accepted, and hosts run them. Look at what the key approved since it may have been stolen, and undo what is wrong in a new commit. This alone doesn't block anything.
    HistoryRevoked = "history-revoked", PendingAlarm;
    /// The signature names a key of the policy, but that key didn't make it.
    BadSignature = "bad-signature", Reject;
    /// The signature block is damaged, or can be read in more than one way.
    MalformedSignature = "malformed-signature", Reject;
    /// The commit object is damaged, or can be read in more than one way.
    MalformedCommit = "malformed-commit", Reject;
    /// A folder of the commit is damaged, or has a name that some file system takes for another name.
    MalformedTree = "malformed-tree", Reject;
    /// An object is missing: the clone is shallow, or the server withholds it.
    MissingObject = "missing-object", Reject;
    /// An object can't be read, or its content doesn't match its object name.
    CorruptObject = "corrupt-object", Reject;
    /// Something is larger than its limit; the message names both.
    TooLarge = "too-large", Reject;
    /// A tag that is embedded in a merge commit isn't a tag of one of its parents.
    MergetagMismatch = "mergetag-mismatch", Reject;
    /// A trailer that must be unique occurs twice.
    DuplicateTrailer = "duplicate-trailer", Reject;
    /// No rule of the policy matches a changed path.
    NoRule = "no-rule", Reject;
    /// The commit changes `trust/` and other paths. A change of `trust/` needs a commit of its own.
    PolicyNotIsolated = "policy-not-isolated", Reject;
    /// The policy is missing, or can't be read.
    PolicyInvalid = "policy-invalid", Reject;
    /// A change of `trust/` must raise the policy's serial.
    PolicySerial = "policy-serial", Reject;
    /// A new policy has another `repository` or `ref`. A policy must keep both.
    PolicyMoved = "policy-moved", Reject;
    /// The identities of the new policy could never meet one of its rules.
    PolicyUnsatisfiable = "policy-unsatisfiable", Reject;
    /// A key of the new policy lacks a revocation that an accepted policy had for it, for a part of it, or for another form of it. Put the revocation back, or remove the key. If a designated revoker made the revocation, the revoker's key file must stay in trust/keys/.
    RevocationDropped = "revocation-dropped", Reject;
    /// The commit has a submodule. Plumb accepts none, because no signature covers what a submodule refers to.
    Gitlink = "gitlink", Reject;
    /// A symbolic link leads out of the repository, or lies in `trust/`.
    Link = "link", Reject;
    /// The head doesn't descend from the floor along first parents: the branch was rewritten, or a merge has its parents in the wrong order.
    NotDescendant = "not-descendant", Reject;
    /// The head is older than the floor: the branch was set back. Accepted commits stay accepted. Push them again, and undo what is wrong in a new commit (`git revert -S COMMIT`). If you gave a range, it may be the wrong way round, or the clone is out of date.
    Rewound = "rewound", Reject;
    /// A signed rollback isn't allowed: it names other commits than it leads from and to, or the policy differs between them.
    RollbackRefused = "rollback-refused", Reject;
    /// An emergency commit is older than the policy allows. Sign it again if the emergency lasts. As an ordinary change it needs the approvals of its paths, and waits while a freeze covers them.
    EmergencyExpired = "emergency-expired", Reject;
    /// An emergency commit changes paths that the policy excludes from emergencies.
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
