//! The messages of a session between a controller and an agent. The agent sends nothing before it receives a
//! request. It answers each request with one final response; to an [`Apply`], it sends [`Progress`] before
//! that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dead_man::{Attendance, Confirm, DeadMan};
use crate::digest::Digest;
use crate::name::{Address, ControllerId, Epoch, FleetName, HostName};
use crate::plan::{FieldChange, Plan};
use crate::read_back::ReadBacks;
use crate::report::{AgentError, ChangeResult};
use crate::resource::{Observed, Spec};

/// Version of the protocol. Controller and agent always come from the same build, so both must have the same
/// version.
pub const PROTOCOL: u32 = 1;

/// Identifies the sender of a request, so that a host can reject requests from an older or another
/// controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    /// The sender's protocol version: [`PROTOCOL`].
    pub protocol: u32,
    /// The fleet that the controller follows.
    pub fleet: FleetName,
    /// The host that the request is for. The agent rejects the request if its machine is another host: the
    /// address may lead to the wrong machine.
    pub host: HostName,
    /// Earlier names of the host (`formerly` in its manifest). A machine whose ledger has one of these names
    /// counts as this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<HostName>,
    /// The controller's identity.
    pub controller: ControllerId,
    /// Number of the controller's start; each start gets a higher one.
    pub epoch: Epoch,
    /// Says whether this controller may take the host over from another one.
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
    /// Carry out a plan. The controller first sends the file contents that the plan needs, as blobs.
    Apply(Apply),
    /// Confirm changes that could have cut the controller off.
    Confirm(Confirm),
    /// Return the machine's facts.
    Facts,
    /// Return resources as they are on the host, as specs.
    Adopt(Adopt),
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// The answer to [`Request::Observe`].
    Observed(Box<ObserveReport>),
    /// An answer to [`Request::Observe`]: the host doesn't have the state that `base` names, so the
    /// controller must send the whole desired state (`base: null`).
    NeedState,
    /// Progress before the answer to a [`Request::Apply`].
    Progress(Progress),
    /// The answer to [`Request::Apply`].
    Report(Report),
    /// The answer to [`Request::Confirm`]: the changes stay.
    Confirmed,
    /// The answer to [`Request::Facts`].
    Facts(Facts),
    /// The answer to [`Request::Adopt`].
    Adopted(Vec<Adopted>),
    /// The answer to any request that failed.
    Error(AgentError),
}

/// Requests the differences between the host and a desired state. The state may be sent as a delta to an
/// earlier one that the host has stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observe {
    /// The sender.
    pub fence: Fence,
    /// Digest of the stored state that the delta changes; `None` if the delta is the whole desired state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// Digest of the desired state that results, see [`Delta::digest_of`](crate::frame::Delta::digest_of).
    pub target: Digest,
    /// The change from the base to the desired state.
    #[serde(default)]
    pub delta: Delta,
    /// The purpose of the observation.
    pub purpose: Purpose,
    /// Says which file contents the report may include.
    #[serde(default)]
    pub reveal: Reveal,
    /// Says whether a person requested the run.
    #[serde(default)]
    pub attendance: Attendance,
}

/// The purpose of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// To report only (`plumb plan`): the agent writes nothing on the host and doesn't take the host's lock.
    Look,
    /// To bring the host to the desired state: the agent first claims the host for the controller, completes
    /// an interrupted apply, and stores the desired state for later deltas.
    Drive,
}

/// Says which file contents the agent may send, for a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reveal {
    /// No contents.
    #[default]
    Nothing,
    /// Text of at most 64 KiB from world-readable files.
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
    /// Returns the digest of a whole desired state: a Merkle root over the digests of its resources, named by
    /// address. Controller and agent must compute exactly the same digest.
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

/// The differences between a host and a desired state, and a summary of the host's ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObserveReport {
    /// The desired state that the host was compared with.
    pub target: Digest,
    /// Summary of the ledger.
    pub ledger: LedgerSummary,
    /// Facts about the machine.
    pub facts: Facts,
    /// Time by the host's clock when it made the report, in seconds since 1970; `None` if it can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<i64>,
    /// The number of resources that are as desired.
    pub in_sync: u32,
    /// Resources that differ, that couldn't be observed, or that are no longer desired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Resources that are as desired, but whose current spec the ledger hasn't recorded as confirmed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<Address>,
    /// Resources in the ledger that are no longer desired and need no change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Address>,
    /// Maps resources to the addresses under which the host knows them: `service:mysql` to `service:mariadb`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<Address, Address>,
    /// A sentence that names what a run should wait for (cloud-init, a package transaction), if anything.
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
    /// The fields in which the resource differs from the desired spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// Properties of the resource that the change would destroy although the spec doesn't name them, as
    /// phrases for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
    /// The error with which the host would refuse the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<AgentError>,
    /// The spec that was last confirmed on this host, from its ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Spec>,
    /// Values that the host shows in another form than the one in which Plumb wrote them, from its ledger.
    #[serde(default, skip_serializing_if = "ReadBacks::is_empty")]
    pub read_back: ReadBacks,
    /// The state before Plumb's first change of the resource, as a phrase for people ("a file of 120 bytes").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// The observed content as text, if [`Reveal`] permits it.
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

/// Requests the specs that describe resources as they are on the host. The agent writes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopt {
    /// The sender.
    pub fence: Fence,
    /// The resources to describe.
    pub scope: AdoptScope,
}

/// The resources that an [`Adopt`] request is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdoptScope {
    /// These resources.
    Named(Vec<Address>),
    /// Everything that deviates from what the distribution installs and that isn't in the ledger.
    Deviations,
}

/// A resource as it is on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// The resource.
    pub address: Address,
    /// What the host has.
    pub outcome: AdoptOutcome,
}

/// What a host has of a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdoptOutcome {
    /// The resource exists.
    Found {
        /// The spec that it fulfils as it is.
        spec: Box<Spec>,
        /// The text of its content, under the rule of [`Reveal::WorldReadable`]. `None` if the content may
        /// not be shown, or if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// The resource doesn't exist.
    Missing,
    /// The resource can't be described.
    Failed(AgentError),
}

/// Requests that the agent carries out a plan on the state that it observed in this session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Apply {
    /// The sender.
    pub fence: Fence,
    /// The plan.
    pub plan: Plan,
    /// The revision that the plan comes from.
    pub revision: RevisionMark,
    /// How `revision` relates to the revision that the host ran last.
    pub lineage: Lineage,
    /// Says whether the host stays in the fleet after the plan.
    #[serde(default)]
    pub departure: Departure,
    /// The dead-man timer for changes that could cut the controller off. `None` if no change could, such as on
    /// the controller's own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_man: Option<DeadMan>,
}

/// Says whether a host stays in its fleet after a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Departure {
    /// It stays in the fleet.
    #[default]
    Stays,
    /// The host is retired: when its ledger is empty, the agent removes all of Plumb's own files from it.
    Leaves,
}

/// The revision that a host records in its ledger: the commit id in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionMark(pub String);

/// How a plan's revision relates to the one that the host ran last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lineage {
    /// As far as the controller knows, the host hasn't run any revision.
    First,
    /// The plan's revision is this one, or descends from it on the verified chain of commits.
    DescendsFrom(RevisionMark),
    /// The plan's revision is the target of a signed rollback from this one.
    RollsBackFrom(RevisionMark),
}

/// The progress of one change during an apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The resource that is changed.
    pub address: Address,
    /// How far the change of this resource has got.
    pub state: ProgressState,
}

/// How far a change has got.
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
    /// Digest of the plan's desired state.
    pub target: Digest,
    /// Each change with its outcome, in the plan's order.
    pub results: Vec<ChangeResult>,
    /// The ledger after the run.
    pub ledger: LedgerSummary,
    /// Time that the run spent only waiting for changes to settle, in milliseconds.
    #[serde(default)]
    pub settling: u64,
    /// The error that stopped the run before its end, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<AgentError>,
    /// Changed resources that the host puts back unless the controller confirms them over a new connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<Address>,
    /// Problems of the host that made no change fail, each as a phrase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Summary of a host's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerSummary {
    /// The ledger's condition.
    pub state: LedgerState,
    /// Number of writes to the ledger. The controller remembers it, to notice that an older ledger was
    /// restored.
    pub sequence: u64,
    /// Highest epoch that the host has seen of the controller that it obeys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The controller that the host obeys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControllerId>,
    /// The newest revision that the host ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionMark>,
    /// Digest of the last desired state that the agent confirmed for every resource.
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
    /// The ledger is complete and belongs to this machine.
    Sound,
    /// The ledger is lost, corrupt, or belongs to another machine, so the agent only observes the host. The
    /// sentence gives the reason.
    Lost(String),
}

/// Facts about the machine.
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
