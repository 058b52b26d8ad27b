//! Verdicts of commits.

/// The verdict of a commit, or of a range of commits.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The commit is approved: its content becomes desired state.
    Accept,
    /// The commit isn't accepted yet: it lacks approvals, or has to wait for a time.
    Pending,
    /// Like `Pending`, and somebody should examine the commit at once.
    PendingAlarm,
    /// The commit can never be accepted. The branch must be reset to a commit before it.
    Reject,
}

impl Verdict {
    /// Returns the verdict's name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Pending => "pending",
            Self::PendingAlarm => "pendingAlarm",
            Self::Reject => "reject",
        }
    }

    /// True if the commit is accepted.
    pub const fn is_accept(self) -> bool {
        matches!(self, Self::Accept)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
