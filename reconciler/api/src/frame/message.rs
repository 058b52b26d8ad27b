//! The messages. A session is: the agent writes nothing until asked; each request gets one final
//! response, before which an [`Apply`] streams [`Progress`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{Address, ControllerId, Epoch, FleetName, HostName};
use crate::plan::{FieldChange, Plan};
use crate::report::{AgentError, ChangeResult};
use crate::resource::{Observed, Spec};

/// The protocol's version; controller and agent are always of one build, so it must match.
pub const PROTOCOL: u32 = 1;

/// Who asks, so that an older controller can be told from a newer one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The fleet.
    pub fleet: FleetName,
    /// The host that is meant: an address that leads to another machine must not be driven.
    pub host: HostName,
    /// Names that it had before (`formerly`): a machine that knows itself by one of them is it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<HostName>,
    /// The controller's identity.
    pub controller: ControllerId,
    /// The controller's start count.
    pub epoch: Epoch,
    /// Whether an unknown controller may take the host over.
    pub take_over: TakeOver,
}

/// Whether a host that another controller holds may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TakeOver {
    /// No: [`ErrorCode::Superseded`](crate::report::ErrorCode::Superseded).
    #[default]
    No,
    /// Yes: the operator said `--take-over`.
    Yes,
}

/// What a controller asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// What differs?
    Observe(Observe),
    /// Do this. Contents that it needs were sent before it, as blobs.
    Apply(Apply),
    /// What machine is this?
    Facts,
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// To [`Request::Observe`].
    Observed(ObserveReport),
    /// To [`Request::Observe`]: the base isn't held; send the whole state (`base: null`).
    NeedState,
    /// Before the report of an [`Request::Apply`].
    Progress(Progress),
    /// To [`Request::Apply`].
    Report(Report),
    /// To [`Request::Facts`].
    Facts(Facts),
    /// Instead of any of them.
    Error(AgentError),
}

/// Asks what differs from a desired state, which may travel as a delta on what the host holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observe {
    /// Who asks.
    pub fence: Fence,
    /// The digest of the state that the delta is on; none for the empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// The digest of the state that results, see [`state_digest`](crate::frame::Delta::digest_of).
    pub target: Digest,
    /// What to change in it.
    #[serde(default)]
    pub delta: Delta,
    /// What it is asked for.
    pub purpose: Purpose,
    /// What may be shown of contents.
    #[serde(default)]
    pub reveal: Reveal,
}

/// Why a host is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// To look: nothing is written on the host, its lock isn't taken (`plumb plan`).
    Look,
    /// To drive it: the state is kept for later deltas, an interrupted apply is rolled forward first.
    Drive,
}

/// Whether texts may leave the host, for a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reveal {
    /// No contents.
    #[default]
    Nothing,
    /// World-readable text of at most 64 KiB.
    WorldReadable,
}

/// A change of a desired state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delta {
    /// New and changed resources.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<Address, Spec>,
    /// Resources that are no longer desired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<Address>,
}

impl Delta {
    /// The digest of a whole desired state: a Merkle root over its resources' digests by address.
    /// Controller and agent must agree on it to the bit.
    pub fn digest_of<'a>(leaves: impl IntoIterator<Item = (&'a Address, Digest)>) -> Digest {
        let named: Vec<_> = leaves
            .into_iter()
            .map(|(address, leaf)| (address.to_string(), leaf))
            .collect();
        Digest::merkle(
            "state",
            named.iter().map(|(name, leaf)| (name.as_str(), *leaf)),
        )
    }
}

/// What a host has that differs, and what its ledger says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObserveReport {
    /// The desired state that it was compared with.
    pub target: Digest,
    /// The ledger in short.
    pub ledger: LedgerSummary,
    /// The machine.
    pub facts: Facts,
    /// How many resources are as desired.
    pub in_sync: u32,
    /// What differs, what couldn't be observed, and what is no longer desired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// As desired, but not yet confirmed with this spec in the ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<Address>,
    /// In the ledger, no longer desired, and nothing to take back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Address>,
    /// Something else is at work that a run should wait for (cloud-init); a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

/// One resource that isn't as desired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Which.
    pub address: Address,
    /// In which way.
    pub state: DifferenceState,
    /// What was found, if it could be observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// The fields in which it differs from the desired spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// The spec that was last confirmed on this host, from its ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Spec>,
    /// What was there before Plumb first touched it, in a phrase for people ("a file of 120 bytes").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// The text found, where it may be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// In which way a resource isn't as desired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DifferenceState {
    /// It differs.
    Differs,
    /// The ledger says that we made it, and nothing desires it any more.
    Undesired,
    /// It can't be had on this host.
    Unsupported(AgentError),
    /// It couldn't be observed.
    Unobservable(AgentError),
}

/// Asks to carry out a plan against the state that was observed in this session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Apply {
    /// Who asks.
    pub fence: Fence,
    /// The plan.
    pub plan: Plan,
    /// The revision that the plan comes from.
    pub revision: RevisionMark,
    /// What the controller shows about the revision that the host remembers.
    pub lineage: Lineage,
}

/// A revision as a host remembers it: the commit's id in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionMark(pub String);

/// How a revision relates to the one that the host ran last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lineage {
    /// The host has run none, as far as the controller knows.
    First,
    /// It is the same one, or it descends from this one on the verified chain.
    DescendsFrom(RevisionMark),
    /// A signed rollback from this one.
    RollsBackFrom(RevisionMark),
}

/// How far an apply is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The resource.
    pub address: Address,
    /// What happens to it.
    pub state: ProgressState,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProgressState {
    /// Work on it began.
    Started,
    /// Still at it: a sign of life on long steps, at least every ten seconds.
    Working,
    /// Done.
    Finished,
    /// Failed; the report has the error.
    Failed,
}

/// What came of an apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The plan's target.
    pub target: Digest,
    /// Each change and what came of it, in the plan's order.
    pub results: Vec<ChangeResult>,
    /// The ledger after it.
    pub ledger: LedgerSummary,
    /// Why the run stopped before its end, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<AgentError>,
}

/// A host's ledger in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerSummary {
    /// Whether it can be trusted.
    pub state: LedgerState,
    /// Grows by one with each write; mirrored by the controller to notice a ledger that went back.
    pub sequence: u64,
    /// The highest epoch that it has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The controller that holds the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControllerId>,
    /// The newest revision that the host ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionMark>,
    /// The desired state that was last confirmed whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Digest>,
    /// How many resources it holds.
    pub resources: u32,
}

/// Whether a ledger can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LedgerState {
    /// None yet: Plumb has never changed this host.
    Fresh,
    /// Sound.
    Sound,
    /// Lost, corrupt, or of another machine: the host is observed only. A sentence says which.
    Lost(String),
}

/// The machine that answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The kernel's host name.
    pub hostname: String,
    /// `x86_64`, `aarch64`, as `uname -m`.
    pub arch: String,
    /// `ID` of os-release, such as `debian`.
    pub os: String,
    /// `VERSION_ID` of os-release; empty where there is none.
    pub release: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The kernel's boot id: it changes with each boot.
    pub boot_id: String,
    /// The agent's version.
    pub agent: String,
}
