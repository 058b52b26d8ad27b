//! Drives a host as a controller does, with the simplest plan that does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use plumb_adapters::hosts::Connector;
use plumb_api::frame::{
    Apply, Delta, DifferenceState, Fence, Lineage, Observe, ObserveReport, PROTOCOL, Progress,
    Purpose, Report, Reveal, RevisionMark, TakeOver,
};
use plumb_api::plan::{Cause, Certainty, Change, ChangeId, Op, Plan};
use plumb_api::report::{AgentError, ErrorCode, Outcome};
use plumb_api::resource::{Content, FileType};
use plumb_api::{Address, Digest, Epoch, Kind, Observed, Spec};
use plumb_core::ports::{HostError, Hosts, Observation, Session};

use crate::ground::{AREA, Ground};

/// A controller with one host.
pub struct Driver<'a> {
    pub ground: &'a Ground,
    pub connector: Connector,
    pub fence: Fence,
    pub session: Box<dyn Session>,
    desired: BTreeMap<Address, Spec>,
    contents: BTreeMap<Digest, Arc<[u8]>>,
}

/// The address of something in the folder that a case has.
pub fn at(kind: Kind, name: &str) -> Address {
    Address::new(kind, &format!("{AREA}/{name}")).unwrap()
}

impl<'a> Driver<'a> {
    pub async fn new(ground: &'a Ground) -> Self {
        let connector = ground.connector();
        let session = connector.connect(ground.target()).await.unwrap();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let fence = Fence {
            protocol: PROTOCOL,
            fleet: "contract".parse().unwrap(),
            host: ground.target().name.clone(),
            formerly: Vec::new(),
            controller: "one".parse().unwrap(),
            epoch: Epoch(started.as_secs()),
            take_over: TakeOver::No,
        };
        Self {
            ground,
            connector,
            fence,
            session,
            desired: BTreeMap::new(),
            contents: BTreeMap::new(),
        }
    }

    /// Hangs up and connects again.
    pub async fn reconnect(&mut self) {
        self.session = self.connector.connect(self.ground.target()).await.unwrap();
    }

    /// Makes a content known.
    pub fn content(&mut self, bytes: &[u8]) -> Content {
        let content = Content::of(bytes);
        self.contents.insert(content.sha256, bytes.into());
        content
    }

    /// What is desired from now on.
    pub fn want(&mut self, desired: impl IntoIterator<Item = (Address, Spec)>) {
        self.desired = desired.into_iter().collect();
    }

    /// The digest of what is desired.
    pub fn target(&self) -> Digest {
        let leaves = self.desired.iter();
        Delta::digest_of(leaves.map(|(address, spec)| (address, spec.digest().unwrap())))
    }

    /// The question that sends all of it.
    pub fn question(&self, purpose: Purpose) -> Observe {
        Observe {
            fence: self.fence.clone(),
            base: None,
            target: self.target(),
            delta: Delta {
                set: self.desired.clone(),
                remove: Vec::new(),
            },
            purpose,
            reveal: Reveal::Nothing,
            attendance: plumb_api::frame::Attendance::Unattended,
        }
    }

    /// Asks, and expects an observation.
    pub async fn ask(&mut self, question: Observe) -> ObserveReport {
        match self.session.observe(question).await {
            Ok(Observation::Report(report)) => *report,
            other => panic!("no observation: {other:?}"),
        }
    }

    pub async fn observe(&mut self) -> ObserveReport {
        self.ask(self.question(Purpose::Drive)).await
    }

    /// What isn't as desired, of what is ours.
    pub async fn differences(&mut self) -> Vec<Address> {
        let report = self.observe().await;
        report.differences.into_iter().map(|d| d.address).collect()
    }

    /// The plan that an observation leads to: what is made comes in the order of paths, what goes in
    /// the other.
    pub fn plan(&self, report: &ObserveReport) -> Plan {
        let mut made = Vec::new();
        let mut gone = Vec::new();
        for difference in &report.differences {
            let desired = self.desired.get(&difference.address);
            let op = match (&difference.state, desired) {
                (DifferenceState::Undesired, _) => Op::Delete,
                (DifferenceState::Differs, Some(spec)) if spec.wants_absent() => Op::Delete,
                (DifferenceState::Differs, Some(_)) if is_absent(difference.observed.as_ref()) => {
                    Op::Create
                }
                (DifferenceState::Differs, Some(_)) => Op::Update,
                (state, _) => panic!("{}: {state:?}", difference.address),
            };
            let change = Change {
                id: ChangeId(0),
                address: difference.address.clone(),
                op,
                cause: Cause::Intent,
                certainty: Certainty::Exact,
                fields: difference.fields.clone(),
                consequences: Vec::new(),
                precondition: difference.observed.as_ref().map(|o| o.digest().unwrap()),
                after: Vec::new(),
            };
            if op == Op::Delete {
                gone.push(change);
            } else {
                made.push(change);
            }
        }
        made.sort_by(|a, b| a.address.name().cmp(b.address.name()));
        gone.sort_by(|a, b| b.address.name().cmp(a.address.name()));
        made.extend(gone);
        for (id, change) in (0..).zip(&mut made) {
            change.id = ChangeId(id);
        }
        Plan {
            target: report.target,
            changes: made,
            confirm: report.unconfirmed.clone(),
            forget: report.gone.clone(),
        }
    }

    /// Carries out the plan of an observation.
    pub async fn carry_out(&mut self, report: &ObserveReport) -> (Report, Vec<Progress>) {
        let plan = self.plan(report);
        let contents = self
            .contents
            .iter()
            .map(|(d, b)| (*d, Arc::clone(b)))
            .collect();
        self.send(plan, report, contents).await.unwrap()
    }

    /// Sends a plan with these contents.
    pub async fn send(
        &mut self,
        plan: Plan,
        report: &ObserveReport,
        contents: Vec<(Digest, Arc<[u8]>)>,
    ) -> Result<(Report, Vec<Progress>), HostError> {
        let revision = RevisionMark("c0".repeat(20));
        let apply = Apply {
            fence: self.fence.clone(),
            plan,
            departure: plumb_api::frame::Departure::Stays,
            dead_man: None,
            lineage: match &report.ledger.revision {
                None => Lineage::First,
                Some(last) => Lineage::DescendsFrom(last.clone()),
            },
            revision,
        };
        let mut told = Vec::new();
        let report = self
            .session
            .apply(apply, contents, &mut |progress| told.push(progress))
            .await?;
        Ok((report, told))
    }

    /// Makes the host as desired, and looks that a second run has nothing to do.
    pub async fn converge(&mut self) -> Report {
        let before = self.observe().await;
        let (report, _) = self.carry_out(&before).await;
        for result in &report.results {
            assert_eq!(result.outcome, Outcome::Applied, "{}", result.address);
        }
        assert_eq!(report.stopped, None);
        let after = self.observe().await;
        assert_eq!(after.differences, [], "after {before:?}");
        assert_eq!(after.in_sync as usize, self.desired.len());
        assert_eq!((after.unconfirmed, after.gone), (Vec::new(), Vec::new()));
        report
    }

    /// Carries out what differs, which must fail for one reason.
    pub async fn fail(&mut self) -> AgentError {
        let before = self.observe().await;
        let (report, _) = self.carry_out(&before).await;
        match report.results.as_slice() {
            [only] => match &only.outcome {
                Outcome::Failed(error) => {
                    if error.code == ErrorCode::Refused {
                        let refusal = before.differences[0].refusal.as_ref();
                        assert_eq!(refusal, Some(error), "the plan says the same");
                    }
                    error.clone()
                }
                other => panic!("{other:?}"),
            },
            others => panic!("{others:?}"),
        }
    }
}

fn is_absent(observed: Option<&Observed>) -> bool {
    match observed {
        Some(Observed::File(o)) => o.file_type == FileType::Absent,
        Some(Observed::Directory(o)) => o.file_type == FileType::Absent,
        Some(Observed::Link(o)) => o.file_type == FileType::Absent,
        _ => false,
    }
}

/// The agent's error code, where it answered with an error.
pub fn code<T: std::fmt::Debug>(answer: Result<T, HostError>) -> ErrorCode {
    match answer {
        Err(HostError::Agent { error, .. }) => error.code,
        other => panic!("no error of the agent: {other:?}"),
    }
}
