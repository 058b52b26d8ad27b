//! A controller in small: it observes, plans every difference, sends contents, applies. The tests
//! and `examples/drive.rs` drive an agent with it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

use plumb_agent::{End, Sys, serve};
use plumb_api::frame::{
    self, Apply, Delta, Departure, Difference, DifferenceState, Fence, Incoming, Lineage, Observe,
    ObserveReport, PROTOCOL, Purpose, Report, Request, Response, Reveal, RevisionMark, TakeOver,
};
use plumb_api::plan::{Cause, Certainty, Change, ChangeId, Op, Plan};
use plumb_api::report::{AgentError, Outcome};
use plumb_api::resource::{Content, reads};
use plumb_api::{Address, Digest, Epoch, Kind, Spec};
use serde_json::Value;

/// A desired state with its contents.
#[derive(Clone, Default)]
pub struct State {
    pub specs: BTreeMap<Address, Spec>,
    pub contents: BTreeMap<Digest, Vec<u8>>,
}

impl State {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a resource; a `content` that is a string is taken as the text.
    pub fn with(mut self, address: &str, mut spec: Value) -> Self {
        let address: Address = address.parse().unwrap();
        if let Some(text) = spec.get("content").and_then(Value::as_str) {
            let content = Content::of(text.as_bytes());
            self.contents
                .insert(content.sha256, text.as_bytes().to_vec());
            spec["content"] = serde_json::to_value(content).unwrap();
        }
        let spec = address.kind().decode(spec).unwrap();
        assert!(
            spec.check(address.name()).is_empty(),
            "{address}: {:?}",
            spec.check(address.name())
        );
        self.specs.insert(address, spec);
        self
    }

    pub fn without(mut self, address: &str) -> Self {
        self.specs.remove(&address.parse().unwrap());
        self
    }

    pub fn digest(&self) -> Digest {
        Delta::digest_of(
            self.specs
                .iter()
                .map(|(address, spec)| (address, spec.digest().unwrap())),
        )
    }
}

pub struct Driver {
    input: Box<dyn Read + Send>,
    output: Box<dyn Write + Send>,
    agent: Option<JoinHandle<End>>,
    pub fence: Fence,
    pub revision: u32,
    pub departure: Departure,
    pub dead_man: Option<frame::DeadMan>,
    pub progress: Vec<frame::Progress>,
}

pub fn fence() -> Fence {
    Fence {
        protocol: PROTOCOL,
        fleet: "home".parse().unwrap(),
        host: "h1".parse().unwrap(),
        formerly: Vec::new(),
        controller: "c1".parse().unwrap(),
        epoch: Epoch(1),
        take_over: TakeOver::No,
    }
}

impl Driver {
    /// An agent in this process, on a directory.
    pub fn sandbox(root: &Path) -> Self {
        Self::on(Sys::sandbox(root).unwrap())
    }

    /// An agent in this process, on this machine.
    pub fn host() -> Self {
        Self::on(Sys::host().unwrap())
    }

    fn on(sys: Sys) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let input = theirs.try_clone().unwrap();
        let agent = std::thread::spawn(move || serve(&sys, input, theirs));
        let output = ours.try_clone().unwrap();
        let mut driver = Self::over(ours, output);
        driver.agent = Some(agent);
        driver
    }

    pub fn over(input: impl Read + Send + 'static, output: impl Write + Send + 'static) -> Self {
        Self {
            input: Box::new(input),
            output: Box::new(output),
            agent: None,
            fence: fence(),
            revision: 1,
            departure: Departure::Stays,
            dead_man: None,
            progress: Vec::new(),
        }
    }

    pub fn send(&mut self, request: &Request) {
        frame::write_message(&mut self.output, request).unwrap();
    }

    pub fn receive(&mut self) -> Response {
        loop {
            match frame::read(&mut self.input).unwrap() {
                Incoming::Message(Response::Progress(progress)) => self.progress.push(progress),
                Incoming::Message(response) => return response,
                Incoming::Blob(..) => panic!("an agent sends no contents"),
            }
        }
    }

    pub fn ask(&mut self, request: &Request) -> Response {
        self.send(request);
        self.receive()
    }

    pub fn try_observe(
        &mut self,
        state: &State,
        purpose: Purpose,
    ) -> Result<ObserveReport, AgentError> {
        let request = Request::Observe(Observe {
            fence: self.fence.clone(),
            base: None,
            target: state.digest(),
            delta: Delta {
                set: state.specs.clone(),
                remove: Vec::new(),
            },
            purpose,
            reveal: Reveal::WorldReadable,
            attendance: frame::Attendance::Unattended,
        });
        match self.ask(&request) {
            Response::Observed(report) => Ok(*report),
            Response::Error(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub fn observe(&mut self, state: &State) -> ObserveReport {
        self.try_observe(state, Purpose::Drive).unwrap()
    }

    pub fn try_apply(&mut self, state: &State, plan: Plan) -> Result<Report, AgentError> {
        let lineage = if self.revision == 1 {
            Lineage::First
        } else {
            Lineage::DescendsFrom(RevisionMark(format!("r{}", self.revision - 1)))
        };
        self.try_apply_with(state, plan, lineage)
    }

    pub fn send_plan(&mut self, state: &State, plan: Plan, lineage: Lineage) {
        let wanted: BTreeSet<Digest> = plan
            .changes
            .iter()
            .filter_map(|change| state.specs.get(&change.address))
            .flat_map(Spec::contents)
            .map(|content| content.sha256)
            .collect();
        for digest in wanted {
            if let Some(bytes) = state.contents.get(&digest) {
                frame::write_blob(&mut self.output, &digest, bytes).unwrap();
            }
        }
        let request = Request::Apply(Apply {
            fence: self.fence.clone(),
            plan,
            revision: RevisionMark(format!("r{}", self.revision)),
            lineage,
            departure: self.departure,
            dead_man: self.dead_man.clone(),
        });
        self.send(&request);
    }

    pub fn try_apply_with(
        &mut self,
        state: &State,
        plan: Plan,
        lineage: Lineage,
    ) -> Result<Report, AgentError> {
        self.send_plan(state, plan, lineage);
        match self.receive() {
            Response::Report(report) => {
                self.revision += 1;
                Ok(report)
            }
            Response::Error(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// Observes and applies until nothing is left; every change must succeed.
    pub fn converge(&mut self, state: &State) -> usize {
        let report = self.observe(state);
        let plan = plan(state, &report);
        let count = plan.changes.len();
        if plan.is_settled() {
            assert!(report.differences.is_empty(), "{:#?}", report.differences);
            return 0;
        }
        let report = self.try_apply(state, plan).unwrap();
        assert_eq!(failures(&report), Vec::<String>::new());
        assert_eq!(report.stopped, None);
        let rest = self.observe(state);
        assert!(rest.differences.is_empty(), "{:#?}", rest.differences);
        let rest = plan_of(state, &rest);
        assert!(rest.is_settled(), "the second plan isn't empty: {rest:#?}");
        count
    }

    pub fn end(mut self) -> End {
        self.output = Box::new(std::io::sink());
        self.input = Box::new(std::io::empty());
        self.agent.take().unwrap().join().unwrap()
    }
}

fn plan_of(state: &State, report: &ObserveReport) -> Plan {
    plan(state, report)
}

pub fn failures(report: &Report) -> Vec<String> {
    report
        .results
        .iter()
        .filter(|result| !matches!(result.outcome, Outcome::Applied | Outcome::Unchanged))
        .map(|result| format!("{}: {:?}", result.address, result.outcome))
        .collect()
}

fn rank(kind: Kind) -> usize {
    let order = [
        Kind::Group,
        Kind::User,
        Kind::Directory,
        Kind::Package,
        Kind::File,
        Kind::Link,
        Kind::Unit,
        Kind::Sysctl,
        Kind::Service,
    ];
    order.iter().position(|other| *other == kind).unwrap()
}

/// Every difference as a change: what is desired in the order of types, then what isn't, the other way round.
pub fn plan(state: &State, report: &ObserveReport) -> Plan {
    let mut set = Vec::new();
    let mut take = Vec::new();
    for difference in &report.differences {
        match &difference.state {
            DifferenceState::Differs => set.push(difference),
            DifferenceState::Undesired => take.push(difference),
            // Left, as the planner does; `converge` fails on them.
            DifferenceState::Unobservable(_) | DifferenceState::Unsupported(_) => {}
        }
    }
    let changing: BTreeSet<Address> = set
        .iter()
        .chain(&take)
        .map(|difference| difference.address.clone())
        .collect();
    let mut predicted: Vec<Address> = Vec::new();
    for (address, spec) in &state.specs {
        let triggered = spec
            .triggers(address.name())
            .iter()
            .any(|trigger| changing.contains(&trigger.on));
        let dependent = changing.iter().any(|other| reads(address, other));
        if (triggered || dependent) && !changing.contains(address) {
            predicted.push(address.clone());
        }
    }
    // A key that others reset comes after them; each requires all that those require, and more.
    let resets = |address: &Address| match state.specs.get(address) {
        Some(spec) if address.kind() == Kind::Sysctl => spec.requires(address.name()).len(),
        _ => 0,
    };
    let place = |one: &Difference| (rank(one.address.kind()), resets(&one.address));
    set.sort_by(|a, b| (place(a), &a.address).cmp(&(place(b), &b.address)));
    take.sort_by(|a, b| {
        (rank(b.address.kind()), &b.address).cmp(&(rank(a.address.kind()), &a.address))
    });
    let (services, others): (Vec<_>, Vec<_>) = set
        .into_iter()
        .partition(|difference| difference.address.kind() == Kind::Service);
    let mut ids: BTreeMap<Address, ChangeId> = BTreeMap::new();
    let mut changes: Vec<Change> = Vec::new();
    let mut add = |address: &Address, op, certainty, precondition, after: Vec<ChangeId>| {
        let id = ChangeId(u32::try_from(changes.len()).unwrap());
        ids.insert(address.clone(), id);
        changes.push(Change {
            id,
            address: address.clone(),
            op,
            cause: Cause::Intent,
            certainty,
            fields: Vec::new(),
            consequences: Vec::new(),
            precondition,
            after,
        });
        (id, ids.clone())
    };
    let mut known: BTreeMap<Address, ChangeId> = BTreeMap::new();
    let mut removals = Vec::new();
    let before = |address: &Address, known: &BTreeMap<Address, ChangeId>| -> Vec<ChangeId> {
        let spec = &state.specs[address];
        let dependent = known
            .iter()
            .filter(|(other, _)| reads(address, other))
            .map(|(_, id)| *id);
        let required = spec
            .requires(address.name())
            .into_iter()
            .filter_map(|d| known.get(&d.address).copied());
        dependent
            .chain(required)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    for difference in others {
        let digest = difference
            .observed
            .as_ref()
            .map(|observed| observed.digest().unwrap());
        let after = before(&difference.address, &known);
        let digest = digest.filter(|_| after.is_empty());
        known = add(
            &difference.address,
            Op::Update,
            Certainty::Exact,
            digest,
            after,
        )
        .1;
    }
    for difference in take {
        let digest = difference
            .observed
            .as_ref()
            .map(|observed| observed.digest().unwrap());
        let after = removals.last().copied().into_iter().collect();
        let (id, all) = add(
            &difference.address,
            Op::Delete,
            Certainty::Exact,
            digest.filter(|_| removals.is_empty()),
            after,
        );
        removals.push(id);
        known = all;
    }
    for difference in services {
        let after = before(&difference.address, &known);
        known = add(
            &difference.address,
            Op::Update,
            Certainty::Predicted,
            None,
            after,
        )
        .1;
    }
    for address in predicted {
        let after = before(&address, &known);
        known = add(&address, Op::Run, Certainty::Predicted, None, after).1;
    }
    Plan {
        target: report.target,
        changes,
        confirm: report.unconfirmed.clone(),
        forget: report.gone.clone(),
    }
}
