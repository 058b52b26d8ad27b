//! What became of a commit.

/// What became of a commit, or of a range of them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It is approved: what it says is desired.
    Accept,
    /// Something is missing that approvals can give.
    Pending,
    /// The same, and somebody should look at it at once.
    PendingAlarm,
    /// It can never be accepted; the branch must be reset to below it.
    Reject,
}

impl Verdict {
    /// The word for it in tables and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Pending => "pending",
            Self::PendingAlarm => "pendingAlarm",
            Self::Reject => "reject",
        }
    }

    /// Whether it is approved.
    pub const fn is_accept(self) -> bool {
        matches!(self, Self::Accept)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
