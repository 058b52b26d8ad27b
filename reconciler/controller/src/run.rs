//! One run on one host: connect, observe, plan, apply. It knows nothing of other hosts and changes no
//! state of the loop; what came of it is its result.

mod ended;
mod lineage;

use std::sync::Arc;
use std::time::Duration;

use plumb_api::frame::{
    Apply, Fence, LedgerState, LedgerSummary, Observe, ObserveReport, Purpose, Reveal, RevisionMark,
};
use plumb_api::plan::{Change, Plan};
use plumb_api::report::Outcome;
use plumb_api::resource::Content;
use plumb_api::{Digest, HostName};
use plumb_core::desired::{DesiredState, HostIntent};
use plumb_core::plan::{PlanOptions, Planned, plan};
use plumb_core::ports::{ContentSource, HostError, HostTarget, Hosts, Observation, Session};
use plumb_core::status::Target;
use plumb_trust::source::Source;
use tracing::Instrument as _;

use crate::persist::WentBack;

pub(crate) use ended::{Cause, Contact, Ended, Failed};

/// Contents by digest, on their way to a host.
type Blobs = Vec<(Digest, Arc<[u8]>)>;

/// What a run is to do.
#[derive(Clone)]
pub(crate) struct Job {
    /// The host and the way to it.
    pub(crate) target: HostTarget,
    /// What is desired of it; `desired` is what it is to be driven to.
    pub(crate) intent: Arc<HostIntent>,
    /// The revision and digest that this is.
    pub(crate) goal: Target,
    /// Whether anything may be changed.
    pub(crate) mode: Mode,
    /// The desired state that its agent holds.
    pub(crate) base: Option<Arc<DesiredState>>,
    /// The ledger's sequence when last seen.
    pub(crate) sequence: Option<u64>,
    /// Who drives it.
    pub(crate) fence: Fence,
    /// Signed rollbacks that were accepted.
    pub(crate) rollbacks: Vec<WentBack>,
    /// The contents that its specs name.
    pub(crate) contents: Arc<dyn ContentSource>,
    /// How long it may be silent.
    pub(crate) silence: Duration,
}

/// Whether a run may change the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It only looks: what the host ran before isn't known here yet.
    Look,
    /// It drives.
    Drive,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) goal: Target,
    pub(crate) mode: Mode,
    pub(crate) seen: Option<Seen>,
    pub(crate) planned: Option<Planned>,
    /// Changes that were done.
    pub(crate) applied: Vec<Change>,
    /// Changes that failed or weren't tried, as counts by what came of them.
    pub(crate) outcomes: Vec<(Change, &'static str)>,
    pub(crate) ended: Ended,
    pub(crate) phases: Vec<(&'static str, Duration)>,
}

/// What a host showed of itself.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) ledger: LedgerSummary,
    pub(crate) resources: u32,
}

impl Ran {
    pub(crate) fn new(job: &Job, ended: Ended) -> Self {
        Self {
            goal: job.goal.clone(),
            mode: job.mode,
            seen: None,
            planned: None,
            applied: Vec::new(),
            outcomes: Vec::new(),
            ended,
            phases: Vec::new(),
        }
    }
}

/// Runs a job to its end, whatever happens to the host.
pub(crate) async fn run(job: Job, hosts: Arc<dyn Hosts>, source: Arc<dyn Source>) -> Ran {
    let mut ran = Ran::new(&job, Ended::Settled);
    match drive(&job, hosts.as_ref(), source.as_ref(), &mut ran).await {
        Ok(ended) => ran.ended = ended,
        Err(failed) => ran.ended = Ended::Failed(failed),
    }
    ran
}

async fn drive(
    job: &Job,
    hosts: &dyn Hosts,
    source: &dyn Source,
    ran: &mut Ran,
) -> Result<Ended, Failed> {
    let host = &job.target.name;
    let mut session = timed(ran, "connect", within(job, hosts.connect(&job.target)))
        .await
        .map_err(|error| Failed::of(&error, Cause::Contact))?;
    let span = tracing::info_span!("observe");
    let report = timed(
        ran,
        "observe",
        observe(job, session.as_mut()).instrument(span),
    )
    .await
    .map_err(|error| Failed::of(&error, Cause::Contact))?;
    ran.seen = Some(Seen {
        ledger: report.ledger.clone(),
        resources: report
            .in_sync
            .saturating_add(u32::try_from(report.differences.len()).unwrap_or(u32::MAX)),
    });
    if let Some(ended) = rewound(job, &report.ledger) {
        return Ok(ended);
    }
    let lineage = match lineage::of(job, source, &report.ledger).await? {
        Ok(lineage) => lineage,
        Err(ended) => return Ok(ended),
    };
    let planned = plan(&job.intent, &report, PlanOptions::default());
    let ended = match (&planned.refusal, job.mode) {
        (Some(refusal), _) => Ended::Refused(refusal.clone()),
        (None, Mode::Look) => Ended::Looked,
        (None, Mode::Drive) if is_done(job, &planned, &report) => Ended::of_plan(&planned),
        (None, Mode::Drive) => {
            let request = Apply {
                fence: job.fence.clone(),
                plan: planned.plan.clone(),
                revision: RevisionMark(job.goal.revision.clone()),
                lineage,
            };
            let contents = contents(job, &planned.plan)?;
            let span = tracing::info_span!("apply", changes = planned.plan.changes.len());
            let report = timed(
                ran,
                "apply",
                apply(job, session.as_mut(), request, contents).instrument(span),
            )
            .await
            .map_err(|error| Failed::of(&error, Cause::Change))?;
            tally(&planned.plan, &report.results, ran);
            if let Some(seen) = &mut ran.seen {
                seen.ledger = report.ledger;
            }
            match report.stopped {
                Some(error) => Ended::Failed(Failed::of(
                    &HostError::Agent {
                        host: host.clone(),
                        error,
                    },
                    Cause::Change,
                )),
                None => Ended::of_report(&planned, &report.results),
            }
        }
    };
    ran.planned = Some(planned);
    Ok(ended)
}

/// A guard behind the adapters' own bounds: nothing of a host may hold its place for ever.
async fn within<T>(
    job: &Job,
    work: impl Future<Output = Result<T, HostError>>,
) -> Result<T, HostError> {
    match tokio::time::timeout(job.silence, work).await {
        Ok(result) => result,
        Err(_) => Err(HostError::Silent {
            host: job.target.name.clone(),
            seconds: job.silence.as_secs(),
        }),
    }
}

async fn timed<T>(ran: &mut Ran, phase: &'static str, work: impl Future<Output = T>) -> T {
    let start = tokio::time::Instant::now();
    let result = work.await;
    ran.phases.push((phase, start.elapsed()));
    result
}

/// Asks what differs: with a delta on what the agent holds, and with the whole state if it holds
/// another one.
async fn observe(job: &Job, session: &mut dyn Session) -> Result<ObserveReport, HostError> {
    let desired = plumb_core::plan::goal(&job.intent);
    let mut base = job.base.as_deref();
    loop {
        let request = Observe {
            fence: job.fence.clone(),
            base: base.map(DesiredState::digest),
            target: desired.digest(),
            delta: desired.delta_from(base),
            purpose: match job.mode {
                Mode::Look => Purpose::Look,
                Mode::Drive => Purpose::Drive,
            },
            reveal: Reveal::Nothing,
        };
        match within(job, session.observe(request)).await? {
            Observation::Report(report) => return Ok(*report),
            Observation::NeedState if base.is_some() => base = None,
            Observation::NeedState => {
                return Err(HostError::Broken {
                    host: job.target.name.clone(),
                    reason: "its agent asked for the whole state and didn't take it".to_owned(),
                });
            }
        }
    }
}

/// Carries a plan out. As long as there are signs of life it may take its time.
async fn apply(
    job: &Job,
    session: &mut dyn Session,
    request: Apply,
    contents: Blobs,
) -> Result<plumb_api::frame::Report, HostError> {
    let (alive, mut signs) = tokio::sync::watch::channel(());
    let mut progress = move |progress: plumb_api::frame::Progress| {
        tracing::debug!(address = %progress.address, state = ?progress.state, "progress");
        let _ = alive.send(());
    };
    let work = session.apply(request, contents, &mut progress);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            heard = tokio::time::timeout(job.silence, signs.changed()) => if heard.is_err() {
                return Err(HostError::Silent {
                    host: job.target.name.clone(),
                    seconds: job.silence.as_secs(),
                });
            },
        }
    }
}

/// A ledger that is older than what was seen of it: the machine was put back to an earlier state.
fn rewound(job: &Job, ledger: &LedgerSummary) -> Option<Ended> {
    let known = job.sequence?;
    let found = ledger.sequence;
    (ledger.state == LedgerState::Sound && found < known).then_some(Ended::Rewound { known, found })
}

/// Whether nothing needs to be told to the agent.
fn is_done(job: &Job, planned: &Planned, report: &ObserveReport) -> bool {
    if !planned.plan.is_settled() {
        return false;
    }
    // What is held or can't be looked at keeps the whole from being confirmed.
    let whole = planned.held_drift.is_empty() && planned.problems.is_empty();
    !whole || report.ledger.confirmed == Some(job.goal.digest)
}

/// The contents that a plan needs.
fn contents(job: &Job, plan: &Plan) -> Result<Blobs, Failed> {
    let mut needed = std::collections::BTreeSet::new();
    for change in &plan.changes {
        let Some(spec) = job.intent.desired.get(&change.address) else {
            continue;
        };
        let moves = |content: &Content| {
            let value = serde_json::to_value(content).ok();
            change.precondition.is_none() || change.fields.iter().any(|field| field.to == value)
        };
        needed.extend(
            spec.contents()
                .into_iter()
                .filter(moves)
                .map(|content| content.sha256),
        );
    }
    needed
        .into_iter()
        .map(|digest| match job.contents.content(&digest) {
            Some(bytes) => Ok((digest, bytes)),
            None => Err(Failed::missing_content(&job.target.name, &digest)),
        })
        .collect()
}

/// Takes note of what came of each change.
fn tally(plan: &Plan, results: &[plumb_api::report::ChangeResult], ran: &mut Ran) {
    for change in &plan.changes {
        let result = results.iter().find(|result| result.id == change.id);
        let what = match result.map(|result| &result.outcome) {
            Some(Outcome::Applied) => {
                ran.applied.push(change.clone());
                "applied"
            }
            Some(Outcome::Unchanged) => "unchanged",
            Some(Outcome::Failed(_)) => "failed",
            Some(Outcome::Skipped(_)) => "skipped",
            Some(Outcome::Stopped) | None => "stopped",
        };
        ran.outcomes.push((change.clone(), what));
    }
}

/// A host's name for a message, where a job ended without a result.
pub(crate) fn panicked(job: &Job) -> Ran {
    Ran::new(job, Ended::Failed(Failed::panicked(&job.target.name)))
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("host", &self.target.name)
            .field("goal", &self.goal)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// The name of the host that a job is about.
impl Job {
    pub(crate) fn host(&self) -> &HostName {
        &self.target.name
    }
}
