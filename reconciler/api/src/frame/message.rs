//! The messages of a session. The agent writes nothing until asked. Each request gets one final response;
//! before it, an [`Apply`] streams [`Progress`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{Address, ControllerId, Epoch, FleetName, HostName};
use crate::plan::{FieldChange, Plan};
use crate::read_back::ReadBacks;
use crate::report::{AgentError, ChangeResult};
use crate::resource::{Observed, Spec};

/// The protocol's version. Controller and agent are always of one build, so it must match.
pub const PROTOCOL: u32 = 1;

/// The sender of a request, by which a host tells an older controller from a newer one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The fleet.
    pub fleet: FleetName,
    /// The host that is meant: the controller must not drive another machine that its address leads to.
    pub host: HostName,
    /// The host's earlier names (`formerly`): a machine whose ledger has one of them is this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<HostName>,
    /// The controller's identity.
    pub controller: ControllerId,
    /// The number of the controller's start.
    pub epoch: Epoch,
    /// The permission to take the host over from another controller.
    pub take_over: TakeOver,
}

/// The permission to take over a host that another controller holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TakeOver {
    /// Not permitted: the agent answers [`ErrorCode::Superseded`](crate::report::ErrorCode::Superseded).
    #[default]
    No,
    /// Permitted: the operator passed `--take-over`.
    Yes,
}

/// A controller's request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Compare the host with a desired state.
    Observe(Observe),
    /// Carry out a plan. The controller sends its contents before it, as blobs.
    Apply(Apply),
    /// Return the machine's facts.
    Facts,
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// The answer to [`Request::Observe`].
    Observed(Box<ObserveReport>),
    /// An answer to [`Request::Observe`]: the host doesn't hold the base; send the whole state (`base:
    /// null`).
    NeedState,
    /// Progress before the answer to a [`Request::Apply`].
    Progress(Progress),
    /// The answer to [`Request::Apply`].
    Report(Report),
    /// The answer to [`Request::Facts`].
    Facts(Facts),
    /// The answer to any request that failed.
    Error(AgentError),
}

/// Asks for the differences from a desired state, which may be sent as a delta on one that the host holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observe {
    /// The sender.
    pub fence: Fence,
    /// The digest of the state that the delta is based on; `None` for the empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// The digest of the resulting state, see [`Delta::digest_of`](crate::frame::Delta::digest_of).
    pub target: Digest,
    /// The change of the base.
    #[serde(default)]
    pub delta: Delta,
    /// The purpose of the observation.
    pub purpose: Purpose,
    /// The contents that the report may show.
    #[serde(default)]
    pub reveal: Reveal,
}

/// The purpose of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// To report only: the agent writes nothing on the host and doesn't take its lock (`plumb plan`).
    Look,
    /// To drive the host: the agent first claims it, rolls an interrupted apply forward, and stores the state
    /// for later deltas.
    Drive,
}

/// The permission to send texts from the host, for a diff.
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
    /// Returns the digest of a whole desired state: a Merkle root over its resources' digests by address.
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

/// A host's differences from its desired state, and its ledger in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObserveReport {
    /// The desired state that the host was compared with.
    pub target: Digest,
    /// The ledger in short.
    pub ledger: LedgerSummary,
    /// The machine.
    pub facts: Facts,
    /// The host's clock, in seconds since 1970, when the report was made; `None` if it can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<i64>,
    /// The number of resources that are as desired.
    pub in_sync: u32,
    /// Resources that differ, that couldn't be observed, or that are no longer desired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Resources that are as desired, but that the ledger hasn't confirmed with this spec yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<Address>,
    /// Resources in the ledger that are no longer desired and need no change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Address>,
    /// Resources that are known on the host under another name: `service:mysql` as `service:mariadb`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<Address, Address>,
    /// A sentence about something that a run should wait for (cloud-init, a package transaction).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

/// One resource that isn't as desired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The resource.
    pub address: Address,
    /// The kind of difference.
    pub state: DifferenceState,
    /// The observed state, if it could be observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// The fields in which it differs from the desired spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// What the change would lose although the spec doesn't name it, in phrases for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
    /// The error with which the host would refuse the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<AgentError>,
    /// The spec that was last confirmed on this host, from its ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Spec>,
    /// The values that the host shows in another form than Plumb wrote them, from its ledger.
    #[serde(default, skip_serializing_if = "ReadBacks::is_empty")]
    pub read_back: ReadBacks,
    /// The original, in a phrase for people ("a file of 120 bytes").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// The observed text, if it may be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The kind of a difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DifferenceState {
    /// The resource differs from its desired spec.
    Differs,
    /// The resource is in the ledger and no longer desired.
    Undesired,
    /// This host doesn't support the resource.
    Unsupported(AgentError),
    /// The resource couldn't be observed.
    Unobservable(AgentError),
}

/// Asks the agent to carry out a plan on the state that it observed in this session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Apply {
    /// The sender.
    pub fence: Fence,
    /// The plan.
    pub plan: Plan,
    /// The revision that the plan comes from.
    pub revision: RevisionMark,
    /// The plan's relation to the revision that the host ran last.
    pub lineage: Lineage,
    /// The relation of the host to the fleet after the plan.
    #[serde(default)]
    pub departure: Departure,
}

/// The relation of a host to its fleet after a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Departure {
    /// It stays in the fleet.
    #[default]
    Stays,
    /// It is retired: once its ledger is empty, the agent removes everything of its own.
    Leaves,
}

/// A revision as a host remembers it: the commit's id in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionMark(pub String);

/// The relation of a revision to the one that the host ran last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lineage {
    /// The host has run none, as far as the controller knows.
    First,
    /// The revision is this one, or descends from it on the verified chain.
    DescendsFrom(RevisionMark),
    /// The revision is a signed rollback from this one.
    RollsBackFrom(RevisionMark),
}

/// The progress of an apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The resource.
    pub address: Address,
    /// The state of its change.
    pub state: ProgressState,
}

/// The state of a change under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProgressState {
    /// The change began.
    Started,
    /// The change is still under way: sent about every ten seconds during a long one.
    Working,
    /// The change succeeded.
    Finished,
    /// The change failed; the report has the error.
    Failed,
}

/// The report of an apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The plan's target.
    pub target: Digest,
    /// Each change with its outcome, in the plan's order.
    pub results: Vec<ChangeResult>,
    /// The ledger after the run.
    pub ledger: LedgerSummary,
    /// The time for which the run only waited for changes to settle, in milliseconds.
    #[serde(default)]
    pub settling: u64,
    /// The error that stopped the run before its end, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<AgentError>,
    /// Troubles of the host that failed no change, a phrase each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A host's ledger in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerSummary {
    /// The ledger's condition.
    pub state: LedgerState,
    /// Grows by one with each write. The controller remembers it, to notice a ledger that went back.
    pub sequence: u64,
    /// The highest epoch of the holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The controller that holds the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControllerId>,
    /// The newest revision that the host ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionMark>,
    /// The desired state that was last confirmed for every resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Digest>,
    /// The number of resources in the ledger.
    pub resources: u32,
}

/// The condition of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LedgerState {
    /// There is no ledger yet: Plumb has never changed this host.
    Fresh,
    /// The ledger is whole and belongs to this machine.
    Sound,
    /// The ledger is lost, corrupt, or of another machine: the host is only observed. A sentence gives the
    /// reason.
    Lost(String),
}

/// The machine's facts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The kernel's host name; in a sandbox, the text of `/etc/hostname`.
    pub hostname: String,
    /// `x86_64`, `aarch64`, as `uname -m`.
    pub arch: String,
    /// `ID` of os-release, such as `debian`.
    pub os: String,
    /// `VERSION_ID` of os-release; empty if there is none.
    pub release: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The kernel's boot id, which changes with each boot.
    pub boot_id: String,
    /// The agent's version.
    pub agent: String,
}
