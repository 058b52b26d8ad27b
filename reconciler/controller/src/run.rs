//! One run on one host: connects, observes, plans and applies. A run knows no other host and doesn't change
//! the loop's state: the loop gets its report as an event.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::frame::{
    Apply, Attendance, DeadMan, Departure, Difference, DifferenceState, LedgerState, LedgerSummary,
    Lineage, Observe, ObserveReport, Purpose, Reveal, RevisionMark,
};
use plumb_api::plan::Plan;
use plumb_api::report::{ErrorCode, Outcome};
use plumb_api::resource::Content;
use plumb_api::{Address, Digest};
use plumb_core::desired::{DesiredState, Lifecycle};
use plumb_core::fleet::{
    ChangeOutcome, FailedIn, ObservedHost, ResourceReport, RunEnd, RunFailure, RunMode, RunPhase,
    RunReport, StartRun, Trigger,
};
use plumb_core::plan::{PlanOptions, Planned, content_diffs, goal, plan};
use plumb_core::ports::{Clock, HostError, HostTarget, Hosts, Observation, Session};
use plumb_core::reason::ConditionReason;
use tracing::Instrument as _;

use crate::confirm::{confirm, could_cut_off, dead_man};
use crate::lineage::lineage;
use crate::settings::SourcePort;

/// Contents to send to a host, by digest.
type Blobs = Vec<(Digest, Arc<[u8]>)>;

/// The input of a run, with the route to the host.
pub(crate) struct Job {
    pub(crate) spec: StartRun,
    pub(crate) host: HostTarget,
    /// Maximum time without a sign of life from the host.
    pub(crate) silence: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Executes a run. Every error becomes part of the report.
pub(crate) async fn run(job: Job, hosts: Arc<dyn Hosts>, source: Arc<SourcePort>) -> RunReport {
    let mut report = RunReport::begun(&job.spec);
    report.end = match drive(&job, hosts.as_ref(), source.as_ref(), &mut report).await {
        Ok(end) => end,
        Err(failure) => RunEnd::Failed(failure),
    };
    report
}

async fn drive(
    job: &Job,
    hosts: &dyn Hosts,
    source: &SourcePort,
    ran: &mut RunReport,
) -> Result<RunEnd, RunFailure> {
    let mut session = timed(
        ran,
        RunPhase::Connect,
        with_deadline(job, hosts.connect(&job.host)),
    )
    .await
    .map_err(|error| RunFailure::of_host(&error, FailedIn::Contact))?;
    let span = tracing::info_span!("observe");
    let mut report = timed(
        ran,
        RunPhase::Observe,
        observe(job, session.as_mut()).instrument(span),
    )
    .await
    .map_err(|error| RunFailure::of_host(&error, FailedIn::Contact))?;
    ran.observed = Some(ObservedHost {
        ledger: report.ledger.clone(),
        resources: u32::try_from(goal(&job.spec.intent).resources().len()).unwrap_or(u32::MAX),
        clock_offset: report.clock.and_then(|clock| {
            let theirs = Timestamp::from_second(clock).ok()?;
            Some(theirs.duration_since(job.clock.now()))
        }),
    });
    let_go(&job.spec.let_go, &mut report);
    ran.interrupted = interrupted(job, &report);
    if let Some(ended) = rewound(job, &report.ledger) {
        return Ok(ended);
    }
    let lineage = match lineage(&job.spec, source, &report.ledger).await? {
        Ok(lineage) => lineage,
        Err(ended) => return Ok(ended),
    };
    let mut planned = plan(&job.spec.intent, &report, PlanOptions::default());
    planned.diffs = content_diffs(
        &plumb_core::plan::goal(&job.spec.intent),
        &report,
        &|digest| content(job, digest),
    );
    if let Some(made) = &mut ran.interrupted {
        *made = changed_before(job, &planned);
    }
    let ended = match (&planned.refusal, job.spec.mode) {
        (Some(refusal), _) => RunEnd::Refused(refusal.clone()),
        (None, RunMode::Look) => RunEnd::Looked,
        (None, RunMode::Drive) if is_done(job, &planned, &report) => {
            ran.resources = ResourceReport::of(&planned, &[]);
            RunEnd::of_plan(&planned)
        }
        (None, RunMode::Drive) => carry_out(job, hosts, session, &planned, lineage, ran).await?,
    };
    ran.planned = Some(planned);
    Ok(ended)
}

/// Applies the plan, and confirms the changes that could have cut the controller off.
async fn carry_out(
    job: &Job,
    hosts: &dyn Hosts,
    mut session: Box<dyn Session>,
    planned: &Planned,
    lineage: Lineage,
    ran: &mut RunReport,
) -> Result<RunEnd, RunFailure> {
    let dead_man = dead_man(job);
    let request = Apply {
        dead_man: dead_man.clone(),
        fence: job.spec.fence.clone(),
        plan: planned.plan.clone(),
        revision: RevisionMark(job.spec.target.revision.clone()),
        lineage,
        departure: match job.spec.intent.lifecycle {
            Lifecycle::Retired => Departure::Leaves,
            _ => Departure::Stays,
        },
    };
    let contents = contents(job, &planned.plan)?;
    let span = tracing::info_span!("apply", changes = planned.plan.changes.len());
    let changes = planned.plan.changes.iter();
    ran.unheard = changes.map(|change| change.address.clone()).collect();
    let applied = timed(
        ran,
        RunPhase::Apply,
        apply(job, session.as_mut(), request, contents).instrument(span),
    )
    .await;
    // The next session must not take over the connection: only a new one shows that a login works.
    drop(session);
    let report = match applied {
        Ok(report) => report,
        Err(error) => {
            return Err(unheard(job, hosts, dead_man.as_ref(), planned, &error).await);
        }
    };
    ran.unheard.clear();
    split_settling(ran, Duration::from_millis(report.settling));
    record_results(planned, &report.results, ran);
    ran.resources = ResourceReport::of(planned, &report.results);
    ran.let_go.clone_from(&job.spec.let_go);
    ran.warnings = report.warnings;
    if let Some(observed) = &mut ran.observed {
        observed.ledger = report.ledger;
    }
    let confirmed = match &dead_man {
        Some(dead_man) if !report.unconfirmed.is_empty() => {
            timed(ran, RunPhase::Confirm, confirm(job, hosts, dead_man)).await
        }
        _ => Ok(()),
    };
    if let Err(failure) = confirmed {
        put_back(&report.unconfirmed, ran);
        return Ok(RunEnd::Failed(failure));
    }
    Ok(match report.stopped {
        Some(error) => RunEnd::Failed(RunFailure::of_host(
            &HostError::Agent {
                host: job.host.name.clone(),
                error,
            },
            FailedIn::Change,
        )),
        None => RunEnd::of_changes(planned, &report.results),
    })
}

/// Returns the failure of a run whose report never arrived. The plan itself may have ended the connection. If it
/// could have, a new connection confirms its changes.
async fn unheard(
    job: &Job,
    hosts: &dyn Hosts,
    dead_man: Option<&DeadMan>,
    planned: &Planned,
    error: &HostError,
) -> RunFailure {
    let lost = RunFailure::of_host(error, FailedIn::Change);
    let is_lost = matches!(error, HostError::Broken { .. } | HostError::Silent { .. });
    match dead_man {
        Some(dead_man) if is_lost && could_cut_off(&planned.plan, dead_man) => {
            match confirm(job, hosts, dead_man).await {
                Err(failure) if failure.reason == ConditionReason::Reverted => failure,
                Ok(()) | Err(_) => lost,
            }
        }
        _ => lost,
    }
}

/// Corrects the outcomes of changes that the host puts back.
fn put_back(unconfirmed: &[Address], ran: &mut RunReport) {
    for (change, outcome) in &mut ran.outcomes {
        if unconfirmed.contains(&change.address) {
            *outcome = ChangeOutcome::Reverted;
        }
    }
}

/// Limits the time of an exchange with the host, so that a host that hangs can't occupy its slot for ever.
/// The adapters have limits of their own, too.
pub(crate) async fn with_deadline<T>(
    job: &Job,
    work: impl Future<Output = Result<T, HostError>>,
) -> Result<T, HostError> {
    match tokio::time::timeout(job.silence, work).await {
        Ok(result) => result,
        Err(_) => Err(HostError::Silent {
            host: job.host.name.clone(),
            seconds: job.silence.as_secs(),
        }),
    }
}

async fn timed<T>(ran: &mut RunReport, phase: RunPhase, work: impl Future<Output = T>) -> T {
    let start = tokio::time::Instant::now();
    let result = work.await;
    ran.phases.push((phase, start.elapsed()));
    result
}

/// Moves the time in which the agent only waited from the apply phase to the settle phase.
fn split_settling(ran: &mut RunReport, settling: Duration) {
    if settling.is_zero() {
        return;
    }
    if let Some((RunPhase::Apply, spent)) = ran.phases.last_mut() {
        let settling = settling.min(*spent);
        *spent -= settling;
        ran.phases.push((RunPhase::Settle, settling));
    }
}

/// Requests the differences from the agent. The first request has a delta to the state that the agent
/// probably holds. If the agent holds another state, the second request has the full state.
async fn observe(job: &Job, session: &mut dyn Session) -> Result<ObserveReport, HostError> {
    let desired = goal(&job.spec.intent);
    let mut base = job.spec.base.as_deref();
    loop {
        let request = Observe {
            fence: job.spec.fence.clone(),
            base: base.map(DesiredState::digest),
            target: desired.digest(),
            delta: desired.delta_from(base),
            purpose: match job.spec.mode {
                RunMode::Look => Purpose::Look,
                RunMode::Drive => Purpose::Drive,
            },
            // This costs nothing while the host is in sync: the agent sends only the texts that differ.
            reveal: Reveal::WorldReadable,
            attendance: match job.spec.trigger {
                Trigger::Manual => Attendance::Attended,
                Trigger::Target | Trigger::Retry | Trigger::Resync => Attendance::Unattended,
            },
        };
        match with_deadline(job, session.observe(request)).await? {
            Observation::Report(report) => return Ok(*report),
            Observation::NeedState if base.is_some() => base = None,
            Observation::NeedState => {
                return Err(HostError::Broken {
                    host: job.host.name.clone(),
                    reason: "agent rejected the full desired state".to_owned(),
                });
            }
        }
    }
}

/// Applies a plan. The total time is unlimited as long as the agent shows signs of life.
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
                    host: job.host.name.clone(),
                    seconds: job.silence.as_secs(),
                });
            },
        }
    }
}

/// Returns the result of the run if the host's ledger is older than at an earlier contact, because the
/// machine was reset to an earlier state.
fn rewound(job: &Job, ledger: &LedgerSummary) -> Option<RunEnd> {
    let known = job.spec.ledger_sequence?;
    let found = ledger.sequence;
    (ledger.state == LedgerState::Sound && found < known)
        .then_some(RunEnd::Rewound { known, found })
}

/// Returns `Some` if an earlier run wrote the host's ledger and the controller didn't get its report. The
/// caller fills the list. A host that has put changes back wrote its ledger, too.
fn interrupted(job: &Job, report: &ObserveReport) -> Option<Vec<Address>> {
    let known = job.spec.ledger_sequence?;
    let is_reverted = |difference: &Difference| {
        let refusal = difference.refusal.as_ref();
        refusal.is_some_and(|error| error.code == ErrorCode::Reverted)
    };
    let reverted = report.differences.iter().any(is_reverted);
    (report.ledger.sequence > known && !reverted).then(Vec::new)
}

/// Returns the resources that the target changes but that already match it, because an earlier run changed
/// them.
fn changed_before(job: &Job, planned: &Planned) -> Vec<Address> {
    let delta = goal(&job.spec.intent).delta_from(job.spec.base.as_deref());
    let open: std::collections::BTreeSet<_> = planned.differing().into_iter().collect();
    let changed = delta.set.into_keys().chain(delta.remove);
    changed.filter(|address| !open.contains(address)).collect()
}

/// Removes the differences of resources that a person let go of, so that the plan only drops them from the
/// ledger.
fn let_go(addresses: &[Address], report: &mut ObserveReport) {
    let undesired = |difference: &Difference| difference.state != DifferenceState::Differs;
    let gone: Vec<Address> = report
        .differences
        .iter()
        .filter(|difference| undesired(difference) && addresses.contains(&difference.address))
        .map(|difference| difference.address.clone())
        .collect();
    report
        .differences
        .retain(|difference| !gone.contains(&difference.address));
    report.gone.extend(gone);
}

/// True if the agent has nothing to apply, confirm or forget, and the host isn't retired.
fn is_done(job: &Job, planned: &Planned, report: &ObserveReport) -> bool {
    if !planned.plan.is_settled() || job.spec.intent.lifecycle == Lifecycle::Retired {
        return false;
    }
    // While drift or problems remain, the agent can't confirm the state as a whole.
    let whole = planned.held_drift.is_empty() && planned.problems.is_empty();
    !whole || report.ledger.confirmed == Some(job.spec.target.digest)
}

/// Returns a content by digest, from the revisions that the run may need.
fn content(job: &Job, digest: &Digest) -> Option<Arc<[u8]>> {
    let mut revisions = job.spec.contents.iter();
    revisions.find_map(|one| one.contents().get(digest))
}

/// Returns the contents that the changes of a plan need.
fn contents(job: &Job, plan: &Plan) -> Result<Blobs, RunFailure> {
    let mut needed = std::collections::BTreeSet::new();
    for change in &plan.changes {
        let Some(spec) = job.spec.intent.desired.get(&change.address) else {
            continue;
        };
        let moves = |content: &Content| {
            let value = serde_json::to_value(content).ok();
            change.precondition.is_none()
                || change.address.kind().is_made_whole()
                || change.fields.iter().any(|field| field.to == value)
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
        .map(|digest| match content(job, &digest) {
            Some(bytes) => Ok((digest, bytes)),
            None => Err(RunFailure::of_controller(
                ConditionReason::MissingContent,
                format!(
                    "controller lacks the content {digest} that {} needs",
                    job.host.name
                ),
            )),
        })
        .collect()
}

/// Records the outcome of each change in the plan.
fn record_results(
    planned: &Planned,
    results: &[plumb_api::report::ChangeResult],
    ran: &mut RunReport,
) {
    for change in &planned.plan.changes {
        let leaves = planned.leaving.contains(&change.address);
        let result = results.iter().find(|result| result.id == change.id);
        let outcome = match result.map(|result| &result.outcome) {
            Some(Outcome::Applied) => ChangeOutcome::Applied,
            Some(Outcome::Unchanged) => ChangeOutcome::Unchanged,
            Some(Outcome::Failed(_)) if leaves => ChangeOutcome::Deferred,
            Some(Outcome::Failed(_)) => ChangeOutcome::Failed,
            Some(Outcome::Skipped(_)) => ChangeOutcome::Skipped,
            Some(Outcome::Stopped) | None => ChangeOutcome::Stopped,
        };
        ran.outcomes.push((change.clone(), outcome));
    }
}
