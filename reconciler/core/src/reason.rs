//! The reasons of conditions and records, as a closed list. Each reason has a meaning, a kind of retry, an
//! alert and a section of the docs.

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
    /// A record of an event; no condition has this reason.
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
    Settled, Host, "The host matches its target.";
    Drifted, Host, "The host matches its target, except for drift that its `drift` settings leave uncorrected. `plumb describe HOST` names it; `plumb plan HOST` shows the difference.";
    Begun, Host, "The host hasn't been observed yet: the controller has just started, or the host is new. Nothing to do.";
    NewTarget, Host, "A new target waits to be applied to the host. Nothing to do.";
    AwaitingTurn, Host, "The host waits for its turn in a rollout. If the rollout is halted, the message and the alert PlumbRolloutHalted name the hosts that failed; docs/rollouts.md says what ends a halt.";
    Resumed, Host, "The host is no longer suspended and is observed next. Nothing to do.";
    Incomplete, Host, "The last run ended before it had made all changes. Plumb retries the rest.";
    Waiting, Host, "Something else is changing the host, such as a package manager or an update. Plumb retries.";
    Locked, Host, "Another run of Plumb holds the host's lock. Plumb retries; if it lasts, look for a second controller or a `plumb apply`.";
    PackageLock, Host, "Another program on the host holds the package manager's lock. Plumb retries; if it lasts, find the program: `fuser /var/lib/dpkg/lock-frontend`.";
    UnitPending, Host, "A unit on the host is still starting or stopping, or hasn't been active for its `settle` yet. The message names it and the longest wait; the other changes are made.";
    Unconfirmed, Host, "A change that could cut the controller off was made, and the new connection that confirms it failed. The host puts the change back by itself, within `deadMan.confirm` of the Fleet. Plumb retries and then says what happened. See docs/dead-man.md.";
    Reverted, Host, "The host has put back a change because the controller couldn't connect again after it. The same change isn't tried again by itself: correct it and push, or run `plumb reconcile HOST` to try it again. See docs/dead-man.md.";
    InUse, Host, "Something that is to change on the host is in use: a user is logged in or has processes. Plumb forces nothing and retries. The message names them and how to end them.";
    Suspended, Host, "The host's manifest suspends it (`suspend`). Remove `suspend`, or wait until its `until` has passed.";
    Dormant, Host, "The host's manifest says `state: dormant`: Plumb knows the host and doesn't contact it. Set `state: active` to change that.";
    Unmanaged, Host, "The host's manifest says `state: unmanaged`: Plumb does nothing on it.";
    Released, Host, "The host was removed from git. Plumb leaves it as it is; run `plumb forget HOST` to drop it.";
    ManifestInvalid, Host, "A manifest that the host reads has errors, so the host stays at its last desired state. `plumb check` shows the errors; fix them and push.";
    EmptyDesiredState, Host, "The host has no resources in git any more, but Plumb still manages some on it. Write `state: retired` to remove them, or delete the Host from git to leave them.";
    ExistingDiffers, Host, "The host has things that Plumb didn't make and that differ from the manifests, and `existing: refuse` protects them. Write `existing: keep` to manage them and keep the originals, or change the manifests to match.";
    LedgerLost, Host, "The ledger on the host can't be trusted, so Plumb can't tell what it made from what was there before. Nothing is changed. The message says what is wrong; see docs/runbooks/plumbhostreconcilefailing.md.";
    LedgerRewound, Host, "The host's ledger is older than the controller remembers: the machine was restored to an earlier state, or is a clone. Run `plumb forget HOST` to accept that.";
    OtherTarget, Host, "The agent compared the host with a target that is no longer current. Plumb retries.";
    WouldGoBack, Host, "The host ran a commit that is newer than its target. To go back, push a signed commit with a `Rollback-To:` trailer; a controller that lost its state only needs to fetch the newest commits.";
    OffVerifiedChain, Host, "The host ran a commit that isn't on the verified chain: another controller drives or drove it, or the branch was rewritten. Nothing is changed on it. Find out which; `plumb forget HOST` drops what the controller remembers of the host.";
    Superseded, Host, "Another controller has taken over the host. Stop one of the two, and start the other with `plumb controller --take-over`.";
    Refused, Host, "Something is in the way that Plumb may not replace, such as a thing of another type. The message names it: move it away, or change the manifest.";
    Unsupported, Host, "The host doesn't support the resource type, or this use of it. The message says which.";
    UnsafePath, Host, "The path leads through a symbolic link in a folder that others may write to. Plumb doesn't follow it; remove it, or choose another path.";
    ValidateFailed, Host, "The `validate` program rejected the new content, so the old content stays. Run the program by hand on what `plumb render` shows.";
    SecretDecryptFailed, Host, "A secret can't be decrypted on the host, or isn't what it came as: it was moved, rolled back or made for another use. The message says which. Nothing was written; see docs/runbooks/plumbsecretdecryptfailed.md.";
    CheckFailed, Host, "A `check` of the host fails. The message says what it found. Plumb retries.";
    CommandFailed, Host, "A program failed on the host. The message has its name and the end of its output.";
    TimedOut, Host, "A program on the host exceeded its time limit. Plumb retries.";
    NotFound, Host, "A user, group, unit or package that the manifest names doesn't exist on the host. Add it to the manifest, or correct the name.";
    PreconditionFailed, Host, "The resource changed on the host after the agent had observed it. Plumb observes it again and retries.";
    MissingContent, Host, "A content that the host needs was missing. Plumb retries; if it lasts, see whether the controller's disk is full.";
    NoSpace, Host, "A file system on the host has no room or no inode free, so what lies on it isn't changed; nothing is, if it holds Plumb's ledger. Free some space there.";
    ReadOnly, Host, "A file system on the host is mounted read-only, so what lies on it isn't changed; nothing is, if it holds Plumb's ledger. Mount it for writing; the host's kernel log says if an error made it read-only.";
    IoError, Host, "The host's system reported an error when the agent read or wrote a file. The message has it; see the host's kernel log.";
    NewerFormat, Host, "Plumb's files on the host were written by a newer version. Update the controller.";
    Connected, Host, "The host answered at the last attempt.";
    Unreachable, Host, "The host, or the git server, doesn't answer. Check that it is up and that its address and the network are right: `ssh HOST` from the controller's machine.";
    HostKeyMismatch, Host, "The host presents an SSH host key that isn't pinned. If the machine was reinstalled, run `plumb enroll HOST --address ADDRESS` and push the new key. If not, find out which machine answers.";
    NoCommonAlgorithm, Host, "The host answers, and its SSH server and the controller share no algorithm; the message has both lists. Change the server's HostKeyAlgorithms, KexAlgorithms, Ciphers or MACs.";
    NoSession, Host, "The host accepts the login and opens no session: `MaxSessions 0` in its sshd_config. Set it to 1 or more.";
    NoHostKey, Host, "No SSH host key is pinned, so Plumb can't tell whether the right machine answers. Run `plumb enroll HOST --address ADDRESS` to see its keys and pin them.";
    AccessDenied, Host, "The login was rejected. For a host: the controller's key must be in the user's authorized_keys. For the repository: the controller's user needs read access.";
    SudoDenied, Host, "The host accepts the login, and sudo doesn't make the user root. The message says why: the user needs a rule with `NOPASSWD` and without `requiretty` in the host's sudoers, so that `sudo -n true` works.";
    NoAgent, Host, "Plumb has no agent for the host's architecture. Packages of Plumb contain every agent; in a source tree `cargo agents` builds them.";
    AgentFailed, Host, "The agent doesn't start on the host. The message says why; often a folder is mounted noexec, or the disk is full.";
    AgentFault, Host, "The agent failed because of a defect in Plumb. Please report it with the message.";
    ConnectionBroken, Host, "The connection to the host broke during a run. The agent's journal has what was begun. Plumb retries.";
    Silent, Host, "The host sent nothing for too long during a run. Plumb retries; see whether the host is overloaded.";
    ProtocolError, Host, "Controller and agent can't read each other's messages. If it lasts, the agent's program on the host is damaged or of another version.";
    SourceFailed, Host, "The controller can't read the repository, so it can't compare the host's last revision with the branch. See the source's conditions: `plumb get revisions`.";
    Panicked, Host, "The run of the host crashed in the controller, which is a defect of Plumb. The controller's log says where. Plumb retries.";
    Newest, Host, "The host runs the newest accepted commit.";
    UnderWay, Host, "The newest accepted commit is being applied to the host. Nothing to do.";
    NoDrift, Host, "No drift was found.";
    DriftHeld, Host, "Something drifted and isn't corrected, because its `drift` setting says so. `plumb plan HOST` shows it; write it into the manifest, or change it back.";
    DriftCorrecting, Host, "Something drifted and isn't corrected yet; the next run corrects it. Nothing to do.";
    DriftCorrected, Host, "Something drifted and was corrected. `plumb events HOST` says what.";
    DriftRecurs, Host, "The same resources drift again and again: a person or a program keeps changing them. Find out which, or change the manifest.";
    DriftRemains, Host, "Something drifted, and several runs couldn't correct it. `plumb describe HOST` has the error.";
    RebootRequired, Host, "Something on the host takes effect only at a reboot: an option of a loaded kernel module, a parameter of the kernel, or an updated package. The message says what. Plumb never reboots a host; reboot it when it suits.";
    ClockSkewed, Host, "The clock of the host, or of an Alertmanager, differs from the controller's by more than a minute. Find the machine that isn't synchronized: `timedatectl` on each. Alerts still arrive; signatures and `freshness` are judged by the controller's clock.";
    // Conditions of the source
    Fetched, Source, "The last fetch of the repository succeeded.";
    Accepted, Source, "Every commit up to the head of the branch is accepted.";
    Pending, Source, "A commit waits for approvals; hosts stay at the commit before it. `plumb get revisions` says what is missing and which command provides it.";
    PendingAlarm, Source, "A commit waits, and somebody should look at it now: its signature is by a key that is expired, revoked or misused, or claims a wrong time. `plumb get revisions` says more.";
    Rejected, Source, "A commit can never be accepted. Set the branch back to the last accepted commit; `plumb get revisions` has the command.";
    IntroductionMissing, Source, "The commit that the controller's configuration has as `introduction` isn't in the repository, so nothing is accepted. Correct `introduction` or `source` and restart the controller.";
    IntroductionUnusable, Source, "The commit that the controller's configuration has as `introduction` can't be the root of trust: it must be on the branch and have a valid trust policy. The message says what is wrong.";
    FloorMissing, Source, "The last accepted commit is no longer in the repository: the branch was replaced, or `source` names another repository. Push it again; the message says how to start over on purpose.";
    FloorOffChain, Source, "`introduction` was changed, and the last accepted commit isn't on the chain that starts at the new one. Correct `introduction`; the message says how to start over on purpose.";
    Timeout, Source, "The git server took too long to answer, or stopped in the middle. Plumb retries.";
    Redirected, Source, "The git server redirects to another server, to which no login is sent. The message has its address: put that into `source.url`.";
    HostKeyUnknown, Source, "The git server presents an unknown SSH host key. Compare it, and add it to the known_hosts file of the controller's user.";
    NoRepository, Source, "There is no repository at the address in the controller's configuration.";
    RepositoryEmpty, Source, "The repository has no commit yet. Push the first one.";
    NoBranch, Source, "The repository doesn't have the branch that the controller's configuration names. Push it, or correct `ref`.";
    TooLarge, Source, "The git server sends more than Plumb accepts, so the fetch was stopped before it could fill the disk. The message names the limit.";
    Garbled, Source, "Plumb can't read what the git server sends. If it lasts, check the repository on the server: `git fsck --full`.";
    FormatChanged, Source, "The repository's object format (SHA-1 or SHA-256) has changed. A new repository needs a new introduction.";
    ProgramMissing, Source, "A program that a fetch needs, such as ssh, is missing. Install it on the controller's machine.";
    MirrorFailed, Source, "The controller can't read or write its own copy of the repository. See whether its disk is full; the copy may be removed while the controller is stopped.";
    CommitMissing, Source, "A commit that Plumb needs isn't in the repository: the branch was rewritten, or the introduction is another repository's.";
    FilesUnreadable, Source, "The files of an accepted commit can't be read: there are too many, they are too large together, or a name isn't UTF-8.";
    Closed, Source, "The controller is shutting down.";
    NotKept, Source, "A newer commit is accepted, but the controller couldn't save that, so the commit isn't applied yet. See whether the disk of the state folder is full.";
    RevocationsUnreadable, Source, "The controller can't read its folder of revoked keys (`revoked`), so it can't tell whose signatures count and accepts nothing new. The message names the file.";
    // Records of what happened
    RevisionAccepted, Record, "A newer commit was accepted; the controller applies it to the hosts.";
    CommitHeld, Record, "A commit isn't accepted, so hosts stay at the commit before it. `plumb get revisions` says what is missing.";
    HoldEnded, Record, "The commit that wasn't accepted is accepted by now, or is off the branch.";
    FetchFailed, Record, "A fetch of the repository failed. The source's condition `Ready` says why.";
    FetchRecovered, Record, "The repository can be fetched again.";
    StoreFailed, Record, "The controller couldn't write its state. See whether the disk of the state folder is full.";
    ManifestsInvalid, Record, "An accepted commit has manifests with errors; the hosts that read them stay at their last desired state. `plumb check` shows the errors.";
    Applied, Record, "Changes from git were made on the host.";
    DriftFound, Record, "Something drifted on the host and isn't corrected.";
    GiveBackFailed, Record, "A resource that git dropped can't be restored or removed. The message says why. Plumb retries at each resync, and nothing waits for it; `plumb forget HOST ADDRESS` drops it and leaves it as it is.";
    HostTrouble, Record, "A part of the host doesn't work, but no change failed for it. The message names it, such as a package source that can't be refreshed.";
    Recovered, Record, "The host matches its target again.";
    TakenOver, Record, "This controller took over the host from another one.";
    Forgotten, Record, "A person dropped what the controller knew of the host, or a resource on it that couldn't be given back (`plumb forget`).";
    AlertFires, Record, "An alert started firing. docs/alerts.md has its runbook.";
    AlertResolved, Record, "An alert stopped firing.";
    ClockCorrected, Record, "A clock agrees with the controller's again.";
    AlertmanagerFailing, Record, "An Alertmanager doesn't accept alerts. Check that it is up and that its address in fleet.yaml is right.";
    AlertmanagerInvalid, Record, "The address of an Alertmanager in fleet.yaml can't be used.";
    RolloutResumed, Record, "A signed `Rollout-Resume:` trailer resumed a halted rollout.";
    NothingResumed, Record, "A signed `Rollout-Resume:` trailer names a commit whose rollout isn't halted. Write the commit that the alert PlumbRolloutHalted names.";
    AlertmanagerRecovered, Record, "An Alertmanager accepts alerts again.";
    KeyRevoked, Record, "A key was revoked by a file in the controller's folder of revoked keys (`revoked` in its configuration) or by a signed `revoke/` tag. `plumb get revisions` lists revoked keys.";
    KeyRestored, Record, "A key was removed from the controller's folder of revoked keys, and counts again if the policy has it. If nobody intended that, put it back.";
    RevokeTagGone, Record, "The `revoke/` tags of a revoked key no longer suffice: one was deleted, or its signer has left the policy. This controller remembers them, and the key stays revoked here; a new controller and `plumb verify` don't know of them. The event is recorded when this is first seen and at each start of the controller. If a tag was deleted, find out by whom, and push it again. Remove the key from the policy, or put it into the controller's folder of revoked keys.";
}

impl ConditionReason {
    /// Returns when a run that failed for this reason is retried; `None` if the reason isn't a failure of a
    /// run.
    pub const fn retry(self) -> Option<Retry> {
        match self {
            Self::Waiting
            | Self::Locked
            | Self::PackageLock
            | Self::InUse
            | Self::UnitPending
            | Self::Unconfirmed => Some(Retry::Waiting),
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
            | Self::SecretDecryptFailed
            | Self::NewerFormat
            | Self::HostKeyMismatch
            | Self::NoHostKey
            | Self::NoCommonAlgorithm
            | Self::NoSession
            | Self::AccessDenied
            | Self::SudoDenied
            | Self::NoAgent
            | Self::Reverted
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
            | Self::ReadOnly
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
            Self::SecretDecryptFailed => Some(AlertName::SecretDecryptFailed),
            Self::Unreachable | Self::ConnectionBroken | Self::Silent => {
                Some(AlertName::HostUnreachable)
            }
            _ => match self.retry() {
                Some(Retry::Stalled | Retry::Transient) => Some(AlertName::HostReconcileFailing),
                Some(Retry::Waiting) | None => None,
            },
        }
    }

    /// True if the controller can't start the agent on the host until a person changes something. A new target
    /// doesn't help.
    pub const fn blocks_login(self) -> bool {
        matches!(
            self,
            Self::HostKeyMismatch
                | Self::NoHostKey
                | Self::NoCommonAlgorithm
                | Self::NoSession
                | Self::AccessDenied
                | Self::SudoDenied
                | Self::NoAgent
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
            ErrorCode::ReadOnly => Self::ReadOnly,
            ErrorCode::PreconditionFailed => Self::PreconditionFailed,
            ErrorCode::MissingContent => Self::MissingContent,
            ErrorCode::Unsupported => Self::Unsupported,
            ErrorCode::Refused => Self::Refused,
            ErrorCode::UnsafePath => Self::UnsafePath,
            ErrorCode::ValidateFailed => Self::ValidateFailed,
            ErrorCode::SecretRefused => Self::SecretDecryptFailed,
            ErrorCode::CheckFailed => Self::CheckFailed,
            ErrorCode::CommandFailed => Self::CommandFailed,
            ErrorCode::TimedOut => Self::TimedOut,
            ErrorCode::PackageLock => Self::PackageLock,
            ErrorCode::UnitPending => Self::UnitPending,
            ErrorCode::InUse => Self::InUse,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::Io => Self::IoError,
            ErrorCode::WouldGoBack => Self::WouldGoBack,
            ErrorCode::Unconfirmed => Self::Unconfirmed,
            ErrorCode::Reverted => Self::Reverted,
            ErrorCode::Internal => Self::AgentFault,
        }
    }
}

impl fmt::Display for ConditionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error for a text that isn't a known reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason `{0}`")]
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
