//! The reasons of conditions and records: one closed list that defines the meaning of each, when a failure is
//! retried, which alert it raises and where the docs explain it.

use std::fmt;
use std::str::FromStr;

use plumb_api::report::{ErrorCode, Retry};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::alerting::AlertName;

/// The kind of object that a reason is about; `docs/codes.md` has a section for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonScope {
    /// A condition of a host.
    Host,
    /// A condition of the source.
    Source,
    /// A record that isn't a condition as well.
    Record,
}

macro_rules! reasons {
    ($($name:ident, $scope:ident, $meaning:literal;)*) => {
        /// The reason of a condition or a record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(clippy::doc_markdown)] // the texts are for the terminal
        pub enum ConditionReason {
            $(#[doc = $meaning] $name,)*
        }

        impl ConditionReason {
            /// Every reason, in the order of the docs.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the reason as programs see it: one CamelCase word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Returns the kind of object that the reason is about.
            pub const fn scope(self) -> ReasonScope {
                match self {
                    $(Self::$name => ReasonScope::$scope,)*
                }
            }

            /// Returns the meaning and the remedy, in whole sentences.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }
        }
    };
}

reasons! {
    // Conditions of hosts
    Settled, Host, "The host is as its target says.";
    Drifted, Host, "It is as its target says but for what moved by itself and is left as found (`drift`). `plumb describe HOST` names it; `plumb plan HOST` shows the difference.";
    Begun, Host, "It hasn't been looked at yet: the controller has just begun, or the host is new. Nothing to do.";
    NewTarget, Host, "Something new is desired of it, and it is on its way there. Nothing to do.";
    AwaitingTurn, Host, "It was looked at and waits for its turn in the rollout. If a rollout is halted, the alert PlumbRolloutHalted names the hosts that failed.";
    Resumed, Host, "Its pause is over; it is looked at next. Nothing to do.";
    Incomplete, Host, "The last run ended before all changes were made; the rest is tried again by itself.";
    Waiting, Host, "Something else is at work on the host, such as a package manager or an update. It is tried again by itself.";
    Locked, Host, "Another run of Plumb holds the host's lock. It is tried again by itself; if it lasts, look whether a second controller or a `plumb apply` is at work.";
    PackageLock, Host, "The package manager is locked by another program on the host. It is tried again by itself; if it lasts, see which one: `fuser /var/lib/dpkg/lock-frontend`.";
    UnitPending, Host, "A unit on the host is still starting or stopping, or hasn't been active for its `settle` yet. The message names it and says how long it is waited for at most; the other changes are made.";
    Suspended, Host, "A person paused it in its manifest (`suspend`). Take that out, or let its `until` pass.";
    Dormant, Host, "Its manifest says `state: dormant`: it is known and not looked at. `state: active` changes that.";
    Unmanaged, Host, "Its manifest says `state: unmanaged`: nothing is done there.";
    Released, Host, "Git has it no longer. It is left as it is; `plumb forget HOST` ends that it is spoken of.";
    ManifestInvalid, Host, "What the host reads has errors, so it is held at its last desired state. `plumb check` shows them; mend them and push.";
    EmptyDesiredState, Host, "Nothing is desired of the host any more, although Plumb has made things there. Write `state: retired` to take them back; delete the Host from git to leave them.";
    ExistingDiffers, Host, "Things are there that Plumb didn't make, and `existing: refuse` keeps them. Write `existing: keep` to manage them and keep the originals, or make the manifest say what is there.";
    LedgerLost, Host, "The ledger on the host can't be trusted: what Plumb made there can't be told from what was there before. Nothing is changed. The message says what is wrong with it; see docs/runbooks/plumbhostreconcilefailing.md.";
    LedgerRewound, Host, "The host's ledger is older than it was: the machine was put back to an earlier state, or is a clone. `plumb forget HOST` accepts that and meets it anew.";
    OtherTarget, Host, "The host compared itself with another target than the one that is desired by now. It is tried again by itself.";
    WouldGoBack, Host, "The host ran a commit that comes after what it would be driven to. Going back needs a signed commit with a `Rollback-To:` trailer; a controller that lost its state only needs to fetch the newest commits.";
    OffVerifiedChain, Host, "The host ran a commit that isn't on the verified chain: somebody else drives it or drove it, or the branch was rewritten. Nothing is changed on it. Find out who; `plumb forget HOST` gives up what is remembered.";
    Superseded, Host, "Another controller has taken the host over. Let one of the two go; the one that stays takes it with `plumb controller --take-over`.";
    Refused, Host, "Something of another type is in the way, or it isn't Plumb's to replace. The message names it: move it away, or change the manifest.";
    Unsupported, Host, "The resource type, or this use of it, can't be had on this host. The message says which.";
    UnsafePath, Host, "A symbolic link in a folder that others may write to is in the path. Plumb doesn't follow it; remove it, or choose another path.";
    ValidateFailed, Host, "The program of `validate` didn't accept the new content, so the old one stays. Run it by hand with what `plumb render` shows.";
    CheckFailed, Host, "A `check` of the host fails. The message says what it found; the host is tried again by itself.";
    CommandFailed, Host, "A program on the host failed. The message has its name and its last words.";
    TimedOut, Host, "A program on the host took longer than it may. It is tried again by itself.";
    NotFound, Host, "A user, a group, a unit or a package that the manifest names isn't on the host. Add it to the manifest, or mend the name.";
    PreconditionFailed, Host, "Between the look and the change something else changed the same thing. It is looked at again by itself.";
    MissingContent, Host, "A content that the host needs wasn't there. It is tried again by itself; if it lasts, see whether the controller's disk is full.";
    NoSpace, Host, "The host's disk is full or read-only; nothing was changed. Make room, or mount it for writing.";
    IoError, Host, "The system gave an error when a file was read or written. The message has it; look at the host's kernel log.";
    NewerFormat, Host, "What Plumb keeps on the host was written by a newer version. Update the controller.";
    Connected, Host, "It answered at the last attempt.";
    Unreachable, Host, "The host, or the git server, doesn't answer. See whether it is up and whether the address and the network are right: `ssh HOST` from the controller's machine.";
    HostKeyMismatch, Host, "Another SSH host key answers than the one that is pinned. If the machine was reinstalled: `plumb enroll HOST --address ADDRESS`, and push the new key. If not, find out who answers.";
    NoHostKey, Host, "No SSH host key is pinned, so nobody can be believed there. `plumb enroll HOST --address ADDRESS` shows its keys and pins them.";
    AccessDenied, Host, "The login is refused. For a host: the controller's key must be in the login's authorized_keys, and `sudo -n true` must work. For the repository: its user needs read access.";
    NoAgent, Host, "There is no agent for the host's architecture. A packaged plumb has it built in; `cargo agents` builds it.";
    AgentFailed, Host, "The agent doesn't start on the host. The message says why: often a folder that is mounted noexec, or a full disk.";
    AgentFault, Host, "The agent itself failed, which is a defect of Plumb. The message helps whoever mends it.";
    ConnectionBroken, Host, "The connection broke in the middle. What was begun is known to the host, and it is tried again by itself.";
    Silent, Host, "The host gave no sign of life for too long. It is tried again by itself; see whether it is overloaded.";
    ProtocolError, Host, "Controller and agent didn't understand each other. If it lasts, the agent's program on the host is damaged or of another version.";
    SourceFailed, Host, "What the host ran last couldn't be compared with the branch, because the repository couldn't be read. See the source's own conditions: `plumb get revisions`.";
    Panicked, Host, "The run of the host crashed in the controller, which is a defect of Plumb; its log says where. It is tried again by itself.";
    Newest, Host, "It runs the newest accepted commit.";
    UnderWay, Host, "It is on its way to the newest accepted commit. Nothing to do.";
    NoDrift, Host, "Nothing moved by itself.";
    DriftHeld, Host, "Something moved by itself and is left as found, because its `drift` says so. `plumb plan HOST` shows it; write it into the manifest, or put it back.";
    DriftCorrecting, Host, "Something moved by itself and isn't put back yet; the next run does. Nothing to do.";
    DriftCorrected, Host, "Something had moved by itself and was put back. `plumb events HOST` says what.";
    DriftRecurs, Host, "The same things move again and again: somebody or some program changes them. Find it, or let the manifest say what it wants.";
    DriftRemains, Host, "Something moved by itself and couldn't be put back in several runs. `plumb describe HOST` has the error.";
    // Conditions of the source
    Fetched, Source, "The repository was fetched at the last attempt.";
    Accepted, Source, "Every commit up to the branch's head is accepted.";
    Pending, Source, "A commit waits for approvals; hosts stay at the one before. `plumb get revisions` says what is missing and the command that gives it.";
    PendingAlarm, Source, "A commit waits, and somebody should look at it at once: its signature is by a key that is expired, revoked or misused, or claims a wrong time. `plumb get revisions` says more.";
    Rejected, Source, "A commit can never be accepted. Set the branch back to what is accepted; `plumb get revisions` has the command.";
    IntroductionMissing, Source, "The introduction of the controller's configuration isn't in the repository, so nothing is accepted. Correct `introduction` or `source` there and restart the controller.";
    IntroductionUnusable, Source, "Nothing can be judged from the introduction of the controller's configuration: it must be a commit on the branch with a trust policy that holds. The message says what is wrong.";
    FloorMissing, Source, "What was accepted last isn't in the repository any more: the branch was replaced, or the address is another repository's. Push it again; the message says how to begin anew on purpose.";
    FloorOffChain, Source, "The introduction was changed, and what was accepted from the old one isn't on what the new one leads to. Correct `introduction`; the message says how to begin anew on purpose.";
    Timeout, Source, "The git server answered and then fell silent, or took too long. It is tried again by itself.";
    HostKeyUnknown, Source, "The git server shows an SSH host key that isn't known. Compare it, and add it to the known_hosts of the controller's user.";
    NoRepository, Source, "There is no repository at the address of the controller's configuration.";
    RepositoryEmpty, Source, "The repository has no commit yet. Push the first one.";
    NoBranch, Source, "The repository doesn't have the branch of the controller's configuration. Push it, or mend `ref`.";
    TooLarge, Source, "The server sends more than may be sent; it is refused before it fills the disk. The message names the bound.";
    Garbled, Source, "What the server sends can't be read. If it lasts, see whether the repository is whole: `git fsck --full` there.";
    FormatChanged, Source, "The repository's object format (SHA-1 or SHA-256) is another than it was. A new repository needs a new introduction.";
    ProgramMissing, Source, "A program that fetching needs, such as ssh, isn't there. Install it on the controller's machine.";
    MirrorFailed, Source, "The controller's own copy of the repository can't be written or read. See whether its disk is full; the copy may be removed while the controller is stopped.";
    CommitMissing, Source, "A commit that is needed isn't in the repository: the branch was rewritten, or the introduction names another repository.";
    FilesUnreadable, Source, "The files of an accepted commit can't be read: too many, too large, or with a name that isn't text.";
    Closed, Source, "The controller is being stopped.";
    NotKept, Source, "A newer commit is accepted, and the controller couldn't keep that, so nothing is driven from it yet. See whether the disk of its state folder is full.";
    RevocationsUnreadable, Source, "The controller's folder of revoked keys (`revoked`) can't be read, so it isn't known whose signatures count, and nothing new is accepted. The message names the file.";
    // Records of what happened
    RevisionAccepted, Record, "A newer commit is accepted; hosts are driven there.";
    CommitHeld, Record, "A commit isn't accepted, and hosts stay at the one before. `plumb get revisions` says what is missing.";
    HoldEnded, Record, "What was held is accepted by now, or is off the branch.";
    FetchFailed, Record, "The repository couldn't be fetched. The source's condition `Ready` says why.";
    FetchRecovered, Record, "The repository can be fetched again.";
    StoreFailed, Record, "The controller couldn't keep what it must remember. See whether the disk of its state folder is full.";
    ManifestsInvalid, Record, "An accepted commit has manifests with errors; the hosts that read them are held. `plumb check` shows them.";
    Applied, Record, "Changes that git asked for were made on the host.";
    DriftFound, Record, "Something moved by itself on the host and is left as found.";
    Recovered, Record, "The host is as it should be again.";
    TakenOver, Record, "The host was another controller's and is this one's now.";
    Forgotten, Record, "A person let go of what was known of the host (`plumb forget`).";
    AlertFires, Record, "An alert begins. docs/alerts.md has its runbook.";
    AlertResolved, Record, "An alert ends.";
    AlertmanagerFailing, Record, "An Alertmanager doesn't take alerts. See whether it is up, and its address in fleet.yaml.";
    AlertmanagerInvalid, Record, "The address of an Alertmanager in fleet.yaml can't be used.";
    AlertmanagerRecovered, Record, "An Alertmanager takes alerts again.";
    KeyRevoked, Record, "A key has no authority any more: a file of the controller's folder of revoked keys (`revoked` in its configuration) or a signed `revoke/` tag takes it away. `plumb get revisions` lists such keys.";
    KeyRestored, Record, "A key was taken out of the controller's folder of revoked keys, and counts again if the policy has it. If nobody meant that, put it back.";
    RevokeTagGone, Record, "The `revoke/` tags that had taken a key's authority away are no longer enough: one isn't in the repository any more, or who signed it has left the policy. This controller remembers them, and the key stays revoked here; a new controller, and `plumb verify`, don't. It is told when that is first seen, and at each start, until the key is out of the policy or in that folder. If a tag was deleted, find out by whom, and push it again. Take the key out of the policy, or put it into the controller's folder of revoked keys.";
}

impl ConditionReason {
    /// Returns when a run that failed for this reason is retried; `None` if the reason isn't a failure of a
    /// run.
    pub const fn retry(self) -> Option<Retry> {
        match self {
            Self::Waiting | Self::Locked | Self::PackageLock | Self::UnitPending => {
                Some(Retry::Waiting)
            }
            Self::EmptyDesiredState
            | Self::ExistingDiffers
            | Self::LedgerLost
            | Self::LedgerRewound
            | Self::WouldGoBack
            | Self::OffVerifiedChain
            | Self::Superseded
            | Self::Refused
            | Self::Unsupported
            | Self::UnsafePath
            | Self::ValidateFailed
            | Self::NewerFormat
            | Self::HostKeyMismatch
            | Self::NoHostKey
            | Self::AccessDenied
            | Self::NoAgent
            | Self::ManifestInvalid => Some(Retry::Stalled),
            Self::Incomplete
            | Self::OtherTarget
            | Self::CheckFailed
            | Self::CommandFailed
            | Self::TimedOut
            | Self::NotFound
            | Self::PreconditionFailed
            | Self::MissingContent
            | Self::NoSpace
            | Self::IoError
            | Self::Unreachable
            | Self::AgentFailed
            | Self::AgentFault
            | Self::ConnectionBroken
            | Self::Silent
            | Self::ProtocolError
            | Self::SourceFailed
            | Self::Panicked => Some(Retry::Transient),
            _ => None,
        }
    }

    /// Returns the alert that a host raises while a condition has this reason.
    pub const fn alert(self) -> Option<AlertName> {
        match self {
            Self::Released => Some(AlertName::HostReleased),
            Self::ManifestInvalid => Some(AlertName::HostHeld),
            Self::DriftHeld | Self::DriftRecurs | Self::DriftRemains => {
                Some(AlertName::HostDrifted)
            }
            Self::OffVerifiedChain | Self::WouldGoBack => Some(AlertName::HostOffVerifiedChain),
            Self::Unreachable | Self::ConnectionBroken | Self::Silent => {
                Some(AlertName::HostUnreachable)
            }
            _ => match self.retry() {
                Some(Retry::Stalled | Retry::Transient) => Some(AlertName::HostReconcileFailing),
                Some(Retry::Waiting) | None => None,
            },
        }
    }

    /// True if nobody can log in to the host until somebody changes something. A new target doesn't fix
    /// these.
    pub const fn blocks_login(self) -> bool {
        matches!(
            self,
            Self::HostKeyMismatch | Self::NoHostKey | Self::AccessDenied | Self::NoAgent
        )
    }

    /// Returns the page and section of the docs that explain the reason.
    pub const fn docs(self) -> &'static str {
        match self.scope() {
            ReasonScope::Host => "docs/codes.md#conditions-of-hosts",
            ReasonScope::Source => "docs/codes.md#conditions-of-the-repository",
            ReasonScope::Record => "docs/codes.md#events",
        }
    }
}

impl From<ErrorCode> for ConditionReason {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Protocol => Self::ProtocolError,
            ErrorCode::Superseded => Self::Superseded,
            ErrorCode::Locked => Self::Locked,
            ErrorCode::LedgerLost => Self::LedgerLost,
            ErrorCode::NewerFormat => Self::NewerFormat,
            ErrorCode::NoSpace => Self::NoSpace,
            ErrorCode::PreconditionFailed => Self::PreconditionFailed,
            ErrorCode::MissingContent => Self::MissingContent,
            ErrorCode::Unsupported => Self::Unsupported,
            ErrorCode::Refused => Self::Refused,
            ErrorCode::UnsafePath => Self::UnsafePath,
            ErrorCode::ValidateFailed => Self::ValidateFailed,
            ErrorCode::CheckFailed => Self::CheckFailed,
            ErrorCode::CommandFailed => Self::CommandFailed,
            ErrorCode::TimedOut => Self::TimedOut,
            ErrorCode::PackageLock => Self::PackageLock,
            ErrorCode::UnitPending => Self::UnitPending,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::Io => Self::IoError,
            ErrorCode::WouldGoBack => Self::WouldGoBack,
            ErrorCode::Internal => Self::AgentFault,
        }
    }
}

impl fmt::Display for ConditionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text isn't a known reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no reason of a condition")]
pub struct UnknownReason(String);

impl FromStr for ConditionReason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let found = Self::ALL.iter().find(|reason| reason.as_str() == text);
        found
            .copied()
            .ok_or_else(|| UnknownReason(text.chars().take(80).collect()))
    }
}

impl Serialize for ConditionReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ConditionReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_is_one_word_and_explained_in_sentences() {
        let mut seen = BTreeSet::new();
        for reason in ConditionReason::ALL {
            assert!(seen.insert(reason.as_str()), "{reason} is there twice");
            assert!(reason.meaning().ends_with('.'), "{reason}");
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
    }

    #[test]
    fn docs_sections_exist() {
        let codes = include_str!("../../../docs/codes.md");
        for reason in ConditionReason::ALL {
            let (_, anchor) = reason.docs().split_once('#').unwrap();
            let found = codes.lines().filter_map(|line| line.strip_prefix("## "));
            let anchors: Vec<_> = found
                .map(|title| title.to_lowercase().replace(' ', "-"))
                .collect();
            assert!(anchors.iter().any(|one| one == anchor), "{anchor}");
        }
    }

    #[test]
    fn runbooks_name_reasons_that_conditions_have() {
        let runbook = include_str!("../../../docs/runbooks/plumbhostreconcilefailing.md");
        let (_, table) = runbook.split_once("| reason | do |").unwrap();
        let mut rows = 0;
        for row in table.lines().filter(|line| line.starts_with("| ")) {
            for word in row.split('|').nth(1).unwrap_or_default().split(',') {
                let reason: ConditionReason = word.trim().parse().unwrap();
                assert_eq!(reason.alert(), Some(AlertName::HostReconcileFailing));
                rows += 1;
            }
        }
        assert!(rows > 10, "{rows}");
    }
}
