//! A host in memory: what is on it, its ledger, and the fence of its agent.

use std::time::Duration;

use plumb_api::frame::{LedgerState, LedgerSummary, RevisionMark, TakeOver};
use plumb_api::plan::{Cause, Certainty, Change, ChangeId, Op, Plan};
use plumb_api::report::{AgentError, ErrorCode, Retry};
use plumb_api::{ControllerId, Digest, Epoch};
use plumb_core::fleet::{
    ChangeOutcome, FailedIn, ObservedHost, RunEnd, RunFailure, RunMode, RunPhase, RunReport,
    StartRun,
};
use plumb_core::plan::{Planned, Refusal};
use plumb_core::ports::{Denial, HostError};
use plumb_core::reason::ConditionReason;

use crate::repository::Repository;

/// What goes wrong on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It can't be reached.
    Off,
    /// Its changes fail, and may succeed later.
    Fails,
    /// Its changes fail until somebody changes something.
    Stalls,
    /// Its changes fail once, and succeed at the retry.
    FailsOnce,
    /// The connection breaks once after its changes are made.
    BreaksOnce,
    /// The connection breaks after its changes are made.
    BreaksAfter,
    /// The run crashes.
    Panics,
    /// Something else is at work on it.
    Waits,
    /// Its ledger can't be trusted.
    LedgerLost,
    /// It tells things that aren't so.
    Lies,
    /// Its login is refused.
    Denies,
}

pub const FAULTS: [Fault; 11] = [
    Fault::FailsOnce,
    Fault::BreaksOnce,
    Fault::Off,
    Fault::Fails,
    Fault::Stalls,
    Fault::BreaksAfter,
    Fault::Panics,
    Fault::Waits,
    Fault::LedgerLost,
    Fault::Lies,
    Fault::Denies,
];

/// A host.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    pub fault: Option<Fault>,
    pub slow: Duration,
    /// The state that is on it.
    pub has: Option<Digest>,
    pub drifted: bool,
    pub confirmed: Option<Digest>,
    pub sequence: u64,
    pub holder: Option<(ControllerId, Epoch)>,
    pub revision: Option<String>,
}

fn failure(report: &mut RunReport, error: &HostError, failed_in: FailedIn) {
    report.end = RunEnd::Failed(RunFailure::of_host(error, failed_in));
}

impl Machine {
    fn ledger(&self) -> LedgerSummary {
        if self.fault == Some(Fault::Lies) {
            return LedgerSummary {
                state: LedgerState::Sound,
                sequence: self.sequence + 1_000,
                epoch: Some(Epoch(1)),
                controller: self.holder.as_ref().map(|(id, _)| id.clone()),
                revision: Some(RevisionMark("not a commit".to_owned())),
                confirmed: Some(Digest::of_bytes(b"a lie")),
                resources: 7,
            };
        }
        LedgerSummary {
            state: match (self.fault, self.sequence) {
                (Some(Fault::LedgerLost), _) => LedgerState::Lost("it was damaged".to_owned()),
                (_, 0) => LedgerState::Fresh,
                _ => LedgerState::Sound,
            },
            sequence: self.sequence,
            epoch: self.holder.as_ref().map(|(_, epoch)| *epoch),
            controller: self.holder.as_ref().map(|(id, _)| id.clone()),
            revision: self.revision.clone().map(RevisionMark),
            confirmed: self.confirmed,
            resources: u32::from(self.has.is_some()),
        }
    }

    /// The agent's fence: an older controller is refused.
    fn claim(&mut self, run: &StartRun) -> bool {
        let fence = &run.fence;
        let fits = match &self.holder {
            None => true,
            Some((id, epoch)) if *id == fence.controller => fence.epoch >= *epoch,
            Some((_, epoch)) => fence.take_over == TakeOver::Yes && fence.epoch > *epoch,
        };
        if fits {
            self.holder = Some((fence.controller.clone(), fence.epoch));
        }
        fits
    }

    /// Carries a run out. The report is what the controller learns, if it lives to learn it.
    pub fn run(&mut self, run: &StartRun, repository: &Repository) -> RunReport {
        let host = run.fence.host.clone();
        let mut report = RunReport::begun(run);
        match self.fault {
            Some(Fault::Off) => {
                let reason = "no route to host".to_owned();
                failure(
                    &mut report,
                    &HostError::Unreachable { host, reason },
                    FailedIn::Contact,
                );
                return report;
            }
            Some(Fault::Denies) => {
                let error = HostError::Denied {
                    host,
                    user: "root".to_owned(),
                    cause: Denial::KeysRejected,
                    reason: "publickey".to_owned(),
                };
                failure(&mut report, &error, FailedIn::Contact);
                return report;
            }
            Some(Fault::Panics) => {
                report.end = RunEnd::Failed(RunFailure::panicked(&host));
                return report;
            }
            _ => {}
        }
        report.phases.push((RunPhase::Connect, Duration::ZERO));
        if run.mode == RunMode::Drive && !self.claim(run) {
            let error = AgentError::new(ErrorCode::Superseded, "another controller drives it");
            failure(
                &mut report,
                &HostError::Agent { host, error },
                FailedIn::Contact,
            );
            return report;
        }
        let ledger = self.ledger();
        report.observed = Some(ObservedHost {
            ledger: ledger.clone(),
            resources: 1,
            clock_offset: None,
            reboot: Vec::new(),
        });
        report.end = self.checked(run, &ledger, repository);
        if report.end == RunEnd::Settled {
            self.apply(run, &mut report);
        }
        report
    }

    /// What stands against any change; `Settled` if nothing does.
    fn checked(&self, run: &StartRun, ledger: &LedgerSummary, repository: &Repository) -> RunEnd {
        if let Some(known) = run.ledger_sequence
            && ledger.state == LedgerState::Sound
            && ledger.sequence < known
        {
            let found = ledger.sequence;
            return RunEnd::Rewound { known, found };
        }
        if let Some(mark) = &ledger.revision
            && mark.0 != run.target.revision
        {
            let goal = repository.find(&run.target.revision);
            let (Some(ran), Some(goal)) = (repository.find(&mark.0), goal) else {
                return RunEnd::OffChain(mark.0.clone());
            };
            if !repository.descends(ran, goal) {
                return if repository.descends(goal, ran) {
                    RunEnd::Newer(mark.0.clone())
                } else {
                    RunEnd::OffChain(mark.0.clone())
                };
            }
        }
        if let LedgerState::Lost(why) = &ledger.state {
            return RunEnd::Refused(Refusal::LedgerLost(why.clone()));
        }
        if self.fault == Some(Fault::Waits) {
            return RunEnd::Refused(Refusal::Waiting("cloud-init runs".to_owned()));
        }
        match run.mode {
            RunMode::Look => RunEnd::Looked,
            RunMode::Drive => RunEnd::Settled,
        }
    }

    fn apply(&mut self, run: &StartRun, report: &mut RunReport) {
        let cause = if self.drifted {
            Cause::Drift
        } else {
            Cause::Intent
        };
        let needed = self.drifted || self.has != Some(run.target.digest);
        let change = Change {
            id: ChangeId(0),
            address: "file:/etc/motd".parse().unwrap(),
            op: Op::Update,
            cause,
            certainty: Certainty::Exact,
            fields: Vec::new(),
            consequences: Vec::new(),
            precondition: None,
            after: Vec::new(),
        };
        let changes: Vec<_> = needed.then_some(change).into_iter().collect();
        let faults = [Fault::Fails, Fault::Stalls, Fault::FailsOnce];
        let fails = needed && self.fault.is_some_and(|fault| faults.contains(&fault));
        let outcome = if fails {
            ChangeOutcome::Failed
        } else {
            ChangeOutcome::Applied
        };
        report.outcomes = changes.iter().map(|c| (c.clone(), outcome)).collect();
        report.planned = Some(Planned {
            plan: Plan {
                target: run.target.digest,
                changes,
                confirm: Vec::new(),
                forget: Vec::new(),
            },
            refusal: None,
            held_drift: Vec::new(),
            problems: Vec::new(),
            blocked: Vec::new(),
            leaving: std::collections::BTreeSet::new(),
            origins: std::collections::BTreeMap::new(),
            diffs: std::collections::BTreeMap::new(),
        });
        if fails {
            let stalls = self.fault == Some(Fault::Stalls);
            if self.fault == Some(Fault::FailsOnce) {
                self.fault = None;
            }
            let (reason, retry) = if stalls {
                (ConditionReason::ValidateFailed, Retry::Stalled)
            } else {
                (ConditionReason::NoSpace, Retry::Transient)
            };
            report.end = RunEnd::Partly(RunFailure {
                retry,
                failed_in: FailedIn::Change,
                ..RunFailure::of_controller(reason, "a change failed".to_owned())
            });
            return;
        }
        if needed || self.confirmed != Some(run.target.digest) {
            self.sequence += 1;
        }
        self.has = Some(run.target.digest);
        self.drifted = false;
        self.confirmed = Some(run.target.digest);
        self.revision = Some(run.target.revision.clone());
        let breaks = [Fault::BreaksAfter, Fault::BreaksOnce];
        if self.fault.is_some_and(|fault| breaks.contains(&fault)) {
            if self.fault == Some(Fault::BreaksOnce) {
                self.fault = None;
            }
            let host = run.fence.host.clone();
            let reason = "connection reset".to_owned();
            failure(
                report,
                &HostError::Broken { host, reason },
                FailedIn::Change,
            );
            return;
        }
        if let Some(observed) = &mut report.observed {
            observed.ledger = self.ledger();
        }
    }
}
