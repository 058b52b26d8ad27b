//! The reasons of conditions and events, with what they mean and what to do. One table: a test looks
//! through the code that gives reasons, and fails for one that isn't here.

/// A reason and its meaning.
pub(super) type Reason = (&'static str, &'static str);

/// Every reason of a condition of a host.
pub(super) const HOSTS: &[Reason] = &[
    // Ready, Reconciling, Stalled: what the work came to
    ("Settled", "The host is as its target says."),
    (
        "Drifted",
        "It is as its target says but for what moved by itself and is left as found (`drift`). `plumb describe HOST` names it; `plumb plan HOST` shows the difference.",
    ),
    (
        "Begun",
        "It hasn't been looked at yet: the controller has just begun, or the host is new. Nothing to do.",
    ),
    (
        "NewTarget",
        "Something new is desired of it, and it is on its way there. Nothing to do.",
    ),
    (
        "AwaitingTurn",
        "It was looked at and waits for its turn in the rollout. If a rollout is halted, the alert PlumbRolloutHalted names the hosts that failed.",
    ),
    (
        "Resumed",
        "Its pause is over; it is looked at next. Nothing to do.",
    ),
    (
        "Incomplete",
        "The last run ended before all changes were made; the rest is tried again by itself.",
    ),
    (
        "Waiting",
        "Something else is at work on the host, such as a package manager or an update. It is tried again by itself.",
    ),
    (
        "Locked",
        "Another run of Plumb holds the host's lock. It is tried again by itself; if it lasts, look whether a second controller or a `plumb apply` is at work.",
    ),
    (
        "PackageLock",
        "The package manager is locked by another program on the host. It is tried again by itself; if it lasts, see which one: `fuser /var/lib/dpkg/lock-frontend`.",
    ),
    (
        "Suspended",
        "A person paused it in its manifest (`suspend`). Take that out, or let its `until` pass.",
    ),
    (
        "Dormant",
        "Its manifest says `state: dormant`: it is known and not looked at. `state: active` changes that.",
    ),
    (
        "Unmanaged",
        "Its manifest says `state: unmanaged`: nothing is done there.",
    ),
    (
        "Released",
        "Git has it no longer. It is left as it is; `plumb forget HOST` ends that it is spoken of.",
    ),
    (
        "ManifestInvalid",
        "What the host reads has errors, so it is held at its last desired state. `plumb check` shows them; mend them and push.",
    ),
    // What stands against any change
    (
        "EmptyDesiredState",
        "Nothing is desired of the host any more, although Plumb has made things there. Write `state: retired` to take them back; delete the Host from git to leave them.",
    ),
    (
        "ExistingDiffers",
        "Things are there that Plumb didn't make, and `existing: refuse` keeps them. Write `existing: keep` to manage them and keep the originals, or make the manifest say what is there.",
    ),
    (
        "LedgerLost",
        "The ledger on the host can't be trusted: what Plumb made there can't be told from what was there before. Nothing is changed. The message says what is wrong with it; see docs/runbooks/plumbhostreconcilefailing.md.",
    ),
    (
        "LedgerRewound",
        "The host's ledger is older than it was: the machine was put back to an earlier state, or is a clone. `plumb forget HOST` accepts that and meets it anew.",
    ),
    (
        "OtherTarget",
        "The host compared itself with another target than the one that is desired by now. It is tried again by itself.",
    ),
    (
        "WouldGoBack",
        "The host ran a commit that comes after what it would be driven to. Going back needs a signed commit with a `Rollback-To:` trailer; a controller that lost its state only needs to fetch the newest commits.",
    ),
    (
        "OffVerifiedChain",
        "The host ran a commit that isn't on the verified chain: somebody else drives it or drove it, or the branch was rewritten. Nothing is changed on it. Find out who; `plumb forget HOST` gives up what is remembered.",
    ),
    (
        "Superseded",
        "Another controller has taken the host over. Let one of the two go; the one that stays takes it with `plumb controller --take-over`.",
    ),
    // Resources that couldn't be changed
    (
        "Refused",
        "Something of another type is in the way, or it isn't Plumb's to replace. The message names it: move it away, or change the manifest.",
    ),
    (
        "Unsupported",
        "The resource type, or this use of it, can't be had on this host. The message says which.",
    ),
    (
        "UnsafePath",
        "A symbolic link in a folder that others may write to is in the path. Plumb doesn't follow it; remove it, or choose another path.",
    ),
    (
        "ValidateFailed",
        "The program of `validate` didn't accept the new content, so the old one stays. Run it by hand with what `plumb render` shows.",
    ),
    (
        "CommandFailed",
        "A program on the host failed. The message has its name and its last words.",
    ),
    (
        "CheckFailed",
        "A `check` of the host fails. The message says what it found; the host is tried again by itself.",
    ),
    (
        "TimedOut",
        "A program on the host took longer than it may. It is tried again by itself.",
    ),
    (
        "NotFound",
        "A user, a group, a unit or a package that the manifest names isn't on the host. Add it to the manifest, or mend the name.",
    ),
    (
        "PreconditionFailed",
        "Between the look and the change something else changed the same thing. It is looked at again by itself.",
    ),
    (
        "MissingContent",
        "A content that the host needs wasn't there. It is tried again by itself; if it lasts, see whether the controller's disk is full.",
    ),
    (
        "NoSpace",
        "The host's disk is full or read-only; nothing was changed. Make room, or mount it for writing.",
    ),
    (
        "IoError",
        "The system gave an error when a file was read or written. The message has it; look at the host's kernel log.",
    ),
    (
        "NewerFormat",
        "What Plumb keeps on the host was written by a newer version. Update the controller.",
    ),
    // The way to the host, and the agent
    ("Connected", "It answered at the last attempt."),
    (
        "Unreachable",
        "The host, or the git server, doesn't answer. See whether it is up and whether the address and the network are right: `ssh HOST` from the controller's machine.",
    ),
    (
        "HostKeyMismatch",
        "Another SSH host key answers than the one that is pinned. If the machine was reinstalled: `plumb enroll HOST --address ADDRESS`, and push the new key. If not, find out who answers.",
    ),
    (
        "NoHostKey",
        "No SSH host key is pinned, so nobody can be believed there. `plumb enroll HOST --address ADDRESS` shows its keys and pins them.",
    ),
    (
        "AccessDenied",
        "The login is refused. For a host: the controller's key must be in the login's authorized_keys, and `sudo -n true` must work. For the repository: its user needs read access.",
    ),
    (
        "NoAgent",
        "There is no agent for the host's architecture. A packaged plumb has it built in; `cargo agents` builds it.",
    ),
    (
        "AgentFailed",
        "The agent doesn't start on the host. The message says why: often a folder that is mounted noexec, or a full disk.",
    ),
    (
        "AgentError",
        "The agent answered with an error. The message has it.",
    ),
    (
        "AgentFault",
        "The agent itself failed, which is a defect of Plumb. The message helps whoever mends it.",
    ),
    (
        "ConnectionBroken",
        "The connection broke in the middle. What was begun is known to the host, and it is tried again by itself.",
    ),
    (
        "Silent",
        "The host gave no sign of life for too long. It is tried again by itself; see whether it is overloaded.",
    ),
    (
        "ProtocolError",
        "Controller and agent didn't understand each other. If it lasts, the agent's program on the host is damaged or of another version.",
    ),
    (
        "SourceFailed",
        "What the host ran last couldn't be compared with the branch, because the repository couldn't be read. See the source's own conditions: `plumb get revisions`.",
    ),
    (
        "Panicked",
        "The run of the host crashed in the controller, which is a defect of Plumb; its log says where. It is tried again by itself.",
    ),
    // Synced
    ("Newest", "It runs the newest accepted commit."),
    (
        "UnderWay",
        "It is on its way to the newest accepted commit. Nothing to do.",
    ),
    // Drifted
    ("NoDrift", "Nothing moved by itself."),
    (
        "DriftHeld",
        "Something moved by itself and is left as found, because its `drift` says so. `plumb plan HOST` shows it; write it into the manifest, or put it back.",
    ),
    (
        "DriftCorrecting",
        "Something moved by itself and isn't put back yet; the next run does. Nothing to do.",
    ),
    (
        "DriftCorrected",
        "Something had moved by itself and was put back. `plumb events HOST` says what.",
    ),
    (
        "DriftRecurs",
        "The same things move again and again: somebody or some program changes them. Find it, or let the manifest say what it wants.",
    ),
    (
        "DriftRemains",
        "Something moved by itself and couldn't be put back in several runs. `plumb describe HOST` has the error.",
    ),
];

/// Every reason of a condition of the repository.
pub(super) const SOURCE: &[Reason] = &[
    ("Fetched", "The repository was fetched at the last attempt."),
    (
        "Accepted",
        "Every commit up to the branch's head is accepted.",
    ),
    (
        "Pending",
        "A commit waits for approvals; hosts stay at the one before. `plumb get revisions` says what is missing and the command that gives it.",
    ),
    (
        "PendingAlarm",
        "A commit waits, and somebody should look at it at once: its signature is by a key that is expired, revoked or misused, or claims a wrong time. `plumb get revisions` says more.",
    ),
    (
        "Rejected",
        "A commit can never be accepted. Set the branch back to what is accepted; `plumb get revisions` has the command.",
    ),
    (
        "IntroductionMissing",
        "The introduction of the controller's configuration isn't in the repository, so nothing is accepted. Correct `introduction` or `source` there and restart the controller.",
    ),
    (
        "IntroductionUnusable",
        "Nothing can be judged from the introduction of the controller's configuration: it must be a commit on the branch with a trust policy that holds. The message says what is wrong.",
    ),
    (
        "FloorMissing",
        "What was accepted last isn't in the repository any more: the branch was replaced, or the address is another repository's. Push it again; the message says how to begin anew on purpose.",
    ),
    (
        "FloorOffChain",
        "The introduction was changed, and what was accepted from the old one isn't on what the new one leads to. Correct `introduction`; the message says how to begin anew on purpose.",
    ),
    (
        "Timeout",
        "The git server answered and then fell silent, or took too long. It is tried again by itself.",
    ),
    (
        "HostKeyUnknown",
        "The git server shows an SSH host key that isn't known. Compare it, and add it to the known_hosts of the controller's user.",
    ),
    (
        "NoRepository",
        "There is no repository at the address of the controller's configuration.",
    ),
    (
        "RepositoryEmpty",
        "The repository has no commit yet. Push the first one.",
    ),
    (
        "NoBranch",
        "The repository doesn't have the branch of the controller's configuration. Push it, or mend `ref`.",
    ),
    (
        "TooLarge",
        "The server sends more than may be sent; it is refused before it fills the disk. The message names the bound.",
    ),
    (
        "Garbled",
        "What the server sends can't be read. If it lasts, see whether the repository is whole: `git fsck --full` there.",
    ),
    (
        "FormatChanged",
        "The repository's object format (SHA-1 or SHA-256) is another than it was. A new repository needs a new introduction.",
    ),
    (
        "ProgramMissing",
        "A program that fetching needs, such as ssh, isn't there. Install it on the controller's machine.",
    ),
    (
        "MirrorFailed",
        "The controller's own copy of the repository can't be written or read. See whether its disk is full; the copy may be removed while the controller is stopped.",
    ),
    (
        "CommitMissing",
        "A commit that is needed isn't in the repository: the branch was rewritten, or the introduction names another repository.",
    ),
    (
        "FilesUnreadable",
        "The files of an accepted commit can't be read: too many, too large, or with a name that isn't text.",
    ),
    ("Closed", "The controller is being stopped."),
    (
        "NotKept",
        "A newer commit is accepted, and the controller couldn't keep that, so nothing is driven from it yet. See whether the disk of its state folder is full.",
    ),
    (
        "RevocationsUnreadable",
        "The controller's folder of revoked keys (`revoked`) can't be read, so it isn't known whose signatures count, and nothing new is accepted. The message names the file.",
    ),
];

/// Every reason of an event that isn't one of a condition too.
pub(super) const EVENTS: &[Reason] = &[
    (
        "RevisionAccepted",
        "A newer commit is accepted; hosts are driven there.",
    ),
    (
        "CommitHeld",
        "A commit isn't accepted, and hosts stay at the one before. `plumb get revisions` says what is missing.",
    ),
    (
        "HoldEnded",
        "What was held is accepted by now, or is off the branch.",
    ),
    (
        "FetchFailed",
        "The repository couldn't be fetched. The source's condition `Ready` says why.",
    ),
    ("FetchRecovered", "The repository can be fetched again."),
    (
        "StoreFailed",
        "The controller couldn't keep what it must remember. See whether the disk of its state folder is full.",
    ),
    (
        "ManifestsInvalid",
        "An accepted commit has manifests with errors; the hosts that read them are held. `plumb check` shows them.",
    ),
    (
        "Applied",
        "Changes that git asked for were made on the host.",
    ),
    (
        "DriftFound",
        "Something moved by itself on the host and is left as found.",
    ),
    ("Recovered", "The host is as it should be again."),
    (
        "TakenOver",
        "The host was another controller's and is this one's now.",
    ),
    (
        "Forgotten",
        "A person let go of what was known of the host (`plumb forget`).",
    ),
    (
        "AlertFires",
        "An alert begins. docs/alerts.md has its runbook.",
    ),
    ("AlertResolved", "An alert ends."),
    (
        "AlertmanagerFailing",
        "An Alertmanager doesn't take alerts. See whether it is up, and its address in fleet.yaml.",
    ),
    (
        "AlertmanagerInvalid",
        "The address of an Alertmanager in fleet.yaml can't be used.",
    ),
    (
        "AlertmanagerRecovered",
        "An Alertmanager takes alerts again.",
    ),
    (
        "KeyRevoked",
        "A key has no authority any more: a file of the controller's folder of revoked keys (`revoked` in its configuration) or a signed `revoke/` tag takes it away. `plumb get revisions` lists such keys.",
    ),
    (
        "KeyRestored",
        "A key was taken out of the controller's folder of revoked keys, and counts again if the policy has it. If nobody meant that, put it back.",
    ),
    (
        "RevokeTagGone",
        "The `revoke/` tags that had taken a key's authority away are no longer enough: one isn't in the repository any more, or who signed it has left the policy. This controller remembers them, and the key stays revoked here; a new controller, and `plumb verify`, don't. It is told when that is first seen, and at each start, until the key is out of the policy or in that folder. If a tag was deleted, find out by whom, and push it again. Take the key out of the policy, or put it into the controller's folder of revoked keys.",
    ),
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Reason> {
    HOSTS.iter().chain(SOURCE).chain(EVENTS).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Words in the sources below that look like a reason and aren't one.
    const OTHERS: [&str; 1] = [
        // the name of a type in `Debug`
        "Handle",
    ];

    /// What gives reasons: the whole controller, and the errors of ports.
    const SOURCES: [&str; 5] = [
        "controller/src",
        "core/src/ports.rs",
        "core/src/plan/refusal.rs",
        "core/src/alerting/rules.rs",
        "trust/src/source.rs",
    ];

    /// Every word in capitals-and-letters that stands as a text in non-test code.
    fn words(path: &Path, found: &mut BTreeSet<String>) {
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if !matches!(
                    name.as_str(),
                    "stories" | "tests" | "tests.rs" | "stories.rs"
                ) {
                    words(&path, found);
                }
            }
            return;
        }
        let text = std::fs::read_to_string(path).unwrap();
        // The tests of a file stand at its end.
        let tests = "#[cfg(test)]\nmod tests {";
        let code = text.split(tests).next().unwrap_or_default();
        for (at, _) in code.match_indices('"') {
            let rest = &code[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_alphabetic());
            let part = &rest[..end.unwrap_or(0)];
            let word = part.starts_with(|c: char| c.is_ascii_uppercase())
                && part.len() > 3
                && part.contains(|c: char| c.is_ascii_lowercase())
                && rest[part.len()..].starts_with('"');
            if word {
                found.insert(part.to_owned());
            }
        }
    }

    #[test]
    fn every_reason_that_the_code_gives_is_explained_and_no_other() {
        let mut found = BTreeSet::new();
        for source in SOURCES {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            words(&root.join(source), &mut found);
        }
        let known: BTreeSet<String> = all().map(|(reason, _)| reason.to_owned()).collect();
        let unknown: Vec<_> = found
            .iter()
            .filter(|word| !known.contains(*word) && !OTHERS.contains(&word.as_str()))
            .filter(|word| !word.starts_with("Plumb"))
            .collect();
        assert!(unknown.is_empty(), "not explained: {unknown:?}");
        let gone: Vec<_> = known.iter().filter(|word| !found.contains(*word)).collect();
        assert!(gone.is_empty(), "nothing gives these any more: {gone:?}");
    }

    #[test]
    fn each_is_explained_once_in_whole_sentences() {
        let mut seen = BTreeSet::new();
        for (reason, meaning) in all() {
            assert!(seen.insert(reason), "{reason} is there twice");
            assert!(meaning.ends_with('.'), "{reason}: {meaning}");
        }
    }
}
