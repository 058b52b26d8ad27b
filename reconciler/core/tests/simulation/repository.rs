//! A branch in memory: commits that are accepted or not, each with what it wants of every host.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use plumb_api::{Digest, HostName, Spec};
use plumb_core::alerting::{HeldCommit, Hold};
use plumb_core::desired::{
    Contents, DesiredResource, DesiredState, DriftPolicy, Existing, HostIntent, HostResult,
    Lifecycle, Resolved, Suspension,
};
use plumb_core::fleet::{BranchVerdict, FleetRevision, PollRequest, StepVerdict};
use plumb_core::view::{CommitHeader, CommitVerdict};

/// How many different desired states there are.
pub const STATES: usize = 24;

/// A desired state by number.
pub fn desired(number: usize) -> &'static DesiredState {
    static ALL: OnceLock<Vec<DesiredState>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let make = |number: usize| {
            let digest = Digest::of_bytes(number.to_string().as_bytes()).to_string();
            let spec = serde_json::json!({"file": {"content": {"sha256": digest, "size": 1}}});
            let spec: Spec = serde_json::from_value(spec).unwrap();
            let resource = Arc::new(DesiredResource::new(spec).unwrap());
            DesiredState::new([("file:/etc/motd".parse().unwrap(), resource)].into())
        };
        (0..STATES).map(make).collect()
    });
    &all[number % STATES]
}

/// What a commit says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub state: usize,
    pub mode: Mode,
    pub formerly: Vec<HostName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Driven,
    /// Until so many seconds after the epoch.
    Suspended(i64),
    Dormant,
    /// Its manifest has errors.
    Invalid,
}

#[derive(Debug, Clone)]
pub struct Commit {
    pub id: String,
    pub parent: Option<usize>,
    pub verdict: CommitVerdict,
    pub hosts: BTreeMap<HostName, Manifest>,
}

#[derive(Debug, Default)]
pub struct Repository {
    pub commits: Vec<Commit>,
    pub head: usize,
    pub down: bool,
    loaded: BTreeMap<usize, Arc<FleetRevision>>,
}

impl Repository {
    pub fn new(hosts: BTreeMap<HostName, Manifest>) -> Self {
        let mut repository = Self::default();
        repository.push(hosts, CommitVerdict::Accept);
        repository
    }

    pub fn manifests(&self) -> &BTreeMap<HostName, Manifest> {
        &self.commits[self.head].hosts
    }

    /// Pushes a commit on top of the head.
    pub fn push(&mut self, hosts: BTreeMap<HostName, Manifest>, verdict: CommitVerdict) {
        let number = self.commits.len();
        self.commits.push(Commit {
            id: format!("{number:040x}"),
            parent: (number > 0).then_some(self.head),
            verdict,
            hosts,
        });
        self.head = number;
    }

    pub fn find(&self, id: &str) -> Option<usize> {
        self.commits.iter().position(|commit| commit.id == id)
    }

    /// The commits from the first to this one.
    pub fn chain(&self, to: usize) -> Vec<usize> {
        let mut chain: Vec<_> =
            std::iter::successors(Some(to), |at| self.commits[*at].parent).collect();
        chain.reverse();
        chain
    }

    pub fn descends(&self, ancestor: usize, descendant: usize) -> bool {
        self.chain(descendant).contains(&ancestor)
    }

    /// The resolved revision of a commit.
    pub fn revision(&mut self, at: usize) -> Arc<FleetRevision> {
        let commit = &self.commits[at];
        let make = || {
            let hosts = commit.hosts.iter();
            let hosts = hosts.map(|(name, manifest)| (name.clone(), result(name, manifest)));
            let resolved = Resolved {
                fleet: "home".parse().unwrap(),
                hosts: hosts.collect(),
                contents: Contents::default(),
                alertmanagers: Vec::new(),
                halt_failures: 1,
                confirm_within: std::time::Duration::from_mins(2),
                diagnostics: Vec::new(),
            };
            let subject = "change".to_owned();
            Arc::new(FleetRevision::new(commit.id.clone(), subject, resolved))
        };
        self.loaded.entry(at).or_insert_with(make).clone()
    }

    /// What a poll verifies: the longest accepted prefix above the floor, if the floor is on the branch.
    pub fn verify(&self, request: &PollRequest, now: Timestamp) -> BranchVerdict {
        let floor = request.floor.as_deref().and_then(|floor| self.find(floor));
        let chain = self.chain(self.head);
        let start = floor.unwrap_or(0);
        let above: Vec<_> = chain
            .iter()
            .copied()
            .skip_while(|at| *at != start)
            .collect();
        let mut accepted = start;
        let mut held = None;
        for at in &above {
            if self.commits[*at].verdict == CommitVerdict::Accept {
                accepted = *at;
            } else {
                held = Some(*at);
                break;
            }
        }
        if above.is_empty() {
            held = Some(self.head);
        }
        let steps = above.iter().map(|at| StepVerdict {
            commit: self.commits[*at].id.clone(),
            verdict: self.commits[*at].verdict,
            header: CommitHeader::default(),
            reasons: Vec::new(),
        });
        BranchVerdict {
            head: self.commits[self.head].id.clone(),
            accepted: self.commits[accepted].id.clone(),
            held: held.map(|at| HeldCommit {
                commit: self.commits[at].id.clone(),
                verdict: CommitVerdict::Reject,
                hold: Hold::Alarm,
                reasons: Vec::new(),
                sentences: vec!["rejected".to_owned()],
                codes: Vec::new(),
                because: "rejected".to_owned(),
                behind: 0,
                accepted: None,
                since: now,
            }),
            steps: steps.collect(),
            first_seen: BTreeMap::new(),
            rollbacks: Vec::new(),
            resumes: Vec::new(),
            revoked: Vec::new(),
            unbacked: None,
        }
    }
}

fn result(name: &HostName, manifest: &Manifest) -> HostResult {
    let suspend = match manifest.mode {
        Mode::Invalid => return HostResult::Held(Vec::new()),
        Mode::Suspended(until) => Some(Suspension {
            reason: "moving house".to_owned(),
            until: Timestamp::from_second(until).ok(),
        }),
        Mode::Driven | Mode::Dormant => None,
    };
    HostResult::Ready(Arc::new(HostIntent {
        name: name.clone(),
        uid: None,
        labels: BTreeMap::from([("site".to_owned(), "home".to_owned())]),
        formerly: manifest.formerly.clone(),
        lifecycle: match manifest.mode {
            Mode::Dormant => Lifecycle::Dormant,
            _ => Lifecycle::Active,
        },
        arch: None,
        connect: Vec::new(),
        host_keys: Vec::new(),
        drift: DriftPolicy::default(),
        existing: Existing::default(),
        suspend,
        desired: desired(manifest.state).clone(),
    }))
}
